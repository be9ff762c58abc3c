"""LNet of a bed as it is: NIDs and routes of each node, and who can talk to whom."""

from dataclasses import dataclass

from vmlab.lab.lustre import opened
from vmlab.lustre.lnetconf import pings
from vmlab.runtime.parallel import each
from vmlab.steps import Command
from vmlab.topology import Topology
from vmlab.values.nid import Nid
from vmlab.virt.connection import Host

_JOBS = 64
_PING_S = 20.0
_AT_ONCE = 8

# One line for each NID: `NID ok`, or `NID no WORDS`; several at once, because each that is dead takes seconds.
_ONE = """
said=$(timeout "$1" lnetctl ping "$2" 2>&1)
case $said in
    *"primary nid:"*) echo "$2 ok" ;;
    *) echo "$2 no $(echo "$said" | sed -n 's/.*descr: *//p; s/.*failed to ping/failed to ping/p' | head -n 1)" ;;
esac
"""
_ALL = """
one=$1 seconds=$2 jobs=$3
shift 3
printf '%s\\n' "$@" | xargs -r -P "$jobs" -n 1 sh -c "$one" vmlab "$seconds"
"""


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
    """One node's ping of one NID of another node. `said` is what LNet answered where it failed."""

    node: str
    other: str
    nid: str
    ok: bool
    said: str = ""


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
    """Every NID that a node should reach, from every node that answers; in the topology's order."""
    servers = frozenset(server for target in topology.targets for server in target.servers) or None
    with opened(host, topology, tolerant=True) as bed:
        carrying = {
            node: bed.configs[node]
            for node in topology.nodes
            if node in bed.silent or bed.surveys[node].version is not None
        }
        wanted = pings(carrying, servers)

        def ask(node: str) -> list[Ping]:
            others = wanted[node]
            nids = [nid for theirs in others.values() for nid in theirs]
            if not nids:
                return []
            limit = _PING_S * (len(nids) // _AT_ONCE + 2)
            said = bed.guests[node].run(_command(nids), deadline_s=limit, as_root=True).stdout
            answers = dict(line.split(" ", 1) for line in said.splitlines() if " " in line)
            return [
                Ping(node, other, str(nid), *_read(answers.get(str(nid), "no no answer")))
                for other, theirs in others.items()
                for nid in theirs
            ]

        answering = [node for node in carrying if node in bed.guests]
        return [one for found in each(ask, answering, jobs=_JOBS, failed="not all nodes could ping") for one in found]


def _command(nids: list[Nid]) -> Command:
    return ("sh", "-c", _ALL, "vmlab", _ONE, f"{_PING_S:g}", str(_AT_ONCE), *map(str, nids))


def _read(answer: str) -> tuple[bool, str]:
    word, _, rest = answer.partition(" ")
    return word == "ok", "" if word == "ok" else rest.strip().strip('"') or f"no answer within {_PING_S:g} s"
