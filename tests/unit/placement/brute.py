"""The same question answered by trying everything: slow, and too simple to be wrong in the same way.

For hosts whose cores all have the same number of threads, with functions of mlx5 that nobody uses, and ordinary pages.
Memory is counted in units of 64 MiB.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, permutations, product

from vmlab.inventory.model import PciFunction
from vmlab.placement.request import HostSpace, NodeRequest
from vmlab.topology.bed import Numa

UNIT_KIB = 64 * 1024


@dataclass(frozen=True)
class Option:
    """One way to place one node: what it takes by cell (None: memory bound to no cell), and its functions."""

    host: str
    vcpus: Mapping[int, int]
    units: Mapping[int | None, int]
    functions: tuple[PciFunction, ...]

    def remote(self, request: NodeRequest) -> int:
        cells = {cell for cell, count in self.vcpus.items() if count and cell in self.units}
        return 0 if request.numa.policy == "none" else sum(f.cell not in cells for f in self.functions)


def best(requests: Sequence[NodeRequest], hosts: Mapping[str, HostSpace]) -> tuple[int, ...] | None:
    """The best quality that any placement has; None if nothing fits."""
    found: list[tuple[int, ...]] = []
    options = [list(_options(request, hosts)) for request in requests]

    def extend(chosen: list[Option]) -> None:
        if not _fits(requests, chosen, hosts):
            return
        if len(chosen) == len(requests):
            found.append(_quality(requests, chosen, hosts))
            return
        for option in options[len(chosen)]:
            extend([*chosen, option])

    extend([])
    return min(found, default=None)


def _options(request: NodeRequest, hosts: Mapping[str, HostSpace]) -> Iterator[Option]:
    units = request.memory_kib // UNIT_KIB
    for name, host in hosts.items():
        if request.host not in (None, name):
            continue
        cells = [cell.id for cell in host.inventory.cells]
        served = list(product(*(list(host.inventory.functions.values()) for _ in request.devices)))
        for functions in served:
            for vcpus, memory in _shapes(request, cells, units):
                option = Option(name, vcpus, memory, functions)
                if request.numa.policy != "strict" or not option.remote(request):
                    yield option


def _shapes(
    request: NodeRequest, cells: list[int], units: int
) -> Iterator[tuple[dict[int, int], dict[int | None, int]]]:
    if request.numa.cells:
        count = request.numa.cells
        cpus = [request.cpus // count + (n < request.cpus % count) for n in range(count)]
        memory = [units // count + (n < units % count) for n in range(count)]
        for chosen in permutations(cells, count):
            yield dict(zip(chosen, cpus, strict=True)), dict(zip(chosen, memory, strict=True))
    elif request.numa.policy == "strict":
        for cell in cells:
            yield {cell: request.cpus}, {cell: units}
    elif request.numa.policy == "none":
        spread = _splits(request.cpus, len(cells)) if request.pin == "dedicated" else [(0,) * len(cells)]
        for split in spread:
            yield dict(zip(cells, split, strict=True)), {None: units}
    else:
        for split, memory_split in product(_splits(request.cpus, len(cells)), _splits(units, len(cells))):
            if all(memory or not cpus for cpus, memory in zip(split, memory_split, strict=True)):
                used = [n for n, memory in enumerate(memory_split) if memory]
                yield {cells[n]: split[n] for n in used}, {cells[n]: memory_split[n] for n in used}


def _splits(total: int, parts: int) -> list[tuple[int, ...]]:
    return [split for split in product(range(total + 1), repeat=parts) if sum(split) == total]


def _fits(requests: Sequence[NodeRequest], chosen: list[Option], hosts: Mapping[str, HostSpace]) -> bool:
    pairs = list(zip(requests, chosen, strict=False))
    return all(
        _cpus_fit([p for p in pairs if p[1].host == name], host)
        and _memory_fits([p[1] for p in pairs if p[1].host == name], host)
        and _functions_fit([p for p in pairs if p[1].host == name], host)
        for name, host in hosts.items()
    )


def _cpus_fit(nodes: list[tuple[NodeRequest, Option]], host: HostSpace) -> bool:
    isolated = host.inventory.isolated
    claimed, whole, for_host, reserve = _cores(host)
    spare = 0
    if sum(map(len, whole)) < reserve:
        return not nodes
    anywhere = False
    roaming = [r for r, option in nodes if r.pin == "shared" and r.numa.policy == "none"]
    for cell, cores, keepable in zip(host.inventory.cells, whole, for_host, strict=True):
        size = len(cell.cpus[0].siblings)
        free = {cpu.id for cpu in cell.cpus} - claimed
        threads = sum(cpu.id not in claimed for cpu in cell.cpus)
        full, some, floats = 0, 0, 0
        for request, option in nodes:
            count = option.vcpus.get(cell.id, 0)
            if request.pin == "shared":
                floats = floats or int(cell.id in option.units)
            elif request.threads == "isolate":
                full += count
            elif request.threads == "require":
                if size == 1:
                    return False
                full += -(-count // size)
            else:
                some += count
        left = [
            len(kept)
            for kept in _some_of(keepable)
            for used in _some_of(cores - set(kept))
            if len(used) == full
            and (full + len(kept)) * size + some + floats <= threads
            and floats <= len(free - isolated - frozenset().union(*kept, *used))
        ]
        if not left:
            return False
        spare += max(left)
        anywhere = anywhere or bool(floats)
    if roaming and not anywhere:
        # One thread must be left somewhere after the reserve: try it in each cell.
        floating = NodeRequest("float", 1, 0, Numa(), pin="shared")
        one = [(floating, Option("", {cell.id: 1}, {cell.id: 0}, ())) for cell in host.inventory.cells]
        rest = [pair for pair in nodes if pair[0] not in roaming]
        return any(_cpus_fit([*rest, extra], host) for extra in one)
    return spare >= reserve


def _cores(host: HostSpace) -> tuple[set[int], list[set[frozenset[int]]], list[set[frozenset[int]]], int]:
    """The CPUs that nobody new gets, whole cores by cell, those of them for the host, and how many it keeps of them.

    The host's core is one that nothing isolates, if there is any; those that no guest may use it has anyway.
    """
    inventory = host.inventory
    all_ = {c.id for cell in inventory.cells for c in cell.cpus}
    outside = set() if inventory.guest_cpus is None else all_ - inventory.guest_cpus
    claimed = {cpu for claim in inventory.claims for cpu in claim.cpus} | outside
    whole = [{c.siblings for c in cell.cpus if not c.siblings & claimed} for cell in inventory.cells]
    for_host = [{core for core in cores if not core & inventory.isolated} for cores in whole]
    anyway = {c.siblings for cell in inventory.cells for c in cell.cpus if c.siblings <= outside}
    reserve = max(0, (host.reserve.cpus or 0) - len(anyway))
    return claimed, whole, for_host if any(for_host) else whole, reserve


def _some_of(cores: set[frozenset[int]]) -> Iterator[tuple[frozenset[int], ...]]:
    ordered = sorted(cores, key=sorted)
    return chain.from_iterable(combinations(ordered, count) for count in range(len(ordered) + 1))


def _memory_fits(nodes: list[Option], host: HostSpace) -> bool:
    taken: Counter[int | None] = Counter()
    for option in nodes:
        taken.update(option.units)
    for claim in host.inventory.claims:
        taken.update({cell: -(-kib // UNIT_KIB) for cell, kib in claim.memory_kib.items()})
    room = {cell.id: cell.memory_kib // UNIT_KIB for cell in host.inventory.cells}
    inside = all(taken[cell] <= units for cell, units in room.items())
    return not nodes or (inside and sum(taken.values()) <= sum(room.values()) - host.reserve.memory.kib // UNIT_KIB)


def _functions_fit(nodes: list[tuple[NodeRequest, Option]], host: HostSpace) -> bool:
    """Whole functions serve as many ports of one node as they have; virtual ones are as many as the PF can have."""
    owners: dict[object, set[str]] = {}
    ports: Counter[tuple[str, object]] = Counter()
    virtual: Counter[object] = Counter()
    for request, option in nodes:
        for wish, function in zip(request.devices, option.functions, strict=True):
            if wish.function == "vf":
                virtual[function.address] += 1
            else:
                owners.setdefault(function.address, set()).add(request.name)
                ports[request.name, function.address] += 1
    functions = host.inventory.functions
    return (
        all(len(names) == 1 for names in owners.values())
        and all(count <= len(functions[address].ports) for (_, address), count in ports.items())  # type: ignore[index]
        and all(count <= functions[address].total_vfs for address, count in virtual.items())  # type: ignore[index]
        and not owners.keys() & virtual.keys()
    )


def _quality(requests: Sequence[NodeRequest], chosen: list[Option], hosts: Mapping[str, HostSpace]) -> tuple[int, ...]:
    where = {request.name: option for request, option in zip(requests, chosen, strict=True)}
    pairs = {frozenset((r.name, other)) for r in requests for other in r.pairs}
    avoid = {frozenset((r.name, other)) for r in requests for other in r.avoid} - pairs
    apart = []
    for relation in (pairs, avoid):
        met = [[where[name] for name in names] for names in relation if names <= where.keys() and len(names) > 1]
        met = [both for both in met if both[0].host == both[1].host]
        apart += [len(met), sum(bool(one.units.keys() & other.units.keys() - {None}) for one, other in met)]
    touched: set[tuple[str, int | None]] = set()
    sharing = 0
    for request, option in zip(requests, chosen, strict=True):
        touched |= {(option.host, cell) for cell in option.units if cell is not None}
        touched |= {(option.host, cell) for cell, count in option.vcpus.items() if count}
        whole = [f.address for w, f in zip(request.devices, option.functions, strict=True) if w.function != "vf"]
        sharing += len(whole) - len(set(whole))
    for name, host in hosts.items():
        for claim in host.inventory.claims:
            touched -= {(name, cell) for cell in claim.memory_kib}
            touched -= {(name, c.id) for c in host.inventory.cells if {cpu.id for cpu in c.cpus} & claim.cpus}
    spread = sum(len(where[r.name].units) for r in requests if r.numa.policy == "preferred")
    return (
        sum(option.remote(request) for request, option in zip(requests, chosen, strict=True)),
        *apart,
        spread,
        sharing,
        len(touched),
    )
