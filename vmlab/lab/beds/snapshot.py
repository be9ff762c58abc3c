"""Take a snapshot of a whole bed, and go back to one: each as one act, on all of its hosts.

All guests stand still together before the first byte is kept, and go on when the last one is. A snapshot is there when
its description is, which is written last, on each host; a bed is on its way back when the mark of that is there, which
is written when all that the way takes lies ready, and on the first host last. A kill before leaves all as it was, and
one behind is mended by `settle`.
"""

import json
from collections.abc import Container, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from vmlab.errors import HostError, Interrupted
from vmlab.guest.ssh import Guest
from vmlab.lab.beds.put_back import put_back
from vmlab.lab.beds.room import be_sure_of, pool_files
from vmlab.lab.beds.settle import settle
from vmlab.lab.beds.standing import all_go_on, await_copies, doors_open, set_clocks, stand_still, stop_saving
from vmlab.lab.ground.bed import existing, locked
from vmlab.lab.ground.doors import NONE_OPEN
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.kept import file_names, snapshots_of
from vmlab.lab.ground.progress import Progress
from vmlab.plan.diff import refuse_used_elsewhere
from vmlab.plan.observed import Observed, ObservedBed, over_all
from vmlab.plan.snapshots import (
    KeptDisk,
    KeptNode,
    Reverting,
    Snapshot,
    divided,
    find,
    memory_of,
    refuse_misfit,
    refuse_name,
    refuse_part,
    wanted,
)
from vmlab.runtime.parallel import LIBVIRT_JOBS, each
from vmlab.runtime.wait import now
from vmlab.values import identity
from vmlab.virt.bed_files import refresh_files
from vmlab.virt.memory import save_memory
from vmlab.virt.pool_files import PoolFiles

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

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
    files = pool_files(hosts, bed)
    settle(hosts, bed, progress)
    looks = hosts.look()
    found = over_all(bed, looks)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    snapshot = replace(wanted(found, name, created), asked=asked, qemu=qemu)
    on = {node: domain.host for node, domain in found.nodes.items()}
    parts = divided(snapshot, on, _holders(bed, looks))
    for host, part in parts.items():
        (room, copied), *_ = files[host].needed(bed, {disk.volume: disk.file for disk in part.disks})
        needed = memory_of(found, [node.name for node in part.nodes if node.memory]) + copied
        what, told = f"a snapshot of {bed}", f"snapshot {name}"
        be_sure_of(room, needed, what, told=told, hosts=hosts, host=host, bed=bed, progress=progress)
    running = [node.name for node in snapshot.nodes if node.state == "running"]
    with doors_open(hosts, found, running, progress) as there:
        return _Taking(hosts, found, snapshot, parts, files, progress, there).take()


def _holders(bed: str, looks: Mapping[str, Observed]) -> dict[str, str]:
    """The host that has each of the bed's disks. Raises HostError for one that two of them have."""
    found: dict[str, str] = {}
    for host, look in looks.items():
        for volume in filter(identity.has_data, look.bed(bed).volumes):
            if found.setdefault(volume, host) != host:
                raise HostError(
                    f"{bed}: {volume} is on {found[volume]} and on {host}, and a snapshot has each disk once",
                    hint=f"vmlab rebuild {bed}",
                )
    return found


@dataclass(frozen=True)
class _Taking:
    """One snapshot of a bed that is held; `parts` and `files` are by host."""

    hosts: Hosts
    bed: ObservedBed
    snapshot: Snapshot
    parts: Mapping[str, Snapshot]
    files: Mapping[str, PoolFiles]
    progress: Progress
    there: Mapping[str, Guest]

    @property
    def _running(self) -> list[str]:
        return [node.name for node in self.snapshot.nodes if node.state == "running"]

    @property
    def _begun(self) -> str:
        return identity.snapshot_begun(self.snapshot.bed, self.snapshot.name)

    @property
    def _description(self) -> str:
        return identity.snapshot_description(self.snapshot.bed, self.snapshot.name)

    def take(self) -> Snapshot:
        try:
            parts = self._kept()
            self._each(lambda host, files: files.write(self._description, parts[host].text()))
        except BaseException as error:
            try:
                all_go_on(self.hosts, self.bed, self._running, self.progress)
            finally:
                self._each(self._undo)
            if isinstance(error, KeyboardInterrupt):
                raise Interrupted("no snapshot was taken, and all nodes go on") from error
            raise
        self._each(lambda _, files: files.remove((self._begun,)))
        self.hosts.each(lambda host: refresh_files(host, self.bed.name), failed="not all hosts could be asked")
        snapshot = replace(self.snapshot, size=sum(part.size for part in parts.values()), parts=len(parts))
        try:
            set_clocks(self.hosts, self.bed, self.there, self.progress, self.there)
        except KeyboardInterrupt as error:
            raise Interrupted(f"snapshot {snapshot.name} was taken; clocks of nodes may be behind") from error
        return snapshot

    def _each(self, act: "Callable[[str, PoolFiles], T]") -> dict[str, T]:
        """Of each host that has a part."""
        failed = f"{self.bed.name}: the snapshot failed"
        done = each(lambda host: act(host, self.files[host]), self.parts, jobs=len(self.parts), failed=failed)
        return dict(zip(self.parts, done, strict=True))

    def _undo(self, host: str, files: PoolFiles) -> None:
        files.remove((self._description, f"{self._description}.partial", *self.parts[host].files, self._begun))

    def _note(self, host: str, files: PoolFiles) -> None:
        here = {node.name for node in self.parts[host].nodes}
        files.write(self._begun, json.dumps([node for node in self._running if node in here]))

    def _kept(self) -> dict[str, Snapshot]:
        """Everything is on the disk, and the nodes go on; the parts by host, with their sizes."""
        waiting = await_copies(self.there)
        self._each(self._note)
        begin = now()
        stand_still(self.hosts, self.bed, self._running, self.progress)
        work: list[Callable[[], None]] = [partial(self._save, node) for node in self.snapshot.nodes if node.memory]
        work += [partial(self._copy, host, disk) for host, part in self.parts.items() for disk in part.disks]
        failed = f"{self.bed.name}: the snapshot failed"
        jobs = LIBVIRT_JOBS * len(self.parts)
        each(lambda part: part(), work, jobs=jobs, failed=failed, cut_short=self._cut_short)
        all_go_on(self.hosts, self.bed, self._running, self.progress)
        if self._running:
            self.progress.say(f"{self.bed.name}: all nodes stood still for {now() - begin:.1f} s")
        return self._each(partial(self._flushed, waiting))

    def _flushed(self, waiting: Container[str], host: str, files: PoolFiles) -> Snapshot:
        part = self.parts[host]
        files.flush(part.files)
        nodes = tuple(replace(node, wakes=node.name in waiting) for node in part.nodes)
        return replace(part, nodes=nodes, size=sum(files.room(self.bed.name, part.files).taken.values()))

    def _cut_short(self) -> None:
        self.progress.say(f"{self.bed.name}: interrupted; what is being copied comes to its end")
        stop_saving(self.hosts, self.bed, self._running)

    def _save(self, node: KeptNode) -> None:
        domain = self.bed.nodes[node.name]
        host, memory_kib = self.hosts.of(domain), domain.facts.memory_kib
        save_memory(host, domain.facts.name, self.files[host.name].path(node.memory), memory_kib=memory_kib)
        self.progress.stage(node.name, "memory is saved")

    def _copy(self, host: str, disk: KeptDisk) -> None:
        self.files[host].copy(disk.volume, disk.file)
        self.progress.say(f"{disk.volume}: copied")


