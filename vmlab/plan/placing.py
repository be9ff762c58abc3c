"""What a topology asks of its hosts: what `auto` means there, what each node requests, and what stays as it is."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from types import MappingProxyType

from vmlab.domainxml.read import DomainFacts
from vmlab.errors import HostError
from vmlab.inventory.model import HostInventory, PciFunction
from vmlab.inventory.suited import unsuited
from vmlab.placement.explain import refusal
from vmlab.placement.place import placed
from vmlab.placement.problem import Problem
from vmlab.placement.request import (
    DeviceWish,
    Hardware,
    HostSpace,
    NodePlacement,
    NodeRequest,
    PlacedCell,
    PlacedDevice,
    Placement,
)
from vmlab.plan.lease import interface_name
from vmlab.plan.observed import ObservedBed, ObservedDomain
from vmlab.topology import Node, Topology
from vmlab.topology.bed import Numa, Reserve
from vmlab.values.pci import PciAddress
from vmlab.values.size import Bytes

HARDWARE: tuple[Hardware, ...] = ("passthrough", "vf")
NO_ONE: Mapping[str, Mapping[str, str]] = MappingProxyType({})
# What `auto` tries on an InfiniBand fabric, the best first.
_AUTO = ("vf", "passthrough", "virtio")

Attach = Mapping[str, str]
"""By fabric: "passthrough", "vf", "virtio" or "bridge"."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where a bed goes. Without a placement nothing is bound to anything on the host, and no device is passed.

    `kept` are the nodes that run and stay where they are.
    """

    attach: Attach
    placement: Placement | None = None
    hosts: Mapping[str, HostInventory] = field(default_factory=dict)
    kept: frozenset[str] = frozenset()

    def node(self, name: str) -> NodePlacement | None:
        """Where a node goes, if that is decided."""
        return None if self.placement is None else self.placement.nodes.get(name)

    def vfs(self, host: str) -> dict[PciAddress, int]:
        """How many virtual functions physical functions of a host need."""
        counts = {} if self.placement is None else self.placement.vfs
        return {pf: count for (on, pf), count in counts.items() if on == host}


def virtual(topology: Topology) -> Attach:
    """What the fabrics are where there are no devices. Raises HostError for one that insists on them."""
    for fabric in topology.fabrics.values():
        if fabric.attach in HARDWARE:
            raise HostError(
                f"the fabric {fabric.name} wants `attach: {fabric.attach}`, and this host has no devices to pass",
                hint=f"write `attach: virtio` at {fabric.name}",
            )
    return unplaced(topology)


def unplaced(topology: Topology) -> Attach:
    """What the fabrics are as far as the file says it: one that is `auto` may be virtual."""
    return {f.name: "virtio" if f.attach == "auto" else f.attach for f in topology.fabrics.values()}


def wants_devices(topology: Topology) -> bool:
    """A fabric takes, or might take, devices of the host."""
    return any(f.attach in HARDWARE or (f.attach, f.kind) == ("auto", "infiniband") for f in topology.fabrics.values())


def decide(
    topology: Topology,
    hosts: Mapping[str, HostInventory],
    bed: ObservedBed,
    *,
    pinned: bool,
    keep: Callable[[Attach], frozenset[str]],
    native: Mapping[str, str],
    unfit: Mapping[str, Mapping[str, str]] = NO_ONE,
) -> Places:
    """Place the bed. `keep` tells, given the attachments, which nodes run and stay as they are.

    `native` is the architecture that a node's host must be of, `unfit` the hosts that lack something of a template, by
    its name, with what they lack.

    Without `pinned` (emulated guests) only devices are placed. An `auto` fabric stays what it is in force; otherwise
    the best attachment is taken with which all nodes can be placed. Raises HostError when there is none.
    """
    spaces = {
        name: HostSpace(inventory, _reserve(topology.hosts[name].reserve, pinned=pinned))
        for name, inventory in hosts.items()
    }

    def asked(attach: Attach) -> tuple[frozenset[str], Problem]:
        kept = keep(attach)
        requests = [
            replace(
                _request(topology, node, attach, pinned=pinned),
                architecture=native.get(node.name, ""),
                # It is defined there, and its disks are.
                host=bed.nodes[node.name].host if node.name in bed.nodes else node.host,
                unfit=() if node.name in bed.nodes else tuple(unfit.get(node.template, {}).items()),
            )
            for node in topology.nodes.values()
        ]
        in_force = {name: _in_force(bed.nodes[name], hosts) for name in kept}
        return kept, Problem.of(requests, spaces, bed=topology.name, in_force=in_force)

    choices = {name: _choices(topology, name, bed, hosts) for name in topology.fabrics}
    least = {name: words[-1] for name, words in choices.items()}
    for attach in _in_turn(choices, lambda attach: asked(attach)[1].fits):
        kept, problem = asked(attach)
        placement = placed(problem)
        if placement is not None:
            return Places(attach, placement, hosts, kept)
    raise refusal(asked(least)[1])


def _in_turn(choices: Mapping[str, Sequence[str]], fits: Callable[[Attach], bool]) -> Iterator[Attach]:
    """All ways to attach the fabrics, the best first, without those that cannot be.

    After the best, whether each word `fits` is asked where all else asks for least: what does not fit then never does,
    and what has no way at all is known after one question.
    """
    best, least = ({name: words[end] for name, words in choices.items()} for end in (0, -1))
    yield best
    if best == least or not fits(least):
        return
    possible = {
        name: [word for word in words if word == least[name] or fits({**least, name: word})]
        for name, words in choices.items()
    }
    for words in product(*possible.values()):
        attach = dict(zip(choices, words, strict=True))
        if attach != best:
            yield attach


def _reserve(written: Reserve, *, pinned: bool) -> Reserve:
    """Only guests that are pinned and bound keep clear of what the host would keep without being told."""
    return written if pinned else Reserve(written.cpus or 0, written.memory or Bytes(0))


def _choices(topology: Topology, name: str, bed: ObservedBed, hosts: Mapping[str, HostInventory]) -> tuple[str, ...]:
    fabric = topology.fabrics[name]
    if fabric.attach != "auto":
        return (fabric.attach,)
    if fabric.kind == "ethernet":
        return ("virtio",)
    for metadata in bed.metadata.values():
        for address in metadata.addresses:
            if address.fabric == name:
                return (address.attach,)
    functions = (function for inventory in hosts.values() for function in inventory.functions.values())
    if all(function.is_virtual or unsuited(function, "infiniband") for function in functions):
        return ("virtio",)
    return _AUTO


def hardware(attach: str) -> Hardware | None:
    """The word, if it means a device of the host."""
    return next((word for word in HARDWARE if word == attach), None)


def _request(topology: Topology, node: Node, attach: Attach, *, pinned: bool) -> NodeRequest:
    pairs = {s: None for t in topology.targets if node.name in t.servers for s in t.servers if s != node.name}
    return NodeRequest(
        name=node.name,
        cpus=node.cpus,
        memory_kib=node.memory.kib,
        numa=node.numa if pinned else Numa("none"),
        page_kib=node.hugepages.kib if node.hugepages is not None else None,
        pin=node.pin if pinned else "shared",
        threads=node.threads if pinned else "prefer",
        devices=tuple(_wishes(topology, node, attach)),
        host=node.host,
        avoid=node.avoid,
        pairs=tuple(pairs),
    )


def _wishes(topology: Topology, node: Node, attach: Attach) -> Iterator[DeviceWish]:
    for name, count in node.fabrics.items():
        fabric, function = topology.fabrics[name], hardware(attach[name])
        whole = fabric.device is not None and fabric.device.whole_group
        if function is not None:
            yield from (DeviceWish(name, n, fabric.kind, function, fabric.device, whole) for n in range(count))


def _in_force(domain: ObservedDomain, hosts: Mapping[str, HostInventory]) -> NodePlacement:
    """Where a node is, as its domain says. Its vCPUs are sorted into guest cells by the host cells of their CPUs."""
    facts, inventory = domain.facts, hosts[domain.host]
    details = facts.details
    cell_of = {cpu.id: cell.id for cell in inventory.cells for cpu in cell.cpus}
    cells: dict[int | None, dict[int, tuple[int, ...]]] = {}
    for vcpu, cpus in sorted(details.pins.items()):
        found = {cell_of.get(cpu) for cpu in cpus}
        cells.setdefault(found.pop() if details.nodeset and len(found) == 1 else None, {})[vcpu] = tuple(sorted(cpus))
    if not cells:
        cells = {min(details.nodeset, default=None): {}}
    share = facts.memory_kib // len(cells)
    return NodePlacement(
        node=facts.metadata.node if facts.metadata is not None else facts.name,
        host=domain.host,
        cells=tuple(PlacedCell(cell, vcpus, share, details.page_kib) for cell, vcpus in cells.items()),
        emulator_cpus=tuple(sorted(details.emulator_cpus)),
        devices=tuple(_devices_in_force(facts, inventory, frozenset(cells))),
    )


def _devices_in_force(
    facts: DomainFacts, inventory: HostInventory, cells: frozenset[int | None]
) -> Iterator[PlacedDevice]:
    extra = tuple(address for address in facts.hostdevs if address not in facts.ports.values())
    places = facts.metadata.addresses if facts.metadata is not None else ()
    for place_ in places:
        address = facts.ports.get(place_.interface)
        how = hardware(place_.attach)
        if address is None or how is None:
            continue
        function = inventory.functions.get(address)
        cell = None if function is None else function.cell
        parent = None if function is None else function.physical_function
        yield PlacedDevice(
            fabric=place_.fabric,
            index=_index(place_.fabric, place_.interface),
            address=address,
            function=how,
            host_cell=cell,
            iommu_group=None if function is None else function.iommu_group,
            remote=cell is not None and None not in cells and cell not in cells,
            physical_function=parent,
            vf_number=None if parent is None else _number(inventory, parent, address),
            group=tuple(a for a in extra if function is not None and _same_group(inventory, a, function)),
        )


def _index(fabric: str, interface: str) -> int:
    return 0 if interface == fabric else int(interface.removeprefix(interface_name(fabric, 1)[:-1]))


def _number(inventory: HostInventory, parent: PciAddress, address: PciAddress) -> int | None:
    pf = inventory.functions.get(parent)
    return None if pf is None or address not in pf.virtual_functions else pf.virtual_functions.index(address)


def _same_group(inventory: HostInventory, address: PciAddress, function: PciFunction) -> bool:
    other = inventory.functions.get(address)
    return other is not None and other.iommu_group is not None and other.iommu_group == function.iommu_group
