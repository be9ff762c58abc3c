"""Where the targets of a bed are served now, and where they go when a server is to lose them."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vmlab.errors import HostError, UsageError
from vmlab.lustre.survey import Survey
from vmlab.lustre.target import Target
from vmlab.plan.observed import ObservedBed
from vmlab.topology import Topology, bed
from vmlab.topology.wording import expected, quote
from vmlab.values import identity

_SERVERS = frozenset({"mgs", "mds", "oss"})
_TRIED_FIRST = ("OST", "MDT", "MGT")


@dataclass(frozen=True, slots=True)
class Move:
    """A target leaves one server for another."""

    label: str
    source: str
    destination: str


def mounted_on(target: Target, survey: Survey) -> bool:
    """The node has it mounted, at vmlab's place or at another. The service of every MGT is called MGS."""
    return any(
        mount.point == target.mount_point or (target.kind != "MGT" and mount.service == target.service)
        for mount in survey.mounts
        if not mount.client_of
    )


def under_way(target: Target, survey: Survey) -> str:
    """What a node that has not mounted it is doing with it: "mounting", "unmounting", "formatting", or "" for nothing.

    A mount that waits for MMP, for ZFS's multihost or for the MGS is in no list of mounts for seconds to minutes; one
    that was taken away while it was busy (`umount -l`) is in none any more, and its service runs.
    """
    known = {target.mount_point}
    if target.backend != "wbcfs":  # whose device is one word for all
        known.add(target.device)
    if target.backend == "zfs":
        known.add(target.pool)
    runs = target.kind != "MGT" and target.service in survey.services  # every MGT's service is called MGS
    commands = (busy.state for busy in survey.busy if known & set(busy.words))
    return next(commands, "unmounting" if runs else "")


def serving(targets: Mapping[str, Target], surveys: Mapping[str, Survey]) -> dict[str, str]:
    """The node that has each target, by label; without those that nobody has.

    Where nobody has it mounted whoever is still unmounting it has it, and then whoever is mounting it. Raises HostError
    if two have one: whatever writes to its disk next destroys it.
    """
    found = {}
    for label, target in targets.items():
        nodes = [node for node, survey in surveys.items() if mounted_on(target, survey)]
        if len(nodes) > 1:
            raise HostError(
                f"{label} is mounted on {' and '.join(nodes)} at once: its file system is in danger",
                hint="power off one of them now, then e2fsck the disk",
            )
        for state in ("unmounting", "mounting"):
            nodes = nodes or [node for node, survey in surveys.items() if under_way(target, survey) == state]
        if nodes:
            found[label] = nodes[0]
    return found


def forgotten(targets: Mapping[str, Target], surveys: Mapping[str, Survey]) -> dict[str, tuple[str, ...]]:
    """The labels of targets in memory that are gone with what they held, by file system.

    Clients are the last to mount one: if any has it mounted, all of its targets were.
    """
    held = {mount.client_of for survey in surveys.values() for mount in survey.mounts}
    lost: dict[str, tuple[str, ...]] = {}
    for label, target in targets.items():
        there = any(mounted_on(target, survey) for survey in surveys.values())
        if target.backend == "wbcfs" and target.fsname in held and not there:
            lost[target.fsname] = (*lost.get(target.fsname, ()), label)
    return lost


def unforgotten(bed_name: str, targets: Mapping[str, Target], lost: Mapping[str, Collection[str]]) -> frozenset[str]:
    """The file systems of which nothing is left, so that they can begin anew.

    Raises HostError if servers have a part of one: the MGS does not take back a target that comes with an empty memory.
    """
    for fsname, labels in lost.items():
        rest = [t.label for t in targets.values() if t.fsname == fsname and t.label not in labels]
        if rest:
            raise HostError(
                f"{fsname} was in memory, and {', '.join(labels)} went with a server's: what is left of it "
                f"({', '.join(rest)}) is of no use",
                hint=f"vmlab fs umount {bed_name}; then vmlab up FILE begins it anew, empty",
            )
    return frozenset(lost)


def presumed(
    topology: Topology, active: Mapping[str, str], silent: Collection[str], *, off: Collection[str] = (), what: str = ""
) -> dict[str, str]:
    """`active`, and what nobody who answers has with a server of it that does not answer: it may have it.

    That is `what` if it is one of those, else the first that is not `off`, else the first. The others may have it, too:
    `refuse_unproven` is for them.
    """
    found = dict(active)
    for target in topology.targets:
        suspects = [server for server in target.servers if server in silent]
        if target.label not in found and suspects:
            found[target.label] = min(suspects, key=lambda server: (server != what, server in off))
    return found


def holders(topology: Topology, found: ObservedBed) -> dict[str, tuple[str, ...]]:
    """The nodes that could have each target mounted, by label: its servers, and whoever else was given its disk.

    A node that the file no longer has keeps its disks until it goes. One that was passed a disk from outside is only
    known by its role.
    """
    left = {name: domain for name, domain in found.nodes.items() if name not in topology.nodes}

    def given(target: bed.TargetSpec, node: str) -> bool:
        if target.device:
            return bool(_SERVERS & {*found.metadata[node].roles})
        volume = identity.target_volume(topology.name, target.label)
        return any(disk.rpartition("/")[2] == volume for disk in left[node].facts.disks)

    return {
        target.label: (*target.servers, *(node for node in left if given(target, node))) for target in topology.targets
    }


