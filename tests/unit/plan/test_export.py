"""Disks that the first host exports: which, where they lie, on which port, and what is done about them."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from vmlab.domainxml.devices import Disk, Nbd, disk_elements
from vmlab.domainxml.metadata import NodeMetadata
from vmlab.domainxml.read import VolumeFacts, read_domain
from vmlab.domainxml.text import text
from vmlab.errors import HostError
from vmlab.plan.actions import EndExport, ExportVolume, RemoveVolume, by_name
from vmlab.plan.desired import Desired, desired_targets
from vmlab.plan.diff import diff, removal
from vmlab.plan.export import PORTS, exports
from vmlab.plan.observed import Observed, ObservedDomain
from vmlab.plan.overlay import HostLinks
from vmlab.topology import Topology, loads

BED = """
name: wide
hosts: {kvm1: {address: 10.1.0.1}, kvm2: {address: 10.1.0.2}}
fabrics: {eth: {kind: ethernet, lnet: tcp}}
nodes:
  s1: {role: [mds, oss], fabrics: [eth]}
  s2: {role: oss, fabrics: [eth]}
  c1: {role: client, fabrics: [eth]}
filesystems:
  lustre:
    shared: export
    mgt: {servers: s1}
    mdts: [{servers: s1, size: 64MiB}]
    osts: [{servers: [s2, s1], size: 64MiB, count: 2}, {servers: s2, size: 64MiB}]
