"""Addresses of guests beside machines that have theirs."""

from ipaddress import IPv4Interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmlab.domainxml.metadata import Address, NodeMetadata
from vmlab.domainxml.read import DomainFacts
from vmlab.errors import HostError
from vmlab.plan.lease import lease
from vmlab.plan.observed import ObservedBed, ObservedDomain
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
    leases = lease(topology, ObservedBed("mixed"), ())
    guests = {leases.addresses[node, "eth", 0].ip for node in topology.nodes}
    assert len(guests) == 20
    assert guests.isdisjoint(machine.addresses["eth"] for machine in topology.externals.values())


def test_an_address_that_a_guest_has_is_refused_for_a_machine() -> None:
    topology = bed(12, 2)
    place = Address("eth", "ethernet", "virtio", "eth", "", IPv4Interface("10.1.0.12/24"))
    there = NodeMetadata("mixed", "n2", ("client",), "demo", "root", "", (place,))
    facts = DomainFacts("mixed.n2", "", "kvm", 1, 1024, (), (), (), "", there)
    domain = ObservedDomain(facts, "running", frozenset())
    with pytest.raises(HostError, match=r"10\.1\.0\.12 on eth is written for the external node cn1, and n2 has it"):
        lease(topology, ObservedBed("mixed", {"n2": domain}), ())
