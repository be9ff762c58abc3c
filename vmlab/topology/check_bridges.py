"""Rules of bridges: which fabrics are on one, and that each host has its own where a guest may need it."""

from collections.abc import Iterable, Iterator, Mapping

from vmlab.topology.bed import DEFAULT_HOST
from vmlab.topology.parse import Problems
from vmlab.topology.read import Draft, NodeDraft
from vmlab.topology.wording import expected, nearest, quote


def check(draft: Draft, problems: Problems) -> None:
    """All fabrics, and the management network where it is the site's."""
    for name, fabric in draft.fabrics.items():
        if not fabric.sound("attach", "bridge"):
            continue
        attach, bridge = fabric.value.attach, fabric.value.bridge
        if attach == "bridge" and bridge is None:
            message = f"fabric `{name}` has no bridge (expected `bridge: NAME` of a host bridge)"
            problems.add(fabric.at("attach"), message)
        elif attach != "bridge" and bridge is not None:
            message = f"fabric `{name}` names a bridge, but its attach is `{attach}` (expected attach: bridge)"
            problems.add(fabric.at("bridge"), message)
        elif isinstance(bridge, dict):
            guests = [node for node in draft.nodes.values() if name in node.entry.value.fabrics]
            for host, message in _of_hosts(f"fabric `{name}`", bridge, guests, draft):
                problems.add(fabric.at("bridge", *host), message)
    head = draft.head
    if head.sound("management") and isinstance(bridge := head.value.management.bridge, dict):
        for host, message in _of_hosts("`management`", bridge, draft.nodes.values(), draft):
            problems.add(head.at("management", "bridge", *host), message)


def _of_hosts(
    what: str, bridges: Mapping[str, str], guests: Iterable[NodeDraft], draft: Draft
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Bridges by host are those of all hosts on which a guest may be, and of no others; what is wrong, and its host."""
    if "hosts" in draft.blurred:
        return
    hosts = list(draft.hosts) or [DEFAULT_HOST]
    unknown = [name for name in bridges if name not in hosts]
    for name in unknown:
        yield (name,), f"unknown host {quote(name)} ({expected(name, hosts)})"
    meant = {nearest(name, hosts) for name in unknown}
    lacking = [host for host in hosts if host not in bridges and host not in meant]
    for node in guests:
        asked = node.entry.value.host
        for host in [host for host in lacking if asked in (None, host) and node.entry.sound("host", "fabrics")]:
            lacking.remove(host)
            where, also = ("may be", ", or `host` of the node") if asked is None else ("is", "")
            message = f"{what} has no bridge on host `{host}`, where node `{node.name}` {where}"
            yield (), f"{message} (expected `{host}: NAME`{also})"
