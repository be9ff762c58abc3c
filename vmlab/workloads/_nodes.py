"""Which nodes an option names."""

import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from vmlab.errors import UsageError, WorkloadError
from vmlab.topology.wording import expected, quote
from vmlab.values.nodeset import expand, fold, parts
from vmlab.workloads import ALL, Node

SERVERS = frozenset({"mgs", "mds", "oss"})
CLIENTS = frozenset({"client", "fta"})


def _text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _node_set(text: str) -> str:
    if text.isdecimal():
        if not int(text):
            raise ValueError("0 nodes measure nothing")
        return text
    for part in parts(text):
        if not re.fullmatch("@[a-z]+", part):
            expand(part)
    return text


NodeNames = Annotated[
    str,
    AfterValidator(_node_set),
    BeforeValidator(_text),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "format": "node-set", "form": "node set", "examples": ["oss[1-2]", "@client"]},
                {"type": "integer", "minimum": 1, "form": "number of nodes"},
            ]
        }
    ),
]
"""Names, roles, or how many of the nodes that would take part: the first ones in the bed's order."""


def by_hosts(nodes: Sequence[Node]) -> dict[str, list[Node]]:
    """The nodes of each host, and then all, under ALL; only these, under "", where they are on one host."""
    found: dict[str, list[Node]] = {}
    for node in nodes:
        found.setdefault(node.host, []).append(node)
    return {**found, ALL: list(nodes)} if len(found) > 1 else {"": list(nodes)}


def named(workload: str, text: str | None, nodes: Sequence[Node]) -> list[Node] | None:
    """The nodes that `oss[1-2]`, `@oss` or both mean, in the written order; None for None. Raises UsageError."""
    if text is None:
        return None
    if text.isdecimal():
        raise UsageError(f"{workload}: {text} is a number of nodes, and it takes their names", hint="oss[1-2], @client")
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
    """The nodes that `text` names; None are all that are client or fta, a number the first of these.

    Raises UsageError for unknown names, WorkloadError if there are not so many, or none at all.
    """
    clients = [node for node in nodes if CLIENTS.intersection(node.roles)]
    wanted = int(text) if text is not None and text.isdecimal() else None
    chosen = clients[:wanted] if text is None or wanted is not None else named(workload, text, nodes)
    if not chosen:
        raise WorkloadError(f"{workload}: no node has the role client or fta", hint="--set nodes=NODES")
    if wanted is not None and wanted > len(chosen):
        raise WorkloadError(f"{workload}: {wanted} nodes are wanted, and {len(chosen)} are client or fta")
    return chosen


def called(nodes: Sequence[Node]) -> str:
    """Nodes in a sentence: the host is one, in whose place it ever is."""
    return "the host" if all(node.where == "host" for node in nodes) else fold(node.name for node in nodes)


def there(node: Node) -> str:
    """Where commands of a hint are to be typed."""
    return {"vm": "in the guest", "bare": f"on {node.name}", "host": "on the host"}[node.where]


def interface(workload: str, fabric: str, nodes: Sequence[Node]) -> str:
    """The interface of a fabric, which has the same name on all nodes. Raises WorkloadError if one is not on it."""
    places = [node.on(fabric) for node in nodes]
    if without := [node for node, place in zip(nodes, places, strict=True) if place is None]:
        told = called(without)
        many = len(without) > 1 and told != called(without[:1])
        raise WorkloadError(f"{workload}: {told} {'are' if many else 'is'} not on the fabric {quote(fabric)}")
    return next(place.netdev for place in places if place is not None)
