"""The snapshots of a bed: found by their descriptions, which lie beside their files, and removed."""

from collections.abc import Iterator
from dataclasses import dataclass

from vmlab.lab.beds.settle import settle
from vmlab.lab.ground.bed import existing, locked
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.kept import file_names, snapshots_of
from vmlab.lab.ground.progress import Progress
from vmlab.plan.actions import RemoveVolume
from vmlab.plan.snapshots import Snapshot, find, refuse_part, why_not
from vmlab.values import identity
from vmlab.virt.perform import perform


@dataclass(frozen=True, slots=True)
class SnapshotLine:
    """One snapshot in the list. `differs` says why the bed cannot become that any more; "" if it can."""

    name: str
    created: str
    running: int
    nodes: int
    memory: bool
    size: int
    topology: str
    differs: str


def listed(hosts: Hosts, bed: str) -> list[SnapshotLine]:
    """Those of a bed, the oldest first. Raises UsageError if there is no such bed."""
    there = existing(hosts, bed)
    return [_line(snapshot, why_not(snapshot, there)) for snapshot in snapshots_of(hosts, bed)]


def _line(snapshot: Snapshot, differs: str) -> SnapshotLine:
    running = sum(bool(node.memory) for node in snapshot.nodes)
    return SnapshotLine(
        name=snapshot.name,
        created=snapshot.created,
        running=running,
        nodes=len(snapshot.nodes),
        memory=bool(running),
        size=snapshot.size,
        topology=snapshot.topology,
        differs=differs,
    )


def named(hosts: Hosts, bed: str, name: str) -> tuple[Snapshot, SnapshotLine]:
    """One of them. Raises UsageError if there is none of this name."""
    there = existing(hosts, bed)
    snapshot = find(snapshots_of(hosts, bed), bed, name)
    return snapshot, _line(snapshot, why_not(snapshot, there))


def delete(hosts: Hosts, bed: str, name: str, progress: Progress) -> Snapshot:
    """Remove a snapshot: its description first, so that killed in between it is a leftover, and none of the list."""
    with locked(hosts, bed):
        existing(hosts, bed)
        settle(hosts, bed, progress)
        snapshot = find(snapshots_of(hosts, bed), bed, name)
        refuse_part(snapshot, several=hosts.several)
        there = file_names(hosts, bed)
        for file in _in_order(snapshot):
            for host in (host for host, names in there.items() if file in names):
                perform(hosts[host], RemoveVolume(file, None, f"snapshot {name}"))
    return snapshot


def _in_order(snapshot: Snapshot) -> Iterator[str]:
    yield identity.snapshot_description(snapshot.bed, snapshot.name)
    yield from snapshot.files
