"""Addresses of guests beside machines that have theirs."""

from ipaddress import IPv4Interface, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmlab.domainxml.metadata import Address, NodeMetadata
from vmlab.domainxml.read import DomainFacts
from vmlab.errors import HostError
from vmlab.plan.lease import lease
from vmlab.plan.observed import Observed, ObservedBed, ObservedDomain
from vmlab.topology import Topology, loads

BED = """
name: mixed
fabrics:
  eth: {{kind: ethernet, subnet: 10.1.0.0/24}}
nodes:
  "n[1-20]": {{role: client, fabrics: [eth]}}
  "cn[1-{count}]":
    external: "ssh://cn[1-{count}]"
    role: client
    fabrics: {{eth: {{address: "10.1.0.[{first}-{last}]"}}}}
"""


def bed(first: int, count: int) -> Topology:
    return loads(BED.format(count=count, first=first, last=first + count - 1))


@given(first=st.integers(1, 200), count=st.integers(2, 40))
def test_no_guest_gets_the_address_of_a_machine(first: int, count: int) -> None:
    topology = bed(first, count)
    leases = lease(topology, ObservedBed("mixed"), {})
    guests = {leases.addresses[node, "eth", 0].ip for node in topology.nodes}
    assert len(guests) == 20
    assert guests.isdisjoint(machine.addresses["eth"] for machine in topology.externals.values())


def test_an_address_that_a_guest_has_is_refused_for_a_machine() -> None:
    topology = bed(12, 2)
    place = Address("eth", "ethernet", "virtio", "eth", "", IPv4Interface("10.1.0.12/24"))
    there = NodeMetadata("mixed", "n2", ("client",), "demo", "root", "", (place,))
    facts = DomainFacts("mixed.n2", "", "kvm", 1, 1024, (), (), there)
    domain = ObservedDomain(facts, "running", frozenset())
    with pytest.raises(HostError, match=r"10\.1\.0\.12 on eth is written for the external node cn1, and n2 has it"):
        lease(topology, ObservedBed("mixed", {"n2": domain}), {})


SITE = """
name: tenant
fabrics:
  eth:
    kind: ethernet
    attach: bridge
    bridge: br0
    lnet: tcp
    addresses: 10.1.0.50-10.1.0.54
    routers: {o2ib: [10.1.0.51@tcp]}
nodes:
  "n[1-2]": {role: client, fabrics: [eth]}
  cn1: {external: ssh://cn1, role: client, fabrics: {eth: {address: 10.1.0.50}}}
"""


def there(bed_name: str, node: str, address: str) -> ObservedDomain:
    place = Address("eth", "ethernet", "bridge", "eth", "", IPv4Interface(f"{address}/24"))
    metadata = NodeMetadata(bed_name, node, ("client",), "demo", "root", "", (place,))
    facts = DomainFacts(f"{bed_name}.{node}", "", "kvm", 1, 1024, (), (), metadata)
    return ObservedDomain(facts, "running", frozenset())


def of_site(observed: dict[str, ObservedDomain]) -> dict[str, str]:
    look = Observed(observed, {}, {}, routes=(("br0", IPv4Network("10.1.0.0/24")),))
    leases = lease(loads(SITE), look.bed("tenant"), {"local": look})
    return {node: str(address) for (node, fabric, _), address in leases.addresses.items() if fabric == "eth"}


def test_a_site_s_addresses_are_given_beside_its_host_s_and_other_beds() -> None:
    """What is on the host's own network is no clash there: only whose address it is counts."""
    assert of_site({}) == {"n1": "10.1.0.52/24", "n2": "10.1.0.53/24"}
    other = {"other.x": there("other", "x", "10.1.0.52")}
    assert of_site(other) == {"n1": "10.1.0.53/24", "n2": "10.1.0.54/24"}


def test_nodes_keep_the_addresses_of_the_site_that_they_have() -> None:
    assert of_site({"tenant.n2": there("tenant", "n2", "10.1.0.52")}) == {"n1": "10.1.0.53/24", "n2": "10.1.0.52/24"}


def test_a_site_s_addresses_come_to_an_end() -> None:
    others = {f"other.x{n}": there("other", f"x{n}", f"10.1.0.{n}") for n in (52, 53)}
    with pytest.raises(HostError, match=r"10\.1\.0\.50-10\.1\.0\.54 of the fabric eth are all taken"):
        of_site(others)
