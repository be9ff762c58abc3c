"""What is free on a host before anything new is placed: cores, memory and huge pages by cell."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from vmlab.inventory.model import Cell, Claim
from vmlab.placement.request import HostSpace, NodePlacement
from vmlab.values.pci import PciAddress

Pages = int | None
"""A size of huge pages in KiB, or None: ordinary pages."""


@dataclass(frozen=True, slots=True)
class Core:
    """The threads of a core, in order, and those of them that no dedicated vCPU has."""

    cpus: tuple[int, ...]
    free: tuple[int, ...]

    @property
    def whole(self) -> bool:
        """Nobody is on any of its threads."""
        return self.cpus == self.free


@dataclass(frozen=True, slots=True)
class CellSpace:
    """What is free in one cell. `free_kib` is by page size; `unused`: no guest has a CPU or memory of it."""

    id: int
    cores: tuple[Core, ...]
    free_kib: Mapping[Pages, int]
    unused: bool

    @property
    def threads(self) -> int:
        """Free threads, of whole and of broken cores."""
        return sum(len(core.free) for core in self.cores)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of threads of the whole cores, the smallest first."""
        return tuple(sorted(len(core.cpus) for core in self.cores if core.whole))


@dataclass(frozen=True, slots=True)
class Space:
    """What is free on one host. `free_kib` bounds the sum over the cells: what is bound to no cell is only taken here.

    The reserve of memory is taken from this sum, so it lies wherever the nodes leave room. `reserve` are whole cores,
    of any cells. If the host has no longer as many, nothing of its CPUs is given away. `holders` say who has a device,
    in words for the user. `threads` is the most that a core has.
    """

    host: str
    cells: tuple[CellSpace, ...]
    free_kib: Mapping[Pages, int]
    reserve: int
    threads: int
    holders: Mapping[PciAddress, str]


@dataclass(frozen=True, slots=True)
class _Taken:
    """What one domain or node has. `cpus` includes threads that it wants to stay empty."""

    cpus: frozenset[int]
    kib: Mapping[tuple[int | None, Pages], int]
    devices: frozenset[PciAddress]
    holder: str


def space(
    name: str,
    host: HostSpace,
    *,
    bed: str | None,
    anew: Collection[str],
    kept: Mapping[str, NodePlacement],
    pins: Mapping[str, tuple[str, str]],
) -> Space:
    """Subtract what is there from what the host has.

    Claims of the nodes `anew` and `kept` of this bed do not count: the first are placed now, the second are given with
    their placement. `pins` are (pin, threads) of nodes: a node of `kept` that is isolated keeps its siblings empty.
    """
    inventory = host.inventory
    ours = [c for c in inventory.claims if bed is not None and c.bed == bed and (c.node in anew or c.node in kept)]
    released = [_of_claim(claim) for claim in ours if claim.running and claim.node not in kept]
    siblings = {cpu.id: cpu.siblings for cell in inventory.cells for cpu in cell.cpus}
    taken = [_of_claim(claim) for claim in inventory.claims if claim not in ours]
    taken += [
        _of_node(node, pins.get(node.node, ("dedicated", "prefer")), siblings)
        for node in kept.values()
        if node.host == name
    ]
    cpus = frozenset[int]().union(*(t.cpus for t in taken))
    cells = tuple(_cell(cell, cpus, taken, released) for cell in sorted(inventory.cells, key=lambda c: c.id))
    sizes = {pages for cell in cells for pages in cell.free_kib}
    free = {pages: _sum_free(inventory.cells, pages, taken, released) for pages in sorted(sizes, key=lambda p: p or 0)}
    free[None] = free.get(None, 0) - host.reserve.memory.kib
    whole = sum(len(cell.sizes) for cell in cells)
    if whole < host.reserve.cpus:
        cells = tuple(CellSpace(c.id, (), c.free_kib, c.unused) for c in cells)
    return Space(
        name,
        cells,
        free,
        host.reserve.cpus if whole >= host.reserve.cpus else 0,
        max((len(s) for s in siblings.values()), default=1),
        {address: t.holder for t in taken for address in t.devices},
    )


def _of_claim(claim: Claim) -> _Taken:
    kib: Counter[tuple[int | None, Pages]] = Counter()
    for cell, amount in claim.memory_kib.items():
        kib[cell, None] += amount
    for (cell, size), amount in claim.huge_kib.items():
        kib[cell, size] += amount
    return _Taken(claim.cpus, kib, claim.devices, f"the domain {claim.domain} has it")


def _of_node(node: NodePlacement, pin: tuple[str, str], siblings: Mapping[int, frozenset[int]]) -> _Taken:
    """A vCPU that may run on several CPUs floats, and takes none."""
    cpus = {c[0] for cell in node.cells for c in cell.vcpus.values() if len(c) == 1 and pin[0] == "dedicated"}
    if pin[1] in ("isolate", "require"):
        cpus |= {sibling for cpu in cpus for sibling in siblings.get(cpu, ())}
    kib: Counter[tuple[int | None, Pages]] = Counter()
    for cell in node.cells:
        kib[cell.host_cell, cell.page_kib] += cell.memory_kib
    devices = frozenset(a for device in node.devices for a in (device.address, *device.group))
    return _Taken(frozenset(cpus), kib, devices, f"the node {node.node} has it")


def _cell(cell: Cell, cpus: frozenset[int], taken: list[_Taken], released: list[_Taken]) -> CellSpace:
    cores = {tuple(sorted(cpu.siblings)) for cpu in cell.cpus}
    free: dict[Pages, int] = {}
    for pages in (None, *sorted(cell.huge)):
        total, now = _capacity(cell, pages)
        left = total - sum(t.kib.get((cell.id, pages), 0) for t in taken)
        if now is not None:
            left = min(left, now + sum(t.kib.get((cell.id, pages), 0) for t in released))
        free[pages] = max(0, left)
    return CellSpace(
        cell.id,
        tuple(Core(core, tuple(cpu for cpu in core if cpu not in cpus)) for core in sorted(cores)),
        free,
        unused=not any(t.cpus & {cpu.id for cpu in cell.cpus} or cell.id in dict(t.kib.keys()) for t in taken),
    )


def _capacity(cell: Cell, pages: Pages) -> tuple[int, int | None]:
    """All that the cell has of it, and what is free now, if the host tells."""
    if pages is None:
        return cell.memory_kib - sum(pool.size_kib * pool.total for pool in cell.huge.values()), cell.available_kib
    pool = cell.huge[pages]
    return pool.size_kib * pool.total, None if pool.free is None else pool.size_kib * pool.free


def _sum_free(cells: tuple[Cell, ...], pages: Pages, taken: list[_Taken], released: list[_Taken]) -> int:
    with_it = [cell for cell in cells if pages is None or pages in cell.huge]
    capacities = [_capacity(cell, pages) for cell in with_it]
    left = sum(total for total, _ in capacities) - sum(_amounts(taken, pages))
    now = sum(total if free is None else free for total, free in capacities) + sum(_amounts(released, pages))
    return min(left, now)


def _amounts(taken: list[_Taken], pages: Pages) -> Iterator[int]:
    return (amount for t in taken for (_, size), amount in t.kib.items() if size == pages)
