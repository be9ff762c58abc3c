"""Which nodes an option names."""

import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from vmlab.errors import UsageError, WorkloadError
from vmlab.topology.wording import expected, quote
from vmlab.values.nodeset import expand, fold, parts
from vmlab.workloads import Node

SERVERS = frozenset({"mgs", "mds", "oss"})
CLIENTS = frozenset({"client", "fta"})


def _node_set(text: str) -> str:
    for part in parts(text):
        if not re.fullmatch("@[a-z]+", part):
            expand(part)
    return text


NodeNames = Annotated[
    str,
    AfterValidator(_node_set),
    WithJsonSchema({"type": "string", "format": "node-set", "form": "node set", "examples": ["oss[1-2]", "@client"]}),
]


def named(workload: str, text: str | None, nodes: Sequence[Node]) -> list[Node] | None:
    """The nodes that `oss[1-2]`, `@oss` or both mean, in the written order; None for None. Raises UsageError."""
    if text is None:
        return None
    by_name = {node.name: node for node in nodes}
    found: dict[str, Node] = {}
    for part in parts(text):
        if part.startswith("@"):
            of_role = [node for node in nodes if part[1:] in node.roles]
            if not of_role:
                raise UsageError(f"{workload}: no node has the role {quote(part[1:])}")
            found |= {node.name: node for node in of_role}
            continue
        for name in expand(part):
            if name not in by_name:
                raise UsageError(f"{workload}: no node {quote(name)} ({expected(name, by_name)})")
            found[name] = by_name[name]
    return list(found.values())


def clients_of(workload: str, text: str | None, nodes: Sequence[Node]) -> list[Node]:
    """The nodes that `text` names, None being all that are client or fta.

    Raises UsageError for unknown names, WorkloadError if nobody is left.
    """
    chosen = named(workload, text, nodes)
    if chosen is None:
        chosen = [node for node in nodes if CLIENTS.intersection(node.roles)]
    if not chosen:
        raise WorkloadError(f"{workload}: no node has the role client or fta", hint="--set nodes=NODES")
    return chosen


def interface(workload: str, fabric: str, nodes: Sequence[Node]) -> str:
    """The interface of a fabric, which has the same name on all nodes. Raises WorkloadError if one is not on it."""
    places = [node.on(fabric) for node in nodes]
    if without := [node.name for node, place in zip(nodes, places, strict=True) if place is None]:
        told = fold(without)
        raise WorkloadError(
            f"{workload}: {told} {'is' if len(without) == 1 else 'are'} not on the fabric {quote(fabric)}"
        )
    return next(place.netdev for place in places if place is not None)
