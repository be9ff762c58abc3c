"""Of what a host has too little: of that which, if it had enough of it, would let the bed fit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from vmlab.inventory.model import Cell, PagePool
from vmlab.placement.problem import Problem
from vmlab.placement.request import HostSpace, NodeRequest
from vmlab.placement.reserve import without


def short(problem: Problem) -> str:
    """Of what there is too little: "CPUs", "CPUs or devices" if either alone would do, "CPUs and memory" if not."""
    for count in range(1, len(_ENOUGH) + 1):
        enough = [names for names in combinations(_ENOUGH, count) if _with_enough(problem, names).fits]
        if enough:
            return " or ".join(" and ".join(names) for names in enough)
    return "CPUs for shared vCPUs, or hosts"


def _with_enough(problem: Problem, names: Sequence[str]) -> Problem:
    for name in names:
        problem = _ENOUGH[name](problem)
    return problem


def _cpus_enough(problem: Problem) -> Problem:
    def floats(request: NodeRequest) -> NodeRequest:
        return replace(request, cpus=request.numa.cells or 1, pin="shared", threads="prefer")

    return problem.again([floats(request) for request in problem.requests])


def _memory_enough(problem: Problem) -> Problem:
    """Each cell has more by what all nodes and claims together want, in pages of every size that is wanted."""
    sizes = {request.page_kib for request in problem.requests} - {None}
    claims = [claim for host in problem.hosts.values() for claim in host.inventory.claims]
    wanted = sum(request.memory_kib for request in problem.requests)
    wanted += sum(sum(claim.memory_kib.values()) + sum(claim.huge_kib.values()) for claim in claims)

    def more(cell: Cell) -> Cell:
        pools = {size: cell.huge.get(size, PagePool(size, 0)).total + wanted // size + 1 for size in sizes if size}
        huge = dict(cell.huge) | {size: PagePool(size, total) for size, total in pools.items()}
        added = sum(size * (total - _total(cell, size)) for size, total in pools.items())
        return replace(cell, memory_kib=cell.memory_kib + wanted + added, available_kib=None, huge=huge)

    hosts = {
        name: HostSpace(
            replace(host.inventory, cells=tuple(more(cell) for cell in host.inventory.cells)),
            without(host.reserve, ["memory"]),
        )
        for name, host in problem.hosts.items()
    }
    return problem.again(hosts=hosts)


def _total(cell: Cell, size: int) -> int:
    return cell.huge[size].total if size in cell.huge else 0


def _devices_enough(problem: Problem) -> Problem:
    return problem.again([replace(request, devices=()) for request in problem.requests])


_ENOUGH: Mapping[str, Callable[[Problem], Problem]] = {
    "CPUs": _cpus_enough,
    "memory": _memory_enough,
    "devices": _devices_enough,
}
