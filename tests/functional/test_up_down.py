"""`up` and `down` on libvirt's test driver: what is made, what is left alone, and a stop at every action."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from vmlab.domainxml.devices import SPARE_ROOT_PORTS
from vmlab.errors import BusyError, HostError, VmlabError
from vmlab.lab.beds import decide
from vmlab.lab.beds.down import down
from vmlab.lab.beds.up import Raised, up
from vmlab.lab.ground import bed_folder
from vmlab.lab.ground.bed import locked
from vmlab.lab.ground.guests import steps_of
from vmlab.lab.ground.hosts import only
from vmlab.lab.ground.progress import Silent
from vmlab.plan.actions import Action, DefineDomain
from vmlab.runtime.files import state_dir
from vmlab.runtime.shipped import shipped
from vmlab.topology import Topology, loads
from vmlab.virt import perform as perform_module
from vmlab.virt.connection import Host
from vmlab.virt.deeds import Place, act
from vmlab.virt.observe import observe

from .conftest import BED


def bring_up(host: Host, bed: Topology, *, restart: bool = False) -> Raised:
    return up(only(host), bed, accel="auto", restart=restart, timeout_s=60, jobs=1, wait=False, progress=Silent())


def test_what_an_older_vmlab_started_is_no_other_for_that(
    host: Host, bed: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its domains are not kept when they crash; they are from their next start on."""
    with monkeypatch.context() as older:
        older.setattr(decide, "keep_crashed", lambda template: template)
        bring_up(host, bed)
    raised = bring_up(host, bed)
    assert (raised.actions, raised.prepared.plan.pending) == ((), ())
    grown = loads(BED.replace("size: 16MiB", "size: 16MiB}, {name: more, size: 16MiB"))
    assert kinds(bring_up(host, grown))[:2] == ["create-volume", "attach-disk"]
    bring_up(host, bed)
    host.call(lambda connection: connection.lookupByName("ha.mds1").destroy())
    raised = bring_up(host, bed)
    (defined,) = (action for action in raised.actions if isinstance(action, DefineDomain))
    assert (defined.node, defined.reason) == ("mds1", "changed: kept when it crashes")
    facts = {name: domain.facts.details.preserved for name, domain in observe(host).domains.items()}
    assert facts == {f"ha.{name}": name == "mds1" for name in bed.nodes}


def test_a_node_of_before_waits_for_its_right(host: Host, bed: Topology) -> None:
    unarmed = replace(bed, nodes={name: replace(node, powers="") for name, node in bed.nodes.items()})
    bring_up(host, unarmed)
    plan = bring_up(host, bed).prepared.plan
    assert {(action.node, action.reason) for action in plan.pending} == {("client1", "changed: powers")}
    assert plan.actions == ()
    bring_up(host, bed, restart=True)
    assert {name: d.facts.metadata.powers for name, d in observe(host).domains.items() if d.facts.metadata} == {
        **{f"ha.{name}": "" for name in bed.nodes},
        "ha.client1": "*",
    }


def kinds(raised: Raised) -> list[str]:
    return [action.kind for action in raised.actions]


def uuids(host: Host) -> dict[str, str]:
    return {name: domain.facts.uuid for name, domain in observe(host).domains.items()}


def assert_nothing_left(host: Host) -> None:
    observed = observe(host)
    assert (dict(observed.domains), dict(observed.networks), dict(observed.volumes)) == ({}, {}, {})
    assert list(state_dir().glob("**/secret")) == []


def test_up_makes_everything_once(host: Host, bed: Topology) -> None:
    raised = bring_up(host, bed)
    observed = observe(host)
    assert set(observed.domains) == {"ha.mds1", "ha.mds2", "ha.oss1", "ha.oss2", "ha.client1"}
    assert all(domain.running for domain in observed.domains.values())
    assert set(observed.networks) == {"ha.mgmt", "ha.ib0"}
    assert kinds(raised).count("create-volume") == 5 + 4 + 2
    shared = "/ha._lustre-OST0000.raw"
    assert [n for n, d in sorted(observed.domains.items()) if any(p.endswith(shared) for p in d.facts.disks)] == [
        "ha.oss1",
        "ha.oss2",
    ]
    again = bring_up(host, bed)
    assert (again.actions, again.prepared.plan.pending) == ((), ())


