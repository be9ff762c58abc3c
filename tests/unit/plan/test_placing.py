"""Beds on hosts: what `auto` means, what stays where it is, and what is placed anew."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmlab.domainxml.hostdev import alias_of, interfaces_of
from vmlab.domainxml.read import NetworkFacts, VolumeFacts, read_domain
from vmlab.domainxml.text import text
from vmlab.domainxml.volume import Volume, volume_xml
from vmlab.errors import HostError
from vmlab.guest.keys import BedKeys
from vmlab.inventory.model import Claim, HostInventory
from vmlab.inventory.vfs import plan_vfs
from vmlab.lab.beds.decide import Prepared, decide_all
from vmlab.lab.ground.recorded import recorded
from vmlab.placement.request import NodePlacement
from vmlab.plan.actions import Action, CreateVfs, DefineDomain, ReturnDevices, StartDomain, TakeDevices
from vmlab.plan.desired import Image
from vmlab.plan.observed import Observed, ObservedDomain, ObservedNetwork
from vmlab.topology import Topology, loads
from vmlab.values import identity
from vmlab.values.pci import PciAddress

ROOT = Path(__file__).parents[3]
BED = """
name: b
fabrics: {{ib0: {{kind: infiniband, lnet: o2ib, attach: {attach}}}}}
nodes: {{"n[1-2]": {{role: client, cpus: 2, memory: 2GiB, fabrics: [ib0], numa: {numa}}}}}
"""


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VMLAB_STATE_DIR", str(tmp_path))


def bed(attach: str = "auto", numa: str = "strict") -> Topology:
    return loads(BED.format(attach=attach, numa=numa), "b.yaml")


def on(name: str) -> HostInventory:
    return recorded(ROOT / "tests/hosts" / name, "local")


KEYS = BedKeys.fresh(Path("/nowhere/bed"))
NOTHING = Observed({}, {}, {}, pool_path="/pool/beds")


def decided(
    topology: Topology, host: HostInventory, observed: Observed = NOTHING, *, accel: str = "kvm", restart: bool = False
) -> Prepared:
    images = {("local", "demo"): Image("demo", "/pool/images/demo.qcow2", 1 << 30, "root", None)}
    return decide_all(
        topology,
        {"local": observed},
        {"local": host},
        images=images,
        keys=KEYS,
        accel=accel,
        restart=restart,
        recorded=True,
    )


def _file(volume: Volume) -> VolumeFacts:
    return VolumeFacts(volume.name, f"/pool/beds/{volume.name}", text(volume_xml(volume)))


def exists(prepared: Prepared, states: Mapping[str, str]) -> Observed:
    """The bed as its plan leaves it, with the nodes' domains in these states."""
    desired = prepared.parts["local"].desired
    domains = {
        node.domain: ObservedDomain(read_domain(node.xml), states[node.name], frozenset())
        for node in desired.nodes.values()
    }
    networks = {
        n.name: ObservedNetwork(NetworkFacts(n.name, n.uuid, n.bridge, n.mtu, (), n.metadata), active=True)
        for n in desired.networks
    }
    volumes = {}
    for node in desired.nodes.values():
        root = node.root
        volumes[root.name] = _file(root)
        volumes[node.seed] = _file(Volume(node.seed, 1, "raw"))
    return Observed(domains, networks, volumes, pool_path="/pool/beds")


def claims(prepared: Prepared, *, running: bool) -> tuple[Claim, ...]:
    assert prepared.places.placement is not None
    return tuple(
        Claim(
            identity.domain_name(prepared.topology.name, name),
            prepared.topology.name,
            name,
            running=running,
            cpus=frozenset(cpu for cell in node.cells for cpus in cell.vcpus.values() for cpu in cpus),
            memory_kib={cell.host_cell: cell.memory_kib for cell in node.cells},
            devices=frozenset(device.address for device in node.devices),
        )
        for name, node in prepared.places.placement.nodes.items()
    )


def cells(placement: NodePlacement) -> list[tuple[int | None, dict[int, tuple[int, ...]]]]:
    return [(cell.host_cell, dict(cell.vcpus)) for cell in placement.cells]


def kinds(actions: tuple[Action, ...]) -> list[type[Action]]:
    return [type(action) for action in actions]


@pytest.mark.parametrize(
    ("host", "attach"), [("fta-1s", "vf"), ("oss-x5670", "passthrough"), ("shared-group", "virtio"), ("nps4", "vf")]
)
def test_auto_is_the_best_that_the_host_has(host: str, attach: str) -> None:
    prepared = decided(bed(), on(host))
    assert prepared.places.attach == {"ib0": attach}
    assert [bool(node.functions) for node in prepared.nodes.values()] == [attach != "virtio"] * 2


