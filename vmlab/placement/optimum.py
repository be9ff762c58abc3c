"""The best assignment of nodes to cells and of functions to nodes, in numbers: which CPU it is in a cell is `settle`'s.

What is best: (1) the fewest remote functions; (2) the fewest HA pairs on one host, then in one cell, then the same for
`avoid`; (3) the fewest cells per node; (4) the fewest functions that serve two ports of a node; (5) the least
fragmentation: the fewest cells that were unused and are not any more, then the reserve of each host in the fewest
cells. Among equals those are taken, as far as a short search finds them, that use virtual functions which exist, and
put the first nodes on the first hosts and cells. All is proven but where `_EFFORT` or `_NEAR` ends it.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import ceil

from vmlab.placement.apart import apart
from vmlab.placement.devices import KINDS, Pool
from vmlab.placement.groups import Group, Place, grouped, shares, units_of
from vmlab.placement.program import Goal, Program, Sum, value
from vmlab.placement.refusal import Want
from vmlab.placement.request import NodePlacement, NodeRequest
from vmlab.placement.space import CellSpace, Space
from vmlab.placement.spots import Optimum, spots

_EFFORT = 30_000
"""Steps times variables where a proof may be given up for the best that was found: for the least fragmentation, and
where nodes are split over cells. Beds of a dozen nodes, or of many that are equal, are proven within it."""
_LARGE = 500
"""Variables. In a larger program the least fragmentation may be off by `_NEAR`, as a fraction of it: the proof of the
last cell took ten times as long as all else, and nobody sees that cell."""
_NEAR = 0.06
_RANK_STEPS = 1
_RANK_NEAR = 0.3
_BEFORE_SPREAD = 5
"""The goals that come before the fewest cells per node: only for those is it worth to split a node."""


def optimum(
    requests: Sequence[NodeRequest],
    spaces: Sequence[Space],
    pools: Sequence[Pool],
    exclusive: Sequence[tuple[int, int]],
    kept: Mapping[str, NodePlacement],
    *,
    prove: bool = True,
) -> Optimum | None:
    """Find it; None if there is no way to place all. Without `prove` any assignment will do."""
    whole = _Model(requests, spaces, pools, exclusive, kept, split=False)
    goals = whole.goals() if prove else []
    values = whole.program.solve(goals)
    # It is only worth to split a node over cells for a goal that comes before the fewest cells per node.
    reached = None if values is None else [value(goal.terms, values) - goal.floor for goal in goals[:_BEFORE_SPREAD]]
    if not any(r.numa.policy == "preferred" and not r.numa.cells for r in requests) or (reached and not any(reached)):
        return None if values is None else whole.decode(values)
    if values is not None and not prove:
        return whole.decode(values)
    parted = _Model(requests, spaces, pools, exclusive, kept, split=True)
    goals = parted.goals() if prove else []
    split = parted.program.solve(goals)
    if split is None:
        return None if values is None else whole.decode(values)
    better = [value(goal.terms, split) - goal.floor for goal in goals[:_BEFORE_SPREAD]]
    return whole.decode(values) if values is not None and reached and reached <= better else parted.decode(split)


class _Model:
    """The integer program."""

    def __init__(
        self,
        requests: Sequence[NodeRequest],
        spaces: Sequence[Space],
        pools: Sequence[Pool],
        exclusive: Sequence[tuple[int, int]],
        kept: Mapping[str, NodePlacement],
        *,
        split: bool,
    ) -> None:
        self._split = split
        self.program = Program()
        self._spaces = {space.host: space for space in spaces}
        self._cells = {Place(i, s.host, c.id): c for i, s in enumerate(spaces) for c in s.cells}
        self._pools = pools
        known: dict[tuple[str, int | None], Place] = {(place.host, place.cell): place for place in self._cells}
        self._homes = [[known.get((pool.host, slot.cell)) for slot in pool.slots] for pool in pools]
        self._unit = units_of(requests)
        self._remote: dict[int, float] = {}
        self._wished = 0
        self._spread: dict[int, float] = {}
        self._groups = grouped(requests, pools, split=split)
        self._touched = {p: self.program.variable(1) for p, cell in self._cells.items() if cell.unused}
        self._shared: dict[Place, int] = {}
        self._reserve: dict[Place, int] = {}
        self._open: dict[Place, int] = {}
        self._reserved: dict[int, float] = {}
        self._unmade: dict[int, float] = {}
        for group in self._groups:
            self._place(group)
            self._serve(group)
        self._exclude(exclusive)
        for space in spaces:
            self._host(space)
        for place in self._cells:
            self._cell(place)
        self._apart = apart(self.program, self._groups, kept)
        self._order()

    def _place(self, group: Group) -> None:
        request = group.request
        hosts = [space for space in self._spaces.values() if space.admits(request)]
        if request.pin == "dedicated" and request.threads == "require":
            hosts = [space for space in hosts if space.threads > 1]
        if request.numa.cells:
            self._place_parts(group, hosts)
        elif request.numa.policy == "strict" or (request.numa.policy == "preferred" and not self._split):
            self._place_whole(group, hosts)
        else:
            self._place_split(group, hosts)
        everywhere: dict[int, float] = {}
        for on in group.on.values():
            everywhere |= on
        self.program.equal(everywhere, len(group.names))

    def _places(self, space: Space) -> list[Place]:
        return [place for place in self._cells if place.host == space.host]

    def _most(self, request: NodeRequest, place: Place, cpus: int, kib: int) -> int:
        """How many such (parts of) nodes the cell could take if it had nothing else to do."""
        cell, space = self._cells[place], self._spaces[place.host]
        room = cell.free_kib.get(request.page_kib, 0) // kib
        if request.pin == "shared":
            return room if cell.open_threads else 0
        sizes = cell.sizes
        if request.threads == "isolate":
            return min(room, len(sizes) // cpus)
        if request.threads == "require":
            return min(room, sizes.count(space.threads) // ceil(cpus / space.threads))
        return min(room, cell.threads // cpus)

    def _take(self, group: Group, place: Place, variable: int, cpus: int, kib: int) -> None:
        """A part of a node that is at `place` if the variable says so takes this much there."""
        request, threads = group.request, self._spaces[place.host].threads
        _add(group.at, place, {variable: 1})
        _add(group.vcpus, place, {variable: cpus})
        _add(group.cores, place, {variable: ceil(cpus / threads)})
        _add(group.units, place, {variable: kib // self._unit[request.page_kib]})

    def _place_whole(self, group: Group, hosts: Sequence[Space]) -> None:
        request = group.request
        variables: dict[Place, int] = {}
        for space in hosts:
            group.on[space.host] = {}
            for place in self._places(space):
                most = min(len(group.names), self._most(request, place, request.cpus, request.memory_kib))
                if most:
                    variables[place] = self.program.variable(most)
                    self._take(group, place, variables[place], request.cpus, request.memory_kib)
                    group.on[space.host] = {**group.on[space.host], variables[place]: 1}
        group.parts.append(variables)

    def _place_parts(self, group: Group, hosts: Sequence[Space]) -> None:
        here = {space.host: self.program.variable(1) for space in hosts}
        group.on = {host: {variable: 1} for host, variable in here.items()}
        for cpus, kib in shares(group.request):
            part: dict[Place, int] = {}
            for space in hosts:
                for place in self._places(space):
                    if self._most(group.request, place, cpus, kib):
                        part[place] = self.program.variable(1)
                        self._take(group, place, part[place], cpus, kib)
                mine = {variable: 1.0 for place, variable in part.items() if place.host == space.host}
                self.program.equal({**mine, here[space.host]: -1}, 0)
            group.parts.append(part)
        for at in group.at.values():
            self.program.at_most(at, 1)

    def _place_split(self, group: Group, hosts: Sequence[Space]) -> None:
        """As many cells as it takes (`preferred`), or CPUs anywhere and memory bound to nothing (`none`)."""
        request, count = group.request, len(group.names)
        unit = self._unit[request.page_kib]
        preferred = request.numa.policy == "preferred"
        for space in hosts:
            here = self.program.variable(count)
            group.on[space.host] = {here: 1}
            vcpus: dict[int, float] = {}
            units: dict[int, float] = {}
            if not preferred:
                group.loose[space.host] = {here: request.memory_kib // unit}
            if not preferred and request.pin == "shared":
                floats = {self._left(place): -count for place in self._places(space) if self._cells[place].open_threads}
                self.program.at_most({here: 1, **floats}, 0)
                continue
            for place in self._places(space):
                cell = self._cells[place]
                taken = self.program.variable(count * request.cpus)
                if preferred:
                    at = self.program.variable(1)
                    self._spread[at] = 1
                    most = min(request.memory_kib, cell.free_kib.get(request.page_kib, 0)) // unit
                    memory = self.program.variable(most)
                    self.program.at_most({at: 1, here: -1}, 0)
                    self.program.at_most({taken: 1, at: -request.cpus}, 0)
                    self.program.at_most({memory: 1, at: -most}, 0)
                    self.program.at_least({memory: 1, at: -1}, 0)
                    _add(group.at, place, {at: 1})
                    _add(group.units, place, {memory: 1})
                    units[memory] = 1
                _add(group.vcpus, place, {taken: 1})
                vcpus[taken] = 1
                if request.threads == "require":
                    cores = self.program.variable(request.cpus)
                    self.program.at_least({cores: space.threads, taken: -1}, 0)
                    _add(group.cores, place, {cores: 1})
            self.program.equal({**vcpus, here: -request.cpus}, 0)
            if preferred:
                self.program.equal({**units, here: -(request.memory_kib // unit)}, 0)

    # --- devices ---

    def _serve(self, group: Group) -> None:
        request, count = group.request, len(group.names)
        for want, number in group.wants.items():
            self._wished += count * number * (request.numa.policy == "preferred" and not request.numa.cells)
            for index, pool in enumerate(self._pools):
                for position, slot in enumerate(pool.slots):
                    if want in slot.serves and pool.host in group.on:
                        most = min(count * number, pool.capacity * slot.ports.of(want.kind))
                        same = self._with_node(group, want, index)
                        group.devices[want, index, position] = self.program.variable(most) if same is None else same
            for host, on in group.on.items():
                found = {v: 1.0 for (w, i, _), v in group.devices.items() if w == want and self._pools[i].host == host}
                self.program.equal(_plus(found, _times(on, -number)), 0)
            self._near(group, want, number)
        for index, pool in enumerate(self._pools):
            self._pieces(group, index, pool)

    def _with_node(self, group: Group, want: Want, index: int) -> int | None:
        """The variable that counts the nodes where the pool is, if it counts the functions that they take, too.

        So it is where each node wants one function, and from its own cell, in which no other pool has such. A third
        fewer variables, where servers have an HCA each.
        """
        request, pool, home = group.request, self._pools[index], self._homes[index][0]
        if request.numa.policy != "strict" or request.numa.cells or len(request.devices) > 1 or home is None:
            return None
        others = (i for i, other in enumerate(self._pools) if i != index and other.host == pool.host)
        serving = {self._homes[i][p] for i in others for p, s in enumerate(self._pools[i].slots) if want in s.serves}
        at = group.at.get(home, {})
        return next(iter(at)) if pool.simple and len(at) == 1 and not serving & {home, None} else None

    def _near(self, group: Group, want: Want, number: int) -> None:
        """Functions in the node's cells; one whose cell the host does not tell is near to all."""
        numa = group.request.numa
        if numa.policy == "none":
            return
        split = numa.policy == "preferred" and not numa.cells
        for place in self._cells:
            found = {v: 1.0 for (w, i, p), v in group.devices.items() if w == want and self._is_at(i, p, place)}
            if found and not split:
                self.program.at_most(_plus(found, _times(group.at.get(place, {}), -number)), 0)
            elif found:
                near = self.program.variable(number * len(group.names))
                there = group.vcpus if self._split else group.at
                self.program.at_most({near: 1, **_times(found, -1)}, 0)
                self.program.at_most({near: 1, **_times(there.get(place, {}), -number)}, 0)
                self._remote[near] = -1
        if split:
            self._remote |= {v: -1 for (w, i, p), v in group.devices.items() if w == want and self._is_at(i, p, None)}

    def _is_at(self, pool: int, position: int, place: Place | None) -> bool:
        return self._homes[pool][position] == place

    def _pieces(self, group: Group, index: int, pool: Pool) -> None:
        """What a group takes of a pool: `used` has the pieces under slot -1, and the functions by slot."""
        by_slot = {
            position: {v: 1.0 for (_, i, p), v in group.devices.items() if (i, p) == (index, position)}
            for position in range(len(pool.slots))
        }
        if not any(by_slot.values()):
            return
        if pool.simple:
            group.used[index, 0] = group.used[index, -1] = by_slot[0]
            return
        whole = self.program.variable(pool.capacity) if len(pool.slots) > 1 else None
        for position, ports in by_slot.items():
            if not ports:
                continue
            functions = self.program.variable(pool.capacity)
            # Nodes that are only counted want one function each of such a pool, and never share it.
            has, single = pool.slots[position].ports, len(group.names) == 1
            self.program.at_most({**ports, functions: -(sum(has) if single else 1)}, 0)
            for kind in KINDS if single and min(has) > 0 else ():
                here = (kind, index, position)
                of_kind = {v: 1.0 for (w, i, p), v in group.devices.items() if (w.kind, i, p) == here}
                self.program.at_most({**of_kind, functions: -has.of(kind)}, 0)
            self.program.at_most({functions: 1, **_times(ports, -1)}, 0)
            group.used[index, position] = {functions: 1}
            group.used[index, -1] = {functions: 1} if whole is None else {whole: 1}
            if whole is not None:
                self.program.at_most({functions: 1, whole: -1}, 0)

    def _exclude(self, exclusive: Sequence[tuple[int, int]]) -> None:
        use: list[dict[int, float]] = [{} for _ in self._pools]
        for group in self._groups:
            for (index, position), pieces in group.used.items():
                if position == -1:
                    use[index].update(pieces)
        for index, pool in enumerate(self._pools):
            if use[index]:
                self._at_most_where(self._near_users(index), use[index], pool.capacity)
                if pool.parent is not None and not pool.existing:
                    self._unmade |= use[index]
        for one, other in exclusive:
            if use[one] and use[other]:
                passed = self.program.variable(1)
                self.program.at_most({**use[one], passed: -1}, 0)
                capacity = self._pools[other].capacity
                self._at_most_where(self._near_users(other), {**use[other], passed: capacity}, capacity)

    def _near_users(self, index: int) -> Place | None:
        """The cell that all are in who take of the pool, if that is known beforehand: it makes the search shorter."""
        users = (group for group in self._groups if any(pool == index for pool, _ in group.used))
        cells = {slot.cell for slot in self._pools[index].slots}
        if len(cells) > 1 or any(group.request.numa.policy != "strict" for group in users):
            return None
        return next((place for place in self._cells if self._is_at(index, 0, place)), None)

    # --- capacities ---

    def _host(self, space: Space) -> None:
        places = self._places(space)
        keeps = space.reserve
        if keeps:
            for place in places:
                self._reserve[place] = self.program.variable(min(keeps, len(self._cells[place].sizes)))
                has = self.program.variable(1)
                self._reserved[has] = 1
                self.program.at_most({self._reserve[place]: 1, has: -keeps}, 0)
            self.program.equal({self._reserve[place]: 1.0 for place in places}, keeps)
        if keeps and any(self._cells[place].isolated for place in places):
            for place in places:
                self._open[place] = self.program.variable(len(self._cells[place].open_cores))
                self.program.at_most({self._open[place]: 1, self._reserve[place]: -1}, 0)
            open_ = sum(len(self._cells[place].open_cores) for place in places)
            self.program.equal({self._open[place]: 1.0 for place in places}, min(keeps, open_))
        for pages, unit in self._unit.items():
            groups = [group for group in self._groups if group.request.page_kib == pages]
            taken = _all(group.loose.get(space.host) for group in groups)
            taken |= _all(group.units.get(place) for group in groups for place in places)
            self.program.at_most(taken, max(0, space.free_kib.get(pages, 0)) // unit)

    def _cell(self, place: Place) -> None:
        cell, threads = self._cells[place], self._spaces[place.host].threads
        for pages, unit in self._unit.items():
            memory = _all(g.units.get(place) for g in self._groups if g.request.page_kib == pages)
            self._at_most_where(place, memory, cell.free_kib.get(pages, 0) // unit)
        dedicated = [group for group in self._groups if group.request.pin == "dedicated"]
        lone = _all(group.vcpus.get(place) for group in dedicated if group.request.threads == "isolate")
        full = _all(group.cores.get(place) for group in dedicated if group.request.threads == "require")
        some = _all(group.vcpus.get(place) for group in dedicated if group.request.threads == "prefer")
        self._at_most_where(place, {**lone, **_times(full, threads), **some}, cell.threads)
        for group in self._groups:
            for variable in group.at.get(place) or group.vcpus.get(place, {}):
                self._at_most_where(place, {variable: 1}, self.program.most(variable))
                if group.request.pin == "shared":
                    self.program.at_most({variable: 1, self._left(place): -self.program.most(variable)}, 0)
        if place in self._shared:
            some[self._shared[place]] = 1
        if place in self._reserve:
            lone[self._reserve[place]] = 1
        if cell.isolated:
            self._isolated(place, {**lone, **full}, full, some)
        else:
            self._cpus(cell, threads, lone, full, some)

    def _at_most_where(self, place: Place | None, taken: Sum, free: float) -> None:
        """Bound what is taken of a cell; and if it was unused, it no longer is."""
        if taken and place is not None and place in self._touched:
            self.program.at_most({**taken, self._touched[place]: -free}, 0)
        elif taken:
            self.program.at_most(taken, free)

    def _left(self, place: Place) -> int:
        """Whether a thread is left in the cell for the shared vCPUs, all of them together."""
        if place not in self._shared:
            self._shared[place] = self.program.variable(1)
        return self._shared[place]

    def _cpus(self, cell: CellSpace, threads: int, lone: Sum, full: Sum, some: Sum) -> None:
        """Whole cores for `lone` (one vCPU or reserve each) and `full` (every thread), threads for `some`.

        What needs a core but not its siblings gets the smallest cores: their threads are a convex function of their
        number, so one row for each size of core says it.
        """
        sizes = cell.sizes
        if lone or full:
            self.program.at_most({**lone, **full}, len(sizes))
        if full:
            self.program.at_most(full, sizes.count(threads))
        for size in sorted(set(sizes)) or [1]:
            saved = sum(size - smaller for smaller in sizes if smaller < size)
            row = {**_times(lone, size), **_times(full, threads), **some}
            if row:
                self.program.at_most(row, cell.threads + saved)

    def _isolated(self, place: Place, whole: Sum, full: Sum, some: Sum) -> None:
        """In a cell with isolated threads, where the reserve and what floats need others.

        What is dedicated takes the isolated ones first: so of the others it only takes what is more than those. All
        cores count as the largest, which is exact where they are equal; where they are not, none serves `require`.
        """
        cell, threads = self._cells[place], self._spaces[place.host].threads
        sizes, size = cell.sizes, max(cell.sizes, default=1)
        floats = {self._shared[place]: 1.0} if place in self._shared else {}
        kept = {self._open[place]: 1.0} if place in self._open else {}
        if full:
            self.program.at_most(full, sizes.count(threads) if len(set(sizes)) == 1 else 0)
        if whole:
            left = sum(len(core.open) for core in cell.cores if not core.whole)
            self.program.at_most(whole, len(sizes))
            self.program.at_most({**_times(whole, size), **floats}, size * len(sizes) + left)
        if whole or some:
            self.program.at_most({**_times(whole, size), **some}, cell.threads)
        if kept or floats:
            largest = max((len(core.cpus) for core in cell.open_cores), default=1)
            self.program.at_most({**_times(kept, largest), **floats}, cell.open_threads)

    # --- goals ---

    def _order(self) -> None:
        """Of cells that nothing distinguishes the first ones are used first."""
        last: dict[object, Place] = {}
        for place in self._touched:
            cell = self._cells[place]
            cores = tuple(sorted((len(core.cpus), len(core.free), len(core.open)) for core in cell.cores))
            pools = []
            for index, pool in enumerate(self._pools):
                if any(self._is_at(index, position, place) for position in range(len(pool.slots))):
                    pools.append((pool.capacity, pool.slots[0].ports, pool.slots[0].serves) if pool.simple else index)
            key = (place.host, cores, tuple(sorted(cell.free_kib.items(), key=repr)), tuple(pools))
            if key in last:
                self.program.at_most({self._touched[place]: 1, self._touched[last[key]]: -1}, 0)
            last[key] = place

    def goals(self) -> list[Goal]:
        """What is to be small, in order."""
        shared: dict[int, float] = {}
        for group in self._groups:
            for (index, position), functions in group.used.items():
                if position >= 0 and sum(self._pools[index].slots[position].ports) > 1:
                    shared |= {v: 1 for (_, i, p), v in group.devices.items() if (i, p) == (index, position)}
                    shared |= _times(functions, -1)
        rank: dict[int, float] = {}
        for number, group in enumerate(self._groups):
            weight = len(self._groups) - number
            for position, place in enumerate(self._cells):
                for variable in group.at.get(place) or group.vcpus.get(place, {}):
                    rank[variable] = weight * (position + 1)
        steps = 1 + _EFFORT // self.program.size
        least = steps if self._split else None
        large = self.program.size > _LARGE
        near, rank_near = (_NEAR, _RANK_NEAR) if large else (0.0, 0.0)
        return [
            Goal(self._remote, -self._wished, least),
            *(Goal(goal, steps=least) for goal in self._apart),
            Goal(
                self._spread,
                len({g.request.name for g in self._groups if self._split and g.request.numa.policy == "preferred"}),
                least,
            ),
            Goal(shared, steps=least),
            Goal(dict.fromkeys(self._touched.values(), 1.0), steps=steps, near=near),
            Goal(self._reserved, sum(space.reserve > 0 for space in self._spaces.values()), least),
            Goal(self._unmade, 0 if shared else self._least_unmade(), steps=_RANK_STEPS),
            Goal(rank, steps=_RANK_STEPS, near=rank_near),
        ]

    def _least_unmade(self) -> int:
        """Virtual functions that have to be made, where each serves one wish: those that exist do not suffice."""
        wanted = sum(len(g.names) * n for g in self._groups for want, n in g.wants.items() if want.function == "vf")
        there = (pool for pool in self._pools if pool.parent is None or pool.existing)
        serve = (pool.capacity for pool in there if any(w.function == "vf" for slot in pool.slots for w in slot.serves))
        return max(0, wanted - sum(serve))

    def decode(self, values: Sequence[int]) -> Optimum:
        """The solution by node."""
        reserve = {(place.host, place.cell): values[v] for place, v in self._reserve.items() if values[v]}
        floated = frozenset((place.host, place.cell) for place, v in self._shared.items() if values[v])
        return Optimum(spots(self._groups, self._pools, self._unit, values), reserve, floated)


def _times(terms: Sum, factor: float) -> dict[int, float]:
    return {variable: coefficient * factor for variable, coefficient in terms.items()}


def _plus(one: Sum, other: Sum) -> dict[int, float]:
    """Both sums together; they may share variables."""
    both = {variable: one.get(variable, 0) + other.get(variable, 0) for variable in (*one, *other)}
    return {variable: factor for variable, factor in both.items() if factor}


def _add(sums: dict[Place, Sum], place: Place, terms: Sum) -> None:
    sums[place] = {**sums.get(place, {}), **terms}


def _all(sums: Iterable[Sum | None]) -> dict[int, float]:
    """Sums of different variables, together."""
    return {variable: factor for terms in sums for variable, factor in (terms or {}).items()}
