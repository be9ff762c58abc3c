"""Which functions of a host may serve which wishes, as pools of functions that are as good as each other.

A virtual function that does not exist yet stands in its pool like one that does.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, get_args

from vmlab.inventory.model import PciFunction
from vmlab.inventory.suited import ports_of
from vmlab.placement.refusal import Functions, Want
from vmlab.topology.bed import Kind
from vmlab.values.pci import PciAddress

KINDS: tuple[Kind, ...] = get_args(Kind)
_PORTS_SHARED = 2


class Ports(NamedTuple):
    """How many ports of each kind (in the order of `KINDS`) a function has for one node."""

    infiniband: int
    ethernet: int

    def of(self, kind: Kind) -> int:
        """Those of one kind."""
        return self.infiniband if kind == "infiniband" else self.ethernet


@dataclass(frozen=True, slots=True)
class Slot:
    """Functions in one cell that serve the same wishes, each up to `ports` of one node. `cell` None: not known."""

    cell: int | None
    ports: Ports
    addresses: tuple[PciAddress, ...]
    serves: frozenset[Want]


@dataclass(frozen=True, slots=True)
class Pool:
    """What nodes take by the piece: one function of the only slot, or an IOMMU group with a slot for each function.

    There are `capacity` pieces. `parent`: the physical function, if these are virtual ones; `existing` are those of
    them that are there, in the order of their numbers. More than those means that all are made anew.
    """

    host: str
    capacity: int
    slots: tuple[Slot, ...]
    members: tuple[PciAddress, ...] = ()
    parent: PciAddress | None = None
    existing: tuple[PciAddress, ...] = ()

    @property
    def simple(self) -> bool:
        """Each piece is one function that serves one port."""
        return len(self.slots) == 1 and sum(self.slots[0].ports) == 1


Reasons = tuple[tuple[PciAddress, str], ...]
"""Functions, each with why it cannot do more."""


@dataclass(frozen=True, slots=True)
class Devices:
    """The pools of one host, which of them exclude each other, and by wish why other functions are refused.

    `exclusive` are indices of `pools`: of those with a physical function, and of those with its virtual functions.
    `limits` tell, of functions that are not refused, why they have no more virtual ones, or ports of the kind.
    """

    functions: Functions
    pools: tuple[Pool, ...] = ()
    exclusive: tuple[tuple[int, int], ...] = ()
    refusals: Mapping[Want, Reasons] = field(default_factory=dict)
    limits: Mapping[Want, Reasons] = field(default_factory=dict)


def devices(functions: Functions, host: str, wants: Iterable[Want]) -> Devices:
    """Sort the functions of one host by what they may serve."""
    wanted = tuple(dict.fromkeys(wants))
    refusals: dict[Want, list[tuple[PciAddress, str]]] = {
        want: [(address, "the host has no such function") for address in functions.absent(want)] for want in wanted
    }
    limits: dict[Want, list[tuple[PciAddress, str]]] = {want: [] for want in wanted}
    whole: dict[PciAddress, frozenset[Want]] = {}
    virtual: list[Pool] = []
    for function in sorted(functions.inventory.functions.values(), key=lambda f: f.address):
        serves: dict[str, set[Want]] = {"passthrough": set(), "vf": set()}
        for want in wanted:
            if not functions.candidate(function, want):
                continue
            refuse = functions.refuse_parent if want.function == "vf" else functions.refuse_whole
            reason = refuse(function, want)
            if reason is None:
                serves[want.function].add(want)
                if (limit := functions.limit(function, want)) is not None:
                    limits[want].append((function.address, limit))
            else:
                refusals[want].append((function.address, reason))
        if serves["passthrough"]:
            whole[function.address] = frozenset(serves["passthrough"])
        if serves["vf"]:
            virtual += _virtual(functions, host, function, serves["vf"])
    parents = {pool.parent for pool in virtual if pool.parent is not None}
    pools = (*_whole(functions, host, whole, parents), *virtual)
    exclusive = tuple(
        (one, other)
        for one, pool in enumerate(pools)
        for other, vfs in enumerate(pools)
        if pool.parent is None and vfs.parent is not None and vfs.parent in pool.members
    )
    told, bounds = ({want: tuple(reasons) for want, reasons in found.items()} for found in (refusals, limits))
    return Devices(functions, pools, exclusive, told, bounds)


def planned_address(parent: PciFunction, number: int) -> PciAddress:
    """Where virtual function `number` will be: the routing ID of SR-IOV, or right behind where that is not known."""
    address = parent.address
    routing = address.bus << 8 | address.slot << 3 | address.function
    offset, stride = parent.sriov_offset or 1, parent.sriov_stride or 1
    routing += offset + number * stride
    return PciAddress(address.domain, routing >> 8, routing >> 3 & 0x1F, routing & 7)


def _whole(
    functions: Functions, host: str, whole: Mapping[PciAddress, frozenset[Want]], parents: set[PciAddress]
) -> Iterator[Pool]:
    """Physical functions; those that nothing distinguishes are one pool."""
    alike: dict[tuple[int | None, Ports, frozenset[Want]], list[PciAddress]] = {}
    done: set[PciAddress] = set()
    for address, serves in whole.items():
        function = functions.inventory.functions[address]
        members = functions.members(function)
        if address in done:
            continue
        if len(members) == 1 and address not in parents:
            alike.setdefault((function.cell, _ports(function), serves), []).append(address)
            continue
        slots = tuple(Slot(m.cell, _ports(m), (m.address,), whole[m.address]) for m in members if m.address in whole)
        done.update(member.address for member in members)
        yield Pool(host, 1, slots, tuple(member.address for member in members))
    for (cell, ports, serves), addresses in alike.items():
        slot = Slot(cell, ports, tuple(addresses), serves)
        yield Pool(host, len(addresses), (slot,), tuple(addresses))


def _ports(function: PciFunction) -> Ports:
    return Ports(*(min(_PORTS_SHARED, ports_of(function, kind)) for kind in KINDS))


def _one(wants: Iterable[Want]) -> Ports:
    """A virtual function serves one port, of a kind that it is wanted for."""
    kinds = {want.kind for want in wants}
    return Ports(*(int(kind in kinds) for kind in KINDS))


def _virtual(functions: Functions, host: str, parent: PciFunction, wants: set[Want]) -> Iterator[Pool]:
    """The virtual functions of one physical function."""
    existing = functions.existing(parent)
    serves = {
        vf.address: frozenset(want for want in wants if functions.refuse_virtual(vf, parent, want) is None)
        for vf in existing
    }
    by_parent = frozenset(want for want in wants if functions.planned_by_address(parent, want))
    alone = all(len(functions.members(vf)) == 1 for vf in existing)
    if functions.fixed(parent) is None and alone and by_parent and all(s == by_parent for s in serves.values()):
        addresses = tuple(serves)
        slot = Slot(parent.cell, _one(by_parent), addresses, by_parent)
        total = max(parent.total_vfs, len(existing))
        yield Pool(host, total, (slot,), (), parent.address, addresses)
        return
    alike: dict[frozenset[Want], list[PciAddress]] = {}
    done: set[PciAddress] = set()
    for vf in existing:
        members = functions.members(vf)
        if not serves[vf.address] or vf.address in done:
            continue
        if len(members) == 1:
            alike.setdefault(serves[vf.address], []).append(vf.address)
            continue
        slots = tuple(
            Slot(parent.cell, _one(wanted), (m.address,), wanted) for m in members if (wanted := serves.get(m.address))
        )
        done.update(member.address for member in members)
        addresses = tuple(slot.addresses[0] for slot in slots)
        yield Pool(host, 1, slots, tuple(m.address for m in members), parent.address, addresses)
    for kinds, found in alike.items():
        slot = Slot(parent.cell, _one(kinds), tuple(found), kinds)
        yield Pool(host, len(found), (slot,), tuple(found), parent.address, tuple(found))
