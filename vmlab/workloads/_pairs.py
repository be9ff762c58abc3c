"""Pairs of nodes, one of which acts on the other over a fabric."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import NamedTuple

from vmlab.errors import UsageError, WorkloadError
from vmlab.topology.wording import expected, quote
from vmlab.workloads import Measurement, Node
from vmlab.workloads._nodes import CLIENTS, SERVERS, named

_CALLED = {"infiniband": "InfiniBand", "ethernet": "Ethernet"}
_HINT = "--set from=NODES --set to=NODES"


class Pair(NamedTuple):
    """`actor` acts on `target` over `fabric`, which both are on."""

    actor: Node
    target: Node
    fabric: str


class Wanted(NamedTuple):
    """What the options of a workload say of its pairs.

    `actors` and `targets` are node sets: by default each server and the first client that it shares a fabric with, or
    in a bed without clients its first node and all others. Without a `fabric` it is the first that both are on, of the
    first of `kinds` that there is. `both`: each pair the other way round, too.
    """

    actors: str | None
    targets: str | None
    fabric: str | None
    kinds: Sequence[str]
    both: bool = False


def pairs(workload: str, wanted: Wanted, nodes: Sequence[Node]) -> tuple[Pair, ...]:
    """Who acts on whom, over which fabric.

    Raises UsageError for unknown names, WorkloadError if no pair shares a fabric.
    """
    if wanted.fabric is not None:
        fabrics = dict.fromkeys(e.fabric for node in nodes for e in node.endpoints)
        if wanted.fabric not in fabrics:
            raise UsageError(f"{workload}: no fabric {quote(wanted.fabric)} ({expected(wanted.fabric, fabrics)})")
    found: dict[tuple[str, str], Pair] = {}
    on = wanted.fabric or f"an {' or '.join(_CALLED.get(kind, kind) for kind in wanted.kinds)} fabric"
    for one, other in _candidates(workload, wanted, nodes):
        fabric = shared(one, other, wanted)
        if fabric is None and wanted.actors is not None and wanted.targets is not None:
            raise WorkloadError(f"{workload}: {one.name} and {other.name} are not both on {on}")
        if fabric is not None:
            found[one.name, other.name] = Pair(one, other, fabric)
            if wanted.both:
                found.setdefault((other.name, one.name), Pair(other, one, fabric))
    if not found:
        raise WorkloadError(f"{workload}: no pair of nodes to measure is on {on}", hint=_HINT)
    return tuple(found.values())


def of_pairs(workload: str, wanted: Wanted, nodes: Sequence[Node]) -> tuple[str, ...]:
    """The names of the nodes of all pairs, in the order of `nodes`. Raises as `pairs`."""
    chosen = {node.name for actor, target, _ in pairs(workload, wanted, nodes) for node in (actor, target)}
    return tuple(node.name for node in nodes if node.name in chosen)


def rounds(by_pair: Sequence[Sequence[Measurement]], *, parallel: bool) -> list[tuple[Measurement, ...]]:
    """The measurements of each pair one after the other, or with `parallel` those of all pairs at once."""
    if not parallel:
        return [(one,) for of_pair in by_pair for one in of_pair]
    return [tuple(one for one in at_once if one is not None) for at_once in zip_longest(*by_pair)]


def shared(one: Node, other: Node, wanted: Wanted) -> str | None:
    """The fabric that is wanted and that both are on."""
    if wanted.fabric is not None:
        return wanted.fabric if one.on(wanted.fabric) and other.on(wanted.fabric) else None
    for kind in wanted.kinds:
        for endpoint in one.endpoints:
            if endpoint.kind == kind and other.on(endpoint.fabric):
                return endpoint.fabric
    return None


def _candidates(workload: str, wanted: Wanted, nodes: Sequence[Node]) -> Iterator[tuple[Node, Node]]:
    clients = [node for node in nodes if CLIENTS.intersection(node.roles)]
    actors = named(workload, wanted.actors, nodes)
    targets = named(workload, wanted.targets, nodes)
    if actors is None and targets is None and not clients:
        actors, targets = list(nodes[:1]), list(nodes[1:])
    if actors is None:
        others = [node for node in nodes if targets is None or node not in targets]
        actors = [node for node in others if SERVERS.intersection(node.roles)] or others
    for actor in actors:
        # The first client that shares a fabric with the actor: in a routed bed that need not be the first of all.
        reached = targets if targets is not None else _first_shared(actor, clients or nodes, wanted)
        yield from ((actor, target) for target in reached if target.name != actor.name)


def _first_shared(actor: Node, nodes: Sequence[Node], wanted: Wanted) -> list[Node]:
    return [node for node in nodes if node.name != actor.name and shared(actor, node, wanted)][:1]
