"""Memory that a host has not: refused at once, or waited for where it is about to be given back."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import libvirt
import pytest

from vmlab.errors import HostError
from vmlab.lab.beds import admission
from vmlab.lab.beds.plan import look
from vmlab.lab.beds.up import Raised, up
from vmlab.lab.ground.bed_folder import slug
from vmlab.lab.ground.hosts import only
from vmlab.lab.ground.progress import Silent
from vmlab.runtime import lock
from vmlab.topology import Topology, loads
from vmlab.virt.connection import Host
from vmlab.virt.observe import observe

from .conftest import BED

MIB = 1 << 10
SHORT = "5 nodes want 2304 MiB of memory, and the host has 512 MiB available"
GUEST = """
<domain type='test'><name>{name}</name><memory unit='MiB'>{mib}</memory><vcpu>1</vcpu><os><type>hvm</type></os></domain>
"""


class Told(Silent):
    """Does what a test wants when it is told that something is waited for."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.lines: list[str] = []
        self.warnings: list[str] = []
        self._then = then

    def warn(self, line: str) -> None:
        self.warnings.append(line)

    def say(self, line: str) -> None:
        self.lines.append(line)
        if "waits for" in line:
            self._then()


@pytest.fixture
def short(host: Host, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The host's own word, in KiB: 512 MiB, until a test says something else."""
    del host
    free = {"kib": 512 * MIB}
    monkeypatch.setattr(admission, "available_memory", lambda _: free["kib"])
    monkeypatch.setattr(admission, "_AGAIN_S", 0.01)
    return free


def begin(host: Host, name: str, mib: int) -> "libvirt.virDomain":
    return host.call(lambda connection: connection.createXML(GUEST.format(name=name, mib=mib)))


def bring_up(host: Host, bed: Topology, told: Told, *, restart: bool = False) -> Raised:
    return up(only(host), bed, accel="auto", restart=restart, timeout_s=60, jobs=1, wait=False, progress=told)


@pytest.mark.usefixtures("short")
def test_up_and_plan_refuse_what_cannot_be(host: Host, bed: Topology) -> None:
    begin(host, "somebody", 8192)
    begin(host, "other.n1", 8192)
    with pytest.raises(HostError, match=f"{SHORT}$"):
        look(only(host), bed, accel="auto", restart=False, progress=Silent())
    with pytest.raises(HostError, match=f"{SHORT}$"):
        bring_up(host, bed, Told())
    assert not observe(host).bed("ha").nodes


def test_a_template_that_boots_is_waited_for(host: Host, bed: Topology, short: dict[str, int]) -> None:
    template = begin(host, "vmlab-template.0123456789abcdef", 2048)

    def gone() -> None:
        template.destroy()
        short["kib"] += 2048 * MIB

    told = Told(gone)
    look(only(host), bed, accel="auto", restart=False, progress=told)
    bring_up(host, bed, told)
    waits = f"{SHORT}: waits for the memory of the template 0123456789abcdef"
    assert [[line for line in lines if "waits" in line] for lines in (told.lines, told.warnings)] == [[waits], [waits]]
    assert len(observe(host).bed("ha").nodes) == 5


@pytest.mark.usefixtures("short")
def test_one_whose_memory_would_not_do_is_not(host: Host, bed: Topology) -> None:
    begin(host, "vmlab-template.0123456789abcdef", 1024)
    told = Told()
    with pytest.raises(HostError, match=f"{SHORT}$"):
        bring_up(host, bed, told)
    assert not [line for line in told.lines if "waits" in line]


@pytest.mark.parametrize(
    ("pid", "command"),
    [(1 << 21, "vmlab down other"), (os.getpid(), "vmlab up other.yaml")],
    ids=["killed", "another verb"],
)
def test_a_bed_is_waited_for_only_while_somebody_takes_it_down(
    host: Host, bed: Topology, short: dict[str, int], pid: int, command: str
) -> None:
    one, two = (begin(host, f"other.n{number}", 1024) for number in (1, 2))
    with lock.held(f"{slug(host)}.other", what="the bed other"):
        file = next(Path(os.environ["VMLAB_LOCK_DIR"]).glob("vmlab/*other*"))
        file.write_text(json.dumps({"pid": pid, "command": command}))
        with pytest.raises(HostError, match=f"{SHORT}$"):
            bring_up(host, bed, Told())
        file.write_text(json.dumps({"pid": os.getpid(), "command": "vmlab -v down other --yes"}))

        def gone() -> None:
            for guest in (one, two):
                guest.destroy()
            short["kib"] += 2048 * MIB

        told = Told(gone)
        bring_up(host, bed, told)
    assert [line for line in told.lines if "waits" in line] == [f"{SHORT}: waits for the memory of the bed other"]


@pytest.mark.usefixtures("short")
def test_what_does_not_go_after_all_is_named(host: Host, bed: Topology, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "_WAIT_S", 0.0)
    begin(host, "vmlab-template.0123456789abcdef", 2048)
    with pytest.raises(HostError, match=f"{SHORT}; 0 s were not enough for the template 0123456789abcdef to go"):
        bring_up(host, bed, Told())


def test_nodes_that_are_stopped_first_give_their_memory_to_what_they_become(
    host: Host, bed: Topology, short: dict[str, int]
) -> None:
    short["kib"] = 4096 * MIB
    bring_up(host, bed, Told())
    short["kib"] = 512 * MIB
    larger = loads(BED.replace("512MiB", "576MiB"), "ha.yaml")
    begin(host, "somebody", 4096)
    with pytest.raises(HostError, match="5 nodes want 2560 MiB of memory, and the host has 512 MiB available"):
        bring_up(host, loads(BED.replace("512MiB", "576MiB").replace("name: ha", "name: hb"), "hb.yaml"), Told())
    bring_up(host, larger, Told(), restart=True)
    assert observe(host).domains["ha.mds1"].facts.memory_kib == 576 * MIB


@pytest.mark.usefixtures("short")
def test_huge_pages_are_not_the_hosts_other_memory(host: Host) -> None:
    text = "name: ha\nnodes: {n1: {role: client, memory: 1GiB, hugepages: 2MiB}}\n"
    bring_up(host, loads(text, "ha.yaml"), Told())
    assert observe(host).bed("ha").nodes["n1"].running
