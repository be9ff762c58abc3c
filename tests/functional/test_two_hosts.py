"""A bed over two hosts, on two test drivers in one process: what is done for a node is done on the node's host."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from vmlab.errors import BusyError, HostError
from vmlab.lab.beds.down import down
from vmlab.lab.beds.power import power
from vmlab.lab.beds.reached import reached
from vmlab.lab.beds.status import known
from vmlab.lab.beds.up import Raised, up
from vmlab.lab.ground.bed import existing, locked
from vmlab.lab.ground.hosts import Hosts, only
from vmlab.lab.ground.progress import Silent
from vmlab.runtime.files import state_dir
from vmlab.topology import Topology, loads
from vmlab.virt.connection import Host
from vmlab.virt.observe import observe

from .conftest import EMPTY_HOST

BED = """
name: wide
hosts: {kvm1: {}, kvm2: {}}
fabrics: {ib0: {kind: infiniband, lnet: o2ib, attach: virtio}}
nodes:
  "mds[1-2]": {role: mds, memory: 256MiB, fabrics: [ib0], host: kvm1}
  "oss[1-2]": {role: oss, memory: 256MiB, fabrics: [ib0], host: kvm2, disks: [{name: scratch, size: 16MiB}]}
  client1: {role: client, memory: 256MiB, fabrics: [ib0]}
filesystems:
  lustre:
    mgt: {servers: [mds1, mds2], size: 64MiB}
    mdts: [{servers: [mds1, mds2], size: 64MiB}]
    osts: [{servers: [oss1, oss2], size: 64MiB}]
"""
ON_1, ON_2 = {"mds1", "mds2", "client1"}, {"oss1", "oss2"}


@pytest.fixture
def wide() -> Topology:
    return loads(BED, "wide.yaml")


@pytest.fixture
def hosts(host: Host, tmp_path: Path) -> Iterator[Hosts]:
    """`host` is there for the environment and the image."""
    del host
    made = {}
    for name in ("kvm1", "kvm2"):
        description = tmp_path / f"{name}.xml"
        description.write_text(EMPTY_HOST)
        made[name] = Host(f"test://{description}", name)
    yield Hosts(made)
    for one in made.values():
        one.close()


def bring_up(hosts: Hosts, topology: Topology, *, restart: bool = False) -> Raised:
    return up(hosts, topology, accel="auto", restart=restart, timeout_s=60, jobs=4, wait=False, progress=Silent())


def domains(host: Host) -> set[str]:
    return {name.removeprefix("wide.") for name, domain in observe(host).domains.items() if domain.running}


def shared(host: Host) -> set[str]:
    return {name for name in observe(host).volumes if name.startswith("wide._")}


def test_up_makes_each_node_on_its_host_and_down_leaves_neither_anything(hosts: Hosts, wide: Topology) -> None:
    bring_up(hosts, wide)
    assert (domains(hosts["kvm1"]), domains(hosts["kvm2"])) == (ON_1, ON_2)
    for host in hosts.values():
        assert set(observe(host).networks) == {"wide.mgmt", "wide.ib0"}
    # A target's disk is where its servers are.
    assert shared(hosts["kvm1"]) == {"wide._lustre-MGS.raw", "wide._lustre-MDT0000.raw"}
    assert shared(hosts["kvm2"]) == {"wide._lustre-OST0000.raw"}
    there = existing(hosts, "wide")
    stages = {node.name: node.stage for node in reached(hosts, there, known(hosts, there))}
    assert stages == dict.fromkeys(sorted(ON_1 | ON_2), "domain")
    again = bring_up(hosts, wide)
    assert (again.actions, again.prepared.plan.pending) == ((), ())

    assert down(hosts, "wide", keep_disks=False, progress=Silent())
    for host in hosts.values():
        observed = observe(host)
        assert (dict(observed.domains), dict(observed.networks), dict(observed.volumes)) == ({}, {}, {})
    assert list(state_dir().glob("**/secret")) == []


def test_no_address_and_no_subnet_is_given_twice(hosts: Hosts, wide: Topology) -> None:
    bring_up(hosts, wide)
    places = [address for node in existing(hosts, "wide").metadata.values() for address in node.addresses]
    assert len({address.ip for address in places}) == len({address.mac for address in places}) == 2 * 5
    assert len({address.ip.network for address in places}) == 2
    alone = loads("name: alone\nhosts: {kvm2: {}}\nnodes: {n1: {role: client, memory: 256MiB}}\n", "alone.yaml")
    bring_up(only(hosts["kvm2"]), alone)
    taken = {address.ip.network for address in places}
    assert existing(only(hosts["kvm2"]), "alone").metadata["n1"].management.ip.network not in taken


def test_power_is_switched_where_the_node_is(hosts: Hosts, wide: Topology) -> None:
    bring_up(hosts, wide)
    assert power(hosts, "wide", "oss1,mds1", "off", Silent()) == {"mds1": "shut off", "oss1": "shut off"}
    assert (domains(hosts["kvm1"]), domains(hosts["kvm2"])) == (ON_1 - {"mds1"}, ON_2 - {"oss1"})
    assert {action.node for action in bring_up(hosts, wide).actions} == {"mds1", "oss1"}
    assert (domains(hosts["kvm1"]), domains(hosts["kvm2"])) == (ON_1, ON_2)


def test_a_node_stays_on_the_host_where_its_disks_are(hosts: Hosts, wide: Topology) -> None:
    bring_up(hosts, wide)
    moved = loads(BED.replace("host: kvm2, disks", "host: kvm1, disks"), "wide.yaml")
    with pytest.raises(HostError, match="oss1 is on the host kvm2, and the file wants it on kvm1"):
        bring_up(hosts, moved)
    free = loads(BED.replace("host: kvm2, disks", "disks"), "wide.yaml")
    bring_up(hosts, free, restart=True)
    assert (domains(hosts["kvm1"]), domains(hosts["kvm2"])) == (ON_1, ON_2)


def test_the_bed_is_held_on_both(hosts: Hosts, wide: Topology) -> None:
    with locked(only(hosts["kvm2"]), "wide"), pytest.raises(BusyError, match="the bed wide is in use"):
        bring_up(hosts, wide)


def test_a_stop_between_the_hosts_is_made_good(hosts: Hosts, wide: Topology) -> None:
    bring_up(hosts, wide)
    down(only(hosts["kvm2"]), "wide", keep_disks=True, progress=Silent())
    bring_up(hosts, wide)
    assert (domains(hosts["kvm1"]), domains(hosts["kvm2"])) == (ON_1, ON_2)
