"""References: how they are read, what they fit, and what they say of a run."""

from collections.abc import Callable
from dataclasses import replace
from math import isclose
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from some_runs import DELAY, SPEED, figures, some_host, some_run

from vmlab.errors import Problem, ReferenceMissed, TopologyError, WorkloadError
from vmlab.judgement.hosts import HostKind
from vmlab.judgement.labels import fits
from vmlab.judgement.references import Reference, load, loads
from vmlab.judgement.verdicts import BETTER, MISSED, NO_FIGURE, OK, OTHER_HOST, error, judge
from vmlab.metrics import Metric
from vmlab.records.run import RunVerdict, from_json, to_json

BAD = Path(__file__).parents[2] / "golden" / "references"
FILE = """\
host: {cpu: "*gold 6230*", accel: kvm}
references:
  - metric: speed
    workload: copy
    labels: {verb: write, size: 1MiB, nodes: "fta[1-2]", jobs: 4}
    value: 100
    unit: MiB/s
    lower: -0.05
    upper: null
    reason: the acceptance test
  - {metric: delay, value: 7.5, unit: us, upper: 0.1, host: h2}
"""


def one(**more: Any) -> Reference:
    given: dict[str, Any] = {"labels": {}, "lower": -0.05, "upper": 0.1, "file": "refs.yaml", "line": 3}
    return Reference(**{"metric": "speed", "value": 100.0, "unit": "MiB/s", **given, **more})


def verdicts(reference: Reference, *values: float, **labels: str) -> list[str]:
    return [v.verdict for v in judge([some_run(*figures(SPEED, values, **labels))], [reference])]


def test_a_file_says_all() -> None:
    first, second = loads(FILE, "refs.yaml")
    assert first == Reference(
        metric="speed",
        value=100.0,
        unit="MiB/s",
        labels={"verb": "write", "size": "1MiB", "nodes": "fta[1-2]", "jobs": "4"},
        lower=-0.05,
        upper=None,
        reason="the acceptance test",
        workload="copy",
        host=HostKind(cpu="*gold 6230*", accel="kvm"),
        file="refs.yaml",
        line=3,
    )
    assert (second.host, second.line, second.lower, second.most) == (HostKind(name="h2"), 11, None, 8.25)


@pytest.mark.parametrize("path", sorted(BAD.glob("*.yaml")), ids=lambda path: path.stem)
def test_problems_of_a_bad_file(path: Path, golden: Callable[[Path, str], None]) -> None:
    with pytest.raises(TopologyError) as caught:
        loads(path.read_text(), path.name)
    golden(path.with_suffix(".txt"), f"{caught.value}\n")
    assert all(p.message.startswith("not YAML") or p.message.endswith(")") for p in caught.value.problems)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match=r"none\.yaml:1:1: cannot be read: No such file"):
        load(tmp_path / "none.yaml")


@given(st.text())
def test_any_text_is_read_or_refused_with_positions(text: str) -> None:
    problems: tuple[Problem, ...] = ()
    try:
        loads(text, "refs.yaml")
    except TopologyError as refused:
        problems = refused.problems
    assert all((problem.file, problem.line >= 1) == ("refs.yaml", True) for problem in problems)


@pytest.mark.parametrize(
    ("written", "measured", "fit"),
    [
        ("1MiB", "1048576", True),
        ("1m", "1048576", True),
        ("1048576", "1MiB", True),
        ("10KB", "10000", True),
        ("1MiB", "1000000", False),
        ("fta[1-2]", "fta1,fta2", True),
        ("fta2,fta1", "fta[1-2]", True),
        ("fta[1-2]", "fta1", False),
        ("fta[1-3]", "fta[1-2]", False),
        ("write", "write", True),
        ("write", "read", False),
        ("a[", "a[", True),
        ("a[", "a", False),
    ],
)
def test_labels_are_compared_as_what_they_are(written: str, measured: str, *, fit: bool) -> None:
    assert fits({"label": written}, {"label": measured, "more": "x"}) is fit


