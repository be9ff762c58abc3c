"""A bed over two hosts, on two test drivers in one process: what is done for a node is done on the node's host."""

import io
import json
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmlab.cli.target import at
from vmlab.errors import BusyError, HostError, UsageError
from vmlab.lab.beds.down import down
from vmlab.lab.beds.power import power
from vmlab.lab.beds.prepare import images_of, prepare
from vmlab.lab.beds.reached import reached
from vmlab.lab.beds.status import NodeStatus, beds, known
from vmlab.lab.beds.up import Raised, up
from vmlab.lab.ground.bed import existing, hosts_at, known_hosts, locked
from vmlab.lab.ground.bed_folder import new_folder, nodes_on, spread
from vmlab.lab.ground.hosts import Hosts, only
from vmlab.lab.ground.progress import Silent
from vmlab.plan.observed import ObservedFolder
from vmlab.report.plan import document, text
from vmlab.report.tables import node_table
from vmlab.runtime.files import state_dir
from vmlab.topology import Topology, loads
from vmlab.values import identity
from vmlab.values.libvirt_uri import Way
from vmlab.values.nodeset import fold
from vmlab.values.ssh_uri import SshUri
from vmlab.virt.connection import Away, Host
from vmlab.virt.observe import observe
from vmlab.virt.perform import perform_lanes

from .conftest import simulated_hosts

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
    with simulated_hosts(tmp_path, "kvm1", "kvm2") as hosts:
        yield hosts


def bring_up(hosts: Hosts, topology: Topology, *, restart: bool = False) -> Raised:
    return up(hosts, topology, accel="auto", restart=restart, timeout_s=60, jobs=4, wait=False, progress=Silent())


def domains(host: Host) -> set[str]:
    return {name.removeprefix("wide.") for name, domain in observe(host).domains.items() if domain.running}


def shared(host: Host) -> set[str]:
    return {name for name in observe(host).volumes if name.startswith("wide._")}


def test_status_says_where_each_node_is(hosts: Hosts, wide: Topology) -> None:
    bring_up(hosts, wide)
    nodes = known(hosts, existing(hosts, "wide"))
    assert {node.name for node in nodes if node.host == "kvm1"} == ON_1
    assert {node.name for node in nodes if node.host == "kvm2"} == ON_2
    head, *rows = told(nodes)
    assert head.split()[:3] == ["NODE", "HOST", "ROLE"]
    assert {row.split()[1] for row in rows} == {"kvm1", "kvm2"}
    assert told([node for node in nodes if node.host == "kvm1"])[0].split()[:2] == ["NODE", "ROLE"]


def told(nodes: list[NodeStatus]) -> list[str]:
    return (node_table(nodes).text(None, coloured=False) or "").splitlines()


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


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("vmlab.lab.beds.admission", "available_memory"),
        ("vmlab.lab.beds.down", "refresh_files"),
        ("vmlab.lab.ground.hosts", "answers"),
    ],
)
def test_hosts_are_asked_at_once(
    hosts: Hosts, wide: Topology, monkeypatch: pytest.MonkeyPatch, module: str, name: str
) -> None:
    """Each waits until the other is asked, too: one after the other they would wait for ever."""
    meet = threading.Barrier(len(hosts))
    real = getattr(sys.modules[module], name)

    def together(host: Host, *given: object, **how: object) -> object:
        try:
            meet.wait(timeout=60)
        except threading.BrokenBarrierError:
            raise HostError(f"{host.name} is asked alone") from None
        return real(host, *given, **how)

    monkeypatch.setattr(sys.modules[module], name, together)
    bring_up(hosts, wide)
    down(hosts, "wide", keep_disks=False, progress=Silent())
    assert not meet.broken


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
    states, _ = power(hosts, "wide", "oss1,mds1", "off", Silent())
    assert states == {"mds1": "shut off", "oss1": "shut off"}
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


def test_its_name_suffices_to_find_its_hosts(hosts: Hosts, wide: Topology) -> None:
    assert known_hosts("wide") is None
    bring_up(hosts, wide)
    assert known_hosts("wide") == {name: host.way for name, host in hosts.items()}
    assert nodes_on(hosts.keeper, "wide", "kvm2") == sorted(ON_2)
    down(hosts, "wide", keep_disks=False, progress=Silent())
    assert known_hosts("wide") is None


