"""Who has which target, and where targets go when a server is to lose them."""

from dataclasses import replace
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from vmlab.domainxml.metadata import Address, NodeMetadata
from vmlab.domainxml.read import DomainFacts
from vmlab.errors import HostError, UsageError
from vmlab.lustre import status
from vmlab.lustre.survey import Busy, Survey
from vmlab.lustre.target import Target
from vmlab.plan import filesystems
from vmlab.plan.observed import ObservedBed, ObservedDomain
from vmlab.plan.serving import (
    Evidence,
    Move,
    forgotten,
    holders,
    mounted_on,
    moves_home,
    moves_off,
    presumed,
    refuse_unproven,
    serving,
    under_way,
    unforgotten,
)
from vmlab.topology import Topology, load, loads

ROOT = Path(__file__).parents[3]
ALL = ("mds1", "mds2", "oss1", "oss2")
HOME = {
    "lustre-MGS": "mds1",
    "lustre-MDT0000": "mds1",
    "lustre-OST0000": "oss1",
    "lustre-OST0001": "oss1",
    "lustre-OST0002": "oss2",
    "lustre-OST0003": "oss2",
}


@pytest.fixture
def ha() -> Topology:
    return load(ROOT / "topologies" / "ha-topology.yaml")


def targets(topology: Topology) -> dict[str, Target]:
    addresses = {
        name: [Address(fabric, "ethernet", "virtio", fabric, "", IPv4Interface(f"10.77.1.{number}/24"))]
        for number, name in enumerate(topology.nodes, start=11)
        for fabric in topology.fabrics
    }
    return filesystems.targets(topology, filesystems.lnet(topology, addresses))


def having(*lines: str) -> Survey:
    return Survey(mounts=status.mounts("\n".join(lines)))


def target_line(label: str, service: str, point: str = "") -> str:
    return f"/dev/vdc {point or f'/mnt/{label}'} lustre_tgt rw,svname={service},osd=osd-ldiskfs 0 0"


def test_a_target_is_where_it_is_mounted(ha: Topology) -> None:
    surveys = {
        "mds1": having(target_line("lustre-MGS", "MGS"), target_line("lustre-MDT0000", "lustre-MDT0000")),
        "oss2": having(target_line("lustre-OST0000", "lustre-OST0000", "/srv/elsewhere")),
        "client1": having("10.77.1.11@o2ib:/lustre /mnt/lustre lustre rw,flock 0 0"),
    }
    assert serving(targets(ha), surveys) == {
        "lustre-MGS": "mds1",
        "lustre-MDT0000": "mds1",
        "lustre-OST0000": "oss2",
    }


def test_the_mgt_of_another_file_system_is_not_this_one(ha: Topology) -> None:
    other = having(target_line("other-MGS", "MGS"))
    assert not mounted_on(targets(ha)["lustre-MGS"], other)


def busy(state: str, *words: str) -> Survey:
    return Survey(busy=(Busy(state, words),))


OST = "/dev/disk/by-id/virtio-lustre-OST0000"


def test_whoever_mounts_a_target_has_it(ha: Topology) -> None:
    # A mount that waits for MMP is in no list of mounts. Nobody else begins another one meanwhile.
    surveys = {"oss2": busy("mounting", OST, "/mnt/lustre-OST0000", "-o", "rw")}
    assert serving(targets(ha), surveys) == {"lustre-OST0000": "oss2"}


def test_whoever_still_unmounts_a_target_has_it_rather_than_whoever_waits_for_it(ha: Topology) -> None:
    surveys = {"oss2": busy("mounting", OST, "/mnt/lustre-OST0000"), "oss1": busy("unmounting", "/mnt/lustre-OST0000")}
    assert serving(targets(ha), surveys) == {"lustre-OST0000": "oss1"}


def test_whoever_has_it_mounted_has_it_in_any_case(ha: Topology) -> None:
    surveys = {
        "oss2": busy("mounting", OST, "/mnt/lustre-OST0000"),
        "oss1": having(target_line("lustre-OST0000", "lustre-OST0000")),
    }
    assert serving(targets(ha), surveys) == {"lustre-OST0000": "oss1"}


def test_whoever_formats_a_target_does_not_have_it(ha: Topology) -> None:
    survey = busy("formatting", "--ost", OST)
    assert serving(targets(ha), {"oss1": survey}) == {}
    assert under_way(targets(ha)["lustre-OST0000"], survey) == "formatting"
    assert under_way(targets(ha)["lustre-OST0001"], survey) == ""


def test_a_service_that_runs_without_a_mount_still_has_its_target(ha: Topology) -> None:
    lazily = Survey(services=frozenset({"MGS", "lustre-OST0000"}))
    assert serving(targets(ha), {"oss1": lazily}) == {"lustre-OST0000": "oss1"}


