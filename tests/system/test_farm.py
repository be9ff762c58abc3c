"""Beds as jobs of a real Slurm of two hosts: this machine, and a second complete one. They share one farm.

What each change waits for is short: submitted, queued, run, cancelled. The rest is by hand: -m nightly.
"""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from benchmarks.slurm import Slurm, free_port

from vmlab.runtime.wait import Deadline, until

from .conftest import MINUTES, ROOT, Vmlab, remains
from .second_host import FIRST, SECOND, SecondHost, inside, second_host

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes namespaces")

HELD = "name: t-held\nimage: demo\nnodes: {c1: {role: client, cpus: 1, memory: 512MiB}}\n"
RUN = HELD.replace("t-held", "t-run") + "workloads: [{command: {run: 'uname -n; sleep SECONDS'}}]\n"
TWO = """
name: t-two
image: demo
hosts:
  far: {{uri: "qemu+ssh://root@anywhere:{port}/system", address: 192.0.2.2}}
  near: {{address: 192.0.2.1}}
fabrics: {{net: {{kind: ethernet, lnet: tcp, attach: virtio}}}}
nodes:
  n1: {{role: client, cpus: 1, memory: 512MiB, fabrics: [net], host: near}}
  n2: {{role: client, cpus: 1, memory: 512MiB, fabrics: [net], host: far}}
workloads: [{{command: {{run: "ping -c 1 -W 5 n1 && ping -c 1 -W 5 n2"}}}}]
"""
NIGHT = """
name: t-night
entries:
  - {topology: one.yaml, name: a, steps: [{command: {run: "true"}, name: good}]}
  - {topology: one.yaml, name: b, steps: [{command: {run: "exit 3"}, name: bad}]}
"""
SLOW_S = 10 * MINUTES


@dataclass
class Farm:
    """`host1` is this machine, with room for one bed at a time; `host2` the second host."""

    slurm: Slurm
    vmlab: Vmlab
    second: SecondHost
    work: Path

    def submit(self, text: str, *options: str) -> str:
        """A job's id; where it may be is said: images are on the first host."""
        file = self.work / "bed.yaml"
        file.write_text(text)
        (job,) = self._told(str(file), *options)
        return job

    def night(self, file: Path) -> list[str]:
        return self._told(str(file))

    def _told(self, *options: str) -> list[str]:
        words = list(options)
        place = words.index("--") if "--" in words else len(words)
        more = words[place + 1 :]
        if not any(word.startswith("--nodelist") for word in more):
            more.append("--nodelist=host1")
        out = f"--output={self.work}/%j.out"
        told = self.vmlab.run("submit", *words[:place], "--accel", "tcg", "-o", "json", "--", out, *more)
        return [job["job"] for job in json.loads(told)]

    def said(self, job: str) -> str:
        file = self.work / f"{job}.out"
        return file.read_text() if file.exists() else ""

    def awaits(self, job: str, *states: str) -> None:
        """Until a job is in one of the states."""
        until(lambda: self.slurm.state(job) in states, Deadline.after(SLOW_S), every_s=0.5)
        assert self.slurm.state(job) in states, f"{self.slurm.told('scontrol', 'show', 'job', job)}\n{self.said(job)}"

    def awaits_word(self, job: str, word: str) -> None:
        """Until a job has said it."""
        until(lambda: word in self.said(job), Deadline.after(SLOW_S), every_s=0.2)
        assert word in self.said(job), f"{self.slurm.told('scontrol', 'show', 'job', job)}\n{self.said(job)}"

    def runs(self, job: str) -> list[dict[str, Any]]:
        """What the store has of a job's bed."""
        found = sorted(self.vmlab.state.glob(f"runs/*-j{job}-*/run.json"))
        return [json.loads(path.read_text()) for path in found]

    def left(self, job: str, bed: str) -> list[str]:
        """Whatever is left of a job on both hosts and in the store."""
        name = f"j{job}-{bed}"
        folder = self.vmlab.state / "farm" / job
        return remains(name, self.vmlab) + self.second.remains(name) + [str(folder)] * folder.exists()


