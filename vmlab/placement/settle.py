"""From numbers to CPUs: the lowest ones that keep siblings together, to the nodes in order of name."""

from collections.abc import Mapping, Sequence

from vmlab.placement.groups import natural
from vmlab.placement.request import NodePlacement, NodeRequest, PlacedCell
from vmlab.placement.space import CellSpace, Space
from vmlab.placement.spots import Optimum, Spot


class Cpus:
    """The CPUs of one cell that are still to be given away."""

    def __init__(self, cell: CellSpace) -> None:
        self._open = frozenset(cpu for core in cell.cores for cpu in core.open)
        self._isolated = cell.isolated
        self._left = {core.cpus: sorted(core.free, key=self._later) for core in cell.cores if core.free}
        self._held: list[int] = []

    def left(self) -> tuple[int, ...]:
        """What nobody has for itself, and may be floated over."""
        free = (cpu for free in self._left.values() for cpu in free)
        return tuple(sorted((*self._held, *(cpu for cpu in free if cpu in self._open))))

    def hold(self) -> None:
        """Keep a thread to float over, where what is taken next could take the last one."""
        if self._isolated:
            having = [core for core, free in self._left.items() if self._open & set(free)]
            core = max(having, key=lambda c: (len(self._left[c]) < len(c), -len(self._left[c]), c))
            self._held.append(max(self._open & set(self._left[core])))
            self._left[core].remove(self._held[-1])

    def kept(self, count: int) -> list[int]:
        """Take whole cores for the host, isolated ones after all others; those of their threads that it runs on."""
        cores = self._take(sorted(self._whole(), key=lambda c: (-self._floats(c), len(c), c))[:count])
        return [cpu for core in cores for cpu in core if cpu in self._open]

    def cores(self, count: int, *, largest: bool = False) -> list[tuple[int, ...]]:
        """Whole cores, isolated ones before others: the smallest, or the largest ones; of equals the first."""
        size = -1 if largest else 1
        return self._take(sorted(self._whole(), key=lambda c: (self._floats(c), size * len(c), c))[:count])

    def _take(self, cores: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
        return [tuple(self._left.pop(core)) for core in cores]

    def _floats(self, core: tuple[int, ...]) -> int:
        """How much of a core may be floated over; 0 where that distinguishes nothing."""
        return len(self._open & set(self._left[core])) if self._isolated else 0

    def _later(self, cpu: int) -> tuple[bool, int]:
        """Isolated threads come first."""
        return cpu in self._open, cpu

    def threads(self, count: int) -> list[int]:
        """Threads that share as few cores as possible: full cores, and for the rest a core that is broken already.

        Isolated ones come before others.
        """
        found: list[int] = []
        while (wanted := count - len(found)) > 0:
            pool = [core for core, free in self._left.items() if not self._open.issuperset(free)] or list(self._left)
            full = [core for core in pool if len(core) <= min(wanted, len(self._left[core]))]
            broken = [core for core in pool if len(self._left[core]) < len(core)]
            enough = [core for core in broken if len(self._left[core]) >= wanted]
            if full:
                core = min(full, key=lambda c: (-len(c), c))
            elif enough:
                core = min(enough, key=lambda c: (len(self._left[c]), c))
            else:
                core = min(pool, key=lambda c: (c in broken, -len(self._left[c]), c))
            found += self._left[core][:wanted]
            self._left[core] = self._left[core][wanted:]
            if not self._left[core]:
                del self._left[core]
        return found

    def _whole(self) -> list[tuple[int, ...]]:
        return [core for core, free in self._left.items() if len(free) == len(core)]


def settle(
    requests: Sequence[NodeRequest], found: Optimum, spaces: Mapping[str, Space]
) -> tuple[dict[str, NodePlacement], list[str]]:
    """Every node with its CPUs and memory, not yet with its functions; and remarks for the user.

    The reserve takes the first cores, then come the nodes that want whole cores, then those that take what there is.
    """
    ordered = sorted(requests, key=lambda request: natural(request.name))
    cpus = {(name, cell.id): Cpus(cell) for name, space in spaces.items() for cell in space.cells}
    kept = {where: cpus[where].kept(count) for where, count in sorted(found.reserve.items())}
    dedicated: dict[tuple[str, int], list[int]] = {}
    for policy in ("isolate", "require", "prefer"):
        if policy == "prefer":
            for where in found.floated:
                cpus[where].hold()
        for request in ordered:
            if request.pin == "dedicated" and request.threads == policy:
                spot = found.spots[request.name]
                for cell, count in spot.vcpus.items():
                    most = spaces[spot.host].threads
                    dedicated[request.name, cell] = _dedicated(cpus[spot.host, cell], policy, count, most)
    nodes: dict[str, NodePlacement] = {}
    notes: list[str] = []
    for request in ordered:
        spot = found.spots[request.name]
        free = {cell: cpus[spot.host, cell].left() for cell in (c.id for c in spaces[spot.host].cells)}
        cells = tuple(_cells(request, spot, dedicated, free))
        mine = {cell: held for (host, cell), held in kept.items() if host == spot.host}
        emulator = _emulator(spot, mine, free, told=not spaces[spot.host].kept.usual_cpus)
        if not emulator:
            emulator = next(cell.vcpus[0][:1] for cell in cells if 0 in cell.vcpus)
            notes.append(f"{request.name}: QEMU's own threads share CPU {emulator[0]} with vCPU 0: no other is left")
        nodes[request.name] = NodePlacement(request.name, spot.host, cells, emulator)
    return nodes, notes


def _dedicated(cpus: Cpus, policy: str, count: int, threads: int) -> list[int]:
    if policy == "isolate":
        return [core[0] for core in cpus.cores(count)]
    if policy == "require":
        return [cpu for core in cpus.cores(-(-count // threads), largest=True) for cpu in core][:count]
    return cpus.threads(count)


def _cells(
    request: NodeRequest,
    spot: Spot,
    dedicated: Mapping[tuple[str, int], list[int]],
    free: Mapping[int, tuple[int, ...]],
) -> list[PlacedCell]:
    """The vCPUs are numbered cell by cell."""
    vcpus: dict[int | None, list[tuple[int, ...]]] = {}
    if request.pin == "shared" and None in spot.kib:
        vcpus[None] = [tuple(sorted(cpu for cpus in free.values() for cpu in cpus))] * request.cpus
    elif request.pin == "shared":
        vcpus = {cell: [free[cell]] * count for cell, count in spot.vcpus.items()}
    else:
        for cell in spot.vcpus:
            own = [(cpu,) for cpu in dedicated[request.name, cell]]
            vcpus.setdefault(None if None in spot.kib else cell, []).extend(own)
    cells, first = [], 0
    for host_cell, kib in spot.kib.items():
        mine = vcpus.get(host_cell, [])
        cells.append(PlacedCell(host_cell, dict(enumerate(mine, first)), kib, request.page_kib))
        first += len(mine)
    return cells


def _emulator(
    spot: Spot, kept: Mapping[int, Sequence[int]], free: Mapping[int, Sequence[int]], *, told: bool
) -> tuple[int, ...]:
    """The reserve, of the node's cells if it has any of them, else what no vCPU has for itself, likewise.

    Of a reserve that nobody `told` it only takes what is near, where nothing else is near.
    """
    mine = spot.kib.keys() - {None}
    kept_near, free_near = ({cell: cpus for cell, cpus in source.items() if cell in mine} for source in (kept, free))
    order = (kept_near, kept, free_near, free) if told else (free_near, kept_near, free, kept)
    found = (tuple(sorted(cpu for cpus in source.values() for cpu in cpus)) for source in order)
    return next(filter(None, found), ())
