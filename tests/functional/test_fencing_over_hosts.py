"""A failover while hosts are away, on test drivers: nobody mounts unless each of them is proven to be off."""

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmlab.errors import HostError, TopologyError
from vmlab.lab.beds.up import up
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.progress import Silent
from vmlab.topology import Topology, loads
from vmlab.virt.connection import Away, Host

from .conftest import simulated_hosts
from .test_fencing import FREE, MOUNTED, Lab

BED = """
name: ha
hosts:
  kvm1: {{}}
  kvm2: {{{fence2}}}
  kvm3: {{{fence3}}}
fabrics: {{eth: {{kind: ethernet, lnet: tcp}}}}
nodes:
  m1: {{role: [mgs, mds], memory: 256MiB, fabrics: [eth], host: kvm1}}
  s1: {{role: oss, memory: 256MiB, fabrics: [eth], host: kvm2}}
  s2: {{role: oss, memory: 256MiB, fabrics: [eth], host: kvm1}}
  c1: {{role: client, memory: 256MiB, fabrics: [eth], host: kvm3}}
filesystems:
  lustre:
    mgt: {{servers: m1, size: 64MiB}}
    mdts: [{{servers: m1, size: 64MiB}}]
    osts: [{{servers: [s1, s2], device: /dev/disk/by-id/wwn-0x5}}]
"""
AGENT = """#!/bin/sh
# As a fence agent is called: DIR -o ACTION.
[ "$2" = -o ] || exit 1
echo "$3" >> "$1/asked"
case $3 in
off) [ ! -e "$1/broken" ] || { echo "no answer from the BMC" >&2; exit 1; }; touch "$1/off" ;;
status) [ ! -e "$1/off" ] || exit 2 ;;
esac
"""


