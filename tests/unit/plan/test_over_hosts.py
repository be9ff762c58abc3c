"""A bed of several hosts whose fabrics may be the hosts' own: what joins guests depends on who passes what."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from vmlab.errors import HostError
from vmlab.lab.beds import plan
from vmlab.lab.beds.decide import Prepared, decide_all
from vmlab.lab.beds.prepare import refuse_without_bridges
from vmlab.lab.ground.progress import Silent
from vmlab.plan.observed import Observed
from vmlab.plan.overlay import HostLinks
from vmlab.topology import Topology, loads

ROOT = Path(__file__).parents[3]
HOSTS = ROOT / "tests/hosts"
PASSED = (ROOT / "topologies/oss-benchmark-two-hosts.yaml").read_text()
AUTO = PASSED.replace("attach: passthrough", "attach: auto")
SMALL = re.sub("cpus: 6, memory: 12GiB", "cpus: 1, memory: 512MiB", AUTO)
SMALL = SMALL.replace("dedicated", "shared").replace("numa: strict", "numa: none")
WITH, WITHOUT = "oss-x5670", "two-cores"  # hosts with HCAs, and without


@pytest.fixture(autouse=True)
def really(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of hosts are looked at as hosts that are there: each has its address, and networks go over them."""

    def decide(topology: Topology, looks: Mapping[str, Observed], *rest: Any, **how: Any) -> Prepared:
        links = {name: HostLinks({host.address: 1500}) for name, host in topology.hosts.items() if host.address}
        looks = {name: replace(look, links=links.get(name, HostLinks())) for name, look in looks.items()}
        return decide_all(topology, looks, *rest, joined=True, **how)

    monkeypatch.setattr(plan, "decide_all", decide)


BRIDGED = """
name: bridged
hosts: {kvm1: {}, kvm2: {uri: "qemu+ssh://kvm2/system"}, kvm3: {uri: "qemu+ssh://kvm3/system"}}
management: {bridge: {kvm1: br0, kvm2: br-site}, addresses: 10.1.0.50-10.1.0.99}
fabrics:
  data: {kind: ethernet, attach: bridge, bridge: {kvm2: br-data, kvm1: br1}}
  one: {kind: ethernet, attach: bridge, bridge: br9}
nodes:
  n1: {role: client, cpus: 1, memory: 256MiB, host: kvm1, fabrics: [data, one]}
  n2: {role: client, cpus: 1, memory: 256MiB, host: kvm2, fabrics: [data, one]}
"""


def on_both(bed: Topology, record: str) -> Prepared:
    return plan.look_at_records(bed, [f"{host}={HOSTS / record}" for host in bed.hosts], progress=Silent())


def over(prepared: Prepared) -> set[tuple[str, ...]]:
    return {tuple(end.fabric for end in part.desired.overlays) for part in prepared.parts.values()}


def bed(text: str) -> Topology:
    return loads(text, "bed.yaml")


def large(text: str) -> Topology:
    return bed(text.replace("lnet: o2ib", "lnet: o2ib\n    mtu: 4092"))


def on_site(text: str) -> Topology:
    site = "management: {bridge: br0, addresses: 10.9.0.50-10.9.0.99}\n"
    return bed(site + re.sub("address: [0-9.]+, ", "", text))


def mtus(prepared: Prepared) -> set[int | None]:
    return {address.mtu for node in prepared.members.values() for address in node.addresses}


def test_functions_of_the_hosts_are_joined_by_nothing_of_ours() -> None:
    for text in (PASSED, AUTO):
        passed = on_both(bed(text), WITH)
        assert over(passed) == {("mgmt",)}
        assert mtus(passed) == {None}
    assert over(on_both(bed(SMALL), WITHOUT)) == {("mgmt", "storage", "ib0")}


def test_only_what_goes_over_vxlan_has_to_fit_into_it() -> None:
    assert mtus(on_both(large(AUTO), WITH)) == {None, 4092}
    with pytest.raises(HostError, match="fabric ib0: packets of 4092 bytes do not fit"):
        on_both(large(SMALL), WITHOUT)


def test_where_nothing_has_to_be_joined_no_address_is_asked_for() -> None:
    assert over(on_both(on_site(AUTO), WITH)) == {()}
    with pytest.raises(HostError, match="nothing joins the guests of kvm1, kvm2"):
        on_both(on_site(SMALL), WITHOUT)


def test_each_host_has_its_own_bridge_for_a_fabric() -> None:
    prepared = on_both(bed(BRIDGED), WITHOUT)
    found = {
        name: [source.get("bridge") for source in etree.fromstring(node.xml).iterfind("devices/interface/source")]
        for name, node in prepared.nodes.items()
    }
    assert found == {"n1": ["br0", "br1", "br9"], "n2": ["br-site", "br-data", "br9"]}
    # A bridge of another name on the other host is no change of a node.
    other = on_both(bed(BRIDGED.replace("kvm2: br-data", "kvm2: br7")), WITHOUT)
    assert same(prepared, other, "n1")
    assert not same(prepared, other, "n2")
    # One name is the same as that name for each.
    alike = BRIDGED.replace("{kvm2: br-data, kvm1: br1}", "{kvm1: brx, kvm2: brx}")
    assert same(
        on_both(bed(alike), WITHOUT), on_both(bed(BRIDGED.replace("{kvm2: br-data, kvm1: br1}", "brx")), WITHOUT), "n1"
    )


def same(one: Prepared, other: Prepared, node: str) -> bool:
    interfaces = [etree.fromstring(of.nodes[node].xml).findall("devices/interface") for of in (one, other)]
    first, second = ([etree.tostring(interface) for interface in found] for found in interfaces)
    return first == second


def test_a_host_without_its_bridge_is_named() -> None:
    topology = bed(BRIDGED)
    looks = {
        "kvm1": Observed({}, {}, {}, bridges=frozenset({"br0", "br1", "br9"})),
        "kvm2": Observed({}, {}, {}, bridges=frozenset({"br0", "br-site", "br9"})),
        "kvm3": Observed({}, {}, {}, bridges=frozenset({"br9"})),
    }
    with pytest.raises(HostError, match="the host kvm2 has no bridge br-data, which the fabric data asks for"):
        refuse_without_bridges(topology, looks)
    refuse_without_bridges(bed(BRIDGED.replace("br-data", "br0")), looks)