def test_down_leaves_nothing(host: Host, bed: Topology) -> None:
    bring_up(host, bed)
    assert down(only(host), "ha", keep_disks=False, progress=Silent())
    assert_nothing_left(host)
    assert down(only(host), "ha", keep_disks=False, progress=Silent()) == ()


def test_kept_disks_are_taken_up_again(host: Host, bed: Topology) -> None:
    bring_up(host, bed)
    down(only(host), "ha", keep_disks=True, progress=Silent())
    kept = set(observe(host).volumes)
    assert "ha._lustre-MDT0000.raw" in kept
    assert "ha.oss1.root.qcow2" in kept
    assert not any(name.endswith(".seed.iso") for name in kept)
    raised = bring_up(host, bed)
    assert "create-volume" not in kinds(raised)
    assert kept < set(observe(host).volumes)


def test_a_changed_node_waits_for_leave_and_leaves_the_others_alone(host: Host, bed: Topology) -> None:
    bring_up(host, bed)
    before = uuids(host)
    larger = loads(BED.replace("client1: {role: client, memory: 256MiB", "client1: {role: client, memory: 320MiB"))
    raised = bring_up(host, larger)
    assert raised.actions == ()
    assert {action.node for action in raised.prepared.plan.pending} == {"client1"}
    assert "memory 256MiB -> 320MiB" in raised.prepared.plan.pending[0].reason
    raised = bring_up(host, larger, restart=True)
    assert {action.node for action in raised.actions} == {"client1"}
    assert "create-volume" not in kinds(raised)
    assert observe(host).domains["ha.client1"].facts.memory_kib == 320 * 1024
    assert uuids(host) == before


def test_disks_that_are_added_come_while_the_node_runs(host: Host, bed: Topology) -> None:
    bring_up(host, bed)
    more = BED.replace("[{name: scratch,", "[{name: more, size: 8MiB}, {name: scratch,").replace("count: 2", "count: 3")
    raised = bring_up(host, loads(more))
    lanes = {name: [action.kind for action in lane] for name, lane in raised.prepared.plan.lanes.items()}
    grown = ["create-volume", "attach-disk", "attach-disk", "define-domain"]
    assert lanes == {"oss1": grown, "oss2": grown}
    assert {"more", "scratch", "lustre-OST0002"} < set(observe(host).domains["ha.oss1"].facts.serials)
    assert bring_up(host, loads(more)).actions == ()
    waiting = bring_up(host, bed)  # a disk is not taken away from a running guest
    assert waiting.actions == ()
    assert {action.node for action in waiting.prepared.plan.pending} == {"oss1", "oss2"}


def test_more_disks_than_there_are_free_ports_wait(host: Host, bed: Topology) -> None:
    bring_up(host, bed)
    disks = ", ".join(f"{{name: d{number}, size: 8MiB}}" for number in range(SPARE_ROOT_PORTS + 1))
    raised = bring_up(host, loads(BED.replace("[{name: scratch, size: 16MiB}]", f"[{disks}]")))
    assert raised.actions == ()
    assert {action.node for action in raised.prepared.plan.pending} == {"oss1", "oss2"}


def test_memory_follows_where_a_balloon_can_give_it(host: Host, tmp_path: Path) -> None:
    template = (shipped("domain-templates") / "server.xml").read_text()
    (tmp_path / "own.xml").write_text(template.replace('memballoon model="none"', 'memballoon model="virtio"'))
    own = BED.replace("client1: {role: client,", f"client1: {{role: client, template: {tmp_path}/own.xml,")
    bring_up(host, loads(own))
    smaller = loads(own.replace("memory: 256MiB", "memory: 192MiB"))
    raised = bring_up(host, smaller)
    assert kinds(raised) == ["set-memory", "define-domain"]
    assert bring_up(host, smaller).actions == ()
    raised = bring_up(host, loads(own.replace("memory: 256MiB", "memory: 320MiB")))
    assert raised.actions == ()
    assert {action.node for action in raised.prepared.plan.pending} == {"client1"}


def test_an_added_node_changes_no_other(host: Host, bed: Topology) -> None:
    bring_up(host, bed)
    added = BED.replace("  client1:", "  acct1: {role: client, memory: 256MiB, fabrics: [ib0]}\n  client1:")
    raised = bring_up(host, loads(added))
    assert {action.node for action in raised.actions} == {"acct1"}
    assert raised.prepared.plan.pending == ()