"""
OST0, OST1, ALONE, MDT = (f"wide._lustre-{label}.raw" for label in ("OST0000", "OST0001", "OST0002", "MDT0000"))
NOTHING = Observed({}, {}, {})


@pytest.fixture
def bed() -> Topology:
    return loads(BED, "wide.yaml")


def looks(**links: HostLinks) -> dict[str, Observed]:
    return {host: replace(NOTHING, links=links.get(host, HostLinks())) for host in ("kvm1", "kvm2")}


def having(place: str, bed: str = "eve") -> Observed:
    """A host whose domain has a disk there."""
    xml = f"<domain><name>{bed}.x</name><uuid/><vcpu>1</vcpu><devices>{disk(place)}</devices></domain>"
    return replace(NOTHING, domains={f"{bed}.x": ObservedDomain(read_domain(xml), "running", frozenset())})


def disk(place: str) -> str:
    nbd = Nbd.of(place)
    assert nbd is not None
    (element,) = disk_elements([Disk(place.rpartition("/")[2], "raw", "lustre-OST0000", shareable=True, nbd=nbd)])
    return text(element)


def test_a_domain_says_where_an_export_is() -> None:
    place = f"nbd://10.1.0.1:61007/{OST0}"
    (domain,) = having(place).domains.values()
    assert domain.facts.disks == (place,)
    assert Nbd.of(place) == Nbd("10.1.0.1", 61007)
    assert Nbd.of("/var/lib/libvirt/images/nbd.raw") is None
    xml = disk(place)
    assert "<source protocol='nbd'" in xml.replace('"', "'")
    assert "cache='none'" in xml.replace('"', "'")
    assert "<shareable/>" in xml


def test_what_has_partners_lies_on_the_first_host_and_all_else_where_its_server_is(bed: Topology) -> None:
    found = exports(bed, looks())
    assert {volume.name for volume in found.volumes} == {OST0, OST1}
    assert {volume.name for volume in desired_targets(bed, {"s1"}, found, "kvm1")} == {MDT, OST0, OST1}
    assert {volume.name for volume in desired_targets(bed, {"s2"}, found, "kvm2")} == {ALONE}
    # It is there, whoever serves it.
    assert {volume.name for volume in desired_targets(bed, set(), found, "kvm1")} == {OST0, OST1}
    assert set(found.seen_on("kvm2")) == {OST0, OST1}
    assert found.seen_on("kvm1") == {}
    assert set(found.needed(bed, {"s1": "kvm1", "s2": "kvm2", "c1": "kvm2"})) == {OST0, OST1}
    assert found.needed(bed, {"s1": "kvm1", "s2": "kvm1", "c1": "kvm2"}) == {}


def test_without_the_word_or_on_one_host_nothing_is_exported(bed: Topology) -> None:
    assert exports(loads(BED.replace("    shared: export\n", ""), "wide.yaml"), looks()).volumes == ()
    assert exports(bed, {"kvm1": NOTHING}).volumes == ()


def test_a_port_stays_and_what_others_have_is_not_taken(bed: Topology) -> None:
    places = exports(bed, looks()).places
    assert places is not None
    assert len({place.port for place in places.values()}) == 2
    assert {place.address for place in places.values()} == {"10.1.0.1"}
    assert all(place.port in PORTS for place in places.values())
    free = places[OST0].port
    for links in (HostLinks(listening=frozenset({free})), HostLinks(exports={OST0: Nbd("10.1.0.1", free + 500)})):
        again = exports(bed, looks(kvm1=links)).places
        assert again is not None
        assert again[OST0].port != free
    named = exports(bed, looks() | {"kvm2": having(f"nbd://10.1.0.1:{free}/eve._lustre-OST0000.raw")}).places
    assert named is not None
    assert named[OST0].port != free
    # What a node of the bed has counts more than what runs: that is begun anew.
    node = having(f"nbd://10.1.0.1:61333/{OST0}", "wide").domains["wide.x"]
    metadata = NodeMetadata("wide", "s2", ("oss",), "demo", "root", "", ())
    own = replace(NOTHING, domains={"wide.s2": replace(node, facts=replace(node.facts, metadata=metadata))})
    stray = looks(kvm1=HostLinks(exports={OST0: Nbd("10.1.0.1", 61444)}))
    kept = exports(bed, stray | {"kvm2": own}).places
    assert kept is not None
    assert kept[OST0].port == 61333
    full = HostLinks(listening=frozenset(PORTS))
    with pytest.raises(HostError, match="no port is free on kvm1 from 61000 to 61999"):
        exports(bed, looks(kvm1=full))


def test_a_disk_is_not_exported_from_another_host_than_it_is_on(bed: Topology) -> None:
    there = looks()
    there["kvm2"] = replace(NOTHING, volumes={OST0: VolumeFacts(OST0, f"/pool/{OST0}", "")})
    with pytest.raises(
        HostError, match=f"/pool/{OST0} is on kvm2, and kvm1, the first host, would export it"
    ) as caught:
        exports(bed, there)
    assert "name kvm2 first under `hosts`" in caught.value.hint
    with pytest.raises(HostError, match=f"kvm1 exports {OST0}, and the file does not say over which network"):
        exports(loads(BED.replace("kvm1: {address: 10.1.0.1}", "kvm1: {}"), "wide.yaml"), looks())


def test_it_is_exported_when_it_is_made_and_ended_before_it_goes() -> None:
    wanted = Nbd("10.1.0.1", 61001)
    desired = Desired("wide", (), (), {}, {}, exports={OST0: wanted})

    def kinds(exported: dict[str, Nbd]) -> list[type]:
        links = HostLinks({IPv4Address("10.1.0.1"): 1500}, exports=exported)
        return [type(action) for action in diff(desired, replace(NOTHING, links=links), restart=False).volumes]

    assert kinds({}) == [ExportVolume]
    assert kinds({OST0: wanted}) == []
    assert kinds({OST0: Nbd("10.1.0.9", 61001)}) == [EndExport, ExportVolume]
    assert kinds({OST0: wanted, OST1: wanted}) == []  # a node that is not restarted may have it
    links = HostLinks(exports={OST0: wanted, "eve._lustre-OST0000.raw": wanted})
    there = replace(NOTHING, links=links, volumes={OST0: VolumeFacts(OST0, f"/pool/{OST0}", "")})
    for keep_disks, after in ((False, [EndExport, RemoveVolume]), (True, [EndExport])):
        (lane,) = by_name(removal(there.bed("wide"), there, keep_disks=keep_disks).volumes)
        assert [type(action) for action in lane] == after
        assert {action.name for action in lane} == {OST0}
