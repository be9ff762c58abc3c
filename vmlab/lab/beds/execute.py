"""Run a command on many nodes at once, and copy files to and from them."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from vmlab.errors import GuestError, Interrupted, UsageError
from vmlab.guest.boot import DeadGuest
from vmlab.guest.killed import why_killed
from vmlab.guest.ssh import Door
from vmlab.lab.ground.bed import everybody, existing
from vmlab.lab.ground.choosing import Choice, choose
from vmlab.lab.ground.doors import doors, external_doors
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.leftovers import end_exec, exec_mark
from vmlab.plan.observed import ObservedBed, over_all
from vmlab.runtime.parallel import each
from vmlab.runtime.process import Result
from vmlab.topology import Topology
from vmlab.topology.select import select
from vmlab.values.complaint import complaint
from vmlab.values.nodeset import fold
from vmlab.virt.connection import Host
from vmlab.virt.kept_consoles import consoles
from vmlab.workloads import MARK

_BROKEN_S = 60.0  # a new connection to a guest that is emulated on a busy host takes most of it; Ctrl-C again ends it


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command printed on one node. An ssh that failed has status 255, as ssh itself says it."""

    node: str
    status: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Executed:
    """The answers in the nodes' order, what is to be told of guests that are dead, and who was meant."""

    answers: list[Answer]
    dead: list[DeadGuest]
    choice: Choice


def execute(
    hosts: Hosts,
    bed: str,
    nodes: str,
    command: Sequence[str],
    *,
    jobs: int,
    deadline_s: float,
    topology: Topology | None = None,
) -> Executed:
    """What the command came to on the nodes that can be asked.

    With the bed's `topology` on its machines that are no guests, too.
    Raises Interrupted after Ctrl-C, when what ran in the guests is ended: without a terminal nothing tells it there.
    """
    found = existing(hosts, bed)
    guests = _all_doors(hosts, found, topology)
    choice = choose(hosts, bed, nodes, everybody(found, topology))
    names = list(choice.here)
    dead: list[DeadGuest] = []
    mark = exec_mark()
    unfinished = set(names)

    def ask(name: str) -> Answer:
        answer = _answer(name)
        unfinished.discard(name)
        return answer

    def _answer(name: str) -> Answer:
        try:
            result = guests[name].run(("env", f"{MARK}={mark}", *command), deadline_s=deadline_s)
            killed = why_killed(guests[name], result)
        except GuestError as error:
            if isinstance(error, DeadGuest):
                dead.append(error)
            hint = f"hint: {error.hint}\n" if name not in found.nodes and error.hint else ""
            return Answer(name, 255, "", f"{error.message}\n{hint}")
        why = f"no end after {deadline_s:.0f} s" if result.timed_out else killed
        told = f"{why}\n" if why else ""
        return Answer(name, 124 if result.timed_out else result.status, result.stdout, result.stderr + told)

    try:
        return Executed(each(ask, names, jobs=jobs, failed="exec failed"), dead, choice)
    except KeyboardInterrupt as error:
        left = {name: guests[name] for name in names if name in unfinished}
        silent = end_exec(left, mark, _BROKEN_S)
        told = "what ran in the guests was ended"
        if silent:
            told += f", but {fold(silent)} did not answer: there it ends by itself, {deadline_s:.0f} s after its begin"
        raise Interrupted(told) from error


def door(hosts: Hosts, bed: str, node: str, topology: Topology | None = None) -> Door:
    """One node, to be reached by ssh.

    Raises UsageError if there is none of this name, or if several are meant, HostError if its host is away.
    """
    found = existing(hosts, bed)
    name = _one(node, choose(hosts, bed, node, everybody(found, topology)))
    return _all_doors(hosts, found, topology)[name]


def _all_doors(hosts: Hosts, bed: ObservedBed, topology: Topology | None) -> dict[str, Door]:
    return {**external_doors(topology), **doors(hosts, bed)}


def domain_of(hosts: Hosts, bed: str, node: str) -> tuple[Host, str]:
    """The libvirt domain of one node, and its host; raises as `door`."""
    found = existing(hosts, bed)
    domain = found.nodes[one(hosts, found, node)]
    return hosts.of(domain), domain.facts.name


def printed(hosts: Hosts, bed: str, node: str, earlier: int) -> list[tuple[datetime | None, str]]:
    """What one node's console printed; see `virt.kept_consoles.consoles`. Raises as `door`."""
    found = existing(hosts, bed)
    name = one(hosts, found, node)
    return consoles(hosts.of(found.nodes[name]), found.metadata[name], earlier)


