"""Figures of hosts: the nodes' of each added up, and all of them together, where they were measured at once."""

from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from local_guest import LocalGuest, nodes
from pydantic import BaseModel, ConfigDict
from typing_extensions import override

from vmlab.errors import WorkloadError
from vmlab.lab.measuring.by_host import of_hosts
from vmlab.lab.measuring.participants import InGuest
from vmlab.lab.measuring.workload import run_workload
from vmlab.metrics import Metric, Sample
from vmlab.records.run import RunRecord, from_json, to_json
from vmlab.workloads import Measurement, Node, PerHost, Task, Workload
from vmlab.workloads._options import Point
from vmlab.workloads.fio import Fio
from vmlab.workloads.iperf3 import Iperf3

HOSTS = {"n1": "kvm1", "n2": "kvm1", "n3": "kvm2", "cn1": ""}
SPEED = Metric("speed", "MiB/s", "higher", "speed")
OF_HOST = Metric("host_speed", "MiB/s", "higher", "by host")


def told(found: Any) -> dict[tuple[str, str], float]:
    return {(sample.metric.name, sample.labels["host"]): sample.value for sample in found}


def test_the_nodes_of_fio_by_host_add_up_to_its_total() -> None:
    metrics = {metric.name: metric for metric in Fio.metrics}
    samples = [Sample(metrics["bandwidth"], 60.0, {"rw": "write", "direction": "write"})]
    for node, value in (("n1", 10.0), ("n2", 20.0), ("n3", 30.0)):
        labels = {"rw": "write", "direction": "write", "node": node}
        samples += [Sample(metrics["node_bandwidth"], value, labels), Sample(metrics["latency"], 5.0, labels)]
    found = list(of_hosts(Fio.adds_up, samples, HOSTS))
    assert told(found) == {
        ("host_bandwidth", "kvm1"): 30.0,
        ("host_bandwidth", "kvm2"): 30.0,
        ("host_bandwidth", "all"): 60.0,
    }
    assert all(dict(sample.labels).keys() == {"host", "rw", "direction"} for sample in found)
    assert list(of_hosts(Fio.adds_up, samples, dict.fromkeys(HOSTS, "kvm1"))) == []


def test_pairs_of_iperf3_count_for_the_host_that_sends_and_no_guest_is_its_own() -> None:
    throughput = next(metric for metric in Iperf3.metrics if metric.name == "throughput")
    pairs = (("n1", "cn1", 1.0), ("n3", "cn1", 2.0), ("cn1", "n1", 4.0))
    samples = [Sample(throughput, value, {"from": a, "to": b, "streams": "1"}, 2) for a, b, value in pairs]
    found = list(of_hosts(Iperf3.adds_up, samples, HOSTS))
    assert {host: value for (_, host), value in told(found).items()} == {"kvm1": 1, "kvm2": 2, "cn1": 4, "all": 7}
    assert {sample.trial for sample in found} == {2}


class NoOptions(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Speeds(Workload[NoOptions]):
    """Each node says its figure, which is no number where the test wants a fault."""

    name = "speeds"
    summary = "for tests"
    metrics = (SPEED, OF_HOST)
    options = NoOptions
    adds_up = MappingProxyType({SPEED: PerHost(OF_HOST)})

    def __init__(self, *rounds: dict[str, str]) -> None:
        self.rounds = rounds

    @override
    def takes_part(self, options: NoOptions, nodes: Any) -> tuple[str, ...]:
        return tuple(node.name for node in nodes)

    @override
    def measurements(self, options: NoOptions, nodes: Any) -> tuple[tuple[Measurement, ...], ...]:
        return tuple(
            tuple(
                Measurement(
                    name=f"{number}-{node}",
                    labels={"round": str(number), "node": node},
                    tasks=(Task(name="say", node=node, argv=("echo", text), deadline_s=20),),
                )
                for node, text in of_round.items()
            )
            for number, of_round in enumerate(self.rounds)
        )

    @override
    def parse(self, options: NoOptions, measurement: Measurement, outputs: Any) -> tuple[Sample, ...]:
        try:
            return (Sample(SPEED, float(outputs["say"].stdout), measurement.labels),)
        except ValueError as error:
            raise WorkloadError("no figure") from error


def run(tmp_path: Path, workload: Speeds) -> RunRecord:
    known = nodes("n1", "n3")
    return run_workload(
        {name: LocalGuest(f"VMLAB_TEST_{tmp_path.name}") for name in known},
        {name: InGuest(node.metadata, host=HOSTS[name]) for name, node in known.items()},
        workload,
        [Point({}, NoOptions())],
        runs_dir=tmp_path,
        accel="tcg",
        bed="bed",
        deeds=None,
        progress=lambda _: None,
    )


def test_what_was_measured_at_once_is_in_the_record_by_host(tmp_path: Path) -> None:
    record = run(tmp_path, Speeds({"n1": "1", "n3": "2"}, {"n1": "4"}, {"n1": "8", "n3": "none"}))
    record = from_json(to_json(record))
    found = [(s.labels["round"], s.labels["host"], s.value) for s in record.samples if s.metric.name == "host_speed"]
    # Neither of one host alone, nor of a round that lacks a figure.
    assert found == [("0", "kvm1", 1.0), ("0", "kvm2", 2.0), ("0", "all", 3.0)]


def test_a_node_knows_its_host() -> None:
    assert InGuest(nodes("n1")["n1"].metadata, host="kvm1").node.host == "kvm1"
    assert Node("n1").host == ""


@pytest.mark.parametrize("workload", [Fio, Iperf3])
def test_figures_of_hosts_are_among_the_metrics(workload: type[Workload[Any]]) -> None:
    assert {per_host.metric for per_host in workload.adds_up.values()} <= set(workload.metrics)
