"""Who has what of a host, as pictures show it: what runs there already, and what a placement adds."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from vmlab.inventory.model import Claim, HostInventory, PciFunction
from vmlab.placement.request import NodePlacement, PlacedDevice, Placement
from vmlab.values.pci import PciAddress


@dataclass(frozen=True, slots=True)
class Guest:
    """A domain or a node that is placed. `name` is short, as there is room for in a box; `domain` is in full.

    `ours`: it is what the picture is about, and not merely in the way. `vcpus` says by CPU which of its vCPUs may run
    there, () where that is not known. `memory_kib` is by cell, with None for what is bound to none. `devices` maps
    functions to the fabrics they are for, "" where that is not known; `planned` are those that `up` has to make.
    """

    name: str
    domain: str
    ours: bool
    running: bool
    vcpus: Mapping[int, tuple[int, ...]]
    memory_kib: Mapping[int | None, int]
    emulator: frozenset[int] = frozenset()
    page_kib: tuple[int, ...] = ()
    devices: Mapping[PciAddress, str] = field(default_factory=dict)
    remote: frozenset[PciAddress] = frozenset()
    planned: frozenset[PciAddress] = frozenset()

    def home(self, host: HostInventory) -> int | None:
        """The cell where it runs, the first of several; None if it floats."""
        return next((cell.id for cell in host.cells if cell.id in _cells(host, self.vcpus, self.memory_kib)), None)


@dataclass(frozen=True, slots=True)
class VirtualFunction:
    """One that is there, or one that `up` makes: the address of that is known only where a node gets it."""

    number: int
    address: PciAddress | None
    planned: bool


@dataclass(frozen=True, slots=True)
class Occupancy:
    """A host with its guests. On each CPU and function the running ones are first."""

    host: HostInventory
    guests: tuple[Guest, ...]
    on_cpu: Mapping[int, tuple[int, ...]]
    holders: Mapping[PciAddress, tuple[int, ...]]
    planned: Mapping[PciAddress, tuple[VirtualFunction, ...]]

    def virtual_functions(self, function: PciFunction) -> tuple[VirtualFunction, ...]:
        """Those it has and those it will have, by number."""
        present = (VirtualFunction(n, address, planned=False) for n, address in enumerate(function.virtual_functions))
        return *present, *self.planned.get(function.address, ())

    def functions(self) -> Iterator[PciFunction]:
        """What is worth drawing, in bus order: HCAs and NICs, what can have virtual functions, and what guests have.

        Virtual functions are drawn with their physical function, where the host shows that.
        """
        for address, function in sorted(self.host.functions.items()):
            if function.physical_function in self.host.functions:
                continue
            if function.is_network or function.total_vfs or function.virtual_functions or address in self.holders:
                yield function


def occupancy(host: HostInventory, placement: Placement | None, bed: str) -> Occupancy:
    """Put the claims and the placement together: of `bed`'s nodes the placement knows better than their claims."""
    placed = {} if placement is None else placement.nodes
    claims = [c for c in host.claims if not (c.node in placed and c.bed == bed)]
    names = Counter([c.node for c in claims] + [n.node for n in placed.values() if n.host == host.name])
    guests = [_placed(bed, node) for node in placed.values() if node.host == host.name]
    for claim in sorted(claims, key=lambda c: (c.bed is None, not c.running)):
        name = claim.node if claim.node is not None and names[claim.node] == 1 else claim.domain
        guests.append(_claimed(host, claim, name, ours=placement is None and claim.bed is not None))
    on_cpu: dict[int, list[int]] = defaultdict(list)
    holders: dict[PciAddress, list[int]] = defaultdict(list)
    for number, guest in enumerate(guests):
        for cpu in guest.vcpus:
            on_cpu[cpu].append(number)
        for address in guest.devices:
            holders[address].append(number)
    return Occupancy(
        host=host,
        guests=tuple(guests),
        on_cpu={cpu: tuple(numbers) for cpu, numbers in on_cpu.items()},
        holders={address: tuple(numbers) for address, numbers in holders.items()},
        planned=_planned(host, placement),
    )


def _placed(bed: str, node: NodePlacement) -> Guest:
    vcpus: dict[int, list[int]] = defaultdict(list)
    memory: dict[int | None, int] = defaultdict(int)
    for cell in node.cells:
        memory[cell.host_cell] += cell.memory_kib
        for vcpu, cpus in cell.vcpus.items():
            for cpu in cpus:
                vcpus[cpu].append(vcpu)
    devices = {address: device.fabric for device in node.devices for address in (device.address, *device.group)}
    return Guest(
        name=node.node,
        domain=f"{bed}.{node.node}" if bed else node.node,
        ours=True,
        running=True,
        vcpus={cpu: tuple(sorted(numbers)) for cpu, numbers in vcpus.items()},
        memory_kib=memory,
        emulator=frozenset(node.emulator_cpus),
        page_kib=tuple(sorted({cell.page_kib for cell in node.cells if cell.page_kib is not None})),
        devices=devices,
        remote=frozenset(device.address for device in node.devices if device.remote),
        planned=frozenset(device.address for device in node.devices if device.planned),
    )


def _claimed(host: HostInventory, claim: Claim, name: str, *, ours: bool) -> Guest:
    memory = Counter(claim.memory_kib)
    for (cell, _), kib in claim.huge_kib.items():
        memory[cell] += kib
    if len(host.cells) == 1:
        memory = Counter({host.cells[0].id: memory.total()}) if memory.total() else memory
    vcpus: dict[int, tuple[int, ...]] = dict.fromkeys(sorted(claim.cpus), ())
    cells = _cells(host, vcpus, memory)
    local = {a for a in claim.devices if (f := host.functions.get(a)) is None or f.cell is None or f.cell in cells}
    return Guest(
        name=name,
        domain=claim.domain,
        ours=ours,
        running=claim.running,
        vcpus=vcpus,
        memory_kib=memory,
        page_kib=tuple(sorted({size for _, size in claim.huge_kib})),
        devices=dict.fromkeys(sorted(claim.devices), ""),
        remote=claim.devices - local if cells else frozenset(),
    )


def _cells(host: HostInventory, cpus: Mapping[int, object], memory: Mapping[int | None, int]) -> set[int]:
    """Where it runs; where its memory is, if its CPUs are not bound."""
    of_cpus = {cell.id for cell in host.cells if any(cpu.id in cpus for cpu in cell.cpus)}
    return of_cpus or {cell for cell in memory if cell is not None}


def _planned(host: HostInventory, placement: Placement | None) -> dict[PciAddress, tuple[VirtualFunction, ...]]:
    if placement is None:
        return {}
    counts = {pf: count for (name, pf), count in placement.vfs.items() if name == host.name}
    made: dict[PciAddress, dict[int, PlacedDevice]] = defaultdict(dict)
    for node in placement.nodes.values():
        for device in node.devices:
            if node.host == host.name and device.planned and device.physical_function and device.vf_number is not None:
                made[device.physical_function][device.vf_number] = device
    planned = {}
    for pf in {*counts, *made}:
        present = len(host.functions[pf].virtual_functions) if pf in host.functions else 0
        numbers = {*range(present, counts.get(pf, 0)), *made[pf]}
        planned[pf] = tuple(
            VirtualFunction(n, made[pf][n].address if n in made[pf] else None, planned=True) for n in sorted(numbers)
        )
    return planned
