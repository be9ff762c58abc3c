"""Kinds of faults that can be done to a node on purpose."""

from enum import StrEnum


class Kind(StrEnum):
    """`vmlab fault add BED KIND NODES`."""

    POWER = "power"
    PAUSE = "pause"
    NMI = "nmi"
    PANIC = "panic"
    LINK = "link"
    NET = "net"
    DISK = "disk"
    READS = "read-errors"
    WRITES = "write-errors"
    FULL = "disk-full"


FAILING = frozenset({Kind.READS, Kind.WRITES, Kind.FULL})
"""What only the disks of targets can do whose file says `faults: true`."""
