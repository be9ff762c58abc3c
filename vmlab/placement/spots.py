"""A solution of the program, by node: so many vCPUs and so much memory of a cell, such a function of a pool."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from vmlab.placement.devices import KINDS, Pool
from vmlab.placement.groups import Group, shares
from vmlab.placement.program import value
from vmlab.placement.refusal import Want
from vmlab.placement.space import Pages

if TYPE_CHECKING:
    from vmlab.topology.bed import Kind


class Taken(NamedTuple):
    """A function of a slot of a pool, for one port. Ports of one node with the same `piece` share the function."""

    want: Want
    pool: int
    slot: int
    piece: int


@dataclass(slots=True)
class Spot:
    """Where one node goes. `vcpus` and `kib` are by cell; `kib` under None is bound to no cell."""

    host: str
    vcpus: dict[int, int] = field(default_factory=dict)
    kib: dict[int | None, int] = field(default_factory=dict)
    devices: list[Taken] = field(default_factory=list)


class Optimum(NamedTuple):
    """Where the nodes go, how many cores each host keeps in which cell, and which cells keep a thread for floating."""

    spots: Mapping[str, Spot]
    reserve: Mapping[tuple[str, int], int]
    floated: frozenset[tuple[str, int]] = frozenset()


NOWHERE = Optimum({}, {})


def spots(
    groups: Sequence[Group], pools: Sequence[Pool], units: Mapping[Pages, int], values: Sequence[int]
) -> dict[str, Spot]:
    """A solution of the program by node."""
    by_name: dict[str, Spot] = {}
    for group in groups:
        found = _whole_spots(group, values) if group.parts else _split_spots(group, units, values)
        _hand_out(group, found, pools, values)
        if group.pairs:  # each with the one half of all further on: only a crowd reaches as far
            half = len(found) // 2
            found = [spot for pair in zip(found[:half], found[half:], strict=True) for spot in pair]
        by_name |= zip(group.names, found, strict=True)
    return by_name


def _whole_spots(group: Group, values: Sequence[int]) -> list[Spot]:
    places = [[p for p, v in part.items() for _ in range(values[v])] for part in group.parts]
    sizes = shares(group.request)
    spots = []
    for taken in zip(*places, strict=True):
        spot = Spot(taken[0].host)
        # Which of two equal parts is where means nothing: the guest's cells are in the order of the host's.
        left = {size: sorted(p for p, part in zip(taken, sizes, strict=True) if part == size) for size in sizes}
        for cpus, kib in sizes:
            cell = left[cpus, kib].pop(0).cell
            spot.vcpus[cell], spot.kib[cell] = cpus, kib
        spots.append(spot)
    return spots


def _split_spots(group: Group, units: Mapping[Pages, int], values: Sequence[int]) -> list[Spot]:
    request = group.request
    unit = units[request.page_kib]
    spots = []
    for host, on in group.on.items():
        places = sorted(place for place in group.vcpus if place.host == host)
        left = {p.cell: round(value(group.vcpus.get(p, {}), values)) for p in places}
        for _ in range(round(value(on, values))):
            spot = Spot(host)
            for cell, free in left.items():
                spot.vcpus[cell] = min(free, request.cpus - sum(spot.vcpus.values()))
                left[cell] = free - spot.vcpus[cell]
            if group.loose:
                spot.kib[None] = request.memory_kib
            else:
                kib = {p.cell: round(value(group.units.get(p, {}), values)) * unit for p in places}
                # The first cell of a guest has CPUs.
                order = sorted(kib, key=lambda cell: (not spot.vcpus[cell], cell))
                spot.kib |= {cell: kib[cell] for cell in order if kib[cell]}
            spots.append(spot)
    return spots


def _hand_out(group: Group, spots: Sequence[Spot], pools: Sequence[Pool], values: Sequence[int]) -> None:
    """Each node takes what is near, then what is elsewhere on its host."""
    left = {key: values[variable] for key, variable in group.devices.items() if values[variable]}
    for near in (True, False):
        for spot in spots:
            pieces: dict[tuple[int, int, Kind], int] = {}
            for want, number in group.wants.items():
                missing = number - sum(taken.want == want for taken in spot.devices)
                for (kind, index, position), count in left.items():
                    pool, slot = pools[index], pools[index].slots[position]
                    if kind != want or pool.host != spot.host or (near and slot.cell not in spot.vcpus):
                        continue
                    for _ in range(min(count, missing)):
                        nth = pieces.get((index, position, want.kind), 0)
                        pieces[index, position, want.kind] = nth + 1
                        functions = round(value(group.used[index, position], values))
                        # From both ends, so that no function serves two ports while another serves none.
                        piece = nth % functions if want.kind == KINDS[0] else functions - 1 - nth % functions
                        spot.devices.append(Taken(want, index, position, piece))
                        left[kind, index, position] -= 1
                        missing -= 1
