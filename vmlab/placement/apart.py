"""How many nodes that should be apart are not, as sums over a program's variables."""

from collections.abc import Mapping, Sequence

from vmlab.placement.groups import Group, Place
from vmlab.placement.program import Program, Sum
from vmlab.placement.request import NodePlacement

_Where = Mapping[tuple[str, int | None], Sum | None]
"""A host, or a cell of it, to a sum that says whether the node is there; to None if it is there anyway."""


def apart(program: Program, groups: Sequence[Group], kept: Mapping[str, NodePlacement]) -> Sequence[Sum]:
    """Pairs on one host, pairs in one cell, and the same of `avoid`."""
    by_name = {name: group for group in groups for name in group.names}
    pairs = {frozenset((g.request.name, other)) for g in groups for other in g.request.pairs if not g.pairs}
    avoid = {frozenset((g.request.name, other)) for g in groups for other in g.request.avoid} - pairs
    goals: list[dict[int, float]] = []
    for relations in (pairs, avoid):
        same_host: dict[int, float] = {}
        same_cell: dict[int, float] = {}
        for one, other in sorted(tuple(sorted(names)) for names in relations if len(names) > 1):
            if not {one, other} <= by_name.keys() | kept.keys():
                continue
            hosts = _where(by_name.get(one), one, kept), _where(by_name.get(other), other, kept)
            same_host |= _meet(program, *(where[0] for where in hosts))
            same_cell |= _meet(program, *(where[1] for where in hosts))
        goals += [same_host, same_cell]
    for group in groups:
        if group.pairs:
            goals[0] |= _crowd(program, group, group.on)
            goals[1] |= _crowd(program, group, group.at)
    return goals


def _crowd(program: Program, group: Group, where: Mapping[str, Sum] | Mapping[Place, Sum]) -> dict[int, float]:
    """How many pairs must share a host or cell: as many as it has more nodes than there are pairs.

    All others can be paired with a node from somewhere else.
    """
    pairs = len(group.names) // 2
    if all(sum(program.most(variable) for variable in there) <= pairs for there in where.values()):
        return {}
    crowd = program.variable(pairs, integer=False)
    for there in where.values():
        program.at_most({**there, crowd: -1}, pairs)
    return {crowd: 1}


def _where(group: Group | None, name: str, kept: Mapping[str, NodePlacement]) -> tuple[_Where, _Where]:
    """The hosts and the cells where a node may be; None instead of a sum: where it is."""
    if group is not None:
        on: _Where = {(host, None): there for host, there in group.on.items()}
        return on, {(place.host, place.cell): at for place, at in group.at.items()}
    node = kept[name]
    cells = {cell.host_cell for cell in node.cells} - {None}
    return {(node.host, None): None}, {(node.host, cell): None for cell in cells}


def _meet(program: Program, here: _Where, there: _Where) -> dict[int, float]:
    """1 if both nodes are in one place."""
    common = [where for where in here if where in there]
    sums = [(here[where], there[where]) for where in common]
    if not any(one or other for one, other in sums):
        return {}
    meet = program.variable(1, integer=False)
    for one, other in sums:
        terms = dict(one or {})
        for variable, factor in (other or {}).items():
            terms[variable] = terms.get(variable, 0) + factor
        constants = (one is None) + (other is None)
        program.at_most({**terms, meet: -1}, 1 - constants)
    return {meet: 1}
