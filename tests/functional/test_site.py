"""Beds on a network of the site: who gets which of its addresses, and which are looked at before."""

import json
from ipaddress import IPv4Address, IPv4Interface
from types import SimpleNamespace
from typing import Any, cast

import pytest

from vmlab.errors import HostError
from vmlab.lab.beds import taken
from vmlab.lab.beds.plan import look
from vmlab.lab.beds.taken import New, new_addresses, refuse, refuse_taken
from vmlab.lab.beds.up import up
from vmlab.lab.ground.guests import steps_of
from vmlab.lab.ground.hosts import only
from vmlab.lab.ground.progress import Silent
from vmlab.topology import Topology, loads
from vmlab.values.addresses import RANGE
from vmlab.virt.connection import Host
from vmlab.virt.observe import observe

BED = """
name: tenant
fabrics:
  eth: {kind: ethernet, attach: bridge, bridge: br0, lnet: tcp, addresses: 10.1.0.50-10.1.0.60}
  own: {kind: ethernet}
nodes:
  "n[1-COUNT]": {role: client, memory: 128MiB, fabrics: [eth, own]}
"""


MANAGED = """
name: tenant
management: {bridge: br0, addresses: 10.1.0.1-10.1.0.9, gateway: 10.1.0.1, nameserver: 10.1.0.3}
nodes:
  "n[1-2]": {role: client, memory: 128MiB}
"""


BARE = """
name: tenant
nodes: {"n[1-2]": {role: client, memory: 128MiB}}
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


@pytest.mark.parametrize(
    ("bridges", "asked"),
    [
        ("br0", {("near", "br0"): ["n1", "n2"]}),
        ("{far: br-far, near: br-near}", {("near", "br-near"): ["n1", "n2"]}),
        ("{far: br-far}", {("far", "br-far"): ["n1"]}),
    ],
)
def test_who_is_asked_for_addresses_is_this_machine_by_its_own_bridge(
    monkeypatch: pytest.MonkeyPatch, bridges: str, asked: dict[tuple[str, str], list[str]]
) -> None:
    hosts: Any = {name: SimpleNamespace(local=name == "near", simulated=False) for name in ("far", "near")}
    places = {"n1": "far"} if "near" not in bridges and bridges != "br0" else {"n1": "far", "n2": "near"}
    nodes = ", ".join(f"{node}: {{role: client, host: {host}, fabrics: [eth]}}" for node, host in places.items())
    topology = loads(
        f"name: b\nhosts: {{far: {{uri: qemu+ssh://far/system}}, near: {{}}}}\nnodes: {{{nodes}}}\n"
        f"fabrics: {{eth: {{kind: ethernet, attach: bridge, bridge: {bridges}, addresses: 10.1.0.50-10.1.0.60}}}}\n"
    )
    eth = topology.fabrics["eth"]
    wanted = [New(n, host, eth, eth.bridges[host], IPv4Address("10.1.0.50")) for n, host in places.items()]
    heard: dict[tuple[str, str], list[str]] = {}

    def answers(_hosts: Any, _prepared: Any, members: list[New]) -> dict[IPv4Address, str]:
        heard[members[0].host, members[0].interface] = [one.node for one in members]
        return {}

    monkeypatch.setattr(taken, "new_addresses", lambda _: wanted)
    monkeypatch.setattr(taken, "_answers", answers)
    refuse_taken(hosts, cast("Any", None), Silent())
    assert heard == asked


def test_an_address_at_which_somebody_answers_is_refused(host: Host) -> None:
    members = new(host, bed(2))
    refuse(members, {})
    with pytest.raises(HostError, match=r"10\.1\.0\.51 on eth was to be that of n2, and 02:00:00:00:00:05 answers"):
        refuse(members, {members[1].address: "02:00:00:00:00:05"})


def test_the_site_s_network_is_the_management_network(host: Host) -> None:
    topology = loads(MANAGED)
    assert told(new(host, topology)) == [("n1", "br0", "10.1.0.2"), ("n2", "br0", "10.1.0.4")]
    made = up(only(host), topology, accel="auto", restart=False, timeout_s=60, jobs=1, wait=False, progress=Silent())
    seen = observe(host)
    assert not seen.networks
    node = seen.bed("tenant").metadata["n1"]
    assert (node.management.ip, node.management.attach) == (IPv4Interface("10.1.0.2/24"), "bridge")
    assert (node.gateway, node.nameserver) == ("", "10.1.0.3")
    network = json.loads(made.prepared.nodes["n1"].told.documents["network-config"])["ethernets"]["0-mgmt"]
    assert network["routes"] == [{"to": "0.0.0.0/0", "via": "10.1.0.1"}]
    assert network["nameservers"] == {"addresses": ["10.1.0.3"]}
    assert new(host, topology) == []
    again = look(only(host), topology, accel="auto", restart=False, progress=Silent())
    assert again.plan.actions == ()
    # One of the bed's own again is leased anew.
    own = look(only(host), loads(BARE), accel="auto", restart=True, progress=Silent())
    assert own.nodes["n1"].metadata.management.ip.network.subnet_of(RANGE)


def test_guests_without_a_name_server_ask_nobody(host: Host) -> None:
    topology = loads(MANAGED.replace(", nameserver: 10.1.0.3", ""))
    up(only(host), topology, accel="auto", restart=False, timeout_s=60, jobs=1, wait=False, progress=Silent())
    domain = observe(host).bed("tenant").nodes["n1"]
    assert domain.facts.metadata is not None
    steps = steps_of(only(host), domain.facts.metadata, domain.facts, {"n1": domain.facts.metadata})
    assert "names" not in {step.name for step in steps}
