"""What joins a bed's networks over several hosts: which VNI, how large packets may be, and what is refused."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from vmlab.domainxml.metadata import NetworkMetadata
from vmlab.domainxml.read import NetworkFacts
from vmlab.errors import HostError
from vmlab.plan.lease import lease
from vmlab.plan.observed import Observed, ObservedBed, ObservedNetwork
from vmlab.plan.overlay import VNIS, HostLinks, ObservedLink, is_as, narrowed, overlays, refuse_large
from vmlab.topology import Topology, loads
from vmlab.values import identity

BED = """
name: wide
hosts: {kvm1: {address: 10.1.0.1}, kvm2: {address: 10.1.0.2}, kvm3: {address: 10.1.0.3}}
fabrics: {ib0: {kind: infiniband, attach: virtio}, eth: {kind: ethernet, attach: virtio, mtu: 1400}}
nodes: {n1: {role: client, fabrics: [ib0, eth]}}
"""
OVER = ("mgmt", "ib0", "eth")


def addressed(*links: ObservedLink, mtu: int = 1500) -> dict[str, HostLinks]:
    """The three hosts, each with its address; the links are all on the second."""
    return {
        f"kvm{number}": HostLinks(
            {IPv4Address(f"10.1.0.{number}"): mtu}, {link.name: link for link in links if number == 2}
        )
        for number in (1, 2, 3)
    }


def link(name: str, alias: str, vni: int) -> ObservedLink:
    return ObservedLink(name, alias, vni, None, frozenset(), 1450, "", up=True)


@pytest.fixture
def bed() -> Topology:
    return loads(BED, "wide.yaml")


def test_each_host_leads_to_all_others_with_the_same_vnis(bed: Topology) -> None:
    found = overlays(bed, addressed(), OVER)
    assert len(set(found.vnis.values())) == len(OVER)
    assert all(vni in VNIS for vni in found.vnis.values())
    ends = {host: {end.fabric: end for end in found.on(host, OVER)} for host in bed.hosts}
    for fabric in OVER:
        assert len({ends[host][fabric].vni for host in ends}) == 1
    assert ends["kvm2"]["ib0"].peers == {IPv4Address("10.1.0.1"), IPv4Address("10.1.0.3")}
    assert ends["kvm2"]["ib0"].local == IPv4Address("10.1.0.2")
    assert all(len(end.link) <= 15 for end in ends["kvm1"].values())


def test_a_vni_that_somebody_has_is_not_taken_and_the_bed_s_own_stays(bed: Topology) -> None:
    free = overlays(bed, addressed(), OVER).vnis
    others = overlays(bed, addressed(link("vxlan7", "", free["ib0"])), OVER).vnis
    assert others["ib0"] != free["ib0"]
    assert others["mgmt"] == free["mgmt"]
    own = link(identity.overlay_name("wide", "ib0"), identity.overlay_alias("wide", "ib0"), VNIS[7])
    assert overlays(bed, addressed(own), OVER).vnis["ib0"] == VNIS[7]
    # An alias alone proves nothing, and a name alone only where the bed has such a network and the alias is not there.
    assert HostLinks({}, {"vxlan0": replace(own, name="vxlan0")}).of("wide", ["ib0"]) == {}
    assert HostLinks({}, {own.name: replace(own, alias="eve's")}).of("wide", ["ib0"]) == {}
    begun = replace(own, alias="")
    assert HostLinks({}, {own.name: begun}).of("wide", ["ib0"]) == {"wide.ib0": begun}
    assert HostLinks({}, {own.name: begun}).of("wide", []) == {}


def test_packets_fit_between_the_hosts(bed: Topology) -> None:
    found = overlays(bed, addressed(mtu=1500), OVER)
    assert found.narrow == 1450
    narrow = narrowed(bed, found, OVER).fabrics
    assert (narrow["ib0"].mtu, narrow["eth"].mtu) == (1450, 1400)
    assert narrowed(bed, found, ("mgmt", "eth")).fabrics["ib0"].mtu is None
    large = overlays(bed, addressed(mtu=9000), OVER)
    assert large.narrow is None
    assert narrowed(bed, large, OVER) is bed
    refuse_large(bed, ("mgmt", "ib0"), 1350)
    with pytest.raises(HostError, match="fabric eth: packets of 1400 bytes do not fit") as caught:
        refuse_large(bed, OVER, overlays(bed, addressed(mtu=1400), OVER).mtu)
    assert caught.value.message.endswith("carries 1400 with VXLAN's 50")
    assert "fabrics: {eth: {mtu: 1350}}" in caught.value.hint


def test_no_network_is_guessed(bed: Topology) -> None:
    silent = loads(BED.replace("kvm2: {address: 10.1.0.2}", "kvm2: {}"), "wide.yaml")
    with pytest.raises(HostError, match="does not say over which network") as caught:
        overlays(silent, addressed(), OVER)
    assert "kvm2: {address: IPV4}" in caught.value.hint
    looks = addressed() | {"kvm3": HostLinks({IPv4Address("10.1.0.9"): 1500})}
    with pytest.raises(HostError, match=r"the host kvm3 has no address 10\.1\.0\.3 \(addresses: 10\.1\.0\.9\)"):
        overlays(bed, looks, OVER)


def test_what_is_so_is_left_alone(bed: Topology) -> None:
    (end,) = overlays(bed, addressed(), OVER).on("kvm1", ["ib0"])
    there = ObservedLink(end.link, end.alias, end.vni, end.local, end.peers, end.mtu, "bridge0", up=True)
    assert is_as(there, end, "bridge0")
    for changed in (
        replace(there, up=False),
        replace(there, bridge=""),
        replace(there, mtu=1500),
        replace(there, peers=frozenset()),
        replace(there, vni=end.vni + 1),
        None,
    ):
        assert not is_as(changed, end, "bridge0")


def network(gateway: str) -> ObservedNetwork:
    metadata = NetworkMetadata("wide", "mgmt", IPv4Network("10.77.5.0/24"))
    facts = NetworkFacts("wide.mgmt", "", "vl0", None, (metadata.subnet,), metadata, gateway=gateway)
    return ObservedNetwork(facts, active=True)


def test_each_host_has_a_gateway_of_its_own_that_no_host_beside_it_changes(bed: Topology) -> None:
    empty = Observed({}, {}, {})
    fresh = lease(bed, ObservedBed("wide"), {"kvm1": empty, "kvm2": empty, "kvm3": empty})
    subnet = fresh.subnets["mgmt"]
    assert fresh.gateways == {"kvm2": str(subnet[-2]), "kvm3": str(subnet[-3])}
    had = {"kvm2": network("10.77.5.1"), "kvm3": network("10.77.5.253")}
    looks = {"kvm1": empty, **{host: Observed({}, {"wide.mgmt": found}, {}) for host, found in had.items()}}
    later = lease(bed, ObservedBed("wide", networks={"mgmt": had["kvm2"]}), looks)
    assert later.subnets["mgmt"] == IPv4Network("10.77.5.0/24")
    assert later.gateways == {"kvm1": "10.77.5.254", "kvm3": "10.77.5.253"}
    alone = lease(bed, ObservedBed("wide"), {"kvm1": empty})
    assert alone.gateways == {}