def test_a_pool_that_is_imported_is_about_to_be_mounted(ha: Topology) -> None:
    zfs = replace(targets(ha)["lustre-OST0000"], backend="zfs")
    assert under_way(zfs, busy("mounting", "import", "-N", "-d", "/dev", "vmlab-lustre-OST0000")) == "mounting"


MEMORY = """
name: memory
fabrics: {eth: {kind: ethernet, lnet: tcp}}
nodes: {mds1: {role: mds, fabrics: [eth]}, oss1: {role: oss, fabrics: [eth]}, client1: {role: client, fabrics: [eth]}}
filesystems:
  lustre: {backend: wbcfs, mgt: {servers: mds1}, mdts: [{servers: mds1}], osts: [{servers: oss1}]}
"""
CLIENT = having("10.77.1.13@tcp:/lustre /mnt/lustre lustre rw,flock 0 0")


def test_what_clients_have_and_servers_have_not_was_in_memory() -> None:
    found = targets(loads(MEMORY, "memory.yaml"))
    mds = having(target_line("lustre-MGS", "lustre-MGS0000"), target_line("lustre-MDT0000", "lustre-MDT0000"))
    oss = having(target_line("lustre-OST0000", "lustre-OST0000"))
    rebooted = having()
    assert forgotten(found, {"mds1": mds, "oss1": oss, "client1": CLIENT}) == {}
    assert forgotten(found, {"mds1": mds, "oss1": rebooted, "client1": rebooted}) == {}, "an `up` that was interrupted"
    part = forgotten(found, {"mds1": mds, "oss1": rebooted, "client1": CLIENT})
    assert part == {"lustre": ("lustre-OST0000",)}
    with pytest.raises(HostError, match="lustre-OST0000 went with a server's") as caught:
        unforgotten("memory", found, part)
    assert caught.value.hint == "vmlab fs umount memory; then vmlab up FILE begins it anew, empty"
    everything = forgotten(found, {"mds1": rebooted, "oss1": rebooted, "client1": CLIENT})
    assert unforgotten("memory", found, everything) == {"lustre"}


def test_disks_forget_nothing(ha: Topology) -> None:
    assert forgotten(targets(ha), {"mds1": having(), "client1": CLIENT}) == {}


def test_mounted_twice_is_an_error_that_names_both(ha: Topology) -> None:
    twice = having(target_line("lustre-OST0000", "lustre-OST0000"))
    with pytest.raises(HostError, match="lustre-OST0000 is mounted on oss1 and oss2 at once"):
        serving(targets(ha), {"oss1": twice, "oss2": twice})


def test_a_node_loses_all_that_it_has(ha: Topology) -> None:
    assert moves_off(ha, HOME, "oss1", running=ALL, whole_node=True) == (
        Move("lustre-OST0000", "oss1", "oss2"),
        Move("lustre-OST0001", "oss1", "oss2"),
    )


@pytest.mark.parametrize("what", ["lustre-OST0001", "OST0001"])
def test_a_target_takes_the_others_of_its_node_along_only_if_that_goes_down(ha: Topology, what: str) -> None:
    assert len(moves_off(ha, HOME, what, running=ALL, whole_node=True)) == 2
    assert moves_off(ha, HOME, what, running=ALL, whole_node=False) == (Move("lustre-OST0001", "oss1", "oss2"),)


def test_what_was_failed_over_fails_over_again_to_its_primary(ha: Topology) -> None:
    away = HOME | {"lustre-OST0000": "oss2"}
    assert moves_off(ha, away, "OST0000", running=ALL, whole_node=False) == (Move("lustre-OST0000", "oss2", "oss1"),)


