"""Nodes that stand still together, and go on together with clocks that are right."""

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from vmlab.errors import GuestError, LibvirtError
from vmlab.guest.clock import as_before, be_heard, be_patient, set_clock
from vmlab.guest.ssh import Guest
from vmlab.lab.ground.doors import NONE_OPEN, doors
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.progress import Progress
from vmlab.plan.observed import ObservedBed
from vmlab.runtime.parallel import LIBVIRT_JOBS, each
from vmlab.runtime.wait import Deadline
from vmlab.virt.faults import pause
from vmlab.virt.memory import end_job, go_on

_CONNECT_S = {"kvm": 30.0, "qemu": 90.0}
_JOBS = 32

T = TypeVar("T")


def stand_still(hosts: Hosts, bed: ObservedBed, nodes: Iterable[str], progress: Progress) -> None:
    """All at once; what was on its way to a disk is there when this returns. Raises LibvirtError."""

    def stop(node: str) -> None:
        domain = bed.nodes[node]
        pause(hosts.of(domain), domain.facts.name, paused=True)
        progress.stage(node, "stands still")

    failed = f"{bed.name}: not all nodes stand still"
    # None may still be stopped when those that stand still go on again.
    each(stop, nodes, jobs=LIBVIRT_JOBS * len(hosts), failed=failed, cut_short=lambda: None)


def all_go_on(hosts: Hosts, bed: ObservedBed, nodes: Iterable[str], progress: Progress) -> None:
    """Those of them that are there and stand still. Raises LibvirtError."""

    def start(node: str) -> None:
        domain = bed.nodes[node]
        go_on(hosts.of(domain), domain.facts.name)
        progress.stage(node, "goes on")

    there = [node for node in nodes if node in bed.nodes]
    each(start, there, jobs=LIBVIRT_JOBS * len(hosts), failed=f"{bed.name}: not all nodes go on")


def stop_saving(hosts: Hosts, bed: ObservedBed, nodes: Iterable[str]) -> None:
    """Have libvirt end what it is doing with their memory; whoever waits for that gets an error."""
    for node in nodes:
        with contextlib.suppress(LibvirtError):
            end_job(hosts.of(bed.nodes[node]), bed.nodes[node].facts.name)


def set_clocks(
    hosts: Hosts, bed: ObservedBed, nodes: Iterable[str], progress: Progress, there: Mapping[str, Guest] = NONE_OPEN
) -> None:
    """While it stood still a guest's clock did, too. One that does not answer is told of, and keeps its time.

    `there` are doors of the caller's, which stay open.

    Where Lustre would take that for silence, its servers and clients are prepared before any clock is set.
    """
    wanted = set(nodes)
    if not (wanted and hosts.have_guests):
        return
    with contextlib.ExitStack() as stack:
        guests = {name: door for name, door in doors(hosts, bed, there).items() if name in wanted}
        for name in guests.keys() - there.keys():
            stack.enter_context(guests[name])

        def connect(node: str) -> None:
            seconds = _CONNECT_S.get(bed.nodes[node].facts.kind, _CONNECT_S["qemu"])
            guests[node].connect(Deadline.after(seconds))

        clocks = _Clocks(guests, progress)
        clocks.all(connect)
        jumps = any(clocks.all(lambda node: be_patient(guests[node])))
        if jumps:
            clocks.all(lambda node: be_heard(guests[node]))
        clocks.all(lambda node: set_clock(guests[node], node))
        if jumps:
            clocks.all(lambda node: be_heard(guests[node]))
            clocks.all(lambda node: as_before(guests[node]))
        for node in clocks.right:
            progress.stage(node, "ready")


class _Clocks:
    """Those of guests, set step by step: each is over in all of them before the next."""

    def __init__(self, guests: Mapping[str, Guest], progress: Progress) -> None:
        self.right = list(guests)
        self._progress = progress

    def all(self, act: Callable[[str], T]) -> list[T]:
        """What it returns for each; a guest in which it fails is told of, and left out from then on."""

        def one(node: str) -> list[T]:
            try:
                return [act(node)]
            except GuestError as error:
                self._progress.warn(f"{node}: its clock is behind, by as long as it stood still: {error.message}")
                self.right.remove(node)
                return []

        return [
            answer for told in each(one, list(self.right), jobs=_JOBS, failed="no clock was set") for answer in told
        ]
