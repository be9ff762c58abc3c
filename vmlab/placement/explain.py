"""The refusal of a bed that does not fit: the first node that is too much, and what each cell had left for it."""

from collections.abc import Iterator, Mapping
from math import ceil

from vmlab.errors import HostError
from vmlab.placement.groups import shares
from vmlab.placement.lacking import short
from vmlab.placement.problem import Problem
from vmlab.placement.refusal import Want
from vmlab.placement.relax import hint
from vmlab.placement.request import NodeRequest
from vmlab.placement.space import CellSpace, Space
from vmlab.placement.spots import NOWHERE, Optimum
from vmlab.values.size import Bytes


def refusal(problem: Problem) -> HostError:
    """The error for a problem that has no solution."""
    settled = problem.settled()
    node, found = _first_too_many(settled)
    before = settled.again([request for request in problem.requests if request.name in found.spots])
    others = before.placement(found).nodes if before.requests else problem.in_force
    rest = Problem.of(
        problem.requests,
        problem.hosts,
        bed=problem.bed,
        in_force={**problem.in_force, **others},
        later=[request.name for request in problem.requests],
        keeps=settled.keeps,
    )
    one = problem.again([*before.requests, node])
    beside = f" beside the other {len(others)} nodes" if len(others) > 1 else f" beside {next(iter(others), '')}"
    lacking = short(one)
    lines = [f"{node.name} does not fit{beside if others else ''}: too little of {lacking}"]
    for name, space in rest.spaces.items():
        if node.host in (None, name):
            told = [*_host(node, space, problem, found), *_kept(space, lacking)]
            if "memory" in lacking:
                told += _later(name, problem)
            lines += [f"  {line}" for line in told]
    if node.host is not None and node.host not in problem.hosts:
        lines.append(f"  its host {node.host} is not among {', '.join(problem.hosts)}")
    return HostError("\n".join(lines), hint=hint(problem, node, [*problem.in_force, *found.spots]))


def _first_too_many(problem: Problem) -> tuple[NodeRequest, Optimum]:
    """The first node, in the order of the topology, that does not fit with all before it; and where those are."""
    fit, too_many = 0, len(problem.requests)
    while too_many - fit > 1:
        middle = (fit + too_many) // 2
        if problem.again(problem.requests[:middle]).solve(prove=False) is None:
            too_many = middle
        else:
            fit = middle
    found = problem.again(problem.requests[:fit]).solve() if fit else NOWHERE
    return problem.requests[fit], found or NOWHERE


def _host(node: NodeRequest, space: Space, problem: Problem, found: Optimum) -> Iterator[str]:
    if not space.admits(node):
        architecture = f"its architecture is {space.architecture}, wanted {node.architecture}"
        yield f"{space.host}: {dict(node.unfit).get(space.host, architecture)}"
        return
    if node.pin == "dedicated" and node.threads == "require" and space.threads < 2:  # noqa: PLR2004 - siblings
        yield f"{space.host}: wanted threads: require, but its cores have one thread each"
    free = {want: _functions_free(want, space, problem, found) for want in _wants(node)}
    cpus, kib = max(shares(node))
    each = f" in each of {node.numa.cells} cells" if node.numa.cells else ""
    for cell in space.cells:
        left = min(cell.free_kib.get(node.page_kib, 0), max(0, space.free_kib.get(node.page_kib, 0)))
        told = [f"wanted {_cpus_wanted(node, cpus, space)}, {_cpus_free(node, cell, space)}"]
        told.append(f"wanted {_memory(node, kib)}, free {_size(left)}")
        yield f"{space.host} cell {cell.id}{each}: {'; '.join([*told, *_devices(node, cell.id, free)])}"
    for want, fabrics in _wants(node).items():
        for address, reason in problem.devices[space.host].refusals.get(want, ()):
            yield f"{space.host} {address} is refused for {', '.join(dict.fromkeys(fabrics))}: {reason}"
        limits = problem.devices[space.host].limits.get(want, ())
        for address, reason in limits if sum(free[want].values()) < len(fabrics) else ():
            yield f"{space.host} {address} has no more for {', '.join(dict.fromkeys(fabrics))}: {reason}"


