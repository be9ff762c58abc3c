"""File systems of a bed: format, mount, unmount, and what state they are in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vmlab.errors import GuestError, HostError
from vmlab.lab.bed import locked
from vmlab.lab.leftovers import end_leftovers
from vmlab.lab.lustre import LustreBed, opened
from vmlab.lab.mounting import raise_filesystems
from vmlab.lab.progress import Progress
from vmlab.lab.stages import StageTime
from vmlab.lustre.status import RecoveryStatus
from vmlab.lustre.target import Recovery, Target, read_on_disk
from vmlab.plan.filesystems import FORMAT, Wishes, filesystem_stages, lnet_stages, unmount_stages
from vmlab.plan.serving import holders, mounted_on, under_way
from vmlab.runtime.parallel import each
from vmlab.runtime.wait import Deadline
from vmlab.topology import Topology
from vmlab.virt.connection import Host

_JOBS = 64
_LOOK_S = 60.0

# What no tool of Lustre's knows, blkid may; it knows nothing of an empty disk.
_LOOK = """
[ -z "$2" ] || zpool list -H "$2" >/dev/null 2>&1 ||
    zpool import -N -o cachefile=none -d "${3%/*}" "$2" >/dev/null 2>&1
tunefs.lustre --dryrun "$1" 2>/dev/null && exit
found=$(blkid -p -s TYPE -s PTTYPE -o value "$3")
case $? in 2) ;; *) echo "Holds:" ${found:-something} ;; esac
"""


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """One target. `state` is mounted, unmounted, unknown (a server that may have it does not answer) or broken.

    Before and after: formatting, mounting (for as long as MMP or the MGS make it wait), unmounting. `no Lustre`: none
    of its servers carries it. `node` is the server that has it, "" for none. `recovery` is Lustre's word for it; an MGT
    has none. Space in bytes. `inactive_on` are clients and servers for which somebody has switched it off.
    """

    target: str
    device: str
    servers: tuple[str, ...]
    node: str
    state: str
    recovery: str = ""
    clients: int = 0
    expected: int = 0
    evicted: int = 0
    remaining_s: int | None = None
    total: int | None = None
    used: int | None = None
    available: int | None = None
    inactive_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClientStatus:
    """A mount that the topology asks for. `connections` counts those to targets by state; `broken` names the others.

    `state` is mounted, mounting, unmounting, unmounted, `no Lustre`, or why the node says nothing.
    """

    node: str
    filesystem: str
    point: str
    state: str
    connections: Mapping[str, int]
    broken: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FsStatus:
    """All of a bed. `silent` says why nodes did not answer."""

    targets: tuple[TargetStatus, ...]
    clients: tuple[ClientStatus, ...]
    silent: Mapping[str, str]


def status(host: Host, topology: Topology) -> FsStatus:
    """Look at each node once; those that are off or do not answer are told."""
    with opened(host, topology, tolerant=True) as bed:
        targets = bed.targets
        devices = {target.label: target for target in topology.targets}
        return FsStatus(
            tuple(_target(bed, targets[label], devices[label].servers) for label in targets),
            tuple(
                _client(bed, node, filesystem.name, filesystem.mount)
                for filesystem in topology.filesystems.values()
                for node in filesystem.clients
            ),
            dict(bed.silent),
        )


def _target(bed: LustreBed, target: Target, servers: Sequence[str]) -> TargetStatus:
    label, device, servers = target.label, target.device, tuple(servers)
    off = tuple(node for node, survey in bed.everybody.items() if target.service in survey.inactive)
    having = [node for node, survey in bed.everybody.items() if mounted_on(target, survey)]
    if len(having) > 1:
        return TargetStatus(label, device, servers, " ".join(having), "mounted twice", inactive_on=off)
    if not having:
        node, state = _unmounted(bed, target, servers)
        return TargetStatus(label, device, servers, node, state, inactive_on=off)
    survey = bed.everybody[having[0]]
    recovery = (survey.recovery or {}).get(target.service, RecoveryStatus(target.service, ""))
    space = (survey.space or {}).get(target.svname)
    return TargetStatus(
        label,
        device,
        servers,
        having[0],
        "mounted" if target.service in survey.services else "broken",
        recovery.state,
        recovery.connected,
        recovery.expected,
        recovery.evicted,
        recovery.remaining_s,
        total=None if space is None else space.total,
        used=None if space is None else space.total - space.free,
        available=None if space is None else space.available,
        inactive_on=off,
    )


def _unmounted(bed: LustreBed, target: Target, servers: Sequence[str]) -> tuple[str, str]:
    """The node that does something with a target that nobody has mounted, and what; or in what way it is unmounted."""
    for node, survey in bed.everybody.items():
        if state := under_way(target, survey):
            return node, state
    if bed.unheard & {*holders(bed.topology, bed.found)[target.label]}:
        return "", "unknown"
    answers = [bed.surveys[server] for server in servers if server in bed.surveys]
    return "", "no Lustre" if answers and all(survey.version is None for survey in answers) else "unmounted"


def _client(bed: LustreBed, node: str, fsname: str, point: str) -> ClientStatus:
    survey = bed.surveys.get(node)
    if survey is None:
        return ClientStatus(node, fsname, point, bed.silent[node], {})
    if not any(mount.point == point and mount.client_of == fsname for mount in survey.mounts):
        doing = next((busy.state for busy in survey.busy if point in busy.words), "")
        return ClientStatus(node, fsname, point, doing or ("unmounted" if survey.version else "no Lustre"), {})
    counts: dict[str, int] = {}
    own = [c for c in survey.imports if c.target.startswith(f"{fsname}-") and not c.of_server]
    for connection in own:
        counts[connection.state] = counts.get(connection.state, 0) + 1
    broken = tuple(connection.target for connection in own if not connection.well)
    return ClientStatus(node, fsname, point, "mounted", counts, broken)


@dataclass(frozen=True, slots=True)
class Content:
    """What a target's disk holds, in words: `is formatted as ...`, `holds ext4`. `own`: it is this target's."""

    text: str
    own: bool


def contents(host: Host, topology: Topology) -> dict[str, Content]:
    """What the targets' disks hold, by label, without those that are empty."""
    with opened(host, topology) as bed:
        primary = {target.label: target.servers[0] for target in topology.targets}

        def look(target: Target) -> Content | None:
            pool = target.pool if target.backend == "zfs" else ""
            command = ("sh", "-c", _LOOK, "vmlab", target.device, pool, target.disk)
            said = bed.guests[primary[target.label]].run(command, deadline_s=_LOOK_S, as_root=True).stdout
            return _content(target, said)

        disks = [target for target in bed.targets.values() if target.disk]
        found = each(look, disks, jobs=_JOBS, failed="not all disks could be looked at")
        return {target.label: content for target, content in zip(disks, found, strict=True) if content is not None}


