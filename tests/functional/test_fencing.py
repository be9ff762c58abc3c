"""A failover on libvirt's test driver, with doubles of guests: who has to be off before anybody mounts."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from vmlab.errors import HostError
from vmlab.guest.lookout import Lookout
from vmlab.guest.ssh import Guest
from vmlab.guest.trouble import SshTrouble, Unreachable
from vmlab.lab.beds.up import up
from vmlab.lab.filesystems import failover as module
from vmlab.lab.filesystems import lustre_bed as lustre
from vmlab.lab.filesystems.away import away_nodes
from vmlab.lab.filesystems.failover import failback, failover
from vmlab.lab.filesystems.lustre_bed import LustreBed
from vmlab.lab.ground.bed import existing
from vmlab.lab.ground.hosts import Hosts, only
from vmlab.lab.ground.progress import Silent
from vmlab.lustre import status
from vmlab.lustre.survey import Survey
from vmlab.plan.actions import StopDomain
from vmlab.plan.filesystems import lnet
from vmlab.runtime.process import Result
from vmlab.runtime.wait import Deadline
from vmlab.topology import Topology, loads
from vmlab.virt.connection import Host
from vmlab.virt.observe import domain_state, observe
from vmlab.virt.perform import perform

FOUR = """
name: ha
fabrics: {eth: {kind: ethernet, lnet: tcp}}
nodes:
  m1: {role: [mgs, mds], memory: 256MiB, fabrics: [eth]}
  "s[1-SERVERS]": {role: oss, memory: 256MiB, fabrics: [eth]}
filesystems:
  lustre:
    mgt: {servers: m1, size: 64MiB}
    mdts: [{servers: m1, size: 64MiB}]
    osts: [{servers: [NAMED], size: 64MiB}]
