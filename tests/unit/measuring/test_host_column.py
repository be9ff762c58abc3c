"""The host itself in the place of nodes: on which CPUs, on which addresses, and how the figures stand beside."""

import io
import os
import subprocess
import time
from collections.abc import Sequence
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

import pytest
from local_guest import LocalGuest, nodes
from pydantic import BaseModel
from rich.console import Console
from typing_extensions import override

from vmlab.domainxml.metadata import Address, NodeMetadata
from vmlab.errors import WorkloadError
from vmlab.fabrics.addresses import ADDRESSES, OwnAddress, read_addresses
from vmlab.lab.measuring.native import OnHost, StandIn, confined, own_place
from vmlab.lab.measuring.turns import Often
from vmlab.lab.measuring.workload import run_workload
from vmlab.metrics import Metric, Sample
from vmlab.records.run import RunRecord, from_json, to_json
from vmlab.report.run import run_table
from vmlab.topology.sweep import native_mount
from vmlab.workloads import Measurement, Native, Node, Outputs, Task, Workload
from vmlab.workloads._options import points

CPUS = sorted(os.sched_getaffinity(0))
CPUS_USED = Metric("cpus", "CPUs", "higher", "cpus")


class Options(BaseModel):
    directory: str = ""


class Counts(Workload[Options]):
    """How many CPUs its task may use; on the host, in the directory that is named."""

    name = "counts"
    summary = "for tests"
    metrics = (CPUS_USED,)
    options = Options

    def __init__(self) -> None:
        self.lines: list[str] = []

    @override
    def takes_part(self, options: Options, nodes: Sequence[Node]) -> tuple[str, ...]:
        return tuple(node.name for node in nodes)

    @override
    def measurements(self, options: Options, nodes: Sequence[Node]) -> tuple[tuple[Measurement, ...], ...]:
        return tuple((_one(node.name, options.directory),) for node in nodes)

    @override
    def on_host(self, options: Options, native: Native) -> Options:
        if native.mount == "/nowhere":
            raise WorkloadError("counts knows no /nowhere")
        return Options(directory=native.mount)

    @override
    def parse(self, options: Options, measurement: Measurement, outputs: Outputs) -> tuple[Sample, ...]:
        number, where, *_ = outputs["t"].stdout.split()
        self.lines.append(where)
        return (Sample(CPUS_USED, float(number), measurement.labels),)


def _one(node: str, directory: str) -> Measurement:
    script = f"nproc; echo '{directory or 'guest'}'; touch left; ls"
    task = Task(name="t", node=node, argv=("sh", "-c", script), deadline_s=20, brings=("left",))
    return Measurement(name=node, labels={"node": node}, tasks=(task,))


def measured(
    tmp_path: Path, workload: Counts, settings: dict[str, Any], *, cpus: tuple[int, ...], trials: int = 1
) -> RunRecord:
    guest = LocalGuest(f"VMLAB_TEST_{time.monotonic_ns()}")
    of_bed = nodes("n1", "n2")
    there = {name: (StandIn(node.metadata, cpus, {}), OnHost(cpus)) for name, node in of_bed.items()}
    return run_workload(
        dict.fromkeys(of_bed, guest),
        of_bed,
        workload,
        points(workload, settings),
        bed="bed",
        runs_dir=tmp_path,
        accel="kvm",
        deeds=None,
        progress=lambda _: None,
        often=Often(trials),
        stand_ins=there,
    )


def shown(record: RunRecord) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(run_table(record))
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_the_same_is_measured_on_the_host_on_as_many_cpus_and_stands_beside(tmp_path: Path) -> None:
    workload = Counts()
    record = measured(tmp_path, workload, {"native": {"mount": "/scratch"}}, cpus=(CPUS[0],))
    assert record.faults == ()
    assert workload.lines == ["guest", "guest", "/scratch", "/scratch"]
    assert [(s.labels["node"], s.labels["on"], s.value) for s in record.samples] == [
        *(("n1", "vm", len(CPUS)), ("n2", "vm", len(CPUS))),
        *(("n1", "host", 1), ("n2", "host", 1)),
    ]
    assert [(n.name, n.where, n.vcpus) for n in record.nodes[2:]] == [
        ("n1", "host", {"0": (CPUS[0],)}),
        ("n2", "host", {"0": (CPUS[0],)}),
    ]
    assert record.options["native"] == {"mount": "/scratch"}
    assert "all nodes are one machine" in record.notes[-1]
    both = to_json(record)["beside_host"]
    assert [(one["labels"], one["vm"], one["host"], one["percent"], one["differs"]) for one in both] == [
        ({"node": name}, len(CPUS), 1, 100 * len(CPUS), None) for name in ("n1", "n2")
    ]
    assert from_json(to_json(record)).samples[2].labels["on"] == "host"
    rows = [line.split() for line in shown(record).splitlines() if line.startswith("n1")]
    assert [row[1:] for row in rows] == [
        ["vm", str(len(CPUS))],
        ["host", "1"],
        ["vm", ":", "host", f"{100 * len(CPUS)}", "%"],
    ]


