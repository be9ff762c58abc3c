"""LNet and the file systems of a bed come up: what `up` does after its guests are ready."""

from collections.abc import Callable, Mapping

from vmlab.guest.ssh import Guest
from vmlab.lab.filesystems.lustre_bed import LustreBed, opened
from vmlab.lab.filesystems.recovery import recovered
from vmlab.lab.ground.doors import NONE_OPEN
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.leftovers import end_leftovers
from vmlab.lab.ground.progress import Progress
from vmlab.lab.ground.stages import StageTime, TrackTime
from vmlab.lustre.target import Recovery
from vmlab.plan.filesystems import (
    FIND_OSTS,
    MOUNT_CLIENTS,
    PING_SERVERS,
    Stage,
    Wishes,
    filesystem_stages,
    lnet_stages,
)
from vmlab.plan.serving import unforgotten
from vmlab.runtime.parallel import each
from vmlab.runtime.wait import Deadline, now
from vmlab.topology import MANAGEMENT, Topology

_OF_CLIENTS = (FIND_OSTS, MOUNT_CLIENTS)
_PATIENCE_S = 180.0  # an MGS may just be starting
# Where no client of the bed is left, only fellow targets come back. If these come up with it, they do so at once.
_NO_CLIENT_LEFT = Recovery(soft=30, hard=60)
_FELLOWS_S = 20.0
_FLUSH_S = 300.0
_JOBS = 64


def wanted(topology: Topology) -> bool:
    """There is something to bring up: a file system, or LNet."""
    return bool(topology.filesystems) or any(map(topology.lnet, (MANAGEMENT, *topology.fabrics)))


def raise_filesystems(
    hosts: Hosts,
    topology: Topology,
    progress: Progress,
    deadline: Deadline,
    *,
    recovery: Recovery | None = None,
    alone: bool = False,
    only: Callable[[Stage], bool] = lambda _: True,
    sure: bool = True,
    there: Mapping[str, Guest] = NONE_OPEN,
) -> tuple[StageTime, ...]:
    """LNet, then the file systems: formatted where a disk is empty, mounted where nobody has a target; what it took.

    A target that a partner has stays there. A file system in memory that is gone begins anew, empty. Targets that are
    mounted have recovered before clients are. `alone`: no run goes on, and what one left is ended. `only` leaves out
    stages. Unless it is `sure` that images carry Lustre, all guests may turn out to have none, which is told, and
    nothing is done. `there` are doors of the caller's. Raises GuestError naming the node, the step and what is wrong,
    for LNet the pair that cannot talk; HostError if a file system lost a part that was in memory.
    """
    with opened(hosts, topology, there=there) as bed:
        if not sure and all(survey.version is None for survey in bed.surveys.values()):
            told = ", ".join(("LNet", *topology.filesystems))
            progress.say(f"{topology.name}: its guests were asked, and have no Lustre: the bed is up without {told}")
            return ()
        active = bed.active()
        everyone = bed.members
        if alone:
            end_leftovers(bed.guests)
        bed.refuse_left(bed.targets)
        bed.refuse_strangers(bed.targets)
        clients_left = any(mount.client_of for survey in bed.surveys.values() for mount in survey.mounts)
        window = recovery or (None if clients_left else _NO_CLIENT_LEFT)
        anew = unforgotten(topology.name, bed.targets, bed.forgotten())
        for fsname in sorted(anew):
            progress.say(f"{fsname} was in memory and is gone: it begins anew, empty")
        wishes = Wishes(recovery=window, active=active, forgotten=anew)
        stages = tuple(filter(only, filesystem_stages(topology, everyone, wishes)))
        times = bed.drive(tuple(filter(only, lnet_stages(topology, everyone))), progress, deadline)
        servers = tuple(stage for stage in stages if stage.name not in (*_OF_CLIENTS, PING_SERVERS))
        times += (served := bed.drive(servers, progress, deadline, patience_s=_PATIENCE_S))
        if any(stage.applied for stage in served):
            patience_s = None if clients_left or active else _FELLOWS_S
            times += _recovery(bed, stages, progress, deadline, patience_s)
        # Servers that are not the bed's are there, or they are not: nobody here is starting them.
        times += bed.drive(tuple(stage for stage in stages if stage.name == PING_SERVERS), progress, deadline)
        clients = tuple(stage for stage in stages if stage.name in _OF_CLIENTS)
        times += bed.drive(clients, progress, deadline, patience_s=_PATIENCE_S)
        if any(stage.applied for stage in times):
            times += (_flush(bed),)
        for node in everyone:
            progress.stage(node, "ready")
        return times


def _flush(bed: LustreBed) -> StageTime:
    """What Lustre wrote at first mounts is on the disks.

    mount.lustre turns the colon in the label of a new target into a dash, and does not flush that. After a loss of
    power the target would call itself new again, and the MGS, which knows it, refuse it: "index is already in use".
    """

    def flush(node: str) -> TrackTime:
        begin = now()
        bed.guests[node].run(("sync",), deadline_s=_FLUSH_S, as_root=True)
        return TrackTime(node, "disks", now() - begin, 0)

    begin = now()
    tracks = each(flush, bed.guests, jobs=_JOBS, failed="not all disks could be flushed")
    return StageTime("flush", now() - begin, tuple(sorted(tracks, key=lambda track: -track.seconds)))


def _recovery(
    bed: LustreBed, stages: tuple[Stage, ...], progress: Progress, deadline: Deadline, patience_s: float | None
) -> tuple[StageTime, ...]:
    """Wait for all targets; as a stage that did nothing, if it took any time."""
    where = {track.what: track.node for stage in stages for track in stage.tracks if track.what in bed.targets}
    begin = now()
    ended = recovered(bed, where, progress, deadline, patience_s=patience_s)
    tracks = [
        TrackTime(where[label], label, max(0.0, at - begin), 0)
        for label, (at, status) in ended.items()
        if status.expected
    ]
    tracks.sort(key=lambda track: -track.seconds)
    return (StageTime("recover", now() - begin, tuple(tracks)),) if tracks else ()