def without(hosts: Hosts, name: str) -> Hosts:
    """As `hosts_of` opens them when that one does not answer."""
    away = Away(name, hosts[name].uri, HostError(f"no libvirt at {hosts[name].uri}"))
    return Hosts({other: host for other, host in hosts.items() if other != name}, {name: away}, "kvm1")


def test_a_host_that_is_away_counts_for_whom_it_has(hosts: Hosts, wide: Topology) -> None:
    bring_up(hosts, wide)
    left = without(hosts, "kvm2")
    for nodes, here in (("mds1", ["mds1"]), ("@mds", ["mds1", "mds2"]), ("mds*,client1", ["mds1", "mds2", "client1"])):
        states, choice = power(left, "wide", nodes, "status", Silent())
        assert list(states) == here
        choice.refuse_rest()
    for nodes, told in (("*", r"oss\[1-2\]"), ("oss1,mds1", "oss1"), ("@mds,@oss", r"oss\[1-2\]")):
        states, choice = power(left, "wide", nodes, "status", Silent())
        assert set(states) <= ON_1
        with pytest.raises(HostError, match=f"wide: nothing is known of {told} on kvm2, which is away"):
            choice.refuse_rest()
    # Nobody is left to be asked.
    for nodes in ("oss1", "@oss"):
        with pytest.raises(HostError, match="on kvm2, which is away"):
            power(left, "wide", nodes, "off", Silent())
    assert domains(hosts["kvm2"]) == ON_2
    with pytest.raises(UsageError, match="no node is called `oss3`"):
        power(left, "wide", "oss3", "status", Silent())


