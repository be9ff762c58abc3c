"""Where a workload's files go: the first Lustre file system that is mounted on all of its nodes."""

from collections.abc import Mapping

from vmlab.errors import WorkloadError
from vmlab.steps import Command

MOUNTS: Command = ("sh", "-c", "df -P -k -t lustre 2>/dev/null | awk 'NR > 1 { print $4, $6 }'")
"""The fact command whose output `mounts` reads."""


def mounts(text: str) -> dict[str, int]:
    """Bytes that are free, by mount point."""
    found = {}
    for line in text.splitlines():
        free, _, point = line.partition(" ")
        if free.isdecimal() and point:
            found[point] = int(free) << 10
    return found


def directory(workload: str, asked: str | None, known: Mapping[str, Mapping[str, int]]) -> tuple[str, int]:
    """The directory `asked` for, or the mount point that all nodes have; and the bytes free there, 0 if unknown.

    `known` are the mounts of each node. Raises WorkloadError if no file system is mounted on all of them.
    """
    first = next(iter(known.values()))
    if asked is not None:
        above = [point for point in first if asked == point or asked.startswith(f"{point.rstrip('/')}/")]
        return asked.rstrip("/"), max((first[point] for point in above), default=0)
    for point, free in first.items():
        if all(point in theirs for theirs in known.values()):
            return point, free
    raise WorkloadError(
        f"{workload}: no Lustre file system is mounted on all of its nodes",
        hint="vmlab fs mount BED, or --set directory=PATH",
    )
