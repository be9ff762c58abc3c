"""Real libvirtd, real QEMU guests, and vmlab as its users run it: as a command in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest

from vmlab.runtime.lock import held

ROOT = Path(__file__).parents[2]
MINUTES = 60


TRIED = pytest.StashKey[dict[str, list[str]]]()
"""By image: what test_images.py did with guests of it."""


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TRIED] = {}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for image, tried in config.stash[TRIED].items():
        terminalreporter.write_line(f"image {image}: {', '.join(tried) or 'nothing'}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.system)


COLD = {"VMLAB_WARM": "never"}
"""In the environment: new nodes boot."""
WARM = ("--warm", "auto")
"""For a bed of a file whose nodes boot otherwise."""
SMALL = ("--set", "nodes.*.memory=512MiB")
"""Of a shipped bed whose file says more: nodes of the kind that most tests have."""


class Vmlab:
    """The command; every bed that a test makes is named `t-...`.

    New nodes go on from templates. Each serves all nodes of its kind, so beds have few kinds: 512 MiB and one virtual
    CPU, where nothing speaks for another. Tests of boots have the fixture `boots`.
    """

    def __init__(self, state: Path) -> None:
        self.state = state
        self.environment = {**os.environ, "VMLAB_STATE_DIR": str(state), "NO_COLOR": "1"}
        self.environment.pop("VMLAB_WARM", None)

    def argv(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "vmlab", *arguments]

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            self.argv(*arguments),
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, status: int = 0, deadline_s: float = 15 * MINUTES) -> str:
        """Standard output; the exit status must be the one expected."""
        done = subprocess.run(
            self.argv(*arguments),
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=deadline_s,
            check=False,
        )
        told = f"vmlab {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert done.returncode == status, told
        self.complaints = done.stderr
        return done.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "-o", "json"))

    def on_all(self, bed: str, script: str) -> dict[str, str]:
        """What a script prints on each node of a bed."""
        told = json.loads(self.run("exec", bed, "-o", "json", "--", "sh", "-c", script))
        return {answer["node"]: answer["stdout"].strip() for answer in told}


@pytest.fixture
def connection() -> Iterator["libvirt.virConnect"]:
    """One for each test: some restart libvirtd."""
    opened = libvirt.open("qemu:///system")
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def vmlab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vmlab]:
    """The command with a state folder of its own, and the demo image in the store; its beds go with it."""
    command = Vmlab(tmp_path_factory.mktemp("state"))
    with held("tests.demo-image", what="the demo image of the tests", wait_s=30 * MINUTES):  # by another worker
        images = command.json("image", "list")
        if not any(image["name"] == "demo" and "vmlab-template" in image["carries"] for image in images):
            command.run("image", "build", "demo", deadline_s=30 * MINUTES)
    yield command
    for line in json.loads(command.run("list", "-o", "json")):
        if list(command.state.glob(f"**/beds/{line['name']}")):  # made here, and not by a session beside this one
            command.run("down", line["name"], "--yes")


@pytest.fixture(scope="module")
def boots(vmlab: Vmlab) -> Iterator[None]:
    """New nodes of this file boot: that is what it is about, or nobody else has nodes of their kind."""
    before = dict(vmlab.environment)
    vmlab.environment |= COLD
    yield
    vmlab.environment.clear()
    vmlab.environment |= before


def image_store() -> Path:
    """The folder of the image store."""
    connection = libvirt.open("qemu:///system")
    pool = connection.storagePoolLookupByName("vmlab-images")
    return Path(pool.XMLDesc().partition("<path>")[2].partition("</path>")[0])


def remains(bed: str, vmlab: Vmlab) -> list[str]:
    """Whatever is left of a bed on this machine: libvirt's objects, files, locks, processes."""
    connection = libvirt.open("qemu:///system")
    found = [d.name() for d in connection.listAllDomains() if d.name().startswith(f"{bed}.")]
    found += [n.name() for n in connection.listAllNetworks() if n.name().startswith(f"{bed}.")]
    pool = connection.storagePoolLookupByName("vmlab")
    folder = Path(pool.XMLDesc().partition("<path>")[2].partition("</path>")[0])
    found += [str(path) for path in folder.glob(f"{bed}.*")]
    found += [str(path) for path in vmlab.state.glob(f"**/beds/{bed}")]
    found += [str(path) for path in Path("/run/lock/vmlab").glob(f"*.{bed}.lock")]
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if (
            f"guest={bed}." in line
            or f"--export-name={bed}." in line
            or f"/beds/{bed}/" in f"{line.replace(' ', '/')}/"
        ):
            found.append(line)
    connection.close()
    return found


def qemu_pids(bed: str) -> dict[str, int]:
    """The QEMU process of each running node, by domain."""
    pids = {}
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = process.read_bytes().split(b"\0")
        except OSError:
            continue
        for argument in arguments:
            if argument.startswith(f"guest={bed}.".encode()):
                pids[argument.split(b",")[0].removeprefix(b"guest=").decode()] = int(process.parent.name)
    return pids
