"""The text is what Prometheus' parser takes: its grammar, written down from the format's description."""

import re
from dataclasses import replace

import pytest
import simulated_runs as simulated

from vmlab.metrics import Metric, Sample
from vmlab.report.prometheus import exposition

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"'
_LINE = re.compile(rf"({_NAME})\{{((?:{_LABEL},?)*)\}} (\S+)")


def parsed(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    known = set()
    for line in text.splitlines():
        if line.startswith("# "):
            if kind := re.fullmatch(rf"# TYPE ({_NAME}) gauge", line):
                assert kind[1] not in known, "one TYPE for each name"
                known.add(kind[1])
                continue
            assert re.fullmatch(rf"# HELP {_NAME} [^\n]+", line), line
            continue
        match = _LINE.fullmatch(line)
        assert match, line
        assert match[1] in known
        labels = [
            (key, value.replace(r"\n", "\n").replace(r"\"", '"').replace("\\\\", "\\"))
            for key, value in re.findall(_LABEL, match[2])
        ]
        assert len(dict(labels)) == len(labels)
        found.setdefault(match[1], []).append((dict(labels), float(match[5])))
    assert text.endswith("\n")
    return found


def test_medians_in_base_units() -> None:
    found = parsed(exposition([simulated.rdma_table()]))
    labels, value = found["vmlab_bandwidth_bytes_per_second"][0]
    assert labels == {"from": "vm01", "on": "vm", "size": "65536", "bed": "simulated", "workload": "simulation"}
    assert value == pytest.approx(2970 * 2**20)
    assert found["vmlab_run_end_timestamp_seconds"][0][1] == 1785549600
    assert found["vmlab_run_info"][0][0]["run"] == "20260801T020000Z-simulated-simulation"


@pytest.mark.parametrize(
    ("name", "unit", "expected", "factor"),
    [
        ("latency_p99", "us", "vmlab_latency_p99_seconds", 1e-6),
        ("throughput", "Gbit/s", "vmlab_throughput_bytes_per_second", 1.25e8),
        ("steadiness", "%", "vmlab_steadiness_ratio", 0.01),
        ("seconds", "s", "vmlab_seconds", 1),
        ("Mops per core", "Mop/s/core", "vmlab_mops_per_core_mop_per_s_per_core", 1),
        ("evicted", "clients", "vmlab_evicted_clients", 1),
    ],
)
def test_names_by_convention(name: str, unit: str, expected: str, factor: float) -> None:
    sample = Sample(Metric(name, unit, "lower", "g"), 3.0)
    ((_, value),) = parsed(exposition([simulated.run([sample])]))[expected]
    assert value == pytest.approx(3 * factor)


def test_labels_are_escaped_and_their_names_allowed() -> None:
    labels = {"a-b": 'x"y\\z\nw', "__hidden": "1", "bed": "other", "1st": "2", "a_b": "3"}
    sample = Sample(Metric("m", "files", "higher", "g"), 1.0, labels)
    ((found, _),) = parsed(exposition([simulated.run([sample])]))["vmlab_m_files"]
    assert found == {
        "a_b": 'x"y\\z\nw',
        "label_hidden": "1",
        "label_bed": "other",
        "label_1st": "2",
        "a_b_": "3",
        "bed": "simulated",
        "workload": "simulation",
    }


def test_what_is_no_number_is_absent() -> None:
    samples = [Sample(Metric(name, "s", "lower", "g"), value) for name, value in (("a", float("nan")), ("b", 1.0))]
    found = parsed(exposition([simulated.run(samples)]))
    assert "vmlab_b_seconds" in found
    assert not any("vmlab_a" in name for name in found)


def test_several_workloads_share_a_name_and_keep_their_labels() -> None:
    records = [simulated.rdma_table(), replace(simulated.rdma_table(), workload="other", problems=("bad",))]
    found = parsed(exposition(records))
    assert len(found["vmlab_bandwidth_bytes_per_second"]) == 16
    assert [(labels["workload"], value) for labels, value in found["vmlab_run_problems"]] == [
        ("simulation", 0),
        ("other", 1),
    ]