def test_nodes_that_share_the_host_have_folders_of_their_own_there(tmp_path: Path) -> None:
    record = measured(tmp_path, Counts(), {"native": True}, cpus=(CPUS[0],))
    folders = [command.measurement for command in record.commands if command.files]
    assert folders == ["n1", "n2", "host.n1", "host.n2"]
    assert not Path(f"/var/tmp/VMLAB_RUN/{record.id}").exists()  # the guests' mark is the test's own, the host's is not


def test_of_several_trials_a_difference_is_told_as_one_or_not(tmp_path: Path) -> None:
    text = shown(measured(tmp_path, Counts(), {"native": True}, cpus=(CPUS[0],), trials=2))
    assert f"{100 * len(CPUS)} % of the host" in text
    text = shown(measured(tmp_path, Counts(), {"native": True}, cpus=tuple(CPUS), trials=2))
    assert "no difference to the host" in text


def test_what_cannot_run_there_says_why_and_the_guests_are_measured(tmp_path: Path) -> None:
    record = measured(tmp_path, Counts(), {"native": {"mount": "/nowhere"}}, cpus=(CPUS[0],))
    assert record.skipped == ("on the host: counts knows no /nowhere",)
    assert [s.labels["on"] for s in record.samples] == ["vm", "vm"]


@pytest.mark.parametrize("value", [1, "yes", {"mount": "scratch"}, {"mount": "/a", "more": 1}, []])
def test_native_is_true_or_a_mount(value: Any) -> None:
    with pytest.raises(ValueError, match="native is neither true nor false"):
        native_mount({"native": value})


# CPUs ----------------------------------------------------------------------------------------------------------------


def test_a_stand_in_has_the_cpus_that_its_node_is_pinned_to() -> None:
    assert confined({"a": {0: (4,), 1: (6,)}, "b": {0: (5,)}}) == {"a": (4, 6), "b": (5,)}


def test_floating_nodes_get_as_many_cpus_each_and_others_than_their_fellows() -> None:
    anywhere = tuple(range(4))
    assert confined({"a": {0: anywhere, 1: anywhere}, "b": {0: anywhere}}) == {"a": (0, 1), "b": (2,)}
    assert confined({"a": {0: (0,)}, "b": {0: (0, 1)}}) == {"a": (0,), "b": (1,)}


def test_a_command_on_the_host_is_killed_at_its_deadline_and_tells_signals_as_a_guest_does() -> None:
    door = OnHost((CPUS[0],))
    begin = time.monotonic()
    assert door.run(("sleep", "60"), deadline_s=1.0).timed_out
    assert time.monotonic() - begin < 20
    assert door.run(("sh", "-c", "kill -TERM $$"), deadline_s=20).status == 143


# Addresses -----------------------------------------------------------------------------------------------------------


def place(netdev: str, text: str) -> OwnAddress:
    return OwnAddress(netdev, IPv4Interface(text))


def test_the_physical_function_s_address_goes_before_one_in_the_network() -> None:
    guest = Address("ib0", "infiniband", "vf", "ib0", "52:54:00:00:00:01", IPv4Interface("10.1.0.5/24"))
    own = (place("virbr1", "10.1.0.1/24"), place("ibs1", "10.9.0.1/16"))
    assert own_place(guest, own, ("ibs1",)) == own[1]
    assert own_place(guest, own, ()) == own[0]
    assert own_place(guest, own[1:], ()) is None


def test_addresses_are_read_as_iproute2_prints_them() -> None:
    said = subprocess.run(ADDRESSES, check=True, capture_output=True, text=True).stdout
    assert place("lo", "127.0.0.1/8") in read_addresses(said)
    assert read_addresses(said[:-20]) == ()
    assert read_addresses('[{"ifname": "a", "addr_info": [{"local": "x"}, 3]}, 4]') == ()


def test_a_stand_in_is_on_the_fabrics_whose_network_the_host_has_an_address_in() -> None:
    addresses = (
        Address("mgmt", "management", "virtio", "mgmt", "52:54:00:00:00:01", IPv4Interface("127.0.0.9/8")),
        Address("ib0", "infiniband", "virtio", "ib0", "52:54:00:00:00:02", IPv4Interface("198.19.255.9/24")),
    )
    one = StandIn(NodeMetadata("bed", "n1", ("oss",), "demo", "root", "", addresses), (CPUS[0],), {})
    asked = one.ask(OnHost((CPUS[0],)), Counts())
    assert [(e.fabric, str(e.ip), e.netdev, e.device) for e in asked.node.endpoints] == [
        ("mgmt", "127.0.0.1", "lo", "")
    ]
