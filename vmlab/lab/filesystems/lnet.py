"""LNet of a bed as it is: NIDs and routes of each node, and who can talk to whom."""

from collections.abc import Mapping
from dataclasses import dataclass

from vmlab.lab.filesystems.lustre_bed import LustreBed, opened
from vmlab.lab.ground.hosts import Hosts
from vmlab.lustre import lnetping
from vmlab.lustre.lnet import leads
from vmlab.lustre.lnetconf import pings
from vmlab.lustre.lnetctl import ShownRoute
from vmlab.runtime.parallel import each
from vmlab.topology import Topology

_JOBS = 64
_PATIENCE_S = 10
_WORDS = 500  # the command is one word of ssh's command line, which may have 128 KiB


@dataclass(frozen=True, slots=True)
class NidLine:
    """An LNet interface of a node."""

    nid: str
    up: bool
    interfaces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RouteLine:
    """A route of a node; `up` is None where the node does not say, and False where a router on it is known not to work.

    LNet itself takes a gateway for alive until it has asked it again. `why` tells what vmlab knows better.
    """

    net: str
    gateway: str
    hops: int
    up: bool | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class LnetNode:
    """One node's LNet. `wanted` are the NIDs that the topology gives it; `problem` says why nothing is known."""

    node: str
    nids: tuple[NidLine, ...]
    routes: tuple[RouteLine, ...]
    forwarding: bool
    wanted: tuple[str, ...]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Ping:
    """One node's ping of one NID of another node, over one path.

    `source` is the node's NID that it came from, empty where its Lustre cannot choose that; `via` the router's NID, of
    a path that is routed. `said` is what went wrong.
    """

    node: str
    other: str
    nid: str
    ok: bool
    said: str = ""
    source: str = ""
    via: str = ""


def show(hosts: Hosts, topology: Topology) -> list[LnetNode]:
    """Each node's LNet as it is."""
    with opened(hosts, topology, tolerant=True) as bed:
        idle = _idle_routers(bed)
        return [_node(bed, node, idle) for node in topology.nodes]


def _node(bed: LustreBed, node: str, idle: Mapping[str, str]) -> LnetNode:
    survey = bed.surveys.get(node)
    wanted = tuple(map(str, bed.configs[node].nids))
    if survey is None or survey.version is None:
        problem = bed.silent[node] if survey is None else f"no Lustre in the image {bed.topology.nodes[node].image}"
        return LnetNode(node, (), (), forwarding=False, wanted=wanted, problem=problem)
    nids = tuple(NidLine(str(ni.nid), ni.up, ni.interfaces) for ni in survey.nis)
    routes = tuple(_route(bed, route, idle) for route in survey.routes)
    problem = "" if nids or not wanted else survey.lnet or "LNet has no network"
    return LnetNode(node, nids, routes, survey.forwards, wanted, problem)


def _idle_routers(bed: LustreBed) -> dict[str, str]:
    """The routers that are known not to forward, and why. Of one that does not answer nothing is known."""
    found = {}
    for node in (name for name, config in bed.configs.items() if config.forwarding):
        survey = bed.surveys.get(node)
        if survey is None:
            if bed.silent[node] == "off":
                found[node] = f"{node} is off"
        elif survey.version is None:
            found[node] = f"{node} has no Lustre"
        elif not survey.nis:
            found[node] = f"{node}: {survey.lnet or 'LNet has no network'}"
        elif not survey.forwards and any(ni.interfaces for ni in survey.nis):  # else there is no lnetctl to ask
            found[node] = f"{node} does not forward"
    return found


def _route(bed: LustreBed, route: ShownRoute, idle: Mapping[str, str]) -> RouteLine:
    """A route as the node sees it, unless it is known to lead nowhere."""
    owners = {nid: node for node, config in bed.configs.items() for nid in config.nids}
    gateway = owners.get(route.gateway, "")
    memberships = {node: {nid.net for nid in config.nids} for node, config in bed.configs.items()}
    working = [node for node, config in bed.configs.items() if config.forwarding and node not in idle]
    why = idle.get(gateway, "")
    if gateway in working and idle and not leads(gateway, route.net, memberships, working):
        why = f"nothing leads on from {gateway}: {', '.join(idle.values())}"
    return RouteLine(route.net, str(route.gateway), route.hops, False if why else route.up, why)


def ping(hosts: Hosts, topology: Topology) -> list[Ping]:
    """Every path to every node that a node should reach, from each that answers; in the topology's order.

    The paths of one node over routers go one after the other: LNet takes turns among the routers. Raises HostError
    naming the images where Lustre is missing.
    """
    servers = frozenset(server for target in topology.targets for server in target.servers) or None
    with opened(hosts, topology, tolerant=True) as bed:
        carrying = {node: bed.configs[node] for node in bed.carrying()}
        wanted = pings(carrying, servers)

        def ask(node: str) -> list[Ping]:
            version = bed.surveys[node].version
            paths = [path for theirs in wanted[node].values() for path in theirs]
            if version is None or not paths:
                return []
            said = ""
            for first in range(0, len(paths), _WORDS):
                some = paths[first : first + _WORDS]
                limit = _PATIENCE_S + 2 * lnetping.limit_s(some)
                asked = lnetping.command(some, version, patience_s=_PATIENCE_S)
                said += bed.guests[node].run(asked, deadline_s=limit, as_root=True).stdout
            return [
                Ping(node, other, one.nid, one.ok, one.said, one.source, one.via)
                for other, theirs in wanted[node].items()
                for one in lnetping.answers(said, theirs, version)
            ]

        answering = [node for node in carrying if node in bed.guests]
        return [one for found in each(ask, answering, jobs=_JOBS, failed="not all nodes could ping") for one in found]
