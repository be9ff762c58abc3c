"""Nodes that are as good as each other are counted, not named: otherwise equal answers make the search long."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from math import gcd
from typing import NamedTuple

from vmlab.placement.devices import Pool
from vmlab.placement.program import Sum
from vmlab.placement.refusal import Want
from vmlab.placement.request import NodeRequest
from vmlab.placement.space import Pages

_MIB = 1024
_SPLIT_KIB = 64 * _MIB


class Place(NamedTuple):
    """A cell of a host; sorts by the order of hosts, then of cells."""

    order: int
    host: str
    cell: int


@dataclass(slots=True)
class Group:
    """Nodes that are as good as each other, and where they are, as sums over the program's variables.

    `at` counts the nodes in a cell, `on` those on a host, `vcpus` and `units` of memory what they take there; `cores`
    are the whole cores of thread policy require. `parts` are variables by guest cell and host cell. `pairs`: the names
    are HA pairs, one after the other.
    """

    request: NodeRequest
    names: list[str]
    on: dict[str, Sum] = field(default_factory=dict)
    at: dict[Place, Sum] = field(default_factory=dict)
    vcpus: dict[Place, Sum] = field(default_factory=dict)
    cores: dict[Place, Sum] = field(default_factory=dict)
    units: dict[Place, Sum] = field(default_factory=dict)
    loose: dict[str, Sum] = field(default_factory=dict)
    parts: list[dict[Place, int]] = field(default_factory=list)
    devices: dict[tuple[Want, int, int], int] = field(default_factory=dict)
    used: dict[tuple[int, int], Sum] = field(default_factory=dict)
    pairs: bool = False

    @property
    def wants(self) -> dict[Want, int]:
        """How many functions of each sort one node wants."""
        counts: dict[Want, int] = {}
        for wish in self.request.devices:
            want = Want.of(wish)
            counts[want] = counts.get(want, 0) + 1
        return counts


def shares(request: NodeRequest) -> list[tuple[int, int]]:
    """The vCPUs and the KiB of each guest cell where they are the same for every placement: split evenly.

    Memory is split at whole huge pages, or MiB; the first cells have what is left over.
    """
    cells = request.numa.cells or 1
    step = request.page_kib or _MIB
    steps, rest = divmod(request.memory_kib, step)
    cpus = [request.cpus // cells + (number < request.cpus % cells) for number in range(cells)]
    kib = [(steps // cells + (number < steps % cells)) * step for number in range(cells)]
    kib[0] += rest
    return list(zip(cpus, kib, strict=True))


def grouped(requests: Sequence[NodeRequest], pools: Sequence[Pool], *, split: bool) -> list[Group]:
    """Put together what only needs to be counted. `split`: nodes with `numa: preferred` may have several cells."""
    partners = _partners(requests)
    related = {n for r in requests for n in (*r.pairs, *r.avoid)} | {r.name for r in requests if r.pairs or r.avoid}
    groups: dict[object, Group] = {}
    seen: set[str] = set()
    for request in sorted(requests, key=lambda r: natural(r.name)):
        if request.name in seen:
            continue
        group = Group(request, [request.name])
        key: object = ("one", request.name)
        if not _alone(group, pools, split=split):
            if request.name in partners:
                key = ("pairs", _shape(request))
                group.names.append(partners[request.name])
                group.pairs = True
            elif request.name not in related:
                key = ("alike", _shape(request))
        seen.update(group.names)
        if key in groups:
            groups[key].names += group.names
        else:
            groups[key] = group
    return list(groups.values())


def _alone(group: Group, pools: Sequence[Pool], *, split: bool) -> bool:
    """Has to be followed by itself, not only counted."""
    request = group.request
    if request.numa.cells or (request.numa.policy == "none" and request.threads == "require"):
        return True
    if request.numa.policy == "preferred" and split:
        return True
    return len(request.devices) > 1 and not all(
        pool.simple for pool in pools if any(slot.serves & group.wants.keys() for slot in pool.slots)
    )


def _partners(requests: Sequence[NodeRequest]) -> dict[str, str]:
    """HA pairs of two equal nodes with no other relation: they only need to be counted."""
    relations: dict[str, set[str]] = {request.name: {*request.pairs, *request.avoid} for request in requests}
    by_name = {request.name: request for request in requests}
    for request in requests:
        for other in (*request.pairs, *request.avoid):
            relations.setdefault(other, set()).add(request.name)
    found = {}
    for name, others in relations.items():
        other = next(iter(others)) if len(others) == 1 else name
        if other == name or not {name, other} <= by_name.keys() or relations[other] != {name}:
            continue
        one, two = by_name[name], by_name[other]
        if not one.avoid and not two.avoid and _shape(one) == _shape(two):
            found[name] = other
    return found


def _shape(request: NodeRequest) -> object:
    wants = sorted(repr(Want.of(wish)) for wish in request.devices)
    return (replace(request, name="", pairs=(), avoid=(), devices=()), tuple(wants))


def natural(name: str) -> tuple[tuple[str, int], ...]:
    """A key that sorts oss2 before oss10."""
    return tuple((text, int(digits or 0)) for text, digits in re.findall(r"(\D*)(\d*)", name))


def units_of(requests: Sequence[NodeRequest]) -> dict[Pages, int]:
    """The largest amounts of memory, by page size, that all nodes need whole numbers of: a program of small numbers."""
    units: dict[Pages, int] = {}
    for request in requests:
        amounts = [kib for _, kib in shares(request)]
        if request.numa.policy == "preferred" and not request.numa.cells:
            amounts = [request.memory_kib, request.page_kib or _SPLIT_KIB]
        units[request.page_kib] = reduce(gcd, amounts, units.get(request.page_kib, 0))
    return units