def _content(target: Target, said: str) -> Content | None:
    found = read_on_disk(said)
    if found is not None:
        text = f"is formatted as {found.service}" + (f" ({found.comment})" if found.comment else "")
        foreign = found.comment.startswith("vmlab ") and found.comment != target.comment
        return Content(text, own=found.service == target.service and not foreign)
    _, holds, what = said.partition("Holds: ")
    return Content(f"holds {what.strip()}", own=False) if holds else None


def format_(
    host: Host, topology: Topology, progress: Progress, deadline: Deadline, *, reformat: bool
) -> tuple[StageTime, ...]:
    """Format the targets whose disks are empty; with `reformat` all of them, whatever is on them.

    Raises HostError if one to be formatted anew is mounted anywhere, GuestError for a disk with foreign content.
    """
    with locked(host, topology.name), opened(host, topology) as bed:
        end_leftovers(bed.guests)
        mounted = bed.active()
        if reformat and mounted:
            where = ", ".join(f"{label} on {node}" for label, node in mounted.items())
            raise HostError(f"mounted, so not formatted: {where}", hint=f"vmlab fs umount {topology.name}")
        bed.refuse_left(bed.targets)
        bed.refuse_strangers(bed.targets)
        everyone = bed.members
        labels = frozenset(bed.targets) if reformat else frozenset()
        stages = (
            *lnet_stages(topology, everyone)[:1],  # disks and modules
            *(s for s in filesystem_stages(topology, everyone, Wishes(reformat=labels)) if s.name == FORMAT),
        )
        return bed.drive(stages, progress, deadline)


def mount(
    host: Host, topology: Topology, progress: Progress, deadline: Deadline, *, recovery: Recovery | None
) -> tuple[StageTime, ...]:
    """LNet, targets and clients, as `up` does, but nothing is formatted."""
    with locked(host, topology.name):
        return raise_filesystems(
            host, topology, progress, deadline, recovery=recovery, alone=True, only=lambda stage: stage.name != FORMAT
        )


def unmount(host: Host, topology: Topology, progress: Progress, deadline: Deadline) -> tuple[StageTime, ...]:
    """Clients, then OSTs, MDTs and MGTs, on the nodes that are on. Raises GuestError naming who keeps what busy."""
    with locked(host, topology.name), opened(host, topology, tolerant=True) as bed:
        lost = {node: why for node, why in bed.silent.items() if why != "off"}
        if lost:
            node, why = next(iter(lost.items()))
            raise GuestError(f"{node}: {why}", node=node, stage="ssh", hint=f"vmlab power cycle {topology.name} {node}")
        end_leftovers(bed.guests)
        here = {name: member for name, member in bed.members.items() if name in bed.guests}
        return bed.drive(unmount_stages(topology, here, bed.forgotten()), progress, deadline)
