"""What would have to change for a bed to fit: nothing is told that was not tried, each change alone first."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from vmlab.placement.problem import Problem
from vmlab.placement.request import HostSpace, NodeRequest
from vmlab.placement.reserve import without
from vmlab.topology.bed import Numa
from vmlab.values.nodeset import fold
from vmlab.values.size import Bytes

_Change = Callable[[NodeRequest], NodeRequest]

_STEP_KIB = 128 << 10  # the least that a node may have


def hint(problem: Problem, node: NodeRequest, fitting: Sequence[str]) -> str:
    """The smallest change of the topology that lets the bed fit; else the nodes that are `fitting` without `node`."""
    for told, hosts in _reserves(problem):
        if problem.again(hosts=hosts).fits:
            return f"`hosts: {{{told}}}` allows it"
    for told, change in (*_changes(problem), *_smaller(problem)):
        if _fits(problem, change):
            return f"{told} allows it"
    if fitting:
        return f"{fold(fitting)} alone would fit: take the others away, or make nodes smaller"
    return f"{node.name} does not fit alone either: make it smaller, or take another host"


def _fits(problem: Problem, change: _Change) -> bool:
    changed = tuple(change(request) for request in problem.requests)
    return changed != problem.requests and problem.again(changed).fits


def _reserves(problem: Problem) -> Iterator[tuple[str, dict[str, HostSpace]]]:
    """Without the reserve of CPUs, of memory, of both; whether it was written or is the default."""
    keeps = {name: {"cpus": space.kept.cpus, "memory": space.kept.kib} for name, space in problem.spaces.items()}
    for keys in (("cpus",), ("memory",), ("cpus", "memory")):
        having = [name for name, kept in keeps.items() if any(kept[key] for key in keys)]
        told = ", ".join(f"{key}: {'0' if key == 'cpus' else '0B'}" for key in keys)
        if having:
            yield (
                ", ".join(f"{name}: {{reserve: {{{told}}}}}" for name in having),
                {name: replace(host, reserve=without(host.reserve, keys)) for name, host in problem.hosts.items()},
            )


def _changes(problem: Problem) -> Iterator[tuple[str, _Change]]:
    fabrics = sorted({wish.fabric for request in problem.requests for wish in request.devices})
    for fabric in fabrics:
        yield f"`whole_group: true` for the fabric {fabric}", partial(_whole_group, fabrics={fabric})
    if len(fabrics) > 1:
        told = " and ".join(fabrics)
        yield f"`whole_group: true` for the fabrics {told}", partial(_whole_group, fabrics=set(fabrics))
    yield "`threads: prefer`", lambda r: replace(r, threads="prefer")
    yield "`numa: preferred`", lambda r: replace(r, numa=Numa("preferred"))
    yield "`numa: none`", lambda r: replace(r, numa=Numa("none"))
    yield "`hugepages` left out", lambda r: replace(r, page_kib=None)
    pin = "`pin: shared`"
    if any(request.threads != "prefer" for request in problem.requests):
        pin += " with `threads: prefer`"
    yield pin, lambda r: replace(r, pin="shared", threads="prefer")
    yield "`host` left out", lambda r: replace(r, host=None)
    for fabric in fabrics:
        yield f"`attach: virtio` for the fabric {fabric}", partial(_virtio, fabrics={fabric})
    yield "`attach: virtio` for all fabrics", partial(_virtio, fabrics=set(fabrics))
    yield (
        f"`numa: none` together with {pin}",
        lambda r: replace(r, numa=Numa("none"), pin="shared", threads="prefer"),
    )


def _smaller(problem: Problem) -> Iterator[tuple[str, _Change]]:
    """The most memory, then the most CPUs, with which all would fit if no node had more; not less than half of it."""
    step = max([_STEP_KIB, *(request.page_kib or 0 for request in problem.requests)])
    most = max(request.memory_kib for request in problem.requests) - 1
    found = _largest(most // step, lambda steps: _fits(problem, partial(_memory, most=steps * step)))
    if 2 * found * step > most:
        names = [request.name for request in problem.requests if request.memory_kib > found * step]
        yield f"`memory: {Bytes(found * step << 10)}` for {fold(names)}", partial(_memory, most=found * step)
    most = max(request.cpus for request in problem.requests) - 1
    found = _largest(most, lambda count: _fits(problem, partial(_cpus, most=count)))
    if found and 2 * found > most:
        names = [request.name for request in problem.requests if request != _cpus(request, found)]
        yield f"`cpus: {found}` for {fold(names)}", partial(_cpus, most=found)


def _largest(most: int, fits: Callable[[int], bool]) -> int:
    """The largest number from 1 to `most` that fits, if all below it fit too; 0 if there is none."""
    low, high = 0, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return low


def _memory(request: NodeRequest, most: int) -> NodeRequest:
    return replace(request, memory_kib=min(request.memory_kib, most))


def _cpus(request: NodeRequest, most: int) -> NodeRequest:
    return replace(request, cpus=min(request.cpus, max(most, request.numa.cells or 1)))


def _whole_group(request: NodeRequest, fabrics: set[str]) -> NodeRequest:
    devices = (replace(w, whole_group=True) if w.fabric in fabrics else w for w in request.devices)
    return replace(request, devices=tuple(devices))


def _virtio(request: NodeRequest, fabrics: set[str]) -> NodeRequest:
    return replace(request, devices=tuple(wish for wish in request.devices if wish.fabric not in fabrics))
