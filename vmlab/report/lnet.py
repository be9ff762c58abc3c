"""LNet as tables: each node's NIDs and routes, and the matrix of who reaches whom."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from vmlab.report.grid import Grid

if TYPE_CHECKING:
    from vmlab.lab.filesystems.lnet import LnetNode, Ping, RouteLine

_GOOD, _BAD = "green", "red"


def lnet_table(nodes: Sequence["LnetNode"]) -> Grid:
    """`vmlab lnet show`."""
    table = Grid("NODE", "NIDS", "INTERFACES", "ROUTES", "FORWARDS")
    for node in nodes:
        up = bool(node.nids) and all(nid.up for nid in node.nids)
        nids = "\n".join(f"{nid.nid} {'up' if nid.up else 'down'}" for nid in node.nids)
        table.add_row(
            node.node,
            Text(nids or node.problem or "-", _GOOD if up else _BAD if node.wanted else "dim"),
            "\n".join(" ".join(nid.interfaces) for nid in node.nids) or "-",
            Text("\n").join(map(_route, node.routes)) if node.routes else "-",
            "yes" if node.forwarding else "no",
        )
    return table


def _route(route: "RouteLine") -> Text:
    state = {True: "up", False: "down", None: "unknown"}[route.up]
    hops = f", {route.hops} hop{'s' * (route.hops != 1)}" if route.hops > 0 else ""
    why = f" ({route.why})" if route.why else ""
    return Text(f"{route.net} via {route.gateway}{hops}, {state}{why}", _BAD if route.up is False else "")


def ping_matrix(pings: Sequence["Ping"]) -> Grid:
    """`vmlab lnet ping`: rows ping columns. `ok`, or how many of the paths work; `-` where nobody has to."""
    froms = list(dict.fromkeys(ping.node for ping in pings))
    to = list(dict.fromkeys(ping.other for ping in pings))
    to.sort(key=lambda name: froms.index(name) if name in froms else len(froms))
    answered: dict[tuple[str, str], list[bool]] = {}
    for ping in pings:
        answered.setdefault((ping.node, ping.other), []).append(ping.ok)
    table = Grid("FROM", *to)
    for node in froms:
        table.add_row(node, *(_cell(answered.get((node, other), [])) for other in to))
    return table


def _cell(answers: list[bool]) -> Text:
    if not answers:
        return Text("-", "dim")
    if all(answers):
        return Text("ok", _GOOD)
    return Text("no" if len(answers) == 1 else f"{sum(answers)} of {len(answers)}", _BAD)


def ping_failures(pings: Sequence["Ping"]) -> list[str]:
    """A sentence for each pair of nodes that cannot talk over every path: how many fail, and what those have in common.

    One NID, one source or one router that all share is most likely what is broken. Where they share nothing the first
    one is named.
    """
    pairs: dict[tuple[str, str], list[Ping]] = {}
    for ping in pings:
        pairs.setdefault((ping.node, ping.other), []).append(ping)
    return [
        f"{node} does not reach {other} ({_common(bad)}){_counted(bad, paths)}: {bad[0].said}"
        for (node, other), paths in pairs.items()
        if (bad := [path for path in paths if not path.ok])
    ]


def _common(bad: "list[Ping]") -> str:
    places = {
        "": {path.nid for path in bad},
        "from ": {path.source for path in bad if path.source},
        "via ": {path.via for path in bad if path.via},
    }
    words = [f"{word}{next(iter(found))}" for word, found in places.items() if len(found) == 1]
    return " ".join(words) or f"{bad[0].nid} from {bad[0].source} and others"


def _counted(bad: "list[Ping]", paths: "list[Ping]") -> str:
    return f", {len(bad)} of {len(paths)} paths" if len(paths) > 1 else ""
