"""Snapshots of a bed: what one keeps and whether it can be taken, what its description says, and what fits the bed."""

import hashlib
import json
from collections.abc import Container, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, replace
from typing import Literal

from vmlab.domainxml.snapshot import why_unsavable, written_disks
from vmlab.errors import HostError, UsageError
from vmlab.plan.export import attached
from vmlab.plan.observed import CRASHED, ObservedBed, ObservedDomain
from vmlab.values import identity
from vmlab.values.nodeset import fold
from vmlab.values.size import Bytes

VERSION = 1
"""Of descriptions."""

SPARE = 64 << 20
"""Bytes that are left free whatever a snapshot needs."""

KEEP_WARM = "keep-warm"
"""Of what stands still, or stood, for `down --keep-warm`: no snapshot may have this name."""

NEW = "new"
"""Of what `rebuild --keep-new` keeps, and goes back to: no other snapshot may have this name."""

State = Literal["running", "paused", "off"]


@dataclass(frozen=True, slots=True)
class KeptNode:
    """A node as it was: `memory` is the file that has its memory, "" if it was off.

    `wakes`: going on from there it sets its clock by itself, and says so on its console.
    """

    name: str
    state: State
    digest: str
    image: str
    memory: str
    wakes: bool = False


@dataclass(frozen=True, slots=True)
class KeptDisk:
    """A disk as it was: the file that has it, and the volume that it is of."""

    file: str
    volume: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A bed as it was at `created` (ISO 8601, UTC). `size` in bytes is what its files took on the disk then.

    `asked`, a digest of the topology, and `qemu`, libvirt's number of its version, are told of a bed that was new.
    Of a bed over several hosts each has a part, with what is there; `parts` is their number.
    """

    bed: str
    name: str
    created: str
    nodes: tuple[KeptNode, ...]
    disks: tuple[KeptDisk, ...]
    size: int = 0
    asked: str = ""
    qemu: int = 0
    parts: int = 1

    @property
    def topology(self) -> str:
        """A digest of all that was asked for."""
        asked = json.dumps(sorted((node.name, node.digest) for node in self.nodes))
        return hashlib.sha256(asked.encode()).hexdigest()[:12]

    @property
    def files(self) -> tuple[str, ...]:
        """All of its files but the description."""
        return (*(node.memory for node in self.nodes if node.memory), *(disk.file for disk in self.disks))

    def text(self) -> str:
        """Its description."""
        return json.dumps({"version": VERSION, **asdict(self)}, indent=1) + "\n"


@dataclass(frozen=True, slots=True)
class Reverting:
    """A bed on its way back to a snapshot, from the moment when there is no other way any more.

    As long as it is not `resumed` guests are ended, disks take their places, and memory is read: all of which may be
    done again. From then on guests run.
    """

    snapshot: str
    resumed: bool = False

    def text(self) -> str:
        """What the mark says."""
        return json.dumps(asdict(self)) + "\n"


def read_snapshot(text: str) -> Snapshot | None:
    """What a description says; None for one that cannot be understood, which another vmlab may have written."""
    try:
        told = json.loads(text)
        if told.pop("version") != VERSION:
            return None
        nodes = tuple(KeptNode(**node) for node in told.pop("nodes"))
        disks = tuple(KeptDisk(**disk) for disk in told.pop("disks"))
        return Snapshot(nodes=nodes, disks=disks, **told)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def read_reverting(text: str) -> Reverting | None:
    """What a mark says; None if it cannot be understood."""
    try:
        return Reverting(**json.loads(text))
    except (ValueError, TypeError):
        return None


def half_way(bed: str, mark: Reverting) -> HostError:
    """For who would take a bed on its way back for a whole one."""
    return HostError(
        f"{bed} is put back to its snapshot {mark.snapshot} in part only",
        hint=f"vmlab snapshot revert {bed} {mark.snapshot}",
    )


def wanted(bed: ObservedBed, name: str, created: str) -> Snapshot:
    """What a snapshot of the bed would keep: disks are counted as files, so that what several nodes share is one.

    Raises HostError with all that makes it impossible, and what would work.
    """
    _refuse(bed)
    nodes = tuple(
        KeptNode(
            node,
            _state(domain),
            bed.metadata[node].digest,
            bed.metadata[node].image,
            identity.snapshot_memory(bed.name, name, node) if domain.running else "",
        )
        for node, domain in bed.nodes.items()
    )
    disks = tuple(
        KeptDisk(identity.snapshot_disk(bed.name, name, volume), volume)
        for volume in sorted(bed.volumes)
        if identity.has_data(volume)
    )
    return Snapshot(bed.name, name, created, nodes, disks)


def _state(domain: ObservedDomain) -> State:
    if not domain.running:
        return "off"
    return "paused" if domain.state == "paused" else "running"


def _refuse(bed: ObservedBed) -> None:
    ours = {volume.path for volume in bed.volumes.values()}
    lost = {
        node: [path for path in written_disks(domain.facts.xml) if path not in ours | _exported(domain, bed)]
        for node, domain in bed.nodes.items()
    }
    if outside := [f"{node} writes to {path}" for node, paths in lost.items() for path in paths]:
        raise HostError(
            f"{bed.name}: a snapshot keeps the files of vmlab's pool, and {', '.join(outside)}",
            hint="a topology without that disk, or with one of vmlab's: disks: [{name: scratch, size: 1GiB}]",
        )
    if saved := [node for node, domain in bed.nodes.items() if domain.saved]:
        raise HostError(
            f"{bed.name}: the memory of {fold(saved)}, off now, was saved by virsh, and a snapshot would lack it",
            hint=f"vmlab power on {bed.name} {fold(saved)}",
        )
    refuse_unsavable(
        bed,
        hint="shut the nodes down, and a snapshot has their disks: "
        f"vmlab exec {bed.name} -- poweroff; vmlab snapshot create {bed.name}",
    )


def _exported(domain: ObservedDomain, bed: ObservedBed) -> set[str]:
    """The bed's volumes that the domain has by the network: its XML has their names for their paths."""
    return {volume for volume in attached(domain) if volume in bed.volumes}


