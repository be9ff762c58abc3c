"""Take a snapshot of a whole bed, and go back to one: each as one act.

All guests stand still together before the first byte is kept, and go on when the last one is. A snapshot is there when
its description is, which is written last; a bed is on its way back when the mark of that is there, which is written
when all that the way takes lies ready. A kill before leaves all as it was, and one behind is mended by `settle`.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from vmlab.errors import Interrupted
from vmlab.guest.ssh import Guest
from vmlab.lab.beds.put_back import put_back
from vmlab.lab.beds.settle import settle
from vmlab.lab.beds.standing import all_go_on, await_copies, doors_open, set_clocks, stand_still, stop_saving
from vmlab.lab.ground.bed import existing, locked
from vmlab.lab.ground.hosts import Hosts, refuse_several
from vmlab.lab.ground.kept import snapshots_of
from vmlab.lab.ground.progress import Progress
from vmlab.plan.diff import refuse_used_elsewhere
from vmlab.plan.observed import ObservedBed, over_all
from vmlab.plan.snapshots import (
    KeptDisk,
    KeptNode,
    Reverting,
    Snapshot,
    find,
    memory_of,
    refuse_misfit,
    refuse_name,
    refuse_short,
    told_need,
    wanted,
)
from vmlab.runtime.parallel import LIBVIRT_JOBS, each
from vmlab.runtime.wait import now
from vmlab.values import identity
from vmlab.virt.memory import save_memory
from vmlab.virt.pool import BEDS, refresh_pool
from vmlab.virt.pool_files import PoolFiles

if TYPE_CHECKING:
    from collections.abc import Callable

_DATED = "%Y%m%dT%H%M%SZ"  # as runs are called


def create(hosts: Hosts, bed: str, name: str | None, progress: Progress) -> Snapshot:
    """Keep the bed as it is: memory of what runs, and all disks; it goes on afterwards as if nothing had been.

    Without a name it gets one of the date. Raises HostError, before anything is done, for what cannot be kept and for
    too little space; LibvirtError when libvirt fails, with everything as it was.
    """
    with locked(hosts, bed):
        name = name or datetime.now(UTC).strftime(_DATED)
        refuse_name(name, snapshots_of(hosts, bed), bed)
        return kept(hosts, bed, name, progress)


def kept(hosts: Hosts, bed: str, name: str, progress: Progress, *, asked: str = "", qemu: int = 0) -> Snapshot:
    """As `create`, by who holds the bed and has looked at the name."""
    existing(hosts, bed)
    refuse_several(hosts, "snapshots")
    files = PoolFiles.of(hosts.home)
    settle(hosts, bed, progress)
    found = over_all(bed, hosts.look())
    created = datetime.now(UTC).isoformat(timespec="seconds")
    snapshot = replace(wanted(found, name, created), asked=asked, qemu=qemu)
    volumes = [disk.volume for disk in snapshot.disks]
    room = files.room(bed, volumes)
    needed = memory_of(found, [node.name for node in snapshot.nodes if node.memory]) + room.copied(volumes)
    refuse_short(f"a snapshot of {bed}", needed, room, bed)
    progress.say(f"{bed}: snapshot {name} takes {told_need(needed, room)}")
    running = [node.name for node in snapshot.nodes if node.state == "running"]
    with doors_open(hosts, found, running, progress) as there:
        return _Taking(hosts, found, snapshot, files, progress, there=there).take()


class _Taking:
    """One snapshot of a bed that is held."""

    def __init__(
        self,
        hosts: Hosts,
        bed: ObservedBed,
        snapshot: Snapshot,
        files: PoolFiles,
        progress: Progress,
        *,
        there: Mapping[str, Guest],
    ) -> None:
        self._hosts = hosts
        self._bed = bed
        self._snapshot = snapshot
        self._files = files
        self._progress = progress
        self._there = there
        self._running = [node.name for node in snapshot.nodes if node.state == "running"]
        self._begun = identity.snapshot_begun(snapshot.bed, snapshot.name)

    def take(self) -> Snapshot:
        description = identity.snapshot_description(self._snapshot.bed, self._snapshot.name)
        try:
            snapshot = self._kept()
            self._files.write(description, snapshot.text())
        except BaseException as error:
            all_go_on(self._hosts, self._bed, self._running, self._progress)
            self._files.remove((description, f"{description}.partial", *self._snapshot.files, self._begun))
            if isinstance(error, KeyboardInterrupt):
                raise Interrupted("no snapshot was taken, and all nodes go on") from error
            raise
        self._files.remove((self._begun,))
        refresh_pool(self._hosts.home, BEDS)
        try:
            set_clocks(self._hosts, self._bed, self._there, self._progress, self._there)
        except KeyboardInterrupt as error:
            raise Interrupted(f"snapshot {snapshot.name} was taken; clocks of nodes may be behind") from error
        return snapshot

    def _kept(self) -> Snapshot:
        """Everything is on the disk, and the nodes go on."""
        waiting = await_copies(self._there)
        self._files.write(self._begun, json.dumps(self._running))
        begin = now()
        stand_still(self._hosts, self._bed, self._running, self._progress)
        work: list[Callable[[], None]] = [partial(self._save, node) for node in self._snapshot.nodes if node.memory]
        work += [partial(self._copy, disk) for disk in self._snapshot.disks]
        failed = f"{self._bed.name}: the snapshot failed"
        each(lambda part: part(), work, jobs=LIBVIRT_JOBS, failed=failed, cut_short=self._cut_short)
        all_go_on(self._hosts, self._bed, self._running, self._progress)
        if self._running:
            self._progress.say(f"{self._bed.name}: all nodes stood still for {now() - begin:.1f} s")
        self._files.flush(self._snapshot.files)
        room = self._files.room(self._bed.name, self._snapshot.files)
        nodes = tuple(replace(node, wakes=node.name in waiting) for node in self._snapshot.nodes)
        return replace(self._snapshot, nodes=nodes, size=sum(room.taken.values()))

    def _cut_short(self) -> None:
        self._progress.say(f"{self._bed.name}: interrupted; what is being copied comes to its end")
        stop_saving(self._hosts, self._bed, self._running)

    def _save(self, node: KeptNode) -> None:
        domain = self._bed.nodes[node.name]
        host, memory_kib = self._hosts.of(domain), domain.facts.memory_kib
        save_memory(host, domain.facts.name, self._files.path(node.memory), memory_kib=memory_kib)
        self._progress.stage(node.name, "memory is saved")

    def _copy(self, disk: KeptDisk) -> None:
        self._files.copy(disk.volume, disk.file)
        self._progress.say(f"{disk.volume}: copied")


def revert(hosts: Hosts, bed: str, name: str, progress: Progress) -> Snapshot:
    """Make the bed what it was: nodes that ran go on from there, those that were off are off.

    Copies of the disks are made ready before anything ends. Raises HostError, with nothing changed, if the bed is
    another one by now, a disk is used elsewhere, or there is too little space.
    """
    with locked(hosts, bed):
        return put_back_to(hosts, bed, name, progress)


def put_back_to(hosts: Hosts, bed: str, name: str, progress: Progress) -> Snapshot:
    """As `revert`, by who holds the bed."""
    existing(hosts, bed)
    refuse_several(hosts, "snapshots")
    files = PoolFiles.of(hosts.home)
    settle(hosts, bed, progress)
    snapshot = find(snapshots_of(hosts, bed), bed, name)
    looks = hosts.look()
    refuse_misfit(snapshot, over_all(bed, looks))
    for look in looks.values():
        part = look.bed(bed)
        refuse_used_elsewhere(part, look, {volume.path for volume in part.volumes.values()})
    _make_ready(bed, snapshot, files, progress)
    mark = Reverting(snapshot.name)
    try:
        files.write(identity.reverting(bed), mark.text())
        put_back(hosts, bed, mark, progress)
    except KeyboardInterrupt as error:
        raise Interrupted(f"the next `vmlab snapshot revert` or `vmlab up` of {bed} goes on from here") from error
    return snapshot


def _make_ready(bed: str, snapshot: Snapshot, files: PoolFiles, progress: Progress) -> None:
    """What is going to take the disks' places is on the disk beside them."""
    copies = [disk.file for disk in snapshot.disks]
    room = files.room(bed, copies)
    needed = room.copied(copies)
    refuse_short(f"a revert to {snapshot.name}", needed, room, bed)
    progress.say(f"{bed}: the revert takes {told_need(needed, room)}")
    ready = [identity.reverting_disk(bed, disk.volume) for disk in snapshot.disks]
    try:
        each(
            lambda place: files.copy(*place),
            zip(copies, ready, strict=True),
            jobs=LIBVIRT_JOBS,
            failed=f"{bed}: not all disks could be made ready",
        )
        files.flush(ready)
    except BaseException as error:
        with suppress(KeyboardInterrupt):
            files.remove(ready)
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted("nothing was changed") from error
        raise
    progress.say(f"{bed}: the disks of {snapshot.name} are ready")
