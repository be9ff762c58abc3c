"""Guests of a host share what their memory has alike, when they are asked to: clones of a template most of it."""

from dataclasses import dataclass

from vmlab.errors import HostError
from vmlab.lab.ground.bed import leasing
from vmlab.lab.ground.hosts import only
from vmlab.lab.ground.progress import Progress
from vmlab.runtime.wait import Deadline, now, sleep
from vmlab.virt import ksm
from vmlab.virt.borrowed import Notes
from vmlab.virt.connection import Host
from vmlab.virt.machine import machine_of
from vmlab.virt.sysfs import Sysfs, sysfs_of

_TURN_S = 10.0  # as long as it holds the host's leases: what it changes is put back by who holds them
_REST_S = 1.0
_PAGE_S = 20.0


@dataclass(frozen=True, slots=True)
class SharedMemory:
    """What guests of a host hold less than each would for itself, and how much of that is new.

    `complete` is False if time ran out before all was found. `permanent`: the host has ksmd run by itself.
    """

    shared_bytes: int
    more_bytes: int
    took_s: float
    complete: bool
    permanent: bool


def share_memory(host: Host, timeout_s: float, progress: Progress) -> SharedMemory:
    """Have ksmd look at the guests of a host, whosever they are, until it finds no more.

    Raises HostError where it cannot: no KSM, no root, pages that cells share already; BusyError.
    """
    if host.simulated:
        raise HostError(f"{host.uri} is libvirt's test driver, whose guests have no memory")
    begin, end = now(), Deadline.after(timeout_s)
    sysfs, machine = sysfs_of(host), machine_of(host)
    with leasing(only(host)):  # else it may be another vmlab that has it run
        before = ksm.look(sysfs)
    rounds = ksm.Rounds.since(before)
    if not before.runs:
        progress.say(f"{host.name}: ksmd looks at all guests' memory")
        _merge(host, sysfs, rounds, end, progress)
    page = int(machine.run(("getconf", "PAGESIZE"), deadline_s=_PAGE_S).stdout)
    shared = ksm.look(sysfs).saved
    return SharedMemory(
        shared_bytes=shared * page,
        more_bytes=max(0, shared - before.saved) * page,
        took_s=round(now() - begin, 1),
        complete=rounds.over or before.runs,
        permanent=before.runs,
    )


def _merge(host: Host, sysfs: Sysfs, rounds: ksm.Rounds, end: Deadline, progress: Progress) -> None:
    while not (rounds.over or end.passed):
        with leasing(only(host)):
            if ksm.within_cells(sysfs):
                progress.say(f"{host.name}: no page is shared with another NUMA cell from now on (merge_across_nodes)")
            ksm.merge(sysfs, Notes.of(machine_of(host)), rounds, end.capped(_TURN_S))
        if not (rounds.over or end.passed):
            sleep(_REST_S)  # others may have the leases
