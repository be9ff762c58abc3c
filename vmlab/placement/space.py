"""What is free on a host before anything new is placed: cores, memory and huge pages by cell."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from vmlab.inventory.architecture import runs
from vmlab.inventory.model import Cell, Claim, HostInventory
from vmlab.placement import reserve
from vmlab.placement.request import HostSpace, NodePlacement, NodeRequest
from vmlab.placement.reserve import Kept, Room
from vmlab.values.pci import PciAddress

Pages = int | None
"""A size of huge pages in KiB, or None: ordinary pages."""


@dataclass(frozen=True, slots=True)
class Core:
    """The threads of a core, in order; those that no dedicated vCPU has; and those of them that may be floated over."""

    cpus: tuple[int, ...]
    free: tuple[int, ...]
    open: tuple[int, ...]

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

    @property
    def open_threads(self) -> int:
        """Free threads that vCPUs may float over."""
        return sum(len(core.open) for core in self.cores)

    @property
    def open_cores(self) -> tuple[Core, ...]:
        """Whole cores that vCPUs may float over: the host, too, runs only there."""
        return tuple(core for core in self.cores if core.whole and core.open == core.cpus)

    @property
    def isolated(self) -> bool:
        """Some free thread is not to be floated over."""
        return self.open_threads < self.threads


@dataclass(frozen=True, slots=True)
class Space:
    """What is free on one host. `free_kib` bounds the sum over the cells: what is bound to no cell is only taken here.

    The reserve of memory is taken from this sum, so it lies wherever the nodes leave room. What is `kept` of CPUs are
    whole cores, of any cells. If the host has no longer as many, nothing of its CPUs is given away. `holders` say who
    has a device, in words for the user. `threads` is the most that a core has.
    """

    host: str
    architecture: str
    cells: tuple[CellSpace, ...]
    free_kib: Mapping[Pages, int]
    kept: Kept
    threads: int
    holders: Mapping[PciAddress, str]

    @property
    def reserve(self) -> int:
        """The cores to keep; 0 where all are kept because there are not as many."""
        return self.kept.cpus if self.kept.cpus <= sum(len(cell.sizes) for cell in self.cells) else 0

    def admits(self, request: NodeRequest) -> bool:
        """The node may be here: nothing ties it to another host, and the host has what its domain is made of."""
        if any(host == self.host for host, _ in request.unfit):
            return False
        return request.host in (None, self.host) and runs(self.architecture, request.architecture)


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
    lenient: bool = False,
    keeps: Kept | None = None,
) -> Space:
    """Subtract what is there from what the host has.

    Claims of the nodes `anew` and `kept` of this bed do not count: the first are placed now, the second are given with
    their placement. `pins` are (pin, threads) of nodes: a node of `kept` that is isolated keeps its siblings empty.
    `lenient`: the default reserve does not take what nodes of the bed have that are placed anew. `keeps`: what the host
    keeps, if that is settled.
    """
    inventory = host.inventory
    ours = [c for c in inventory.claims if bed is not None and c.bed == bed and (c.node in anew or c.node in kept)]
    placed = [claim for claim in ours if claim.node not in kept]
    released = [_of_claim(claim) for claim in placed if claim.running]
    siblings = {cpu.id: cpu.siblings for cell in inventory.cells for cpu in cell.cpus}
    taken = [_of_claim(claim) for claim in inventory.claims if claim not in ours]
    taken += [
        _of_node(node, pins.get(node.node, ("dedicated", "prefer")), siblings)
        for node in kept.values()
        if node.host == name
    ]
    cells = _cells(inventory, taken, released)
    sizes = {pages for cell in cells for pages in cell.free_kib}
    free = {pages: _sum_free(inventory.cells, pages, taken, released) for pages in sorted(sizes, key=lambda p: p or 0)}
    if keeps is None:
        room, beside = _room(inventory, cells, free.get(None, 0)), None
        if lenient:
            there = [_of_claim(claim) for claim in placed]
            kib = free.get(None, 0) - sum(_amounts(there, None))
            beside = _room(inventory, _cells(inventory, [*taken, *there], released), max(0, kib))
        floating = any(pin == "shared" for node, (pin, _) in pins.items() if node in anew)
        keeps = reserve.kept(host.reserve, room, floating=floating, left=beside)
    free[None] = free.get(None, 0) - keeps.kib
    if sum(len(cell.sizes) for cell in cells) < keeps.cpus:
        cells = tuple(replace(c, cores=tuple(Core(core.cpus, (), ()) for core in c.cores)) for c in cells)
    return Space(
        name,
        inventory.arch,
        cells,
        free,
        keeps,
        max((len(s) for s in siblings.values()), default=1),
        {address: t.holder for t in taken for address in t.devices},
    )


def _room(inventory: HostInventory, cells: Iterable[CellSpace], kib: int) -> Room:
    whole = [len(cell.sizes) for cell in cells]
    open_ = sum(len(cell.open_cores) for cell in cells)
    allowed = inventory.guest_cpus
    cores = {cpu.siblings for cell in inventory.cells for cpu in cell.cpus}
    outside = sum(allowed is not None and not core & allowed for core in cores)
    return Room(open_, sum(whole) - open_, outside, kib, sum(cell.memory_kib for cell in inventory.cells))


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


def _cells(inventory: HostInventory, taken: list[_Taken], released: list[_Taken]) -> tuple[CellSpace, ...]:
    allowed = inventory.guest_cpus
    known = frozenset(cpu.id for cell in inventory.cells for cpu in cell.cpus)
    cpus = frozenset[int]().union(known - allowed if allowed is not None else (), *(t.cpus for t in taken))
    ordered = sorted(inventory.cells, key=lambda cell: cell.id)
    return tuple(_cell(cell, cpus, inventory.isolated, taken, released) for cell in ordered)


def _cell(
    cell: Cell, cpus: frozenset[int], isolated: frozenset[int], taken: list[_Taken], released: list[_Taken]
) -> CellSpace:
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
        tuple(_core(core, cpus, isolated) for core in sorted(cores)),
        free,
        unused=not any(t.cpus & {cpu.id for cpu in cell.cpus} or cell.id in dict(t.kib.keys()) for t in taken),
    )


def _core(cpus: tuple[int, ...], taken: frozenset[int], isolated: frozenset[int]) -> Core:
    free = tuple(cpu for cpu in cpus if cpu not in taken)
    return Core(cpus, free, tuple(cpu for cpu in free if cpu not in isolated))


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