def test_nobody_waits_for_a_host_that_has_none_of_the_nodes(
    hosts: Hosts, wide: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring_up(hosts, wide)
    asked: list[str] = []

    def opened(self: Host, _uri: str, name: str, _ssh: SshUri | None) -> None:
        """In the place of a connection: each to a test driver is a host of its own."""
        asked.append(name)
        vars(self).update(vars(hosts[name]))

    monkeypatch.setattr(Host, "__init__", opened)
    monkeypatch.setattr(Host, "close", lambda _: None)
    both = ["kvm1", "kvm2"]
    for nodes, on in (("oss1", ["kvm2"]), ("mds[1-2]", ["kvm1"]), ("mds1,oss2", both), ("*", both), ("@oss", both)):
        asked.clear()
        with at("wide", tolerant=True, nodes=nodes) as (found, _):
            assert sorted(asked) == sorted(found) == on
            assert all(not one.asked for one in found.away.values())
            _, choice = power(found, "wide", nodes, "status", Silent())
            choice.refuse_rest()
    # What was noted is old: it is on another host by now.
    home = hosts.keeper
    spread(home, "wide", {name: host.way for name, host in hosts.items()}, {"kvm1": {"oss1": ["oss"]}, "kvm2": {}})
    asked.clear()
    with at("wide", tolerant=True, nodes="oss1") as (found, _):
        assert sorted(asked) == ["kvm1", "kvm1", "kvm2"]
        assert set(found) == {"kvm1", "kvm2"}


def test_a_host_of_which_nothing_was_noted_may_have_anybody(hosts: Hosts, wide: Topology) -> None:
    bring_up(hosts, wide)
    (new_folder(hosts.keeper, "wide") / "hosts").unlink()
    left = without(hosts, "kvm2")
    power(left, "wide", "mds1", "status", Silent())[1].refuse_rest()
    with pytest.raises(HostError, match="nothing is known of what is on kvm2"):
        power(left, "wide", "@mds", "status", Silent())[1].refuse_rest()
    with pytest.raises(HostError, match=r"no node is called `oss1`.*what is on kvm2, which is away, is not known"):
        power(left, "wide", "oss1", "status", Silent())
    with pytest.raises(HostError, match=r"no node of other is on test:.*and kvm2 is away"):
        power(left, "other", "n1", "status", Silent())


@pytest.mark.parametrize(("away", "there", "left"), [("kvm2", "kvm1", ON_2), ("kvm1", "kvm2", ON_1)])
def test_down_without_a_host_says_what_is_left_and_finishes_later(
    hosts: Hosts, wide: Topology, away: str, there: str, left: set[str]
) -> None:
    bring_up(hosts, wide)
    with pytest.raises(HostError, match=rf"wide: on {away} the nodes .*are left: no libvirt at test:") as caught:
        down(without(hosts, away), "wide", keep_disks=False, progress=Silent())
    assert fold(sorted(left)) in caught.value.message
    assert caught.value.hint == f"vmlab down wide, when {away} answers"
    assert (domains(hosts[there]), domains(hosts[away])) == (set(), left)
    assert not any(host_left(hosts[there]))
    # The way into its guests and the way to its hosts are kept.
    assert known_hosts("wide") == {name: host.way for name, host in hosts.items()}
    assert len(list(state_dir().glob("**/secret"))) == 1
    assert down(hosts, "wide", keep_disks=False, progress=Silent())
    assert not any(host_left(hosts[away]))
    assert list(state_dir().glob("**/beds/wide")) == []


def host_left(host: Host) -> tuple[object, ...]:
    observed = observe(host)
    return dict(observed.domains), dict(observed.networks), dict(observed.volumes)


def test_a_host_that_fails_keeps_no_other_from_its_part(
    hosts: Hosts, wide: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring_up(hosts, wide)

    def fails(host: Host, *rest: object, **how: object) -> None:
        if host.name == "kvm1":
            raise HostError("kvm1 is gone")
        perform_lanes(host, *rest, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(sys.modules["vmlab.lab.beds.down"], "perform_lanes", fails)
    with pytest.raises(HostError, match="kvm1 is gone"):
        down(hosts, "wide", keep_disks=False, progress=Silent())
    assert not any(host_left(hosts["kvm2"]))


def test_a_host_that_the_file_forgets_is_asked_for(hosts: Hosts, wide: Topology) -> None:
    bring_up(hosts, wide)
    text = BED.replace("hosts: {kvm1: {}, kvm2: {}}", "hosts: {kvm1: {}}").replace("host: kvm2, ", "")
    with pytest.raises(HostError, match=r"wide is on kvm2 \(test:.*\), too, which wide\.yaml does not have"):
        bring_up(Hosts({"kvm1": hosts["kvm1"]}, first="kvm1"), loads(text, "wide.yaml"))


def test_a_host_that_the_file_reaches_by_another_uri_is_told_so(hosts: Hosts, wide: Topology) -> None:
    bring_up(hosts, wide)
    other = Hosts({"kvm1": hosts["kvm1"], "kvm2": Host("test:///default", "kvm2")}, first="kvm1")
    with pytest.raises(HostError, match=r"wide is on kvm2 \(test:.*\), too") as caught:
        bring_up(other, wide)
    assert caught.value.hint == "give kvm2 that `uri` again; or: vmlab down wide"


def test_two_names_of_one_host_are_refused() -> None:
    with (
        pytest.raises(UsageError, match="the hosts a and b are one: test:///default"),
        hosts_at({"a": Way("test:///default"), "b": Way("test:///default")}),
    ):
        pass


def test_who_only_looks_does_without_a_host_that_is_away(tmp_path: Path) -> None:
    ways = {"far": Way(f"qemu+unix:///system?socket={tmp_path}/none"), "near": Way("test:///default")}
    with pytest.raises(HostError, match="no libvirt at qemu"), hosts_at(ways):
        pass
    with hosts_at(ways, tolerant=True) as found:
        assert (list(found), list(found.away), found.keeper.name) == (["near"], ["far"], "far")
        with pytest.raises(HostError, match="no libvirt at qemu"):
            found.home  # noqa: B018


def test_a_plan_says_what_is_done_on_which_host(hosts: Hosts, wide: Topology) -> None:
    prepared = prepare(hosts, wide, accel="test", restart=False, images=images_of(hosts, wide))
    told = document(prepared)["actions"]
    assert {action["host"] for action in told if action["node"] is None} == {"kvm1", "kvm2"}
    assert {action["node"]: action["host"] for action in told if action["kind"] == "start-domain"} == {
        **dict.fromkeys(ON_1, "kvm1"),
        **dict.fromkeys(ON_2, "kvm2"),
    }
    lines = text(prepared, io.StringIO()).splitlines()
    assert sum("(kvm1)" in line and "create-network" in line for line in lines) == 2
    assert any(line.startswith("+  oss1 (kvm2)") for line in lines)
    alone = loads("name: alone\nhosts: {kvm2: {}}\nnodes: {n1: {role: client, memory: 256MiB}}\n", "alone.yaml")
    one = only(hosts["kvm2"])
    told = document(prepare(one, alone, accel="test", restart=False, images=images_of(one, alone)))["actions"]
    assert all("host" not in action for action in told)


ROUTED = """
name: wide
hosts: {kvm1: {routed: 10.8.0.0/16}, kvm2: {routed: 10.9.1.0/26}}
nodes:
  n1: {role: client, memory: 256MiB, host: kvm1}
  "n[2-3]": {role: client, memory: 256MiB, host: kvm2}
"""


def test_each_host_has_a_management_network_of_what_is_routed_to_it(hosts: Hosts) -> None:
    topology = loads(ROUTED, "wide.yaml")
    prepared = bring_up(hosts, topology).prepared
    nodes = {name: node.metadata for name, node in prepared.nodes.items()}
    assert {name: str(node.management.ip) for name, node in nodes.items()} == {
        "n1": "10.8.0.11/24",
        "n2": "10.9.1.2/26",
        "n3": "10.9.1.3/26",
    }
    assert {node.management.attach for node in nodes.values()} == {"routed"}
    seed = json.loads(prepared.nodes["n3"].told.documents["network-config"])["ethernets"]["0-mgmt"]
    assert seed["routes"] == [{"to": "0.0.0.0/0", "via": "10.9.1.1"}]
    for name, gateway in (("kvm1", "10.8.0.1"), ("kvm2", "10.9.1.1")):
        xml = hosts[name].call(lambda connection: connection.networkLookupByName("wide.mgmt").XMLDesc())
        assert "<forward mode='route'/>" in xml
        assert f"<ip address='{gateway}'" in xml
    assert bring_up(hosts, topology).actions == ()
    # Another bed gets another part of the range, or hears that there is none.
    other = loads(ROUTED.replace("wide", "other"), "other.yaml")
    with pytest.raises(HostError, match=r"no free /26 subnet for 2 addresses is left in 10\.9\.1\.0/26"):
        prepare(hosts, other, accel="test", restart=False, images=images_of(hosts, other))
    larger = loads(ROUTED.replace("wide", "other").replace("10.9.1.0/26", "10.9.0.0/16"), "other.yaml")
    found = prepare(hosts, larger, accel="test", restart=False, images=images_of(hosts, larger))
    assert str(found.nodes["n1"].metadata.management.ip) == "10.8.1.11/24"


EXPORTED = """
name: wide
hosts: {kvm1: {address: 10.1.0.1}, kvm2: {address: 10.1.0.2}}
fabrics: {ib0: {kind: infiniband, lnet: o2ib, attach: virtio}}
nodes:
  s1: {role: [mds, oss], memory: 256MiB, fabrics: [ib0], host: kvm1}
  s2: {role: oss, memory: 256MiB, fabrics: [ib0], host: kvm2}
filesystems:
  lustre:
    shared: export
    mgt: {servers: s1}
    mdts: [{servers: s1, size: 64MiB}]
    osts: [{servers: [s2, s1], size: 64MiB}]
"""


def test_the_first_host_has_what_servers_on_both_share_and_exports_it(hosts: Hosts) -> None:
    topology = loads(EXPORTED, "wide.yaml")
    prepared = prepare(hosts, topology, accel="test", restart=False, images=images_of(hosts, topology))
    lines = text(prepared, io.StringIO()).splitlines()
    assert any("export-volume" in line and "(kvm1)" in line and "OST0000" in line for line in lines)
    bring_up(hosts, topology)
    assert shared(hosts["kvm1"]) == {"wide._lustre-MDT0000.raw", "wide._lustre-OST0000.raw"}
    assert shared(hosts["kvm2"]) == set()
    there = {node.name: dict(node.disks) for node in known(hosts, existing(hosts, "wide"))}
    place = there["s2"]["lustre-OST0000"]
    assert place.startswith("nbd://10.1.0.1:61")
    assert place.endswith("/wide._lustre-OST0000.raw")
    assert there["s1"]["lustre-OST0000"].endswith("/beds/wide._lustre-OST0000.raw")
    # The test driver has no processes, so it is exported anew; what is defined stays, port and all.
    assert {action.kind for action in bring_up(hosts, topology).actions} == {"export-volume"}
    down(hosts, "wide", keep_disks=False, progress=Silent())
    for host in hosts.values():
        assert not any(host_left(host))


IN_FOLDER = EXPORTED.replace("shared: export", "shared: /srv/lustre").replace("kvm2: {address: 10.1.0.2}", "kvm2: {}")
DISKS = {"wide._lustre-MDT0000.raw", "wide._lustre-OST0000.raw"}


def folders_on(host: Host) -> list[ObservedFolder]:
    return list(observe(host).folders)


def test_disks_lie_in_a_folder_that_both_mount_and_its_first_server_s_host_makes_them(hosts: Hosts) -> None:
    topology = loads(IN_FOLDER, "wide.yaml")
    prepared = prepare(hosts, topology, accel="test", restart=False, images=images_of(hosts, topology))
    lines = text(prepared, io.StringIO()).splitlines()
    assert any("create-folder wide.lustre" in line and "(kvm1)" in line for line in lines)
    bring_up(hosts, topology)
    (folder,) = folders_on(hosts["kvm1"])
    assert folders_on(hosts["kvm2"]) == []
    assert re.fullmatch(r"/srv/lustre/wide\.lustre-[0-9a-f]{12}", folder.path)
    assert (shared(hosts["kvm1"]), shared(hosts["kvm2"])) == (DISKS, set())
    there = {node.name: dict(node.disks) for node in known(hosts, existing(hosts, "wide"))}
    for server in ("s1", "s2"):
        assert there[server]["lustre-OST0000"] == f"{folder.path}/wide._lustre-OST0000.raw"
    assert bring_up(hosts, topology).actions == ()
    # Kept disks stay where they are, and the next `up` finds them there.
    down(hosts, "wide", keep_disks=True, progress=Silent())
    assert folders_on(hosts["kvm1"]) == [folder]
    kinds = {action.kind for action in bring_up(hosts, topology).actions if action.node is None}
    assert not kinds & {"create-folder", "create-volume"}
    down(hosts, "wide", keep_disks=False, progress=Silent())
    for host in hosts.values():
        assert not any(host_left(host))
        assert folders_on(host) == []


def test_what_a_kill_left_of_a_folder_is_gone_on_with_and_goes(hosts: Hosts) -> None:
    """libvirt knows of a folder before it is there, and until it is gone."""
    topology = loads(IN_FOLDER, "wide.yaml")
    home = hosts["kvm1"]
    xml = (
        f"<pool type='dir'><name>wide.lustre</name><uuid>{identity.folder_uuid('wide', 'lustre')}</uuid>"
        "<target><path>/srv/lustre/wide.lustre-0a</path></target></pool>"
    )
    home.call(lambda connection: connection.storagePoolDefineXML(xml))
    assert [line.name for line in beds(home)] == ["wide"]
    kinds = [(action.kind, action.reason) for action in bring_up(hosts, topology).actions if "folder" in action.kind]
    assert kinds == [("create-folder", "its creation was cut off")]
    assert [folder.path for folder in folders_on(home)] == ["/srv/lustre/wide.lustre-0a"]
    down(hosts, "wide", keep_disks=False, progress=Silent())
    assert not any(host_left(home))
    home.call(lambda connection: connection.storagePoolDefineXML(xml))
    down(hosts, "wide", keep_disks=False, progress=Silent())
    assert folders_on(home) == []


def test_a_pool_of_such_a_name_that_is_not_ours_is_in_the_way_and_is_left(hosts: Hosts) -> None:
    foreign = "<pool type='dir'><name>wide.lustre</name><target><path>/srv/theirs</path></target></pool>"
    hosts["kvm1"].call(lambda connection: connection.storagePoolDefineXML(foreign))
    with pytest.raises(HostError, match=r"a storage pool named wide\.lustre exists .* not vmlab's: it is left alone"):
        bring_up(hosts, loads(IN_FOLDER, "wide.yaml"))
    assert not any(host_left(hosts["kvm1"]))
    down(hosts, "wide", keep_disks=False, progress=Silent())
    assert "wide.lustre" in hosts["kvm1"].call(
        lambda connection: [pool.name() for pool in connection.listAllStoragePools()]
    )
