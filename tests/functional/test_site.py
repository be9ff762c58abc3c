"""Beds on a network of the site: who gets which of its addresses, and which are looked at before."""

import pytest

from vmlab.errors import HostError
from vmlab.lab.beds.plan import look
from vmlab.lab.beds.taken import New, new_addresses, refuse
from vmlab.lab.beds.up import up
from vmlab.lab.ground.hosts import only
from vmlab.lab.ground.progress import Silent
from vmlab.topology import Topology, loads
from vmlab.virt.connection import Host

BED = """
name: tenant
fabrics:
  eth: {kind: ethernet, attach: bridge, bridge: br0, lnet: tcp, addresses: 10.1.0.50-10.1.0.60}
  own: {kind: ethernet}
nodes:
  "n[1-COUNT]": {role: client, memory: 128MiB, fabrics: [eth, own]}
"""


def bed(count: int, addresses: str = "10.1.0.50-10.1.0.60") -> Topology:
    return loads(BED.replace("COUNT", str(count)).replace("10.1.0.50-10.1.0.60", addresses))


def new(host: Host, topology: Topology) -> list[New]:
    return list(new_addresses(look(only(host), topology, accel="auto", restart=False, progress=Silent())))


def told(found: list[New]) -> list[tuple[str, str, str]]:
    return [(one.node, one.interface, str(one.address)) for one in found]


def test_only_what_a_node_does_not_have_yet_is_looked_at(host: Host) -> None:
    assert told(new(host, bed(2))) == [("n1", "br0", "10.1.0.50"), ("n2", "br0", "10.1.0.51")]
    up(only(host), bed(2), accel="auto", restart=False, timeout_s=60, jobs=1, wait=False, progress=Silent())
    assert new(host, bed(2)) == []
    assert told(new(host, bed(3))) == [("n3", "br0", "10.1.0.52")]
    assert told(new(host, bed(2, "10.1.0.51-10.1.0.60"))) == [("n1", "br0", "10.1.0.52")]


def test_an_address_at_which_somebody_answers_is_refused(host: Host) -> None:
    members = new(host, bed(2))
    refuse(members, {})
    with pytest.raises(HostError, match=r"10\.1\.0\.51 on eth was to be that of n2, and 02:00:00:00:00:05 answers"):
        refuse(members, {members[1].address: "02:00:00:00:00:05"})