def fabrics(*attach: str) -> Topology:
    written = "\n".join(
        f"  ib{n}: {{ kind: infiniband, attach: {how}, lnet: o2ib{n} }}" for n, how in enumerate(attach)
    )
    names = ", ".join(f"ib{n}" for n in range(len(attach)))
    node = f"{{ role: client, memory: 1GiB, numa: strict, fabrics: [{names}] }}"
    return loads(f"name: b\nfabrics:\n{written}\nnodes: {{ 'n[1-2]': {node} }}\n", "b.yaml")


@pytest.mark.parametrize("host", ["fta-1s", "oss-x5670", "shared-group", "nps4"])
def test_auto_of_many_fabrics_is_the_first_of_all_ways_that_can_be_had(host: str) -> None:
    def can_be_had(ways: tuple[str, ...]) -> bool:
        try:
            decided(fabrics(*ways), on(host))
        except HostError:
            return False
        return True

    first = next(filter(can_be_had, product(("vf", "passthrough", "virtio"), repeat=3)))
    assert tuple(decided(fabrics("auto", "auto", "auto"), on(host)).places.attach.values()) == first


def test_what_is_asked_for_and_cannot_be_had_is_refused() -> None:
    with pytest.raises(HostError, match="virtual function"):
        decided(bed("vf"), on("oss-x5670"))


def test_auto_stays_what_it_is_in_force() -> None:
    first = decided(bed(), on("shared-group"))
    observed = exists(first, {"n1": "running", "n2": "running"})
    host = on("oss-x5670")  # the same bed, and HCAs have come up meanwhile
    again = decided(bed(), replace(host, claims=claims(first, running=True)), observed)
    assert again.places.attach == {"ib0": "virtio"}


def test_a_running_bed_stays_where_it_is_whoever_comes_and_goes() -> None:
    host = on("oss-x5670")
    first = decided(bed(), host)
    observed = exists(first, {"n1": "running", "n2": "running"})
    other = Claim("other", None, None, running=True, cpus=frozenset({0}), memory_kib={0: 1 << 20})
    again = decided(bed(), replace(host, claims=(*claims(first, running=True), other)), observed)
    assert again.plan.actions == ()
    assert again.plan.pending == ()
    assert first.places.placement is not None
    assert again.places.placement is not None
    for name, before in first.places.placement.nodes.items():
        after = again.places.placement.nodes[name]
        assert cells(after) == cells(before)
        assert [d.address for d in after.devices] == [d.address for d in before.devices]


def test_a_stopped_node_whose_cpus_are_taken_goes_elsewhere() -> None:
    host = on("oss-x5670")
    first = decided(bed(), host)
    observed = exists(first, {"n1": "shut off", "n2": "running"})
    assert first.places.placement is not None
    mine = first.places.placement.nodes["n1"].cells[0]
    taken = frozenset(cpu for cpus in mine.vcpus.values() for cpu in cpus)
    other = Claim("other", None, None, running=True, cpus=taken)
    again = decided(bed(), replace(host, claims=(*claims(first, running=True), other)), observed)
    lane = again.plan.lanes["n1"]
    assert kinds(lane)[-3:] == [DefineDomain, TakeDevices, StartDomain]
    assert lane[-3].reason == "placed anew: CPUs or cell"
    assert "n2" not in again.plan.lanes
    assert again.places.placement is not None
    placed = again.places.placement.nodes["n1"].cells[0]
    assert not taken & {cpu for cpus in placed.vcpus.values() for cpu in cpus}


def test_a_stopped_node_whose_place_is_free_just_starts() -> None:
    host = on("oss-x5670")
    first = decided(bed(), host)
    observed = exists(first, {"n1": "shut off", "n2": "running"})
    again = decided(bed(), replace(host, claims=claims(first, running=True)), observed)
    assert kinds(again.plan.actions) == [TakeDevices, StartDomain]


def test_vfs_that_are_missing_are_made_first() -> None:
    host = on("nps4")
    taken = Claim("x", None, None, running=True, devices=frozenset(host.functions[_PF].virtual_functions))
    prepared = decided(bed("vf"), replace(host, claims=(taken,)))
    made = prepared.plan.host
    assert kinds(made) == [CreateVfs] * len(made)
    assert made
    assert prepared.plan.actions[: len(made)] == made