@pytest.mark.parametrize(
    ("what", "running", "kind", "said"),
    [
        ("oss1", ("mds1", "mds2", "oss1"), HostError, "its partner oss2 does not run"),
        ("client1", ALL, HostError, "client1 serves no target"),
        ("mds2", ALL, HostError, "mds2 serves no target"),
        ("OST0009", ALL, UsageError, "neither a target nor a node 'OST0009'"),
    ],
)
def test_what_cannot_fail_over_is_refused(
    ha: Topology, what: str, running: tuple[str, ...], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        moves_off(ha, HOME, what, running=running, whole_node=True)


def test_a_target_that_nobody_has_is_not_failed_over(ha: Topology) -> None:
    with pytest.raises(HostError, match="lustre-OST0000 is mounted nowhere"):
        moves_off(ha, {}, "OST0000", running=ALL, whole_node=False)


def test_a_server_that_is_silent_is_taken_for_the_one_that_has_what_nobody_has(ha: Topology) -> None:
    seen = {label: node for label, node in HOME.items() if node != "oss1"} | {"lustre-OST0001": "oss2"}
    known = presumed(ha, seen, ("oss1",))
    assert known == seen | {"lustre-OST0000": "oss1"}
    assert moves_off(ha, known, "oss1", running=("mds1", "mds2", "oss2"), whole_node=True) == (
        Move("lustre-OST0000", "oss1", "oss2"),
    )
    assert presumed(ha, seen, ()) == seen


THREE = """
name: three
fabrics: {eth: {kind: ethernet, lnet: tcp}}
nodes: {"s[1-3]": {role: [mgs, mds, oss], fabrics: [eth]}}
filesystems:
  lustre:
    mgt: {servers: s1, size: 64MiB}
    mdts: [{servers: s1, size: 64MiB}]
    osts: [{servers: [s1, s2, s3], size: 64MiB}, {servers: [s1, s2], device: /dev/disk/by-id/scsi-1}]
"""


def test_of_several_silent_servers_the_one_that_is_meant_or_runs_is_suspected() -> None:
    three = loads(THREE, "three.yaml")

    def suspected(*silent: str, off: tuple[str, ...] = (), what: str = "") -> str:
        return presumed(three, {}, silent, off=off, what=what)["lustre-OST0000"]

    assert suspected("s1", "s2") == "s1"
    assert suspected("s1", "s2", what="s2") == "s2"
    assert suspected("s1", "s2", what="OST0000") == "s1"
    assert suspected("s1", "s2", off=("s1",)) == "s2"
    assert suspected("s2", off=("s2",)) == "s2"


def test_whoever_was_given_a_disk_could_have_it_mounted() -> None:
    three = loads(THREE, "three.yaml")
    shares = domain("s9", ("oss",), "/pool/three._lustre-OST0000.raw")
    other = domain("s8", ("oss",), "/pool/three._lustre-OST00001.raw")
    client = domain("c1", ("client",))
    found = ObservedBed("three", {"s9": shares, "s8": other, "c1": client, "s1": domain("s1", ("oss",))})
    could = holders(three, found)
    assert could["lustre-OST0000"] == ("s1", "s2", "s3", "s9")
    assert could["lustre-OST0001"] == ("s1", "s2", "s9", "s8"), "a disk from outside is only known by the role"


def domain(node: str, roles: tuple[str, ...], *disks: str) -> ObservedDomain:
    metadata = NodeMetadata("three", node, roles, "demo", "root", "", ())
    facts = DomainFacts(f"three.{node}", "", "kvm", 1, 1024, disks, (), metadata)
    return ObservedDomain(facts, "running", frozenset(disks))


@pytest.mark.parametrize(
    ("evidence", "said", "hint"),
    [
        ("mounted", "lustre-OST0000 is mounted on s2", "vmlab power off three s2"),
        ("silent", "s2 runs, does not answer, and could have lustre-OST0000 mounted", "vmlab power off three s2"),
    ],
)
def test_nobody_mounts_before_all_others_are_proven_harmless(evidence: Evidence, said: str, hint: str) -> None:
    known: dict[str, Evidence] = {"s1": "off", "s2": evidence, "s3": "free"}
    with pytest.raises(HostError, match=said) as caught:
        refuse_unproven("three", "lustre-OST0000", known, lambda _, node: known[node])
    assert caught.value.hint.endswith(hint)
    refuse_unproven("three", "lustre-OST0000", ("s1", "s3"), lambda _, node: known[node])


def test_a_target_without_partner_stays() -> None:
    alone = load(ROOT / "topologies" / "two-hop-routing.yaml")
    with pytest.raises(HostError, match="no failover partner"):
        moves_off(alone, {"lustre-OST0000": "oss1"}, "OST0000", running=("oss1",), whole_node=True)


def test_of_three_servers_the_next_that_runs_takes_over() -> None:
    three = loads(THREE, "three.yaml")

    def goes(source: str, *running: str) -> str:
        (move,) = moves_off(three, {"lustre-OST0000": source}, "OST0000", running=running, whole_node=False)
        return move.destination

    assert goes("s1", "s1", "s2", "s3") == "s2"
    assert goes("s1", "s1", "s3") == "s3"
    assert goes("s2", "s1", "s2", "s3") == "s3"
    assert goes("s3", "s1", "s2", "s3") == "s1"


def test_everything_goes_home_or_one_target_or_one_primary(ha: Topology) -> None:
    away = HOME | {"lustre-OST0000": "oss2", "lustre-OST0001": "oss2", "lustre-OST0002": "oss1"}
    assert [m.label for m in moves_home(ha, away, None, running=ALL)] == [
        "lustre-OST0000",
        "lustre-OST0001",
        "lustre-OST0002",
    ]
    assert moves_home(ha, away, "lustre-OST0000", running=ALL) == (Move("lustre-OST0000", "oss2", "oss1"),)
    assert moves_home(ha, away, "oss2", running=ALL) == (Move("lustre-OST0002", "oss1", "oss2"),)
    assert moves_home(ha, HOME, None, running=ALL) == ()


def test_nothing_goes_home_to_a_primary_that_is_off(ha: Topology) -> None:
    with pytest.raises(HostError, match="oss1: off"):
        moves_home(ha, HOME | {"lustre-OST0000": "oss2"}, None, running=("mds1", "mds2", "oss2"))
