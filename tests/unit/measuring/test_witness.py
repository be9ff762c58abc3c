"""The hosts beside a run: this machine really looked at, libvirt's own counters as it tells them."""

import csv
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from local_guest import LocalGuest, nodes
from pydantic import BaseModel

from vmlab.inventory.running import Counters, HostLook, counters, grown, rates, read_look, remote_share
from vmlab.lab.ground.hosts import only
from vmlab.lab.measuring import witness as module
from vmlab.lab.measuring.witness import LOAD, Witness
from vmlab.lab.measuring.workload import run_workload
from vmlab.metrics import Metric, Sample
from vmlab.records.run import RunRecord
from vmlab.store.runs import read
from vmlab.virt.connection import Host, connected
from vmlab.virt.machine import Machine
from vmlab.virt.running import domain_stats, look_at
from vmlab.workloads import Measurement, Task, Workload
from vmlab.workloads._options import Point

# As libvirt 9 tells of a running domain with two interfaces and two disks, without what is not read.
STATS = {
    "cpu.time": 12_500_000_000,
    "cpu.user": 5_000_000_000,
    "net.count": 2,
    "net.0.name": "vnet0",
    "net.0.rx.bytes": 1 << 20,
    "net.0.tx.bytes": 2 << 20,
    "net.1.rx.bytes": 1 << 20,
    "net.1.tx.bytes": 0,
    "block.count": 2,
    "block.0.rd.bytes": 4096,
    "block.0.wr.bytes": 8192,
    "block.1.wr.bytes": 1,
}


def test_this_machine_tells_what_it_is_and_where_a_process_has_its_memory(tmp_path: Path) -> None:
    held = subprocess.Popen(["sleep", "60"])
    try:
        (tmp_path / "bed.n1.pid").write_text(str(held.pid))
        found = look_at(Machine(), ["bed.n1", "bed.gone"], str(tmp_path))
    finally:
        held.kill()
        held.wait()
    assert found.kernel == os.uname().release
    assert found.cpus == os.sysconf("SC_NPROCESSORS_ONLN")
    assert found.memory_kib > 100_000
    # A kernel without NUMA has none of the files; then nothing is told.
    cells = sorted(int(path.name[4:]) for path in Path("/sys/devices/system/node").glob("node[0-9]*"))
    assert sorted(found.cells) == sorted(found.numastat) == cells
    if Path("/proc/self/numa_maps").exists():
        assert list(found.domains) == ["bed.n1"]
        assert 100 < sum(found.domains["bed.n1"].values()) < 100_000
    again = look_at(Machine(), [])
    for cell, growth in grown(found, again).items():
        assert growth["numa_hit"] > 0, cell


def test_what_a_host_with_hcas_says() -> None:
    found = read_look(
        "cpu Intel(R) Xeon(R) CPU X5670  @ 2.93GHz\ncpus 24\nmemory 49448932\nkernel 6.1.0-18-amd64\n"
        "hca mlx5_0 MT_0000000012 firmware 16.35.2000, 100 Gb/sec (4X EDR)\nhca mlx4_0  firmware , \n"
        "cell 0 cpus 0-5,12-17\ncell 1 cpus 6-11,18-23\ncell 2 cpus \ncell 0 numa_miss 7\nsomething else\ncell x y z\n"
    )
    assert (found.cpu, found.cpus, found.memory_kib) == ("Intel(R) Xeon(R) CPU X5670  @ 2.93GHz", 24, 49448932)
    assert found.hcas["mlx5_0"] == "MT_0000000012 firmware 16.35.2000, 100 Gb/sec (4X EDR)"
    assert (len(found.cells[1]), found.cells[2], found.numastat) == (12, frozenset(), {0: {"numa_miss": 7}})
    assert read_look("") == HostLook()


@pytest.mark.parametrize(
    ("kib", "cpus", "share"),
    [
        ({0: 300, 1: 100}, {0, 1}, 0.25),
        ({0: 300, 1: 100}, {0, 4}, 0.0),  # it may run in both cells
        ({2: 50}, {0}, 1.0),  # memory alone, without CPUs
        ({}, {0}, None),
        ({0: 5}, set(), None),
    ],
)
def test_the_share_of_a_qemu_s_memory_that_is_remote(kib: dict[int, int], cpus: set[int], share: float | None) -> None:
    found = HostLook(cells={0: frozenset({0, 1}), 1: frozenset({4, 5}), 2: frozenset()}, domains={"d": kib})
    assert remote_share(found, "d", frozenset(cpus)) == share