def refuse_unsavable(bed: ObservedBed, *, hint: str) -> None:
    """Raise HostError if memory of a node cannot be saved; `hint` is what would work where QEMU is the reason."""
    if crashed := [node for node, domain in bed.nodes.items() if domain.state == CRASHED]:
        raise HostError(
            f"{bed.name}: the kernel of {fold(crashed)} crashed",
            hint=f"vmlab power cycle {bed.name} {fold(crashed)}; evidence first: vmlab collect {bed.name}",
        )
    running = {node: domain for node, domain in bed.nodes.items() if domain.running}
    if why := [f"{node} {reason}" for node, domain in running.items() for reason in why_unsavable(domain.facts.xml)]:
        raise HostError(f"{bed.name}: memory cannot be saved: {', '.join(why)}", hint=hint)


def why_not(snapshot: Snapshot, bed: ObservedBed) -> str:
    """Why the bed cannot become what it was, in words that follow a colon; "" if it can."""
    then = {node.name: node for node in snapshot.nodes}
    parts = []
    if gone := then.keys() - bed.nodes.keys():
        parts.append(f"{fold(gone)} is no more")
    if new := bed.nodes.keys() - then.keys():
        parts.append(f"{fold(new)} is new")
    there = [node for node in then if node in bed.metadata]
    images = [node for node in there if bed.metadata[node].image != then[node].image]
    if images:
        parts.append(f"{fold(images)} has another image")
    if changed := [n for n in there if n not in images and bed.metadata[n].digest != then[n].digest]:
        parts.append(f"{fold(changed)} was changed")
    return ", ".join(parts)


def refuse_misfit(snapshot: Snapshot, bed: ObservedBed) -> None:
    """Raise HostError if the topology or an image is another one than that of the snapshot."""
    if reason := why_not(snapshot, bed):
        raise HostError(
            f"{bed.name}: it is not the bed any more of which {snapshot.name} was taken: {reason}",
            hint=f"`vmlab up` with the topology file of {snapshot.created[:10]} first; or "
            f"vmlab snapshot delete {bed.name} {snapshot.name}",
        )


def complete(snapshot: Snapshot, names: AbstractSet[str]) -> bool:
    """All that its description names is there: of a `down` that was killed some may be left."""
    return names >= set(snapshot.files)


def cut_off(names: Iterable[str], snapshots: Iterable[Snapshot], *, reverting: bool) -> tuple[str, ...]:
    """The files of snapshots, among those of a bed, that no whole snapshot has and no way back to one needs."""
    kept = {file for s in snapshots for file in (*s.files, identity.snapshot_description(s.bed, s.name))}
    return tuple(
        name
        for name in sorted(names)
        if identity.of_snapshot(name) and name not in kept and not (reverting and identity.snapshot_of(name) is None)
    )


def divided(snapshot: Snapshot, nodes: Mapping[str, str], volumes: Mapping[str, str]) -> dict[str, Snapshot]:
    """The part of each host that has one, by name; `nodes` and `volumes` are the hosts that have them."""
    hosts = dict.fromkeys([*(nodes[n.name] for n in snapshot.nodes), *(volumes[d.volume] for d in snapshot.disks)])
    return {
        host: replace(
            snapshot,
            nodes=tuple(node for node in snapshot.nodes if nodes[node.name] == host),
            disks=tuple(disk for disk in snapshot.disks if volumes[disk.volume] == host),
            parts=len(hosts),
        )
        for host in hosts
    }