@pytest.fixture(scope="module")
def farm(vmlab: Vmlab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    work = tmp_path_factory.mktemp("farm")
    epilog = work / "epilog"
    epilog.write_text(f'#!/bin/sh\nVMLAB="{work}/vmlab" exec bash {ROOT}/docs/examples/slurm-epilog.sh\n')
    program = work / "vmlab"
    program.write_text(f'#!/bin/sh\ncd {ROOT} && exec {vmlab.argv()[0]} -m vmlab "$@"\n')
    for file in (epilog, program):
        file.chmod(0o755)
    with second_host(work / "second") as second:
        nodes = [
            f"NodeName={node} NodeHostname={host} NodeAddr={address} Port={free_port()} CPUs=4 RealMemory=600"
            for node, host, address in (("host1", os.uname().nodename, FIRST), ("host2", "second", SECOND))
        ]
        more = f"KillWait=120\nEpilog={epilog}\nPrologEpilogTimeout=300"
        slurm = Slurm(work / "slurm", nodes, address=FIRST, more=more)
        with (second.path / "config").open("a") as config:
            config.write(f"Host host2\n  HostName {SECOND}\n")
        try:
            slurm.start()
            slurm.join("host1")
            slurm.join("host2", *inside(second.holder))
            command = Vmlab(vmlab.state)
            command.environment |= {
                "SLURM_CONF": str(slurm.conf),
                "PATH": f"{second.path}:{command.environment['PATH']}",
            }
            yield Farm(slurm, command, second, work)
            for job in slurm.told("squeue", "-h", "-o", "%A").split():
                slurm.call("scancel", job)
            until(lambda: not slurm.told("squeue", "-h"), Deadline.after(SLOW_S), every_s=0.5)
        finally:
            slurm.stop()


def test_two_beds_queue_where_one_fits(farm: Farm) -> None:
    held = farm.submit(HELD)
    waiting = farm.submit(RUN.replace("SECONDS", "0"), "--time", "30")
    farm.awaits_word(held, "the bed is up, until the job ends")
    assert [farm.slurm.state(job) for job in (held, waiting)] == ["RUNNING", "PENDING"]
    assert farm.slurm.told("squeue", "-h", "-j", waiting, "-o", "%r %l") == "Resources 30:00"
    status = farm.vmlab.environment | {"VMLAB_STATE_DIR": str(farm.vmlab.state / "farm" / held)}
    seen = subprocess.run(
        farm.vmlab.argv("status", f"j{held}-t-held", "-o", "json"),
        env=status, cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert [node["stage"] for node in json.loads(seen.stdout)] == ["ready"]

    farm.slurm.call("scancel", held)
    farm.awaits(held, "CANCELLED")
    assert farm.left(held, "t-held") == []
    assert f"j{held}-t-held: gone" in farm.said(held)

    farm.awaits(waiting, "COMPLETED")
    (run,) = farm.runs(waiting)
    assert (run["workload"], run["incomplete"]) == ("command", "")
    assert farm.left(waiting, "t-run") == []
    listed = json.loads(farm.vmlab.run("results", "list", "-o", "json"))
    assert f"j{waiting}-t-run" in {line["bed"] for line in listed}


@pytest.mark.nightly
def test_a_requeue_takes_the_bed_down_and_begins_anew(farm: Farm) -> None:
    job = farm.submit(RUN.replace("SECONDS", "20"))
    farm.awaits_word(job, "$ vmlab run ")
    farm.slurm.call("scontrol", "requeue", job)
    farm.awaits(job, "PENDING")
    assert remains(f"j{job}-t-run", farm.vmlab) == []
    farm.slurm.call("scontrol", "update", f"JobId={job}", "StartTime=now")
    farm.awaits(job, "COMPLETED")
    assert len(farm.runs(job)) >= 1
    assert farm.runs(job)[-1]["incomplete"] == ""
    assert farm.left(job, "t-run") == []


@pytest.mark.nightly
def test_before_its_time_is_over_a_job_takes_its_bed_down(farm: Farm) -> None:
    job = farm.submit(RUN.replace("SECONDS", "600"), "--time", "2", "--", "--signal=B:USR1@60")
    farm.awaits_word(job, "the time limit is near: the bed is taken down")
    farm.awaits(job, "FAILED", "TIMEOUT")
    assert f"j{job}-t-run: gone" in farm.said(job)
    assert farm.left(job, "t-run") == []


@pytest.mark.nightly
def test_what_a_killed_job_leaves_goes_with_its_epilog_and_its_results_come_with_the_next(farm: Farm) -> None:
    done = "workloads: [{command: {run: 'true'}}, {command: {run: 'sleep 600'}}]\n"
    job = farm.submit(HELD.replace("t-held", "t-killed") + done)
    measured = farm.vmlab.state / "farm" / job / "runs"
    until(lambda: any(measured.glob("*-command/run.json")), Deadline.after(SLOW_S), every_s=0.5)
    kill(job, farm)
    farm.awaits(job, "CANCELLED", "FAILED")
    until(lambda: not remains_on_host(job, farm), Deadline.after(SLOW_S), every_s=0.5)
    assert remains_on_host(job, farm) == []
    assert "gone" not in farm.said(job)
    assert farm.runs(job) == []
    # It is over, and the next job of its owner brings what it had measured into the store.
    next_one = farm.submit(RUN.replace("SECONDS", "0"))
    farm.awaits(next_one, "COMPLETED")
    assert [run["incomplete"] for run in farm.runs(job)][:1] == [""]
    assert farm.left(job, "t-killed") == []


def kill(job: str, farm: Farm) -> None:
    """All processes of a job at once, its script first; scancel always asks before."""
    mark = f"VMLAB_STATE_DIR={farm.vmlab.state}/farm/{job}\0".encode()
    of_slurm = f"SLURM_JOB_ID={job}\0".encode()
    conf = f"SLURM_CONF={farm.slurm.conf}\0".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            environment = (process / "environ").read_bytes() + b"\0"
            if mark in environment or (of_slurm in environment and conf in environment):
                found.append(int(process.name))
    for pid in sorted(found):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def remains_on_host(job: str, farm: Farm) -> list[str]:
    """But for the folder of its secret, which is not the Epilog's to read."""
    return [item for item in remains(f"j{job}-t-killed", farm.vmlab) if str(farm.vmlab.state) not in item]


@pytest.mark.nightly
def test_the_hosts_of_a_bed_are_those_of_the_allocation(farm: Farm) -> None:
    job = farm.submit(TWO.format(port=farm.second.sshd.port), "--", "--nodelist=host1,host2")
    farm.awaits(job, "COMPLETED")
    assert farm.slurm.told("squeue", "-h", "-t", "all", "-j", job, "-o", "%N %m") == "host[1-2] 512M"
    (run,) = farm.runs(job)
    assert run["incomplete"] == ""
    assert farm.left(job, "t-two") == []


@pytest.mark.nightly
def test_a_night_is_a_job_for_each_entry_and_one_record(farm: Farm, tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(HELD)
    (tmp_path / "night.yaml").write_text(NIGHT)
    *parts, last = farm.night(tmp_path / "night.yaml")
    assert len(parts) == 2
    farm.awaits(last, "COMPLETED", "FAILED")
    assert [farm.slurm.state(part) for part in parts] == ["COMPLETED", "FAILED"]
    (folder,) = farm.vmlab.state.glob("nights/*-t-night")
    record = json.loads((folder / "night.json").read_text())
    tests = {
        test["test"]: test["status"] for entry in record["entries"] for step in entry["steps"] for test in step["tests"]
    }
    assert tests == {"good": "pass", "bad": "fail"}
    assert [entry["bed"] for entry in record["entries"]] == [
        f"j{part}-{name}" for part, name in zip(parts, "ab", strict=True)
    ]
    assert (record["product"], record["lab"], record["incomplete"]) == (1, 0, "")
    assert (folder / "night.html").exists()
    assert (folder / "entries" / "a" / "topology.yaml").exists()
    assert any((folder / "evidence" / "b").rglob("console.log"))
    for part, name in zip(parts, "ab", strict=True):
        assert farm.left(part, name) == []