def test_a_node_that_is_gone_from_the_file_goes_with_leave_only(host: Host, bed: Topology) -> None:
    bring_up(host, bed)
    without = loads(BED.replace("  client1: {role: client, memory: 256MiB, fabrics: [ib0]}\n", ""))
    bring_up(host, without)
    assert "ha.client1" in observe(host).domains
    bring_up(host, without, restart=True)
    assert "ha.client1" not in observe(host).domains


def test_a_node_that_is_gone_from_the_file_is_reached_as_long_as_it_runs(host: Host, bed: Topology) -> None:
    bring_up(host, bed)
    known = bed_folder.folder(host, "ha") / "known_hosts"
    before = known.read_text()
    assert "client1.ha " in before
    without = loads(BED.replace("  client1: {role: client, memory: 256MiB, fabrics: [ib0]}\n", ""))
    prepared = bring_up(host, without).prepared
    assert sorted(known.read_text().splitlines()) == sorted(before.splitlines())
    address = observe(host).bed("ha").metadata["client1"].management.ip.ip
    steps = steps_of(only(host), prepared.members["oss1"], observe(host).domains["ha.oss1"].facts, prepared.members)
    told = {step.name: " ".join(step.check) for step in steps}
    assert f"{address} client1" in told["hosts"]
    gone = bring_up(host, without, restart=True).prepared
    assert "client1" not in gone.members
    assert "client1.ha " not in known.read_text()


def test_two_beds_side_by_side(host: Host, bed: Topology) -> None:
    bring_up(host, bed)
    bring_up(host, loads(BED.replace("name: ha", "name: ha-2")))
    observed = observe(host)
    subnets = [n.facts.metadata.subnet for n in observed.networks.values() if n.facts.metadata]
    assert len(subnets) == len(set(subnets)) == 4
    down(only(host), "ha", keep_disks=False, progress=Silent())
    observed = observe(host)
    assert observed.beds == ("ha-2",)
    assert len(observed.bed("ha-2").nodes) == 5
    assert bring_up(host, loads(BED.replace("name: ha", "name: ha-2"))).actions == ()


FOREIGN_DOMAIN = "<domain type='test'><name>ha.oss1</name><memory>1024</memory><os><type>hvm</type></os></domain>"
FOREIGN_NETWORK = "<network><name>ha.ib0</name><bridge name='virbr7'/></network>"


@pytest.mark.parametrize(
    ("define", "name"),
    [
        (lambda connection: connection.defineXML(FOREIGN_DOMAIN), "ha.oss1"),
        (lambda connection: connection.networkDefineXML(FOREIGN_NETWORK), "ha.ib0"),
    ],
)
def test_a_foreign_object_of_the_same_name_is_left_alone(
    host: Host, bed: Topology, define: Callable[..., object], name: str
) -> None:
    host.call(define)
    before = observe(host)
    with pytest.raises(HostError, match=f"named {name} exists") as raised:
        bring_up(host, bed)
    assert raised.value.status == 4
    after = observe(host)
    assert (after.domains, after.networks, after.volumes) == (before.domains, before.networks, before.volumes)
    down(only(host), "ha", keep_disks=False, progress=Silent())
    assert name in {**observe(host).domains, **observe(host).networks}


def test_a_disk_that_another_domain_uses_keeps_down_from_everything(host: Host, bed: Topology) -> None:
    bring_up(host, bed)
    path = observe(host).volumes["ha._lustre-OST0000.raw"].path
    foreign = (
        "<domain type='test'><name>other</name><memory>1024</memory><os><type>hvm</type></os><devices>"
        f"<disk type='file'><source file='{path}'/><target dev='vda'/></disk></devices></domain>"
    )
    host.call(lambda connection: connection.defineXML(foreign))
    with pytest.raises(HostError, match="the domain other, which is not of the bed ha, uses"):
        down(only(host), "ha", keep_disks=False, progress=Silent())
    assert len(observe(host).bed("ha").nodes) == 5


def test_a_disk_of_another_size_is_not_made_anew(host: Host, bed: Topology) -> None:
    bring_up(host, bed)
    larger = loads(BED.replace("[oss1, oss2], size: 64MiB", "[oss1, oss2], size: 96MiB"))
    with pytest.raises(HostError, match="asks for"):
        bring_up(host, larger)


