"""The emulated lab host (scripts/lab-host), this checkout in it, and the way in."""

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from system.conftest import Vmlab

from . import forks

ROOT = Path(__file__).parents[2]
MINUTES = 60
DOOR = str(ROOT / "scripts/lab-host")
SOURCE = ("vmlab", "topologies", "domain-templates", "pyproject.toml")
FORKS = "/opt/vmlab/forks.py"
CELL_0_IGB, CELL_1_IGB = "0000:21:00.0", "0000:61:00.0"
NVME = "0000:22:00.0"
SHARED = ("0000:62:00.0", "0000:63:01.0", "0000:63:02.0")  # a bridge without ACS and the two e1000 behind it


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.system)
            item.add_marker(pytest.mark.labhost)


_NO_WORD = (124, 137, 255)  # of `timeout`, the same with its KILL, and ssh's own
_STALL = "detected stalls on CPUs/tasks"  # Documentation/RCU/stallwarn.rst


class Lab:
    """The lab host; every bed that a test makes is named `t-...`. `complaints`: the last command's standard error."""

    complaints = ""
    lost = ""
    """Once the host itself is broken: why. What would follow fails at once, not by its deadline."""

    def __init__(self, folder: str = "") -> None:
        """Of the cache folder that scripts/lab-host takes if none is named, or of another one."""
        self.environment = {**os.environ, **({"VMLAB_LAB_HOST_DIR": folder} if folder else {})}

    def door(self, *words: str) -> str:
        """What scripts/lab-host says."""
        done = subprocess.run(
            (DOOR, *words), env=self.environment, capture_output=True, text=True, timeout=60 * MINUTES, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(
        self, *command: str, status: int | None = 0, deadline_s: float = 2 * MINUTES, stdin: str | bytes = ""
    ) -> str:
        """Standard output of an argv there; the exit status must be `status`, or any for None. 124: deadline."""
        bounded = shlex.join(("timeout", "-k", "5", f"{deadline_s:.0f}", *command))
        done = self._enter(bounded, stdin=stdin, deadline_s=deadline_s + MINUTES)
        if done.returncode in _NO_WORD:
            self.lost = self._broken()
        if self.lost:
            pytest.fail(self.lost)
        out, self.complaints = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        told = f"{shlex.join(command)}: {done.returncode}\n{out}\n{self.complaints}"
        assert status is None or done.returncode == status, told
        return out

    def _broken(self) -> str:
        """What says that it is the host that hangs, and not what was asked of it; "" if nothing does."""
        console = self.door("console")
        stalled = _STALL in console
        if not stalled and self._enter("true", stdin="", deadline_s=MINUTES).returncode == 0:
            return ""
        return f"the lab host {'has lost a CPU' if stalled else 'does not answer'}:\n{console[-4000:]}"

    def _enter(self, command: str, *, stdin: str | bytes, deadline_s: float) -> "subprocess.CompletedProcess[bytes]":
        if self.lost:
            pytest.fail(self.lost)
        argv, told = (DOOR, "ssh", command), stdin.encode() if isinstance(stdin, str) else stdin
        try:
            return subprocess.run(
                argv, env=self.environment, input=told, capture_output=True, timeout=deadline_s, check=False
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(argv, _NO_WORD[0], b"", b"")

    def sh(self, script: str, *, status: int | None = 0, deadline_s: float = 2 * MINUTES) -> str:
        """Standard output of a shell script there."""
        return self.run("bash", "-euc", script, status=status, deadline_s=deadline_s)

    def vmlab(self, *arguments: str, status: int = 0, deadline_s: float = 10 * MINUTES) -> str:
        """Nodes boot: a guest that is emulated in an emulated host is no template for any other test."""
        return self.run("python3", FORKS, *arguments, status=status, deadline_s=deadline_s)

    def json(self, *arguments: str, deadline_s: float = 10 * MINUTES) -> Any:
        return json.loads(self.vmlab(*arguments, "-o", "json", deadline_s=deadline_s))

    def virsh(self, *arguments: str, status: int | None = 0) -> str:
        return self.run("virsh", "-q", "-c", "qemu:///system", *arguments, status=status)

    def put(self, path: str, text: str) -> str:
        """Write a file there, folders too; returns its path."""
        self.run("bash", "-euc", 'mkdir -p "$(dirname "$1")"; cat > "$1"', "put", path, stdin=text)
        return path

    def get(self, path: str) -> str:
        return self.run("cat", path)

    def sysfs(self, path: str, value: str | None = None, *, status: int = 0) -> str:
        """Read an attribute below /sys, without the line's end; with a value, write that instead."""
        if value is None:
            return self.get(f"/sys/{path}").strip()
        return self.sh(f"echo {shlex.quote(value)} > {shlex.quote(f'/sys/{path}')}", status=status)

    def pci(self, address: str, attribute: str, value: str | None = None, *, status: int = 0) -> str:
        """An attribute of a PCI function, read or written."""
        return self.sysfs(f"bus/pci/devices/{address}/{attribute}", value, status=status)

    def link(self, path: str) -> str:
        """The last part of where a link below /sys leads (a driver, an IOMMU group); "" if there is none."""
        return self.run("readlink", f"/sys/{path}", status=None).strip().rpartition("/")[2]

    def driver(self, address: str) -> str:
        return self.link(f"bus/pci/devices/{address}/driver")

    def group(self, address: str) -> str:
        return self.link(f"bus/pci/devices/{address}/iommu_group")

    def bare(self) -> None:
        """As it booted: no guests, no VFs, no huge pages, each function with its driver."""
        for bed in self.json("list"):
            if bed["name"].startswith("t-"):
                self.vmlab("down", bed["name"], "--yes")
        self.empty()

    def empty(self) -> None:
        """The same, whoever's the guests are."""
        self.sh(_BARE, deadline_s=5 * MINUTES)


# See forks.py. One of the session before has imported what was there then.
_BEGIN = f"""
[ ! -e {FORKS}.pid ] || kill $(cat {FORKS}.pid) 2> /dev/null || true
rm -rf /opt/vmlab/source {forks.DOOR}*
mkdir /opt/vmlab/source
tar -xC /opt/vmlab/source
mv /opt/vmlab/source/tests/labhost/forks.py {FORKS}
python3 -m compileall -q -j 0 /opt/vmlab/source
export PYTHONPATH=/opt/vmlab/source:/opt/vmlab/python VMLAB_WARM=never
setsid python3 {FORKS} < /dev/null > {FORKS}.log 2>&1 &
echo $! > {FORKS}.pid
until [ -e {forks.DOOR} ]; do kill -0 $! 2> /dev/null || {{ cat {FORKS}.log >&2; exit 1; }}; sleep 0.2; done
"""


def from_here(work: Path, config: str) -> Vmlab:
    """The command on this machine, whose ssh knows what ssh_config(5) `config` says; its files are below `work`."""
    (work / "config").write_text(config)
    for name in ("ssh", "scp"):
        program = work / name
        program.write_text(f'#!/bin/sh\nexec {shutil.which(name)} -F {shlex.quote(str(work / "config"))} "$@"\n')
        program.chmod(0o755)
    command = Vmlab(work / "state")
    command.environment["PATH"] = f"{work}:{os.environ['PATH']}"
    return command


_BARE = """
for guest in $(virsh -q list --all --name); do
    virsh -q destroy "$guest" > /dev/null 2>&1 || true
    virsh -q undefine "$guest" > /dev/null
done
for taken in /sys/bus/pci/drivers/vfio-pci/0000:*; do
    [ ! -e "$taken" ] || virsh -q nodedev-reattach "pci_$(basename "$taken" | tr :. __)" > /dev/null
done
for count in /sys/bus/pci/devices/*/sriov_numvfs; do
    [ "$(cat "$count")" = 0 ] || echo 0 > "$count"
done
for pages in /sys/devices/system/node/node*/hugepages/*/nr_hugepages; do echo 0 > "$pages"; done
"""


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The lab host with this checkout installed. It runs on afterwards, for the next session."""
    lab = Lab()
    lab.door("up")
    files = (*SOURCE, "tests/labhost/forks.py")
    sources = subprocess.run(
        ("tar", "-c", "--exclude=__pycache__", *files), cwd=ROOT, capture_output=True, check=True
    ).stdout
    lab.run("sh", "-ec", _BEGIN, stdin=sources, deadline_s=10 * MINUTES)
    lab.bare()
    yield lab
    lab.bare()
