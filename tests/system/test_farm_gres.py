"""Functions of hosts as GRES of a real Slurm: jobs queue for them, and `attach: auto` is what a job was given.

No guest starts: this machine has no functions to pass, and no image of that name.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.slurm import Slurm, free_port

from vmlab.runtime.wait import Deadline, until

from .conftest import MINUTES, Vmlab

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a Slurm of one's own takes root")

VFS = """
name: t-vfs
image: none-such
fabrics: {ib0: {kind: infiniband, lnet: o2ib, attach: ATTACH}}
nodes: {"n[1-3]": {role: client, cpus: 1, memory: 256MiB, fabrics: [ib0]}}
"""
OVER = ("COMPLETED", "FAILED", "CANCELLED")


class Jobs:
    """Those of this test, on one host with four VFs."""

    def __init__(self, slurm: Slurm, vmlab: Vmlab, work: Path) -> None:
        self.slurm = slurm
        self.vmlab = vmlab
        self.work = work

    def submit(self, attach: str, *options: str) -> str:
        file = self.work / "bed.yaml"
        file.write_text(VFS.replace("ATTACH", attach))
        words = (f"--output={self.work}/%j.out", *options)
        (job,) = json.loads(self.vmlab.run("submit", str(file), "--accel", "tcg", "-o", "json", "--", *words))
        return str(job["job"])

    def said(self, job: str) -> str:
        until(lambda: self.slurm.state(job) in OVER, Deadline.after(2 * MINUTES), every_s=0.2)
        return (self.work / f"{job}.out").read_text()


@pytest.fixture(scope="module")
def jobs(vmlab: Vmlab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    work = tmp_path_factory.mktemp("gres")
    node = f"NodeName=host1 NodeHostname={os.uname().nodename} NodeAddr=127.0.0.1 Port={free_port()} CPUs=8"
    slurm = Slurm(work / "slurm", [f"{node} RealMemory=4000 Gres=hca_vf:4"], more="GresTypes=hca,hca_vf")
    (work / "slurm/gres.conf").write_text("Name=hca_vf Count=4\n")
    command = Vmlab(vmlab.state)
    command.environment["SLURM_CONF"] = str(slurm.conf)
    try:
        slurm.start()
        slurm.join("host1")
        yield Jobs(slurm, command, work)
        slurm.call("scancel", "--user=root")
    finally:
        slurm.stop()


def test_a_bed_waits_for_as_many_functions_as_it_needs(jobs: Jobs) -> None:
    slurm = jobs.slurm
    held = slurm.told("sbatch", "--parsable", "--gres=hca_vf:2", f"--output={jobs.work}/held.out", "--wrap=sleep 600")
    assert until(lambda: slurm.state(held) == "RUNNING", Deadline.after(MINUTES), every_s=0.2)
    waiting = jobs.submit("vf")
    try:
        why = lambda: slurm.told("squeue", "-h", "-j", waiting, "-o", "%b %r")  # noqa: E731
        assert until(lambda: why().endswith("hca_vf:3 Resources"), Deadline.after(MINUTES), every_s=0.2), why()
    finally:
        slurm.call("scancel", held)
    assert "$ vmlab up " in jobs.said(waiting)


@pytest.mark.parametrize(
    ("options", "found"),
    [((), "virtio"), (("--gres=hca_vf:3",), "vf"), (("--exclusive",), "auto")],
    ids=["nothing", "vfs", "all"],
)
def test_auto_takes_what_the_job_was_given(jobs: Jobs, options: tuple[str, ...], found: str) -> None:
    said = jobs.said(jobs.submit("auto", *options))
    assert f"attach: auto is {found} in this job" in said
    assert "none-such" in said  # the topology is one, and has got as far as its image
