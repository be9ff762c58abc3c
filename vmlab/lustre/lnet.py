"""Which LNet networks a node reaches, and through which routers. Routes are computed, never written by hand."""

from collections import defaultdict, deque
from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

Distances = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Route:
    """How `node` reaches `net`, a network that it is not on.

    `gateways` are (router, the network on which the node talks to it), all on shortest paths, sorted; `hops` counts
    the routers on the path.
    """

    node: str
    net: str
    gateways: tuple[tuple[str, str], ...]
    hops: int


def distances(memberships: Mapping[str, AbstractSet[str]], routers: Collection[str]) -> Distances:
    """For each network: the networks that are reached from it, and through how many routers; itself through 0."""
    on: dict[str, list[str]] = defaultdict(list)
    for router in routers:
        for net in memberships.get(router, ()):
            on[net].append(router)
    return {net: _from(net, on, memberships) for net in {net for nets in memberships.values() for net in nets}}


def reaches(one: AbstractSet[str], other: AbstractSet[str], between: Distances) -> bool:
    """A node on the networks `one` and a node on the networks `other` can talk."""
    return any(net in between.get(start, ()) for start in one for net in other)


def leads(gateway: str, net: str, memberships: Mapping[str, AbstractSet[str]], routers: Collection[str]) -> bool:
    """From the router `gateway` on, messages reach `net` by way of `routers`, those that work."""
    return gateway in routers and reaches(memberships[gateway], {net}, distances(memberships, routers))


def routes(memberships: Mapping[str, AbstractSet[str]], routers: Collection[str]) -> tuple[Route, ...]:
    """All routes of a bed: by node in the order of `memberships`, then by network.

    `memberships` are the networks that each node has an interface on. Unreachable networks have no route.
    """
    between = distances(memberships, routers)
    known: dict[frozenset[str], list[tuple[str, tuple[tuple[str, str], ...], int]]] = {}
    found: list[Route] = []
    for node, nets in memberships.items():
        here = frozenset(nets)
        if here not in known:
            known[here] = list(_routes_from(here, memberships, routers, between))
        found.extend(Route(node, net, gateways, hops) for net, gateways, hops in known[here])
    return tuple(found)


def _from(start: str, on: Mapping[str, list[str]], memberships: Mapping[str, AbstractSet[str]]) -> dict[str, int]:
    reached = {start: 0}
    queue = deque([start])
    while queue:
        net = queue.popleft()
        for router in on.get(net, ()):
            for neighbour in memberships[router]:
                if neighbour not in reached:
                    reached[neighbour] = reached[net] + 1
                    queue.append(neighbour)
    return reached


def _routes_from(
    here: frozenset[str], memberships: Mapping[str, AbstractSet[str]], routers: Collection[str], between: Distances
) -> list[tuple[str, tuple[tuple[str, str], ...], int]]:
    # A router is never its own gateway: from its own networks the first step would lead nowhere nearer.
    found = []
    for net in sorted(between.keys() - here):
        near = [between[net][start] for start in here if start in between[net]]
        if not near:
            continue
        hops = min(near)
        closer = {other for other, distance in between[net].items() if distance == hops - 1}
        gateways = sorted(
            (router, via)
            for router in routers
            if closer & memberships.get(router, frozenset())
            for via in memberships[router] & here
        )
        found.append((net, tuple(gateways), hops))
    return found