def _cpus_wanted(node: NodeRequest, cpus: int, space: Space) -> str:
    if node.pin == "shared":
        return "a CPU to share"
    if node.threads == "isolate":
        return _count(cpus, "whole core")
    if node.threads == "require":
        return f"{_count(ceil(cpus / space.threads), 'whole core')} of {space.threads} threads"
    return _count(cpus, "CPU" if space.threads > 1 else "core")


def _cpus_free(node: NodeRequest, cell: CellSpace, space: Space) -> str:
    """The reserve goes first to other cells: what is kept here is what those cannot keep."""
    sizes = sorted(len(core.cpus) for core in cell.open_cores)
    elsewhere = sum(len(other.open_cores) for other in space.cells if other.id != cell.id)
    kept = min(max(0, space.reserve - elsewhere), len(sizes))
    threads = sum(len(core.cpus) for core in cell.cores)
    notes = [f"{_count(kept, 'core')} kept for the host"] if kept else []
    if space.kept.cpus > space.reserve:
        notes = [f"the host keeps {_count(space.kept.cpus, 'core')}"]
    if node.pin == "shared":
        free, total = cell.open_threads - sum(sizes[:kept]), threads
        notes += [f"{cell.threads - cell.open_threads} isolated"] if cell.isolated else []
    elif node.threads != "prefer":
        free, total = len(cell.sizes) - kept, len(cell.cores)
    else:
        free, total = cell.threads - sum(sizes[:kept]), threads
    return f"free {free} of {total}" + (f" ({', '.join(notes)})" if notes else "")


def _kept(space: Space, lacking: str) -> Iterator[str]:
    """What of that which is lacking the host keeps without having been told to, and the way out."""
    kept = space.kept
    told = []
    if kept.usual_cpus and kept.cpus and "CPUs" in lacking:
        told.append((_count(kept.cpus, "core"), "cpus: 0"))
    if kept.usual_kib and kept.kib and "memory" in lacking:
        told.append((_size(kept.kib), "memory: 0B"))
    if told:
        amounts, way = " and ".join(amount for amount, _ in told), ", ".join(way for _, way in told)
        yield f"{space.host} keeps {amounts} for itself, as no `reserve` is written; to keep none: `reserve: {{{way}}}`"


def _later(host: str, problem: Problem) -> Iterator[str]:
    """Memory that counts although nobody has it yet."""
    for claim in problem.hosts[host].inventory.claims:
        if claim.later_kib:
            yield f"{host}: the domain {claim.domain} can be given {_size(claim.later_kib)} more (its <maxMemory>)"


def _functions_free(want: Want, space: Space, problem: Problem, found: Optimum) -> Mapping[int, int]:
    """By cell, how many functions are left of those that can serve; what is in a cell not known counts in each."""
    used: dict[int, set[tuple[str, int, int]]] = {}
    for name, spot in found.spots.items():
        for taken in spot.devices:
            used.setdefault(taken.pool, set()).add((name, taken.slot, taken.piece))
    return {
        cell.id: sum(
            max(0, pool.capacity - len(used.get(index, ())))
            for index, pool in enumerate(problem.pools())
            for slot in pool.slots
            if pool.host == space.host and want in slot.serves and slot.cell in (cell.id, None)
        )
        for cell in space.cells
    }


def _devices(node: NodeRequest, cell: int, free: Mapping[Want, Mapping[int, int]]) -> Iterator[str]:
    """What is left in the cell of what can serve each wish."""
    for want, fabrics in _wants(node).items():
        what = "virtual function" if want.function == "vf" else "function"
        wanted = _count(len(fabrics), what)
        yield f"wanted {wanted} for {', '.join(dict.fromkeys(fabrics))}, free {free[want][cell]}"


def _wants(node: NodeRequest) -> Mapping[Want, list[str]]:
    """The fabrics by what they want, one for each port."""
    fabrics: dict[Want, list[str]] = {}
    for wish in node.devices:
        fabrics.setdefault(Want.of(wish), []).append(wish.fabric)
    return fabrics


def _memory(node: NodeRequest, kib: int) -> str:
    return _size(kib) + (f" in pages of {_size(node.page_kib)}" if node.page_kib else " of memory")


def _size(kib: int) -> str:
    """Rounded down to MiB: it is only read."""
    return str(Bytes(kib // 1024 << 20)) if kib >= 1024 else f"{kib}KiB"  # noqa: PLR2004 - a MiB


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
