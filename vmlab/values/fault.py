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