def test_emulated_guests_get_devices_and_no_pins() -> None:
    prepared = decided(bed(), on("oss-x5670"), accel="tcg")
    for node in prepared.nodes.values():
        facts = read_domain(node.xml)
        assert facts.details.pins == {}
        assert facts.details.nodeset == frozenset()
        assert facts.hostdevs == node.functions
        assert list(facts.ports) == ["ib0"]


FULL = """
name: b
hosts: {{local: {{reserve: {reserve}}}}}
nodes: {{"n[01-12]": {{role: client, memory: {memory}, cpus: 1}}}}
"""


def full(reserve: str, memory: str = "4GiB") -> Topology:
    return loads(FULL.format(reserve=reserve, memory=memory), "b.yaml")


def test_a_bed_that_has_all_of_the_host_is_not_refused_when_it_runs() -> None:
    """It was placed with a `reserve` of nothing, or by a vmlab that had no default: on, partly off, or changed."""
    host = on("fta-1s")
    with pytest.raises(HostError, match="local keeps 1 core and 2457MiB for itself"):
        decided(full("{}"), host)
    first = decided(full("{cpus: 0, memory: 0B}"), host)
    for most, one in (("running", "running"), ("running", "shut off"), ("shut off", "shut off")):
        observed = exists(first, dict.fromkeys(first.topology.nodes, most) | {"n03": one})
        there = replace(host, claims=claims(first, running=most == "running"))
        assert decided(full("{}"), there, observed).plan.pending == ()
        decided(full("{}", memory="3GiB"), there, observed, restart=True)


def test_emulated_guests_keep_nothing_clear_unless_it_is_written() -> None:
    for reserve, cpus, kib in (("{}", 0, 0), ("{cpus: 1}", 1, 0), ("{memory: 1GiB}", 0, 1 << 20)):
        file = BED.format(attach="passthrough", numa="strict") + f"hosts: {{local: {{reserve: {reserve}}}}}\n"
        placement = decided(loads(file, "b.yaml"), on("oss-x5670"), accel="tcg").places.placement
        assert placement is not None
        assert (placement.kept["local"].cpus, placement.kept["local"].kib) == (cpus, kib)


def test_a_change_of_a_wish_is_a_change_of_the_node() -> None:
    host = on("oss-x5670")
    first = decided(bed(), host)
    observed = exists(first, {"n1": "running", "n2": "running"})
    again = decided(bed(numa="preferred"), replace(host, claims=claims(first, running=True)), observed)
    assert again.plan.actions == ()
    assert {action.node for action in again.plan.pending} == {"n1", "n2"}


_PF = PciAddress.parse("0000:21:00.0")


NAMES = ("ib-a", "ib_a", "IB0", "ib.a", "ib0.8001", "10g", "1_.-x", "fifteen-letters")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("attach", ["passthrough", "virtio"])
def test_names_that_the_kernel_takes_for_an_interface(name: str, attach: str) -> None:
    """In the definition, from which a node's ports are read again, in the seed, and in LNet's configuration."""
    short = name[:12]
    text = f"""
name: b
fabrics:
  {short}: {{kind: infiniband, lnet: o2ib, attach: {attach}}}
  x_y: {{kind: infiniband, lnet: o2ib1, attach: {attach}}}
nodes:
  n: {{role: client, cpus: 2, memory: 2GiB, fabrics: {{{short}: {{count: 2}}, x_y: {{}}}}, numa: preferred}}
"""
    prepared = decided(loads(text, "b.yaml"), on("oss-x5670"))
    node = prepared.nodes["n"]
    facts = read_domain(node.xml)
    assert facts.metadata is not None
    interfaces = [address.interface for address in facts.metadata.addresses]
    assert interfaces == ["mgmt", short, f"{short}-1", "x_y"]
    if attach == "passthrough":
        assert set(facts.ports) == set(interfaces[1:])
        again = decided(
            loads(text, "b.yaml"),
            replace(on("oss-x5670"), claims=claims(prepared, running=True)),
            exists(prepared, {"n": "running"}),
        )
        assert again.plan.actions == again.plan.pending == ()
    else:
        named = json.loads(node.told.documents["network-config"])["ethernets"]
        assert [named[f"0-{interface}"]["set-name"] for interface in interfaces] == interfaces
        networks = prepared.parts["local"].desired.networks
        assert [network.name for network in networks] == ["b.mgmt", f"b.{short}", "b.x_y"]