def test_a_label_that_is_not_there_does_not_fit() -> None:
    assert not fits({"verb": "write"}, {"size": "1"})
    assert fits({}, {"size": "1"})


def test_options_of_the_run_are_labels_where_figures_have_none() -> None:
    run = some_run(*figures(SPEED, [100]), options={"block": "1MiB", "verbs": ["write", "read"]})
    for labels, verdict in (({"block": "1048576"}, OK), ({"verbs": "write,read"}, OK), ({"block": "2MiB"}, NO_FIGURE)):
        assert [v.verdict for v in judge([run], [one(labels=labels)])] == [verdict]


@pytest.mark.parametrize(
    ("value", "verdict"), [(94.9, MISSED), (95, OK), (100, OK), (110, OK), (110.1, BETTER), (0, MISSED)]
)
def test_what_hurts_is_missed_and_what_does_not_is_better(value: float, verdict: str) -> None:
    assert verdicts(one(), value) == [verdict]


def test_where_less_is_better_the_upper_bound_hurts() -> None:
    reference = one(metric="delay", unit="us")
    run = some_run(*figures(DELAY, [120], verb="write"), *figures(DELAY, [90], verb="read"))
    found = judge([run], [reference])
    assert [(v.labels["verb"], v.verdict) for v in found] == [("write", MISSED), ("read", BETTER)]
    assert found[0].why == "120 us is above the bound 110 us (100 +10 %): refs.yaml:3"


def test_of_trials_the_median_is_judged() -> None:
    assert verdicts(one(), 50, 100, 101) == [OK]
    (missed,) = judge([some_run(*figures(SPEED, [94, 90, 101]))], [one(reason="as of May")])
    assert missed.why == "94 MiB/s, the median of 3, is below the bound 95 MiB/s (100 -5 %): refs.yaml:3, as of May"
    assert (missed.value, missed.reference, missed.lower, missed.upper) == (94, 100, 95, pytest.approx(110))


def test_one_reference_judges_all_figures_that_it_fits() -> None:
    run = some_run(*figures(SPEED, [100], size="1", verb="w"), *figures(SPEED, [10], size="2", verb="w"))
    assert [v.verdict for v in judge([run], [one(labels={"verb": "w"})])] == [OK, MISSED]


def test_what_is_said_of_some_figures_in_particular_counts_there_alone() -> None:
    run = some_run(*figures(SPEED, [100], verb="w", size="1"), *figures(SPEED, [10], verb="w", size="2"))
    general, particular = one(labels={"verb": "w"}), one(labels={"verb": "w", "size": "2"}, value=10.0, line=7)
    for references in ([general, particular], [particular, general]):
        assert {(v.verdict, v.line) for v in judge([run], references)} == {(OK, 3), (OK, 7)}
    beside = one(labels={"size": "2"})  # neither is more particular than the other
    assert [v.verdict for v in judge([run], [one(labels={"verb": "w"}, value=10.0), beside])] == [BETTER, OK, MISSED]
    everything = one(labels={}, value=1.0)
    assert [v.line for v in judge([run], [everything, *(one(labels=f.labels, line=9) for f in run.samples)])] == [9, 9]


def test_no_figure_is_a_verdict_and_no_pass() -> None:
    (absent,) = judge([some_run(*figures(SPEED, [100], verb="read"))], [one(labels={"verb": "write"})])
    assert (absent.verdict, absent.value) == (NO_FIGURE, None)
    assert absent.why == "no such figure was measured: refs.yaml:3"
    assert isinstance(error([absent]), WorkloadError)
    (unit,) = judge([some_run(*figures(SPEED, [100]))], [one(unit="GB/s")])
    assert (unit.verdict, "it was measured in MiB/s" in unit.why) == (NO_FIGURE, True)


