"""A run's figures as a file of references: read back it says the same, and the run keeps to it."""

import re
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from some_runs import DELAY, SPEED, figures, some_host, some_run

from vmlab.errors import UsageError
from vmlab.judgement.references import loads
from vmlab.judgement.verdicts import OK, judge
from vmlab.judgement.written import written
from vmlab.metrics import Metric, Sample


def test_it_can_be_read_by_people() -> None:
    run = some_run(*figures(SPEED, [940, 950, 960], size="1048576", nodes="fta[1-2]"), *figures(DELAY, [7.25]))
    text = written(run, lower=-0.05, upper=0.1)
    assert "vmlab run BED copy --judge FILE" in text
    assert "\n  # the median of 3, from 940 to 960, higher is better\n  - metric: speed\n" in text
    assert "\n  # one trial, lower is better\n  - metric: delay\n" in text
    content = yaml.safe_load(text)
    assert content["host"] == {"cpu": "Intel Xeon Gold 6230", "hca": "MT_0000000223*", "accel": "kvm", "soft": False}
    assert content["references"][0] == {
        "metric": "speed",
        "workload": "copy",
        "labels": {"size": "1MiB", "nodes": "fta[1-2]"},
        "value": 950,
        "unit": "MiB/s",
        "lower": -0.05,
        "upper": 0.1,
        "reason": f"measured by {run.id}",
    }


def test_trials_that_differ_by_more_than_the_bound_are_named() -> None:
    run = some_run(*figures(SPEED, [900, 1000, 1100]))
    assert "# the trials differ (20 %) by more than the bound that hurts" in written(run, lower=-0.05, upper=0.5)
    assert "the trials differ" not in written(run, lower=-0.25, upper=0.05)


def test_hosts_of_two_kinds_are_no_kind() -> None:
    run = some_run(*figures(SPEED, [1]), hosts=(some_host(), some_host("h2", cpu="AMD EPYC [Milan]", hca="")))
    assert yaml.safe_load(written(run, lower=-0.1, upper=None))["host"] == {"accel": "kvm", "soft": False}
    alone = some_run(*figures(SPEED, [1]), hosts=(some_host("h2", cpu="AMD EPYC [Milan]", hca=""),))
    text = written(alone, lower=-0.1, upper=None)
    assert [v.verdict for v in judge([alone], loads(text, "refs.yaml"))] == [OK]


def test_what_can_be_no_reference_is_refused() -> None:
    with pytest.raises(UsageError, match="has no figures"):
        written(some_run(*figures(SPEED, [float("nan")])), lower=-0.1, upper=None)
    with pytest.raises(UsageError, match="without a bound"):
        written(some_run(*figures(SPEED, [1])), lower=None, upper=None)


metrics = st.builds(
    Metric,
    st.sampled_from(["speed", "delay", "no", "1.5"]),
    st.sampled_from(["MiB/s", "us", "%", "op/s # all", "null"]),
    st.sampled_from(["higher", "lower"]),
    st.just("some"),
)
labels = st.dictionaries(
    st.sampled_from(["size", "verb", "nodes", "jobs"]),
    st.sampled_from(["1", "4096", "write", "no", "~", "a: b", "fta[1-2]", "'", '"x"', "- é\x07", " ", "#"]),
    max_size=3,
)
values = st.just(0.0) | st.floats(1e-9, 1e12) | st.floats(-1e12, -1e-9)
samples = st.builds(Sample, metrics, values, labels, st.integers(1, 3))


@given(st.lists(samples, min_size=1, max_size=8), st.sampled_from([None, 0.0, 0.05]), st.sampled_from([0.0, 0.1]))
def test_a_run_keeps_to_what_is_written_of_it(found: list[Sample], lower: float | None, upper: float) -> None:
    one_of_each: dict[Any, Sample] = {}
    for sample in found:
        key = (sample.metric.name, frozenset(sample.labels.items()))
        one_of_each.setdefault(key, sample)
    run = some_run(*one_of_each.values())
    text = written(run, lower=None if lower is None else -lower, upper=upper)
    verdicts = judge([run], loads(text, "refs.yaml"))
    assert {one.verdict for one in verdicts} == {OK}
    assert len(verdicts) == len(one_of_each)
    lines = text.splitlines()
    assert all(re.match(r"  - metric: ", lines[one.line - 1]) for one in verdicts)
