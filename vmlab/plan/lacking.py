"""Hosts that lack what guests of a template cannot do without: all of them are told, and no node goes there."""

from collections.abc import Collection, Mapping, Sequence

from vmlab.errors import HostError, together
from vmlab.topology import Node
from vmlab.values.nodeset import fold

Lacking = Mapping[str, Mapping[str, HostError]]
"""By template and host."""


def refuse_lacking(nodes: Mapping[str, Sequence[Node]], lacking: Lacking) -> None:
    """Raise HostError for all hosts that lack something of the nodes that go there; `nodes` are by host."""
    errors = [
        there[host]
        for host, here in nodes.items()
        for template in dict.fromkeys(node.template for node in here)
        if host in (there := lacking.get(template, {}))
    ]
    if errors:
        raise together(errors, "not all hosts have what their nodes need")


def refuse_without_host(nodes: Sequence[Node], hosts: Collection[str], lacking: Lacking) -> None:
    """Raise HostError for all nodes of which each host that they may go to lacks something."""
    without: list[str] = []
    errors: dict[tuple[str, str], HostError] = {}
    for node in nodes:
        there = lacking.get(node.template, {})
        where = hosts if node.host is None else (node.host,)
        if all(host in there for host in where):
            without.append(node.name)
            errors |= {(node.template, host): there[host] for host in where}
    if errors:
        raise together(list(errors.values()), f"no host that {fold(without)} may be on has what is needed")


def told(lacking: Lacking) -> dict[str, dict[str, str]]:
    """What each host lacks, in words."""
    return {name: {host: error.message for host, error in there.items()} for name, there in lacking.items()}
