"""Workloads between real guests: what tools print there is read, and a job begins and ends on all nodes at once."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from .beside import with_machine
from .conftest import Vmlab, remains

__all__ = ["with_machine"]

BED = "t-load"
TOPOLOGY = """
name: t-load
fabrics: {eth: {kind: ethernet}}
nodes: {"n[1-3]": {role: client, memory: 512MiB, fabrics: [eth]}}
"""
FAILS_ON_N2 = "if test $(uname -n) = n2; then echo no such luck >&2; exit 3; fi; sleep 300"


@pytest.fixture(scope="module")
def topology(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("bed") / "bed.yaml"
    file.write_text(TOPOLOGY)
    return file


@pytest.fixture(scope="module")
def bed(vmlab: Vmlab, topology: Path) -> Iterator[Vmlab]:
    vmlab.run("up", str(topology))
    yield vmlab
    vmlab.run("down", BED, "--yes")
    assert remains(BED, vmlab) == []


def measured(bed: Vmlab, workload: str, *settings: str, more: tuple[str, ...] = (), status: int = 0) -> Any:
    chosen = [word for setting in settings for word in ("--set", setting)]
    told = json.loads(bed.run("run", BED, workload, *chosen, *more, "-o", "json", status=status))
    return told[0] if isinstance(told, list) else told


def figures(run: Any, metric: str, *labels: str) -> dict[tuple[str, ...], float]:
    """The values of a metric by these labels, of which none may be there twice."""
    samples = [sample for sample in run["samples"] if sample["metric"] == metric]
    found = [(tuple(s["labels"].get(name, "") for name in labels), s["value"]) for s in samples]
    assert len(dict(found)) == len(found)
    return dict(found)


def test_iperf3_both_ways_with_one_stream_and_with_many(bed: Vmlab) -> None:
    run = measured(bed, "iperf3", "from=n1", "to=n2", "duration_s=2", "streams=1,4", "ways=out,back,both")
    arrived = figures(run, "throughput", "from", "to", "streams", "ways")
    ways = {("n1", "n2"), ("n2", "n1")}
    assert {key[:2] for key in arrived} == ways
    assert {key[2:] for key in arrived} == {(streams, how) for streams in "14" for how in ("one", "both at once")}
    assert all(value > 0 for value in arrived.values())
    assert {sample["labels"]["fabric"] for sample in run["samples"]} == {"eth"}


def test_fio_on_three_nodes_at_once(bed: Vmlab) -> None:
    bed.run("exec", BED, "--", "mkdir", "-p", "/var/tmp/fio")
    run = measured(bed, "fio", "directory=/var/tmp/fio", "rw=randrw", "size=8MiB", "runtime_s=4", "depth=4")
    iops = figures(run, "node_iops", "rw", "node", "direction")
    assert {key[1:] for key in iops} == set(product(("n1", "n2", "n3"), ("read", "write")))
    assert all(value > 0 for value in iops.values())
    begun = [command for command in run["commands"] if command["task"].startswith("fio.")]
    assert {command["node"] for command in begun} == {"n1", "n2", "n3"}
    bed.run("exec", BED, "--", "sh", "-c", "! pgrep -x fio")
    # What libvirt counted meanwhile, second by second: time, node, CPUs, and MiB/s of networks and disks.
    load = [line.split(",") for line in (bed.state / "runs" / run["id"] / "load.csv").read_text().splitlines()[1:]]
    assert {line[1] for line in load} == {"n1", "n2", "n3"}
    assert max(float(line[2]) for line in load) > 0.1


def test_fio_whose_file_system_is_too_small_is_the_labs_fault(bed: Vmlab) -> None:
    bed.run("exec", BED, "--", "sh", "-c", "mkdir -p /mnt/small && mount -t tmpfs -o size=4m none /mnt/small")
    run = measured(bed, "fio", "directory=/mnt/small", "rw=write", "size=8MiB", "runtime_s=2", "direct=false", status=7)
    assert run["samples"] == []
    assert "No space left on device" in " ".join(run["faults"])


def test_a_command_with_figures_and_files(bed: Vmlab) -> None:
    metrics = "[{name: lines, unit: lines, pattern: '^([0-9]+) lines'}]"
    told = 'run=cat given; echo "$(wc -l < given) lines" | tee told'
    run = measured(bed, "command", told, 'files={given: "a\\nb\\n"}', "bring=told", f"metrics={metrics}")
    assert figures(run, "lines", "node") == {("n1",): 2, ("n2",): 2, ("n3",): 2}
    kept = [path.read_text() for path in (bed.state / "runs" / run["id"]).rglob("*told*")]
    assert kept == ["2 lines\n"] * 3


def test_the_first_failure_ends_a_job_on_all_nodes(bed: Vmlab) -> None:
    begin = time.monotonic()
    run = measured(
        bed, "command", "run=[ $(uname -n) != n2 ] || { echo no such luck >&2; exit 3; }; sleep 300", status=7
    )
    assert time.monotonic() - begin < 120
    assert "n2" in " ".join(run["faults"])
    assert "no such luck" in " ".join(run["faults"])
    bed.run("exec", BED, "--", "sh", "-c", "! pgrep -fx 'sleep 300'")


def test_hpcc_between_two_nodes(bed: Vmlab) -> None:
    run = measured(bed, "hpcc", "nodes=n[1-2]", "order=128")
    assert figures(run, "latency_pingpong")[()] > 0
    assert figures(run, "bandwidth_ring_random")[()] > 0
    assert run["problems"] == []


def test_a_sweep_of_four_points_in_two_trials(bed: Vmlab) -> None:
    swept = ("block=[4k, 64k]", "rw=[randread, randwrite]")
    given = ("directory=/var/tmp/fio", "size=8MiB", "runtime_s=2", "nodes=n[1-2]")
    run = measured(bed, "fio", *given, *swept, more=("--trials", "2"))
    iops = [sample for sample in run["samples"] if sample["metric"] == "iops"]
    found = sorted((s["labels"]["block"], s["labels"]["rw"], s["trial"]) for s in iops)
    assert found == sorted(product(("4096", "65536"), ("randread", "randwrite"), (1, 2)))
    summed = [one for one in run["summaries"] if one["metric"] == "iops"]
    assert len(summed) == 4
    assert all(one["minimum"] <= one["median"] <= one["maximum"] for one in summed)


def test_the_host_is_measured_beside_its_guests_on_as_many_cpus(bed: Vmlab) -> None:
    metrics = "[{name: cpus, unit: CPUs, pattern: '^([0-9]+)$'}]"
    run = measured(bed, "command", "run=nproc", f"metrics={metrics}", "native=true")
    assert figures(run, "cpus", "node", "on") == {(f"n{n}", on): 1 for n in (1, 2, 3) for on in ("vm", "host")}
    assert [(one["vm"], one["host"], one["percent"]) for one in run["beside_host"] if one["metric"] == "cpus"] == (
        [(1, 1, 100)] * 3
    )
    there = [node for node in run["nodes"] if node["where"] == "host"]
    assert {node["kernel"] for node in there} == {os.uname().release}
    assert len({node["vcpus"]["0"][0] for node in there}) == min(3, os.cpu_count() or 1)


def test_a_machine_beside_the_guests_takes_part(bed: Vmlab, with_machine: str, tmp_path: Path) -> None:
    answers = json.loads(bed.run("exec", with_machine, "-n", "@client", "-o", "json", "--", "cat", "/proc/uptime"))
    assert {answer["node"]: answer["status"] for answer in answers} == dict.fromkeys(("n1", "n2", "n3", "cn1"), 0)
    told = {node["name"]: node["state"] for node in bed.json("status", with_machine, "--no-guests")}
    assert told == {**dict.fromkeys(("n1", "n2", "n3"), "running"), "cn1": "external"}
    bed.run("plan", with_machine, "--detailed-exitcode")
    bed.run("power", "off", with_machine, "cn1", status=2)
    (tmp_path / "one").write_text("from here")
    there, guest = f"cn1:{tmp_path}/two", "n2:/root/three"
    for source, destination in (("one", there), (there, guest), (guest, "four")):
        # The topology of a bed that is only named is looked for where one is.
        subprocess.run(bed.argv("cp", source, destination), cwd=tmp_path, env=bed.environment, check=True)
    assert (tmp_path / "four").read_text() == "from here"
    run = json.loads(bed.run("run", with_machine, "command", "--set", "run=uname -r", "-o", "json"))
    assert figures(run, "seconds", "node", "on").keys() == {*((f"n{n}", "vm") for n in (1, 2, 3)), ("cn1", "bare")}
    (machine,) = [node for node in run["nodes"] if node["where"] == "bare"]
    assert (machine["name"], machine["kernel"]) == ("cn1", os.uname().release)
    assert list(machine["addresses"]) == ["eth"]


def test_a_run_that_ctrl_c_cut_off_goes_on(bed: Vmlab) -> None:
    swept = ("--set", "run=sleep 5", "--set", "nodes=1..3")
    first = bed.start("run", BED, "command", *swept)
    assert first.stderr is not None
    next(line for line in first.stderr if "2/3" in line)
    first.send_signal(signal.SIGINT)
    _, told = first.communicate(timeout=120)
    assert first.returncode == 130, told
    bed.run("exec", BED, "--", "sh", "-c", "! pgrep -fx 'sleep 5'")
    cut = json.loads(bed.run("results", "list", "-o", "json"))[-1]
    run = measured(bed, "command", "run=sleep 5", "nodes=1..3", more=("--resume",))
    assert (run["id"], run["incomplete"]) == (cut["id"], "")
    took = [sample for sample in run["samples"] if sample["metric"] == "seconds"]
    assert sorted(sample["labels"]["nodes"] for sample in took) == ["1", "2", "2", "3", "3", "3"]
    bed.run("run", BED, "command", *swept, "--resume", status=2)


def test_trials_on_nodes_that_are_made_anew(bed: Vmlab, topology: Path) -> None:
    """Its last test: a file that the first trial leaves is not there in the second."""
    once = "test ! -e /root/was-here && touch /root/was-here"
    words = ("--set", f"run={once}", "--set", "nodes=n[1-2]", "--trials", "2", "--fresh", "-o", "json")
    run = json.loads(bed.run("run", str(topology), "command", *words))
    assert (run["faults"], run["problems"]) == ([], [])
    assert {sample["trial"] for sample in run["samples"]} == {1, 2}
    roots = {(root["trial"], root["node"]): (root["inode"], root["made"]) for root in run["roots"]}
    assert set(roots) == set(product((1, 2), ("n1", "n2", "n3")))
    for node in ("n1", "n2", "n3"):
        (first, made), (second, made_again) = roots[1, node], roots[2, node]
        assert first != second or made < made_again
        assert made < made_again