@given(st.lists(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}", fullmatch=True), min_size=1, max_size=3))
def test_aliases_tell_the_interfaces(names: list[str]) -> None:
    alias = alias_of(names)
    assert re.fullmatch("ua-[A-Za-z0-9_-]+", alias)
    assert interfaces_of(alias) == tuple(names)


def test_aliases_of_beds_that_run_already() -> None:
    assert interfaces_of("ua-ib0-1_data_xge") == ("ib0-1", "data", "xge")
    assert interfaces_of("hostdev0") == ()


def on_vfio(host: HostInventory, *addresses: PciAddress) -> HostInventory:
    bound = {address: replace(host.functions[address], driver="vfio-pci", ports=()) for address in addresses}
    return replace(host, functions={**host.functions, **bound})


def given(prepared: Prepared) -> list[PciAddress]:
    assert prepared.places.placement is not None
    return [device.address for node in prepared.places.placement.nodes.values() for device in node.devices]


def test_a_restart_keeps_virtual_functions_that_are_on_vfio_for_the_node_itself() -> None:
    host = on("nps4")
    first = decided(bed("vf"), host)
    observed = exists(first, {"n1": "running", "n2": "running"})
    live = replace(on_vfio(host, *given(first)), claims=claims(first, running=True))
    again = decided(bed("vf", numa="preferred"), live, observed, restart=True)
    assert given(again) == given(first)
    assert {action.node for action in again.plan.actions} == {"n1", "n2"}


def test_a_start_that_was_killed_with_a_whole_function_on_vfio_goes_on() -> None:
    """What is on vfio-pci shows no GUID: it goes back to its driver before anything is defined."""
    host = on("oss-x5670")
    first = decided(bed("passthrough"), host)
    observed = exists(first, {"n1": "shut off", "n2": "shut off"})
    live = replace(on_vfio(host, *given(first)), claims=claims(first, running=False))
    images = {("local", "demo"): Image("demo", "/pool/images/demo.qcow2", 1 << 30, "root", None)}
    again = decide_all(
        bed("passthrough"), {"local": observed}, {"local": live}, images=images, keys=KEYS, accel="kvm", restart=False
    )
    assert kinds(again.plan.host) == [ReturnDevices, ReturnDevices]
    assert given(again) == given(first)


FOUR = BED.replace("n[1-2]", "n[1-4]").format(attach="vf", numa="preferred")


def igb_with(vfs: int) -> HostInventory:
    """One NIC with as many virtual functions, which can have more."""
    host = on("lab-host")
    igb = next(f for f in host.functions.values() if len(f.virtual_functions) >= vfs and f.total_vfs)
    mine = {a: f for a, f in host.functions.items() if a in igb.virtual_functions[:vfs]}
    igb = replace(igb, virtual_functions=igb.virtual_functions[:vfs])
    return replace(host, functions={igb.address: igb, **mine}, no_iommu=None)


@pytest.mark.parametrize("foreign", [False, True])
def test_virtual_functions_of_the_beds_own_stopped_nodes_are_made_anew(*, foreign: bool) -> None:
    """As `up` then does; those of another's stopped domain are not."""
    text = FOUR.replace("infiniband", "ethernet").replace("o2ib", "tcp")
    text = text.replace("cpus: 2, memory: 2GiB", "cpus: 1, memory: 256MiB")
    host = igb_with(2)
    first = decided(loads(text.replace("n[1-4]", "n[1-2]"), "b.yaml"), host)
    observed = exists(first, {"n1": "shut off", "n2": "shut off"})
    defined = claims(first, running=False)
    if foreign:
        vf = next(f for f in host.functions.values() if f.is_virtual)
        defined = (*defined, Claim("x", None, None, running=False, devices=frozenset({vf.address})))
        with pytest.raises(HostError, match="the domain x has it"):
            decided(loads(text, "b.yaml"), replace(host, claims=defined), observed)
        return
    again = decided(loads(text, "b.yaml"), replace(host, claims=defined), observed)
    (made,) = again.plan.host
    assert isinstance(made, CreateVfs)
    assert (made.count, made.bed) == (4, "b")
    assert plan_vfs(replace(host, claims=defined), made.pf, made.count, at_least=True, bed=made.bed).writes == (0, 4)
    with pytest.raises(HostError, match="shut off"):
        plan_vfs(replace(host, claims=defined), made.pf, made.count, at_least=True)
    running = claims(first, running=True)
    with pytest.raises(HostError, match=r"virtual functions is free .*the node n1 has it"):
        decided(loads(text, "b.yaml"), replace(host, claims=running), exists(first, {"n1": "running", "n2": "running"}))