def test_a_reference_of_another_workload_says_nothing() -> None:
    run = some_run(*figures(SPEED, [1]))
    assert judge([run], [one(workload="other")]) == ()
    assert [v.verdict for v in judge([run], [one(workload="copy"), one()])] == [MISSED, MISSED]
    other = replace(run, workload="other", samples=())
    assert [v.verdict for v in judge([other, run], [one()])] == [MISSED]  # the one run has it, which is enough


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (HostKind(), ""),
        (HostKind(name="h1", cpu="*gold*", hca="mt_0000000223*", accel="kvm", soft=False), ""),
        (HostKind(cpu="*EPYC*"), "for the host's cpu *EPYC*, and that of h1 is Intel Xeon Gold 6230"),
        (HostKind(hca="MT_8*"), "for the host's hca MT_8*, and that of h1 is MT_0000000223 firmware 20.31.1014"),
        (HostKind(name="h2"), "for the host's name h2, and that of h1 is h1"),
        (HostKind(accel="tcg"), "for tcg, and the run is kvm"),
        (HostKind(soft=True), "for figures over soft-RoCE, and the run's are not over soft-RoCE"),
    ],
)
def test_references_are_for_kinds_of_hosts(kind: HostKind, why: str) -> None:
    run = some_run(*figures(SPEED, [1]))
    assert kind.unlike(run) == why
    (verdict,) = judge([run], [one(host=kind)])
    assert verdict.verdict == (OTHER_HOST if why else MISSED)
    assert why in verdict.why


def test_each_host_of_a_run_has_to_fit() -> None:
    run = some_run(*figures(SPEED, [1]), hosts=(some_host(), some_host("h2", cpu="AMD EPYC")))
    assert HostKind(cpu="*Xeon*").unlike(run) == "for the host's cpu *Xeon*, and that of h2 is AMD EPYC"
    assert "does not say where" in HostKind(cpu="*").unlike(replace(run, hosts=()))


def test_what_missed_counts_more_than_what_is_absent() -> None:
    run = some_run(*figures(SPEED, [1], verb="w"))
    found = judge([run], [one(labels={"verb": "r"}), one(labels={"verb": "w"}), one(labels={"verb": "w"}, lower=None)])
    failed = error(found)
    assert isinstance(failed, ReferenceMissed)
    assert failed.message == "of the figures that have references 1 missed their reference, 1 were not measured"
    assert str(failed.causes[0]).startswith("copy speed verb=w: 1 MiB/s is below the bound 95 MiB/s")
    assert error(judge([run], [one(labels={"verb": "w"}, value=1.0)])) is None


def test_verdicts_are_in_the_record_and_absent_in_older_ones() -> None:
    run = some_run(*figures(SPEED, [94]))
    judged = replace(run, verdicts=judge([run], [one(upper=None)]))
    content = to_json(judged)
    assert from_json(content) == judged
    del content["verdicts"]
    assert from_json(content) == run


fractions = st.none() | st.floats(0, 1).map(lambda f: round(f, 3))


@given(st.floats(1e-3, 1e9), st.floats(1e-3, 1e9), fractions, fractions, st.sampled_from(["higher", "lower"]))
def test_the_verdict_is_the_bounds(
    value: float, measured: float, below: float | None, above: float | None, better: str
) -> None:
    reference = one(value=value, lower=None if below is None else -below, upper=above)
    run = some_run(*figures(Metric("speed", "MiB/s", better, "speed"), [measured]))
    if below is None and above is None:
        return
    (found,) = judge([run], [reference])
    assert isinstance(found, RunVerdict)
    low, high = reference.least, reference.most
    inside = (low is None or measured >= low) and (high is None or measured <= high)
    if any(bound is not None and isclose(bound, measured, rel_tol=1e-8) for bound in (low, high)):
        return
    assert (found.verdict == OK) == inside
    if found.verdict == MISSED:
        assert (measured < value) == (better == "higher")
    assert "refs.yaml:3" in found.why
