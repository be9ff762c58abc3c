"""Take a server down, make sure that it is down, and let its partner have its targets; and back again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from vmlab.errors import GuestError, HostError
from vmlab.guest.crash import PANIC
from vmlab.lab.filesystems.lustre_bed import OFF, LustreBed, opened
from vmlab.lab.filesystems.recovery import recovered
from vmlab.lab.ground.bed import locked
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.leftovers import end_leftovers_unless_held
from vmlab.lab.ground.progress import Progress
from vmlab.lustre.target import Recovery
from vmlab.plan.actions import StopDomain
from vmlab.plan.filesystems import Stage, Track, Wishes, filesystem_stages
from vmlab.plan.serving import Move, moves_home, moves_off, presumed, refuse_external, refuse_unproven
from vmlab.roles import unmount
from vmlab.runtime.wait import Deadline, now, until
from vmlab.steps import Step
from vmlab.topology import Topology
from vmlab.virt.connection import Host
from vmlab.virt.observe import domain_state
from vmlab.virt.perform import perform

How = Literal["power", "umount", "panic"]

_PANIC_S = 20.0
_SEEN_S = 60.0
_LOOK_EVERY_S = 1.0

# The superblock is read, nothing else: a server that is alive may have the disk mounted.
_HAS_MMP = 'dumpe2fs -h "$1" 2>/dev/null | grep -q "^Filesystem features:.*\\bmmp\\b"'
_NO_MMP = 'echo "$1 has no multiple mount protection: nothing would keep two servers from mounting it" >&2; exit 1'


@dataclass(frozen=True, slots=True)
class Moved:
    """A target that its new server has, in seconds since its mount began where not said otherwise.

    `clients` of `expected` took part in the recovery, `evicted` did not come back. `recovery` is Lustre's last word.
    """

    target: str
    source: str
    destination: str
    mount_s: float
    recovery_s: float
    recovery: str
    clients: int
    expected: int
    evicted: int


@dataclass(frozen=True, slots=True)
class Failover:
    """`down_s`: from the blow until the old server could write no more, as libvirt or it itself said (fenced)."""

    how: str
    down_s: float
    total_s: float
    moved: tuple[Moved, ...]

    @property
    def evicted(self) -> int:
        """Clients that lost their state on a target."""
        return sum(one.evicted for one in self.moved)


def failover(
    hosts: Hosts,
    topology: Topology,
    what: str,
    *,
    how: How,
    recovery: Recovery | None,
    progress: Progress,
    deadline: Deadline,
    on_blow: Callable[[str], object] = lambda _: None,
) -> Failover:
    """Take the server of `what` (a target, or a node) down, and let the partners take its targets over.

    "power" is hard, "panic" crashes its kernel and then takes the power, "umount" is clean and moves a single target.
    A server that is off already, or does not answer, is taken for the one that has what nobody else has.
    Of one whose host is away the host itself is switched off, if its `fence` can do that and says so afterwards.
    `on_blow` hears which node goes down, before it does.
    Every other node that could have a target has to be off, or to answer and not to have it. Does not hold the bed, so
    that work may go on in it; two of these at once are refused. Raises UsageError and HostError before anything is
    done, GuestError when a partner does not mount or a recovery does not end.
    """
    refuse_external(topology, what, "failed over")
    with locked(hosts, f"{topology.name}.failover"), opened(hosts, topology, tolerant=True) as bed:
        end_leftovers_unless_held(hosts, topology.name, bed.guests)
        off = [node for node, why in bed.silent.items() if why == "off"]
        presumably = presumed(topology, bed.active(), bed.silent, off=off, what=what)
        active = {label: node for label, node in presumably.items() if label in bed.targets}
        moves = moves_off(topology, active, what, running=bed.guests.keys(), whole_node=how != "umount")
        source = moves[0].source
        if how == "umount" and source in bed.silent:
            raise HostError(
                f"{source} cannot unmount anything: {bed.silent[source]}",
                hint=f"vmlab fs failover {topology.name} {what} --how power",
            )
        if source in bed.away.places:
            bed.away.refuse_unfenced(source)
        _prove(bed, moves, besides_source=True)
        for move in moves:
            progress.say(f"{move.label}: {move.source} -> {move.destination}")
        begin = now()
        if how == "umount":
            _unmount(bed, moves, progress, deadline)
        else:
            on_blow(source)
            _take_down(bed, source, how, progress)
        down_s = now() - begin
        who = "its host's fence agent" if source in bed.away.places else "libvirt"
        progress.say(f"{source}: {'unmounted' if how == 'umount' else f'off, says {who}'} after {down_s:.1f} s")
        moved = _take_over(bed, moves, active, recovery, progress=progress, deadline=deadline)
        return Failover(how, down_s, now() - begin, moved)


def failback(
    hosts: Hosts,
    topology: Topology,
    what: str | None,
    *,
    recovery: Recovery | None,
    progress: Progress,
    deadline: Deadline,
) -> Failover | None:
    """Unmount where partners have targets, and mount them on their primaries again; None if all are at home."""
    refuse_external(topology, what, "moved back")
    with locked(hosts, f"{topology.name}.failover"), opened(hosts, topology, tolerant=True) as bed:
        end_leftovers_unless_held(hosts, topology.name, bed.guests)
        active = bed.active()
        moves = moves_home(topology, active, what, running=bed.guests.keys())
        if not moves:
            return None
        _prove(bed, moves, besides_source=True)
        begin = now()
        _unmount(bed, moves, progress, deadline)
        down_s = now() - begin
        moved = _take_over(bed, moves, active, recovery, progress=progress, deadline=deadline)
        return Failover("failback", down_s, now() - begin, moved)


def _take_down(bed: LustreBed, node: str, how: How, progress: Progress) -> None:
    """Until libvirt says that no QEMU of it exists; a kernel that panics still has its disks, and may write."""
    if node in bed.away.places:
        progress.stage(node, "fence")
        progress.warn(f"{node}: its host {bed.away.places[node]} is away, and is switched off with all that it runs")
        bed.away.switch_off(node)
        progress.stage(node, "gone")
        return
    domain = bed.found.nodes[node].facts.name
    if how == "panic" and node in bed.guests:
        progress.stage(node, "panic")
        try:
            bed.guests[node].run(PANIC, deadline_s=_PANIC_S, as_root=True)
        except GuestError:
            progress.say(f"{node}: gone while it was told to panic")
        until(lambda: not bed.guests[node].listens(1.0), Deadline.after(_SEEN_S), every_s=_LOOK_EVERY_S)
    progress.stage(node, "power off")
    host = bed.hosts.of(bed.found.nodes[node])
    perform(host, StopDomain(domain, node, f"failover ({how})"))
    _fenced(host, node, domain)
    progress.stage(node, "gone")


def _fenced(host: Host, node: str, domain: str) -> None:
    state = domain_state(host, domain)
    if state not in OFF:
        raise HostError(
            f"{node} is {state} and not off: its partner does not mount what it may still write to",
            hint=f"virsh destroy {domain}",
        )


def _prove(bed: LustreBed, moves: Sequence[Move], *, besides_source: bool = False) -> None:
    """Nobody but the destination, and the source if it is yet to lose the target, has or could have it mounted."""
    bed.refuse_strangers(move.label for move in moves)
    could = bed.holders()
    for move in moves:
        spared = {move.destination, move.source} if besides_source else {move.destination}
        others = [node for node in could[move.label] if node not in spared]
        refuse_unproven(bed.topology.name, move.label, others, bed.evidence)


def _unmount(bed: LustreBed, moves: Sequence[Move], progress: Progress, deadline: Deadline) -> None:
    """The steps check afterwards that nothing is mounted there any more."""
    targets = bed.targets
    tracks = tuple(Track(move.source, move.label, unmount(targets[move.label])) for move in moves)
    bed.drive((Stage("unmount", tracks),), progress, deadline)


def _take_over(
    bed: LustreBed,
    moves: Sequence[Move],
    active: Mapping[str, str],
    recovery: Recovery | None,
    *,
    progress: Progress,
    deadline: Deadline,
) -> tuple[Moved, ...]:
    """Mount in the order of kinds, then wait for each recovery."""
    going = {move.label: move for move in moves}
    _prove(bed, moves)
    where = dict(active) | {move.label: move.destination for move in moves}
    topology = bed.topology
    placed = filesystem_stages(topology, bed.members, Wishes(recovery=recovery, active=_served(topology, where)))
    mounts = tuple(
        replace(stage, tracks=tracks)
        for stage in placed
        if stage.name.startswith("mount ")
        and (tracks := tuple(t for t in stage.tracks if t.what in going and t.node == going[t.what].destination))
    )
    protected = tuple(Track(move.destination, move.label, _protected(bed, move.label)) for move in moves)
    stages = (Stage("check MMP", tuple(t for t in protected if t.steps)), *mounts)
    times = bed.drive(tuple(stage for stage in stages if stage.tracks), progress, deadline)
    mounted = {track.what: track.seconds for time in times for track in time.tracks if time.stage != "check MMP"}
    begin = now()
    ended = recovered(bed, {move.label: move.destination for move in moves}, progress, deadline)
    return tuple(
        Moved(
            move.label,
            move.source,
            move.destination,
            mounted.get(move.label, 0.0),
            mounted.get(move.label, 0.0) + max(0.0, ended[move.label][0] - begin),
            ended[move.label][1].state,
            ended[move.label][1].connected,
            ended[move.label][1].expected,
            ended[move.label][1].evicted,
        )
        for move in moves
    )


def _served(topology: Topology, where: Mapping[str, str]) -> dict[str, str]:
    known = {target.label: target.servers for target in topology.targets}
    return {label: node for label, node in where.items() if node in known.get(label, ())}


def _protected(bed: LustreBed, label: str) -> tuple[Step, ...]:
    """ldiskfs: MMP is on, so that a mount is refused if, against all that was checked, somebody has it."""
    target = bed.targets[label]
    if target.backend != "ldiskfs":
        return ()
    values = ("vmlab", target.disk)
    return (
        Step(
            name=f"MMP of {label}",
            check=("sh", "-c", _HAS_MMP, *values),
            apply=(("sh", "-c", _NO_MMP, *values),),
        ),
    )
