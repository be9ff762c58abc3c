"""What a host keeps for itself: what its `reserve` says, and for each key that it does not give a default."""

from collections.abc import Collection
from dataclasses import dataclass

from vmlab.topology.bed import Reserve
from vmlab.values.size import Bytes

_LEAST_KIB = 2 << 20
_PART = 20


@dataclass(frozen=True, slots=True)
class Room:
    """What of a host is nobody's: whole cores that floating vCPUs may use and such that they may not, and KiB.

    `outside` are whole cores that no guest may use, `total_kib` is all of its memory.
    """

    cores: int
    isolated: int
    outside: int
    kib: int
    total_kib: int


@dataclass(frozen=True, slots=True)
class Kept:
    """`cpus` are whole cores; `kib` of ordinary memory. The `usual_` ones are defaults, because none was written."""

    cpus: int
    kib: int
    usual_cpus: bool
    usual_kib: bool


def kept(reserve: Reserve, room: Room, *, floating: bool, left: Room | None = None) -> Kept:
    """The default is a core, and 2 GiB or a twentieth of memory if that is more; but never the last free core.

    `floating`: some node wants vCPUs that float, so that isolated cores do not help it. With `left`, what is nobody's
    beside the bed as it is on the host, the default takes no more than that: the bed fitted before, and fits again.
    Cores that no guest may use are kept anyway.
    """
    beside = room if left is None else left
    if reserve.cpus is None:
        usable = beside.cores + (0 if floating else beside.isolated)
        cpus = int(beside.cores > 0 and usable > 1)
    else:
        cpus = reserve.cpus
    if reserve.memory is None:
        usual = max(_LEAST_KIB, room.total_kib // _PART)
        kib = usual if left is None else min(usual, left.kib)
    else:
        kib = reserve.memory.kib
    return Kept(max(0, cpus - room.outside), kib, reserve.cpus is None, reserve.memory is None)


def without(reserve: Reserve, keys: Collection[str]) -> Reserve:
    """The same, but nothing is kept of these keys."""
    return Reserve(0 if "cpus" in keys else reserve.cpus, Bytes(0) if "memory" in keys else reserve.memory)
