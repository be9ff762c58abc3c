"""What state a bed's file systems are in: each target and each client's mount, asked anew."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vmlab.lab.filesystems.lustre_bed import LustreBed, opened
from vmlab.lab.ground.hosts import Hosts
from vmlab.lustre.status import RecoveryStatus
from vmlab.lustre.target import Target
from vmlab.plan.serving import mounted_on, under_way
from vmlab.topology import Topology


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


def status(hosts: Hosts, topology: Topology) -> FsStatus:
    """Look at each node once; those that are off or do not answer are told."""
    with opened(hosts, topology, tolerant=True) as bed:
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
    if bed.unheard & {*bed.holders()[target.label]}:
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
