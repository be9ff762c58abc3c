"""LNet of a bed as it is: NIDs and routes of each node, and who can talk to whom."""

from dataclasses import dataclass

from vmlab.lab.lustre import opened
from vmlab.lustre import lnetping
from vmlab.lustre.lnetconf import pings
from vmlab.runtime.parallel import each
from vmlab.topology import Topology
from vmlab.virt.connection import Host

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
    """A route of a node; `up` is None where the node does not say."""

    net: str
    gateway: str
    hops: int
    up: bool | None


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


def show(host: Host, topology: Topology) -> list[LnetNode]:
    """Each node's LNet as it is."""
    with opened(host, topology, tolerant=True) as bed:
        found = []
        for node in topology.nodes:
            survey = bed.surveys.get(node)
            wanted = tuple(map(str, bed.configs[node].nids))
            if survey is None or survey.version is None:
                problem = "no Lustre" if survey is not None else bed.silent[node]
                found.append(LnetNode(node, (), (), forwarding=False, wanted=wanted, problem=problem))
                continue
            nids = tuple(NidLine(str(ni.nid), ni.up, ni.interfaces) for ni in survey.nis)
            routes = tuple(RouteLine(r.net, str(r.gateway), r.hops, r.up) for r in survey.routes)
            problem = "" if nids or not wanted else "LNet has no network"
            found.append(LnetNode(node, nids, routes, survey.forwards, wanted, problem))
        return found


def ping(host: Host, topology: Topology) -> list[Ping]:
    """Every path to every node that a node should reach, from each that answers; in the topology's order.

    The paths of one node over routers go one after the other: LNet takes turns among the routers.
    """
    servers = frozenset(server for target in topology.targets for server in target.servers) or None
    with opened(host, topology, tolerant=True) as bed:
        carrying = {
            node: bed.configs[node]
            for node in topology.nodes
            if node in bed.silent or bed.surveys[node].version is not None
        }
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