def joined(parts: Iterable[Snapshot], *, whole: bool) -> list[Snapshot]:
    """The snapshots of which all parts are there, the oldest first; or what there is of each, as if it were `whole`."""
    found: dict[tuple[str, str], list[Snapshot]] = {}
    for part in parts:
        found.setdefault((part.created, part.name), []).append(part)
    return [
        replace(
            of_one[0],
            nodes=tuple(sorted((node for part in of_one for node in part.nodes), key=lambda node: node.name)),
            disks=tuple(sorted((disk for part in of_one for disk in part.disks), key=lambda disk: disk.volume)),
            size=sum(part.size for part in of_one),
        )
        for _, of_one in sorted(found.items())
        if whole or len(of_one) == of_one[0].parts
    ]


def refuse_part(snapshot: Snapshot, *, several: bool) -> None:
    """Raise HostError where only one host of a snapshot over several is asked."""
    if snapshot.parts > 1 and not several:
        raise HostError(
            f"{snapshot.bed} is on {snapshot.parts} hosts, and this is the part of {snapshot.name} on one of them",
            hint=f"name the topology file of {snapshot.bed}; or do it where the bed was brought up",
        )


def find(snapshots: Iterable[Snapshot], bed: str, name: str) -> Snapshot:
    """The snapshot of this name. Raises UsageError naming those that there are."""
    by_name = {snapshot.name: snapshot for snapshot in snapshots}
    if name in by_name:
        return by_name[name]
    there = ", ".join(by_name) or "none"
    raise UsageError(f"{bed} has no snapshot {name!r:.40} (there are: {there})", hint=f"vmlab snapshot list {bed}")


def refuse_name(name: str, snapshots: Iterable[Snapshot], bed: str) -> None:
    """Raise UsageError for a name that a snapshot cannot have, or that one has."""
    if not identity.is_snapshot_name(name):
        raise UsageError(
            f"{name!r:.80} is no name for a snapshot (expected letters, digits, - and _, at most 31)",
            hint="without a name it is called by the date",
        )
    if name == KEEP_WARM:
        raise UsageError(f"{name} is what `vmlab down {bed} --{name}` does", hint="another name for the snapshot")
    if name == NEW:
        raise UsageError(f"{name} is what `vmlab rebuild {bed} --keep-new` does", hint="another name for the snapshot")
    if any(snapshot.name == name for snapshot in snapshots):
        raise UsageError(
            f"{bed} has a snapshot {name} already", hint=f"vmlab snapshot delete {bed} {name}, or another name"
        )


@dataclass(frozen=True, slots=True)
class Room:
    """Of a folder: bytes that are `free`, whether copies of its files share their blocks, what each file takes.

    `place` is for messages.
    """

    free: int
    shares: bool
    taken: Mapping[str, int]
    place: str = "vmlab's pool"

    def copied(self, files: Iterable[str], *, away: Container[str] = ()) -> int:
        """Bytes that copies of these files take in the folder; those that are `away` have nothing to share there."""
        return sum(self.taken.get(file, 0) for file in files if file in away or not self.shares)


def refuse_short(what: str, needed: int, room: Room, bed: str, *, on: str = "") -> None:
    """Raise HostError if there is less room than is needed at most, `on` that host of several."""
    if needed + SPARE > room.free:
        where = f" on {on}" if on else ""
        raise HostError(
            f"{what}{where} takes up to {_about(needed)}, and {_about(room.free)} are free in {room.place}",
            hint=f"vmlab snapshot list {bed}; vmlab gc",
        )


def memory_of(bed: ObservedBed, nodes: Iterable[str]) -> int:
    """Bytes that the memory of these nodes takes at most."""
    return sum(bed.nodes[node].facts.memory_kib << 10 for node in nodes)


def _about(size: int) -> Bytes:
    """Whole MiB, so that people can read it."""
    return Bytes(-(-size >> 20) << 20)


def told_need(needed: int, room: Room) -> str:
    """`up to 1GiB of 68GiB that are free`."""
    return f"up to {_about(needed)} of {_about(room.free)} that are free"


def losses(snapshot: Snapshot, bed: ObservedBed) -> Iterator[str]:
    """What a revert takes away, a line each."""
    running = [node for node, domain in bed.nodes.items() if domain.running]
    yield f"{bed.name}: what was written since {snapshot.created} goes, from {len(snapshot.disks)} disks"
    if running:
        yield f"  these nodes are switched off: {fold(running)}"
    on = [node.name for node in snapshot.nodes if node.memory]
    yield f"  these go on from their memory: {fold(on)}" if on else "  all nodes are off then"