Evidence = Literal["off", "free", "mounted", "silent", "away"]
"""Of a node and a target: its domain is off; it answers and has it not, or has it; it runs and does not answer.

Or its host is away, and nobody says that it is switched off.
"""


def refuse_unproven(bed_name: str, label: str, nodes: Iterable[str], evidence: Callable[[str, str], Evidence]) -> None:
    """Raise HostError unless each of `nodes` is proven off, or proven not to have the target, so that another may."""
    for node in nodes:
        match evidence(label, node):
            case "mounted":
                raise HostError(
                    f"{label} is mounted on {node}: nobody else mounts it",
                    hint=f"vmlab ssh {bed_name} {node} -- umount, or vmlab power off {bed_name} {node}",
                )
            case "silent":
                raise HostError(
                    f"{node} runs, does not answer, and could have {label} mounted: nobody else mounts it",
                    hint=f"vmlab power off {bed_name} {node}",
                )
            case "away":
                raise HostError(
                    f"{node} is on a host that does not answer, which is no proof that it is off, and could have "
                    f"{label} mounted: nobody else mounts it",
                    hint=f"again when that host answers (vmlab status {bed_name}), or its `fence:` says that it is off",
                )


def first_with_partner(topology: Topology) -> str:
    """The target that a failover is tried with where none is named: an OST if one has a partner, else an MDT, else any.

    Raises HostError if no target has one.
    """
    paired = [target for target in topology.targets if len(target.servers) > 1]
    if not paired:
        raise HostError(
            f"no target of {topology.name} has a failover partner", hint="give one a second server in the topology"
        )
    return min(paired, key=lambda target: _TRIED_FIRST.index(target.kind)).label


def moves_off(
    topology: Topology,
    active: Mapping[str, str],
    what: str,
    *,
    running: Collection[str],
    whole_node: bool,
) -> tuple[Move, ...]:
    """What moves when `what`, a target's label or a node, fails: each target to its next server that runs.

    With `whole_node` all targets of the node that has it move with a target, because the node goes down. Raises
    UsageError for what is neither, HostError where nothing is served or no partner runs.
    """
    servers = {target.label: target.servers for target in topology.targets}
    if what in topology.nodes:
        source = what
        labels = [label for label, node in active.items() if node == source]
        if not labels:
            raise HostError(f"{source} serves no target now", hint=f"vmlab fs status {topology.name}")
    else:
        label = _label(topology, active, what)
        source = active[label]
        labels = [other for other, node in active.items() if node == source] if whole_node else [label]
    return tuple(Move(label, source, _partner(label, source, servers[label], running)) for label in labels)


def moves_home(
    topology: Topology, active: Mapping[str, str], what: str | None, *, running: Collection[str]
) -> tuple[Move, ...]:
    """What has to move for `what` (a target, a primary; None: all) to be where it belongs.

    Raises HostError if a primary is off.
    """
    wanted = {}
    for target in topology.targets:
        if target.label not in active or active[target.label] == target.servers[0]:
            continue
        if what is None or what in (target.label, target.servers[0]):
            wanted[target.label] = target.servers[0]
    if what is not None and what not in topology.nodes:
        _label(topology, active, what)
    off = sorted({node for node in wanted.values() if node not in running})
    if off:
        raise HostError(
            f"{', '.join(off)}: off or out of reach, so nothing can move back there",
            hint="vmlab up FILE starts it, and leaves the targets where they are",
        )
    return tuple(Move(label, active[label], node) for label, node in wanted.items())


def refuse_external(topology: Topology, what: str | None, done: str) -> None:
    """Raise UsageError if a target's label or name is of a file system that is only mounted, or all are such."""
    external = [filesystem.name for filesystem in topology.filesystems.values() if filesystem.external]
    named = [name for name in external if what is not None and (what == name or what.startswith(f"{name}-"))]
    if named or (external and not topology.targets):
        told = ", ".join(named or external)
        raise UsageError(
            f"{told} is external: its servers are not of this bed, and vmlab leaves them as they are, so "
            f"nothing of it is {done}"
        )


def _label(topology: Topology, active: Mapping[str, str], what: str) -> str:
    """A served target by its label, or by the label without the file system's name where that is clear."""
    labels = [target.label for target in topology.targets]
    found = [label for label in labels if what in (label, label.partition("-")[2])]
    if not found:
        known = expected(what, [*labels, *topology.nodes])
        raise UsageError(f"{topology.name} has neither a target nor a node {quote(what)} ({known})")
    if len(found) > 1:
        raise UsageError(f"{what} is {' or '.join(found)}", hint="write the whole label")
    if found[0] not in active:
        raise HostError(f"{found[0]} is mounted nowhere", hint=f"vmlab fs mount {topology.name}")
    return found[0]


def _partner(label: str, source: str, servers: Sequence[str], running: Collection[str]) -> str:
    """The server after `source` in the target's list, from the front again at its end."""
    at = servers.index(source) + 1 if source in servers else 0
    others = [server for server in (*servers[at:], *servers[:at]) if server != source]
    if not others:
        raise HostError(f"{label} has no failover partner", hint="give it a second server in the topology")
    up = next((server for server in others if server in running), None)
    if up is None:
        raise HostError(
            f"{label}: its partner {', '.join(others)} does not run or cannot be reached",
            hint="vmlab up FILE starts it, and leaves the targets where they are",
        )
    return up
