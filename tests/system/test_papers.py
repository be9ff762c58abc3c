"""A table of runs on beds of two shapes, killed in between, and a published set-up in small, with its report."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Vmlab, qemu_pids, remains

BED = "t-shapes"
TOPOLOGY = """
name: t-shapes
sweep: {bed: {nodes.n1.cpus: [1, 2], fabrics.eth.attach: [virtio, vf]}}
fabrics: {eth: {kind: ethernet, device: {address: "ffff:00:00.0"}}}
nodes: {n1: {role: client, memory: 512MiB, fabrics: [eth], pin: shared, numa: none}}
workloads:
  - command:
      run: cat input; nproc; echo size={size}
      files: {input: "mode {mode}\\n"}
      cases: runs.csv
      metrics: [{name: figure, pattern: 'size=([0-9]+)'}]
"""
SMALL = "kvm-rdma-small"
_SECOND_S = 240


@pytest.fixture
def topology(tmp_path: Path, vmlab: Vmlab) -> Iterator[Path]:
    (tmp_path / "bed.yaml").write_text(TOPOLOGY)
    (tmp_path / "runs.csv").write_text("size,mode\n64,fast\n128,slow\n")
    yield tmp_path / "bed.yaml"
    vmlab.run("down", BED, "--yes")


def runs(vmlab: Vmlab) -> list[dict[str, Any]]:
    """Those with figures, in their order."""
    found = [json.loads(path.read_text()) for path in sorted((vmlab.state / "runs").glob(f"*-{BED}-command*/run.json"))]
    return [run for run in found if run["measured"]]


def processors() -> list[str]:
    """How many virtual CPUs the bed's running nodes have, as their QEMUs were told."""
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0") for pid in qemu_pids(BED).values()]
    return [line[line.index("-smp") + 1].split(",")[0] for line in lines]


def test_a_table_on_beds_of_two_shapes_that_goes_on_after_a_kill(vmlab: Vmlab, topology: Path) -> None:
    """The second bed is there when vmlab is killed: it goes first, and then what is left is measured."""
    process = vmlab.start("run", str(topology))
    deadline = time.monotonic() + _SECOND_S
    while not runs(vmlab) or "2" not in processors():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the second bed has not begun"
        time.sleep(0.2)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    half = qemu_pids(BED)
    assert half
    vmlab.run("run", str(topology), status=9)
    assert "--resume" in vmlab.complaints
    assert qemu_pids(BED) == half
    told = json.loads(vmlab.run("run", str(topology), "--resume", "-o", "json"))
    assert remains(BED, vmlab) == []
    assert [run["shape"]["nodes.n1.cpus"] for run in told if run["samples"]] == ["2"]
    refused = [run for run in told if not run["samples"]]
    assert [run["shape"]["fabrics.eth.attach"] for run in refused] == ["vf", "vf"]
    assert all("does not fit" in run["skipped"][0] for run in refused)
    both = runs(vmlab)
    assert [run["shape"] for run in both] == [{"nodes.n1.cpus": n, "fabrics.eth.attach": "virtio"} for n in ("1", "2")]
    assert len({run["series"] for run in (*both, *refused)}) == 1
    for run in both:
        assert run["measured"] == ["row1.n1", "row2.n1"]
        figures = [(s["labels"]["mode"], s["value"]) for s in run["samples"] if s["metric"] == "figure"]
        assert figures == [("fast", 64), ("slow", 128)]
        for command, mode in zip(run["commands"], ("fast", "slow"), strict=True):
            printed = (vmlab.state / "runs" / run["id"] / command["stdout"]).read_text().split()
            assert printed[:3] == ["mode", mode, run["shape"]["nodes.n1.cpus"]]


@pytest.fixture
def small(vmlab: Vmlab) -> Iterator[Vmlab]:
    vmlab.run("up", f"{SMALL}.yaml")
    yield vmlab
    vmlab.run("down", SMALL, "--yes")
    assert remains(SMALL, vmlab) == []


def test_a_published_set_up_in_small_with_its_report(small: Vmlab, tmp_path: Path) -> None:
    """All that its file lists is measured, and a page tells of it."""
    [run] = json.loads(small.run("run", SMALL, "-o", "json"))
    assert (run["faults"], run["problems"], run["skipped"], run["soft"]) == ([], [], [], True)
    found = {(s["metric"], s["labels"]["from"], s["labels"]["verb"], s["labels"]["size"]) for s in run["samples"]}
    pairs = {
        (sender, verb, size) for sender in ("vm01", "vm02") for verb in ("write", "read") for size in ("8", "65536")
    }
    assert {key[1:] for key in found if key[0] == "bandwidth"} == pairs
    assert {key[1:] for key in found if key[0] == "latency"} == pairs
    small.run("results", "report", "--bed", SMALL, "-o", str(tmp_path / "report.html"))
    page = (tmp_path / "report.html").read_text()
    for said in ("rdma on kvm-rdma-small", "Figures: rdma", "bandwidth", "latency", "vm01", "soft-RoCE", "<svg"):
        assert said in page
