"""From numbers to CPUs: the lowest ones that keep siblings together, to the nodes in order of name."""

from collections.abc import Mapping, Sequence

from vmlab.placement.groups import natural
from vmlab.placement.request import NodePlacement, NodeRequest, PlacedCell
from vmlab.placement.space import CellSpace, Space
from vmlab.placement.spots import Optimum, Spot


class Cpus:
    """The CPUs of one cell that are still to be given away."""

    def __init__(self, cell: CellSpace) -> None:
        self._left = {core.cpus: list(core.free) for core in cell.cores if core.free}

    def left(self) -> tuple[int, ...]:
        """What nobody has for itself."""
        return tuple(sorted(cpu for free in self._left.values() for cpu in free))

    def cores(self, count: int, *, largest: bool = False) -> list[tuple[int, ...]]:
        """Whole cores: the smallest, or the largest ones; of equals the first."""
        whole = sorted(self._whole(), key=lambda core: (-len(core) if largest else len(core), core))[:count]
        for core in whole:
            del self._left[core]
        return whole

    def threads(self, count: int) -> list[int]:
        """Threads that share as few cores as possible: full cores, and for the rest a core that is broken already."""
        found: list[int] = []
        while (wanted := count - len(found)) > 0:
            full = [core for core in self._whole() if len(core) <= wanted]
            broken = [core for core, free in self._left.items() if len(free) < len(core)]
            enough = [core for core in broken if len(self._left[core]) >= wanted]
            if full:
                core = min(full, key=lambda c: (-len(c), c))
            elif enough:
                core = min(enough, key=lambda c: (len(self._left[c]), c))
            else:
                core = min(self._left, key=lambda c: (c in broken, -len(self._left[c]), c))
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
    kept = {
        where: [cpu for core in cpus[where].cores(count) for cpu in core]
        for where, count in sorted(found.reserve.items())
    }
    dedicated: dict[tuple[str, int], list[int]] = {}
    for policy in ("isolate", "require", "prefer"):
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
        emulator = _emulator(spot, {cell: held for (host, cell), held in kept.items() if host == spot.host}, free)
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


def _emulator(spot: Spot, kept: Mapping[int, list[int]], free: Mapping[int, tuple[int, ...]]) -> tuple[int, ...]:
    """The reserve, else what no vCPU has for itself: of the node's cells if they have any of it, else of the host."""
    mine = spot.kib.keys() - {None}
    for source in (kept, free):
        near = [cpu for cell, cpus in source.items() if cell in mine for cpu in cpus]
        if found := near or [cpu for cpus in source.values() for cpu in cpus]:
            return tuple(sorted(found))
    return ()