"""
THREE = loads(FOUR.replace("SERVERS", "3").replace("NAMED", "s1, s2, s3"), "ha.yaml")
MOUNTED = Survey(mounts=status.mounts("/dev/vdc /mnt/lustre-OST0000 lustre_tgt rw,svname=lustre-OST0000 0 0"))
FREE = Survey()
SILENCE = "no answer"


class Lab:
    """A bed of which each node says what a test wants, and where libvirt really starts and stops domains."""

    def __init__(self, host: Host, topology: Topology, monkeypatch: pytest.MonkeyPatch) -> None:
        self.host = host
        self.hosts = only(host)
        self.topology = topology
        self.says: dict[str, Survey | str] = {}
        self.asked: dict[str, Guest] = {}
        self.mounts: list[str] = []
        monkeypatch.setattr(module, "opened", self.opened)
        monkeypatch.setattr(module, "end_leftovers_unless_held", lambda *_: None)
        monkeypatch.setattr(lustre, "_said", self.said)
        monkeypatch.setattr(module, "_unmount", self.unmount)
        monkeypatch.setattr(LustreBed, "drive", self.drive)
        monkeypatch.setattr(LustreBed, "members", property(lambda _: {}))
        monkeypatch.setattr(module, "filesystem_stages", lambda *_: ())
        monkeypatch.setattr(module, "recovered", lambda *_: {"lustre-OST0000": (0.0, status.RecoveryStatus("", ""))})

    @contextmanager
    def opened(self, hosts: Hosts, topology: Topology, *, tolerant: bool) -> Iterator[LustreBed]:
        assert tolerant
        found = existing(hosts, topology.name)
        away = away_nodes(hosts, topology, found)
        on = {name for name, domain in found.nodes.items() if domain.running}
        said = {name: said if name in on else "off" for name, said in self.says.items() if name not in away.places}
        guests = {
            name: Guest("ha", name, found.metadata[name].management.ip.ip, "root", lustre_folder())
            for name, told in said.items()
            if isinstance(told, Survey) and name in topology.nodes and name in found.nodes
        }
        known = {name: metadata.addresses for name, metadata in found.metadata.items()}
        configs = lnet(topology, {name: known.get(name, ()) for name in topology.nodes})
        yield LustreBed(
            hosts,
            topology,
            found,
            guests,
            {n: s for n, s in said.items() if isinstance(s, str) and n in topology.nodes}
            | dict.fromkeys(away.places, "its host is away"),
            {n: s for n, s in said.items() if isinstance(s, Survey) and n in topology.nodes},
            configs,
            {n: s for n, s in said.items() if n not in topology.nodes and n in on},
            away,
        )

    def said(self, guest: Guest) -> Survey | str:
        self.asked[guest.node] = guest
        return self.says[guest.node]

    def unmount(self, _bed: LustreBed, moves: Sequence[Any], *_: Any) -> None:
        for move in moves:
            self.says[move.source] = FREE

    def drive(self, _stages: Any, *_: Any) -> tuple[()]:
        self.mounts.append("mount")
        return ()

    def failover(self, what: str, how: Any = "power") -> module.Failover:
        deadline = Deadline.after(10)
        return failover(self.hosts, self.topology, what, how=how, recovery=None, progress=Silent(), deadline=deadline)

    def state(self, node: str) -> str:
        return domain_state(self.host, f"ha.{node}")

    def off(self, node: str) -> None:
        perform(self.host, StopDomain(f"ha.{node}", node, "test"))


def lustre_folder() -> Any:
    return lustre.__file__


def bring_up(host: Host, topology: Topology) -> None:
    up(only(host), topology, accel="auto", restart=False, timeout_s=60, jobs=1, wait=False, progress=Silent())


@pytest.fixture
def lab(host: Host, monkeypatch: pytest.MonkeyPatch) -> Lab:
    bring_up(host, THREE)
    lab = Lab(host, THREE, monkeypatch)
    lab.says = {"m1": FREE, "s1": MOUNTED, "s2": FREE, "s3": FREE}
    return lab


def test_the_third_server_answers_and_has_it_not(lab: Lab) -> None:
    moved = lab.failover("s1").moved
    assert [(move.source, move.destination) for move in moved] == [("s1", "s2")]
    assert (lab.state("s1"), lab.mounts) == ("shut off", ["mount"])


@pytest.mark.parametrize(("how", "first"), [("power", MOUNTED), ("power", SILENCE), ("umount", MOUNTED)])
def test_a_third_server_that_is_silent_stops_it_before_anything_is_done(lab: Lab, how: str, first: Any) -> None:
    lab.says |= {"s1": first, "s2": SILENCE}
    with pytest.raises(HostError, match="s2 runs, does not answer, and could have lustre-OST0000") as caught:
        lab.failover("OST0000", how)
    assert caught.value.hint == "vmlab power off ha s2"
    assert (lab.state("s1"), lab.mounts) == ("running", [])
    lab.off("s2")
    assert lab.failover("OST0000", how).moved[0].destination == "s3"


def test_whoever_is_named_of_two_that_are_silent_does_not_excuse_the_other(lab: Lab) -> None:
    lab.says |= {"s1": SILENCE, "s2": SILENCE}
    with pytest.raises(HostError, match="s1 runs, does not answer"):
        lab.failover("s2")
    assert lab.state("s2") == "running"


def test_of_two_that_have_nothing_to_say_the_one_that_runs_is_fenced(lab: Lab) -> None:
    lab.says |= {"s1": SILENCE, "s2": SILENCE}
    lab.off("s1")
    assert lab.failover("OST0000").moved[0].source == "s2"
    assert lab.state("s2") == "shut off"


def test_one_that_mounted_it_meanwhile_is_seen(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def by_hand(*_: Any) -> None:
        lab.says["s3"] = MOUNTED
        lab.off("s1")

    monkeypatch.setattr(module, "_take_down", by_hand)
    with pytest.raises(HostError, match="lustre-OST0000 is mounted on s3"):
        lab.failover("s1")
    assert lab.mounts == []


def test_a_crashed_domain_that_is_kept_is_not_off(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "domain_state", lambda *_: "crashed")
    with pytest.raises(HostError, match="s1 is crashed and not off"):
        lab.failover("s1")
    assert lab.mounts == []


def test_failback_asks_the_third_server_too(lab: Lab) -> None:
    lab.says |= {"s1": FREE, "s2": MOUNTED, "s3": SILENCE}
    back = lambda: failback(  # noqa: E731
        only(lab.host), THREE, None, recovery=None, progress=Silent(), deadline=Deadline.after(10)
    )
    with pytest.raises(HostError, match="s3 runs, does not answer"):
        back()
    assert (lab.says["s2"], lab.mounts) == (MOUNTED, [])
    lab.says["s3"] = FREE
    done = back()
    assert done is not None
    assert done.moved[0].destination == "s1"


def test_a_server_that_the_file_no_longer_has_keeps_its_disks(
    host: Host, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = Lab(host, loads(FOUR.replace("SERVERS", "2").replace("NAMED", "s1, s2"), "ha.yaml"), monkeypatch)
    short.says = {**lab.says, "s3": SILENCE}
    with pytest.raises(HostError, match="s3 runs, does not answer, and could have lustre-OST0000"):
        short.failover("s1")
    with short.opened(only(host), short.topology, tolerant=True) as bed:
        with pytest.raises(HostError, match="s3 runs"):
            bed.refuse_left(bed.targets)
        short.says["s3"] = MOUNTED
        with pytest.raises(HostError, match="lustre-OST0000 is mounted on s3"):
            bed.refuse_left(bed.targets)
        assert isinstance(short.asked["s3"].watch, Lookout)  # a node that panics then is noticed as any other
        short.says["s3"] = FREE
        bed.refuse_left(bed.targets)
    assert short.failover("s1").moved[0].destination == "s2"


FOREIGN = """
<domain type='test'><name>copy-of-s1</name><memory>1024</memory><os><type>hvm</type></os><devices>
<disk type='file'><source file='{path}'/><target dev='vda'/><shareable/></disk></devices></domain>
"""


def test_a_strangers_domain_that_runs_with_the_disk_stops_it(lab: Lab) -> None:
    path = observe(lab.host).volumes["ha._lustre-OST0000.raw"].path
    copy = lab.host.call(lambda connection: connection.defineXML(FOREIGN.format(path=path)))
    copy.create()
    with pytest.raises(HostError, match="the domain copy-of-s1, which is not of the bed ha, runs with the disk of"):
        lab.failover("s1")
    assert (lab.state("s1"), lab.mounts) == ("running", [])
    copy.destroy()
    assert lab.failover("s1").moved[0].destination == "s2"


class Cut:
    """A guest whose answer is cut off."""

    node, bed = "s1", "ha"

    def __init__(self, result: Result) -> None:
        self.result = result

    def run(self, *_: Any, **__: Any) -> Result:
        return self.result


@pytest.mark.parametrize(("status", "timed_out"), [(255, True), (124, False), (137, False)])
def test_half_an_answer_is_no_proof(*, status: int, timed_out: bool) -> None:
    half = Result((), status, "\nvmlab section: version\n2.15.6\n", "", timed_out)
    said = lustre._said(Cut(half))  # type: ignore[arg-type]
    assert isinstance(said, str)
    assert said.startswith("s1 does not say what Lustre does there: ")


def test_a_node_that_answers_no_more_is_silent() -> None:
    class Gone:
        node = "s1"

        def run(self, *_: Any, **__: Any) -> Any:
            raise Unreachable.guest(
                SshTrouble.SILENT,
                bed="ha",
                node="s1",
                address=None,
                port=22,
                user="root",
                folder=None,  # type: ignore[arg-type]
            )

    assert isinstance(lustre._said(Gone()), str)  # type: ignore[arg-type]