def test_counters_of_all_interfaces_and_disks_become_rates() -> None:
    first = counters(STATS)
    assert first == Counters(12.5, 2 << 20, 2 << 20, 4096, 8193)
    assert counters({}) is None  # as libvirt's test driver tells
    later = Counters(14.5, 6 << 20, 2 << 20, 4096 + (1 << 20), 0)
    assert rates(first, later, 2.0) == (1.0, 2.0, 0.0, 0.5, 0.0)


@pytest.fixture
def host() -> Iterator[Host]:
    with connected("test:///default") as found:
        yield found


def test_one_call_asks_for_all_domains(host: Host) -> None:
    assert domain_stats(host, ["test", "other"]) == {"test": {}}
    assert domain_stats(host, ["other"]) == {}


NODES: Any = {"n1": SimpleNamespace(host="local", facts=SimpleNamespace(name="test"))}


class Options(BaseModel):
    pass


class Waits(Workload[Options]):
    name = "waits"
    summary = "for tests"
    metrics = (Metric("n", "n", "higher", "n"),)
    options = Options
    versions = {"shell": ("sh", "-c", "echo; echo 'shell 1.2'"), "none": ("no-such-program", "--version")}  # noqa: RUF012

    def takes_part(self, *_: Any) -> tuple[str, ...]:
        return ("n1",)

    def measurements(self, *_: Any) -> Any:
        task = Task(name="t", node="n1", argv=("sleep", "2.4"), deadline_s=20)
        return ((Measurement(name="m", labels={}, tasks=(task,)),),)

    def parse(self, *_: Any) -> tuple[Sample, ...]:
        return (Sample(self.metrics[0], 1.0),)


def run(tmp_path: Path, host: Host) -> RunRecord:
    return run_workload(
        {"n1": LocalGuest(f"VMLAB_TEST_{os.getpid()}")},
        nodes("n1"),
        Waits(),
        [Point({}, Options())],
        runs_dir=tmp_path,
        accel="kvm",
        bed="bed",
        deeds=None,
        progress=lambda _: None,
        witness=Witness(only(host), NODES),
        topology={"name": "bed"},
    )


def test_a_record_has_the_hosts_versions_and_what_nodes_did_each_second(
    tmp_path: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libvirt's test driver counts nothing: what it would count is put in its place."""
    asked = []

    def counted(_: Host, domains: Mapping[str, str]) -> dict[str, Any]:
        asked.append(sorted(domains))
        return {"test": STATS | {"cpu.time": len(asked) * 500_000_000}}

    monkeypatch.setattr(module, "domain_stats", counted)
    monkeypatch.setattr(module, "look", lambda _, domains: look_at(Machine(), domains, "/nowhere"))
    record = run(tmp_path, host)
    assert read(tmp_path, record.id) == record
    with (tmp_path / record.id / record.load).open() as file:
        rows = list(csv.DictReader(file))
    assert 2 <= len(rows) <= 4
    assert {row["node"] for row in rows} == {"n1"}
    assert all(0.2 < float(row["cpus"]) <= 0.5 for row in rows)
    assert asked[0] == ["test"]
    [found] = record.hosts
    assert (found.name, found.nodes, found.kernel) == ("local", ("n1",), os.uname().release)
    assert (found.libvirt.count("."), found.hypervisor) == (2, "0.0.2")
    assert all(found.numastat[cell]["numa_hit"] > 0 for cell in found.numastat)
    assert (record.topology, record.nodes[0].tools, record.nodes[0].lustre) == (
        {"name": "bed"},
        {"shell": "shell 1.2"},
        "",
    )


def test_where_nobody_tells_the_figures_are_kept_all_the_same(tmp_path: Path, host: Host) -> None:
    record = run(tmp_path, host)
    assert (len(record.samples), record.hosts[0].cpu, record.hosts[0].remote_memory) == (1, "", {})
    assert (tmp_path / record.id / LOAD).read_text().startswith("time,node,cpus,")