def test_the_second_vmlab_is_told_who_has_the_bed(host: Host, bed: Topology) -> None:
    with (
        locked(only(host), "ha"),
        pytest.raises(BusyError, match=r"the bed ha is in use by .* \(pid \d+\) with `.*` since"),
    ):
        bring_up(host, bed)


class Stop(VmlabError):
    """A test's stand-in for a kill: what comes after it is not done."""


def stopping(monkeypatch: pytest.MonkeyPatch, *, at: int, after: bool) -> list[Action]:
    """Let the action number `at` be the last one, done or not done; what was begun is returned."""
    begun: list[Action] = []

    def counted(action: Action, place: Place) -> None:
        if len(begun) > at or (len(begun) == at and not after):
            raise Stop("stopped")
        begun.append(action)
        act(action, place)
        if len(begun) > at:
            raise Stop("stopped")

    monkeypatch.setattr(perform_module, "act", counted)
    return begun


@pytest.mark.parametrize("after", [False, True])
def test_up_goes_on_after_a_stop_at_any_action(
    host: Host, bed: Topology, monkeypatch: pytest.MonkeyPatch, *, after: bool
) -> None:
    total = len(bring_up(host, bed).actions)
    wanted = observe(host)
    down(only(host), "ha", keep_disks=False, progress=Silent())
    for at in range(total):
        with monkeypatch.context() as patch, pytest.raises(Stop):
            stopping(patch, at=at, after=after)
            bring_up(host, bed)
        bring_up(host, bed)
        observed = observe(host)
        assert set(observed.domains) == set(wanted.domains), at
        assert all(domain.running for domain in observed.domains.values()), at
        assert set(observed.volumes) == set(wanted.volumes), at
        assert bring_up(host, bed).actions == (), at
        down(only(host), "ha", keep_disks=False, progress=Silent())


@pytest.mark.parametrize("after", [False, True])
def test_down_after_a_stop_of_up_at_any_action(
    host: Host, bed: Topology, monkeypatch: pytest.MonkeyPatch, *, after: bool
) -> None:
    total = len(bring_up(host, bed).actions)
    down(only(host), "ha", keep_disks=False, progress=Silent())
    for at in range(total):
        with monkeypatch.context() as patch, pytest.raises(Stop):
            stopping(patch, at=at, after=after)
            bring_up(host, bed)
        down(only(host), "ha", keep_disks=False, progress=Silent())
        assert_nothing_left(host)


@pytest.mark.parametrize("after", [False, True])
def test_down_goes_on_after_a_stop_at_any_action(
    host: Host, bed: Topology, monkeypatch: pytest.MonkeyPatch, *, after: bool
) -> None:
    bring_up(host, bed)
    total = len(down(only(host), "ha", keep_disks=False, progress=Silent()))
    for at in range(total):
        bring_up(host, bed)
        with monkeypatch.context() as patch, pytest.raises(Stop):
            stopping(patch, at=at, after=after)
            down(only(host), "ha", keep_disks=False, progress=Silent())
        down(only(host), "ha", keep_disks=False, progress=Silent())
        assert_nothing_left(host)


def test_a_foreign_file_with_a_clones_name_is_left_alone(host: Host, bed: Topology) -> None:
    bring_up(host, bed)
    down(only(host), "ha", keep_disks=False, progress=Silent())
    foreign = "<volume><name>ha.mds1.root.qcow2</name><capacity unit='bytes'>4096</capacity></volume>"
    host.call(lambda connection: connection.storagePoolLookupByName("vmlab").createXML(foreign))
    with pytest.raises(HostError, match=r"ha\.mds1\.root\.qcow2 is in the way"):
        bring_up(host, bed)
    assert observe(host).volumes["ha.mds1.root.qcow2"].capacity == 4096


def test_a_subnet_that_was_lost_before_the_network_started_is_leased_anew(host: Host, bed: Topology) -> None:
    bring_up(host, bed)
    name = "ha.mgmt"
    lost = observe(host).bed("ha").networks["mgmt"].facts.metadata
    assert lost is not None
    host.call(lambda connection: connection.networkLookupByName(name).destroy())
    foreign = f"<network><name>other</name><ip address='{lost.subnet[1]}' netmask='255.255.255.0'/></network>"
    host.call(lambda connection: connection.networkDefineXML(foreign))
    bring_up(host, bed, restart=True)
    network = observe(host).bed("ha").networks["mgmt"]
    assert network.active
    assert network.facts.metadata is not None
    assert network.facts.metadata.subnet != lost.subnet
