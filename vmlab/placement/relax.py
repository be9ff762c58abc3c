"""What would have to change for a bed to fit: each thing is tried, alone first."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations

from vmlab.placement.problem import Problem
from vmlab.placement.request import HostSpace, NodeRequest
from vmlab.topology.bed import Numa, Reserve
from vmlab.values.size import Bytes

_Change = Callable[[NodeRequest], NodeRequest]

_SHORT: Mapping[str, _Change] = {
    "CPUs": lambda request: replace(request, cpus=request.numa.cells or 1, pin="shared", threads="prefer"),
    "memory": lambda request: replace(request, memory_kib=(request.numa.cells or 1) * (request.page_kib or 1024)),
    "devices": lambda request: replace(request, devices=()),
}


def short(problem: Problem) -> str:
    """Of what there is too little: "CPUs", "CPUs or devices" if less of either would do, "CPUs and memory" if not."""
    for count in range(1, len(_SHORT) + 1):
        enough = [
            " and ".join(names) for names in combinations(_SHORT, count) if _fits(problem, [_SHORT[n] for n in names])
        ]
        if enough:
            return " or ".join(enough)
    return "CPUs for shared vCPUs, or hosts"


def hint(problem: Problem) -> str:
    """The smallest change of the topology that lets the whole bed fit."""
    for told, hosts in _reserves(problem.hosts):
        if problem.again(hosts=hosts).solve(prove=False) is not None:
            return f"`hosts: {{{told}}}` allows it"
    for told, change in _changes(problem):
        if _fits(problem, [change]):
            return f"{told} allows it"
    return "make nodes smaller, or take some of them away"


def _fits(problem: Problem, changes: Sequence[_Change]) -> bool:
    requests = list(problem.requests)
    for change in changes:
        requests = [change(request) for request in requests]
    return (changed := tuple(requests)) != problem.requests and problem.again(changed).solve(prove=False) is not None


def _reserves(hosts: Mapping[str, HostSpace]) -> Iterator[tuple[str, dict[str, HostSpace]]]:
    """Without the reserve of CPUs, of memory, of both."""
    for keys in (("cpus",), ("memory",), ("cpus", "memory")):
        having = [name for name, host in hosts.items() if any(getattr(host.reserve, key) for key in keys)]
        told = ", ".join(f"{key}: {'0' if key == 'cpus' else '0B'}" for key in keys)
        if having:
            yield (
                ", ".join(f"{name}: {{reserve: {{{told}}}}}" for name in having),
                {name: replace(host, reserve=_without(host.reserve, keys)) for name, host in hosts.items()},
            )


def _without(reserve: Reserve, keys: Sequence[str]) -> Reserve:
    return Reserve(0 if "cpus" in keys else reserve.cpus, Bytes(0) if "memory" in keys else reserve.memory)


def _changes(problem: Problem) -> Iterator[tuple[str, _Change]]:
    fabrics = sorted({wish.fabric for request in problem.requests for wish in request.devices})
    for fabric in fabrics:
        yield f"`whole_group: true` for the fabric {fabric}", partial(_whole_group, fabrics={fabric})
    if len(fabrics) > 1:
        told = " and ".join(fabrics)
        yield f"`whole_group: true` for the fabrics {told}", partial(_whole_group, fabrics=set(fabrics))
    yield "`threads: prefer`", lambda r: replace(r, threads="prefer")
    yield "`numa: preferred`", lambda r: replace(r, numa=Numa("preferred"))
    yield "`hugepages` left out", lambda r: replace(r, page_kib=None)
    yield "`pin: shared`", lambda r: replace(r, pin="shared", threads="prefer")
    yield "`host` left out", lambda r: replace(r, host=None)
    for fabric in fabrics:
        yield f"`attach: virtio` for the fabric {fabric}", partial(_virtio, fabrics={fabric})
    yield "`attach: virtio` for all fabrics", partial(_virtio, fabrics=set(fabrics))
    yield (
        "`numa: preferred` together with `pin: shared`",
        lambda r: replace(r, numa=Numa("preferred"), pin="shared", threads="prefer"),
    )


def _whole_group(request: NodeRequest, fabrics: set[str]) -> NodeRequest:
    devices = (replace(w, whole_group=True) if w.fabric in fabrics else w for w in request.devices)
    return replace(request, devices=tuple(devices))


def _virtio(request: NodeRequest, fabrics: set[str]) -> NodeRequest:
    return replace(request, devices=tuple(wish for wish in request.devices if wish.fabric not in fabrics))