def one(hosts: Hosts, bed: ObservedBed, node: str) -> str:
    """The node that is meant; raises UsageError for none, or for several, HostError if its host is away."""
    return _one(node, choose(hosts, bed.name, node, everybody(bed, None)))


def _one(node: str, choice: Choice) -> str:
    names = choice.here
    if len(names) != 1:
        raise UsageError(f"{node} are {len(names)} nodes: {fold(names)}", hint=f"name one, such as {names[0]}")
    return names[0]


@dataclass(frozen=True, slots=True)
class Place:
    """`NODES:path` on a bed's nodes, or a local path (no nodes)."""

    bed: ObservedBed | None
    nodes: tuple[str, ...]
    path: str
    topology: Topology | None = None
    choice: Choice | None = None

    def doors(self, hosts: Hosts) -> dict[str, Door]:
        """To the nodes of the bed, and the machines beside them."""
        return {} if self.bed is None else _all_doors(hosts, self.bed, self.topology)


Described = Callable[[str], Topology | None]
"""The topology of a bed, if it is at hand and has machines that are no guests."""


def copy(
    hosts: Hosts,
    source: str,
    destination: str,
    *,
    recursive: bool,
    jobs: int,
    described: Described = lambda _: None,
) -> None:
    """Copy between here and nodes, or from a node to others: FILE or NODE:PATH to FILE or NODES:PATH.

    A node may be written BED.NODE. What goes from node to node is here in between. Raises UsageError when neither side
    is on a node, GuestError with scp's own words when a copy fails; at the end HostError if a host is away.
    """
    origin, target = _place(hosts, source, described), _place(hosts, destination, described)
    if origin.bed is None and target.bed is None:
        raise UsageError("no side of the copy is on a node", hint="vmlab cp FILE oss1:/tmp/")
    if len(origin.nodes) > 1:
        raise UsageError("files of several nodes would overwrite each other", hint="copy from one node at a time")
    if origin.bed is None:
        _to(hosts, [origin.path], target, recursive=recursive, jobs=jobs)
    elif target.bed is None:
        _from(hosts, origin, target.path, recursive=recursive)
    else:
        with tempfile.TemporaryDirectory(prefix="vmlab-cp.") as between:
            _from(hosts, origin, between, recursive=recursive)
            _to(hosts, sorted(map(str, Path(between).iterdir())), target, recursive=recursive, jobs=jobs)
    if target.choice is not None:
        target.choice.refuse_rest()


def _from(hosts: Hosts, origin: Place, to: str, *, recursive: bool) -> None:
    (name,) = origin.nodes
    _copied(name, origin.doors(hosts)[name].copy([origin.path], to, to_guest=False, recursive=recursive))


def _to(hosts: Hosts, files: Sequence[str], target: Place, *, recursive: bool, jobs: int) -> None:
    guests = target.doors(hosts)

    def send(name: str) -> None:
        _copied(name, guests[name].copy(files, target.path, to_guest=True, recursive=recursive))

    each(send, target.nodes, jobs=jobs, failed="not all copies succeeded")


def _copied(name: str, result: Result) -> None:
    if not result.ok:
        why = complaint(result.stderr.splitlines()) or result.last_line
        raise GuestError(f"{name}: {why}", node=name, stage="copy")


def _place(hosts: Hosts, text: str, described: Described) -> Place:
    nodes, colon, path = text.partition(":")
    if not colon or "/" in nodes:
        return Place(None, (), text)
    bed_name, dot, rest = nodes.partition(".")
    if dot:
        bed, topology = existing(hosts, bed_name), described(bed_name)
        choice = choose(hosts, bed_name, rest, everybody(bed, topology))
        return Place(bed, choice.here, path or ".", topology, choice)
    looks = hosts.look(whole=False)
    owners = []
    for name in sorted({name for look in looks.values() for name in look.beds}):
        bed, topology = over_all(name, looks), described(name)
        try:
            owners.append(Place(bed, select(nodes, everybody(bed, topology)), path or ".", topology))
        except UsageError:
            continue
    if len(owners) != 1:
        which = " or ".join(f"{place.bed.name}.{nodes}" for place in owners if place.bed is not None)
        told = f"{nodes} is a node of several beds" if owners else f"no bed has a node {nodes}"
        raise UsageError(told, hint=f"write {which}" if owners else "vmlab list")
    return owners[0]
