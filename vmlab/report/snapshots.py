"""Snapshots in tables."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from vmlab.report.grid import Cell, Grid
from vmlab.values.size import Bytes

if TYPE_CHECKING:
    from vmlab.lab.beds.snapshots import SnapshotLine
    from vmlab.plan.snapshots import Snapshot

_STATES = {"running": "green", "paused": "yellow", "off": "dim"}


def snapshot_table(lines: Sequence["SnapshotLine"]) -> Grid:
    """`vmlab snapshot list`."""
    table = Grid("SNAPSHOT", "CREATED", "RUNNING", "SIZE", "TOPOLOGY", "REVERT")
    for line in lines:
        can = Cell(f"no: {line.differs}", "yellow") if line.differs else Cell("yes", "green")
        running = f"{line.running} of {line.nodes}"
        table.add_row(line.name, local_time(line.created), running, mib(line.size), line.topology, can)
    return table


def kept_table(snapshot: "Snapshot") -> Grid:
    """`vmlab snapshot show`: its nodes, then its disks."""
    table = Grid("NODE", "STATE", "IMAGE", "DIGEST", "FILE")
    for node in snapshot.nodes:
        table.add_row(node.name, Cell(node.state, _STATES[node.state]), node.image, node.digest, node.memory or "-")
    for disk in snapshot.disks:
        table.add_row("-", "disk", "-", "-", disk.file)
    return table


def local_time(moment: str) -> str:
    """A moment of a description as people's clocks have it."""
    return f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M:%S}"


def mib(size: int) -> str:
    """Whole MiB."""
    return str(Bytes(-(-size >> 20) << 20))