class Power:
    """A host's, as its agent has it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.agent = folder / "fence agent"
        self.agent.write_text(AGENT)
        self.agent.chmod(0o755)

    @property
    def fence(self) -> str:
        """As a topology file has it; quoted for the words' sake, and once more for YAML's."""
        return f"fence: {shlex.quote(f'{shlex.quote(str(self.agent))} {self.folder}')}".replace("'\"'\"'", "''")

    @property
    def asked(self) -> list[str]:
        asked = self.folder / "asked"
        return asked.read_text().split() if asked.exists() else []

    def is_off(self) -> None:
        (self.folder / "off").touch()

    def breaks(self) -> None:
        (self.folder / "broken").touch()


class Wide(Lab):
    """A bed on three hosts, of which some are away."""

    def __init__(self, hosts: Hosts, topology: Topology, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(hosts["kvm1"], topology, monkeypatch)
        self.all = hosts
        self.says = {"m1": FREE, "s1": MOUNTED, "s2": FREE, "c1": FREE}

    def away(self, *names: str) -> None:
        gone = {name: Away(name, self.all[name].uri, HostError("no route")) for name in names}
        self.hosts = Hosts({name: host for name, host in self.all.items() if name not in names}, gone, "kvm1")


@pytest.fixture
def power(tmp_path: Path) -> dict[str, Power]:
    return {name: Power(tmp_path / name) for name in ("kvm2", "kvm3")}


@pytest.fixture
def hosts(host: Host, tmp_path: Path) -> Iterator[Hosts]:
    """`host` is there for the environment and the image."""
    del host
    with simulated_hosts(tmp_path, "kvm1", "kvm2", "kvm3") as hosts:
        yield hosts


@pytest.fixture
def wide(hosts: Hosts, monkeypatch: pytest.MonkeyPatch, power: dict[str, Power]) -> Wide:
    topology = loads(BED.format(fence2=power["kvm2"].fence, fence3=""), "ha.yaml")
    up(hosts, topology, accel="auto", restart=False, timeout_s=60, jobs=1, wait=False, progress=Silent())
    return Wide(hosts, topology, monkeypatch)


def test_a_host_that_is_away_is_switched_off_and_says_so(wide: Wide, power: dict[str, Power]) -> None:
    wide.away("kvm2")
    moved = wide.failover("OST0000").moved
    assert [(move.source, move.destination) for move in moved] == [("s1", "s2")]
    assert wide.mounts == ["mount"]
    # Off, then asked; and once more before anybody mounts.
    assert power["kvm2"].asked == ["off", "status", "status"]


def test_without_a_fence_agent_nobody_mounts(wide: Wide) -> None:
    wide.topology = loads(BED.format(fence2="", fence3=""), "ha.yaml")
    wide.away("kvm2")
    with pytest.raises(HostError, match="s1 is on kvm2, which does not answer: that is no proof") as caught:
        wide.failover("s1")
    assert "fence: fence_ipmilan" in caught.value.hint
    assert wide.mounts == []


def test_a_clean_unmount_takes_a_server_that_answers(wide: Wide, power: dict[str, Power]) -> None:
    wide.away("kvm2")
    with pytest.raises(HostError, match="s1 cannot unmount anything: its host is away"):
        wide.failover("OST0000", "umount")
    assert power["kvm2"].asked == []


def test_an_agent_that_fails_is_no_proof(wide: Wide, power: dict[str, Power]) -> None:
    wide.away("kvm2")
    power["kvm2"].breaks()
    with pytest.raises(HostError, match="kvm2 is not switched off: no answer from the BMC") as caught:
        wide.failover("s1")
    assert caught.value.hint.endswith("-o off")
    assert wide.mounts == []


def test_an_agent_that_does_not_say_off_is_no_proof(
    wide: Wide, power: dict[str, Power], monkeypatch: pytest.MonkeyPatch
) -> None:
    wide.away("kvm2")
    power["kvm2"].agent.write_text("#!/bin/sh\nexit 0\n")
    monkeypatch.setattr("vmlab.virt.host_power._SAYS_OFF_S", 0.1)
    with pytest.raises(HostError, match="kvm2 was switched off, and its fence agent does not say that it is off"):
        wide.failover("s1")
    assert wide.mounts == []


def test_a_second_host_that_is_away_has_to_be_off_as_well(
    wide: Wide, power: dict[str, Power], monkeypatch: pytest.MonkeyPatch
) -> None:
    wide.away("kvm2", "kvm3")
    with pytest.raises(HostError, match="kvm3 is away, too, and not known to be off: s1 could be there"):
        wide.failover("s1")
    assert power["kvm2"].asked == []
    both = loads(BED.format(fence2=power["kvm2"].fence, fence3=power["kvm3"].fence), "ha.yaml")
    again = Wide(wide.all, both, monkeypatch)
    again.away("kvm2", "kvm3")
    power["kvm3"].is_off()
    assert again.failover("s1").moved[0].destination == "s2"
    assert "off" not in power["kvm3"].asked


def test_the_others_may_be_away_where_none_of_them_serves(wide: Wide, power: dict[str, Power]) -> None:
    wide.away("kvm3")
    assert wide.failover("s1").moved[0].destination == "s2"
    assert power["kvm2"].asked == []


def test_a_partner_that_is_away_keeps_the_targets_where_they_are(wide: Wide, power: dict[str, Power]) -> None:
    wide.says |= {"s1": FREE, "s2": MOUNTED}
    wide.away("kvm2")
    with pytest.raises(HostError, match="its partner s1 does not run or cannot be reached"):
        wide.failover("s2")
    assert (wide.state("s2"), power["kvm2"].asked) == ("running", [])


def test_a_server_that_the_file_forgot_counts_on_a_host_that_is_away(
    wide: Wide, monkeypatch: pytest.MonkeyPatch
) -> None:
    less = BED.replace("  s1: {{role: oss, memory: 256MiB, fabrics: [eth], host: kvm2}}\n", "").replace(
        "[s1, s2]", "[m1, s2]"
    )
    file = loads(less.replace("role: [mgs, mds]", "role: [mgs, mds, oss]").format(fence2="", fence3=""), "ha.yaml")
    short = Wide(wide.all, file, monkeypatch)
    short.says |= {"m1": MOUNTED}
    short.away("kvm2")
    with pytest.raises(HostError, match="s1 is on a host that does not answer, which is no proof"):
        short.failover("OST0000", "umount")
    assert short.mounts == []


@pytest.mark.parametrize(
    ("fence", "why"),
    [
        ("''", "is no command"),
        ('"a \'b"', "no closing quotation"),
        ("[a]", "a list is no command"),
        ("7", "is no command"),
    ],
)
def test_what_is_no_command(fence: str, why: str) -> None:
    with pytest.raises(TopologyError, match=why):
        loads(f"name: a\nhosts: {{kvm1: {{fence: {fence}}}}}\nnodes: {{n1: {{role: client}}}}\n", "a.yaml")