def revert(hosts: Hosts, bed: str, name: str, progress: Progress) -> Snapshot:
    """Make the bed what it was: nodes that ran go on from there, those that were off are off.

    Copies of the disks are made ready before anything ends. Raises HostError, with nothing changed, if the bed is
    another one by now, a disk is used elsewhere, or there is too little space.
    """
    with locked(hosts, bed):
        return put_back_to(hosts, bed, name, progress)


def put_back_to(
    hosts: Hosts, bed: str, name: str, progress: Progress, there: Mapping[str, Guest] = NONE_OPEN
) -> Snapshot:
    """As `revert`, by who holds the bed. `there` are doors of his: what had to be opened of them stays open."""
    existing(hosts, bed)
    files = pool_files(hosts, bed)
    settle(hosts, bed, progress)
    snapshot = find(snapshots_of(hosts, bed), bed, name)
    refuse_part(snapshot, several=hosts.several)
    looks = hosts.look()
    found = over_all(bed, looks)
    refuse_misfit(snapshot, found)
    for look in looks.values():
        part = look.bed(bed)
        refuse_used_elsewhere(part, look, {volume.path for volume in part.volumes.values()})
    if hosts.several:
        _refuse_parted(bed, looks)
    _make_ready(hosts, bed, snapshot, files, progress)
    mark = Reverting(snapshot.name)
    try:
        for host in sorted(files, key=lambda name: name == hosts.home.name):  # what counts is the first host's
            files[host].write(identity.reverting(bed), mark.text())
        put_back(hosts, bed, mark, progress, there)
    except KeyboardInterrupt as error:
        raise Interrupted(f"the next `vmlab snapshot revert` or `vmlab up` of {bed} goes on from here") from error
    return snapshot


def _refuse_parted(bed: str, looks: Mapping[str, Observed]) -> None:
    """Raise HostError where a host began anew: who joins its networks to the others' is `up`."""
    for host, look in looks.items():
        if any(not network.active for network in look.bed(bed).networks.values()):
            raise HostError(f"{bed}: its networks on {host} are not on", hint=f"first: vmlab up, with {bed}'s file")


@dataclass(frozen=True, slots=True)
class _Copy:
    """A disk of the snapshot, and the file beside the bed's that is ready to take its place."""

    host: str
    kept: str
    ready: str


def _make_ready(hosts: Hosts, bed: str, snapshot: Snapshot, files: Mapping[str, PoolFiles], progress: Progress) -> None:
    """What is going to take the disks' places is on the disk beside them."""
    names = file_names(hosts, bed)
    copies = [
        _Copy(host, disk.file, identity.reverting_disk(bed, disk.volume))
        for host, there in names.items()
        for disk in snapshot.disks
        if disk.file in there
    ]
    for host in files:
        here = {copy.kept: copy.ready for copy in copies if copy.host == host}
        what, told = f"a revert to {snapshot.name}", "the revert"
        for room, needed in files[host].needed(bed, here):
            be_sure_of(room, needed, what, told=told, hosts=hosts, host=host, bed=bed, progress=progress)

    def ready(host: str) -> list[str]:
        return [copy.ready for copy in copies if copy.host == host]

    try:
        each(
            lambda copy: files[copy.host].copy(copy.kept, copy.ready),
            copies,
            jobs=LIBVIRT_JOBS * len(files),
            failed=f"{bed}: not all disks could be made ready",
        )
        for host, there_files in files.items():
            there_files.flush(ready(host))
    except BaseException as error:
        with suppress(KeyboardInterrupt):
            for host, there_files in files.items():
                there_files.remove(ready(host))
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted("nothing was changed") from error
        raise
    progress.say(f"{bed}: the disks of {snapshot.name} are ready")
