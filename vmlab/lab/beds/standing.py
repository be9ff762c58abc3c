"""Nodes that stand still together, and go on together with clocks that are right."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from vmlab.errors import GuestError, LibvirtError
from vmlab.guest.clock import as_before, await_copy, be_heard, clock_seen, set_clock, set_or_be_patient
from vmlab.guest.ssh import Guest
from vmlab.guest.trouble import SshTrouble, Unreachable
from vmlab.lab.ground.doors import NONE_OPEN, console_of, doors
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.progress import Progress
from vmlab.plan.observed import ObservedBed
from vmlab.runtime.parallel import LIBVIRT_JOBS, each
from vmlab.runtime.wait import Deadline, sleep, until
from vmlab.virt.faults import pause
from vmlab.virt.memory import end_job, go_on

_CONNECT_S = {"kvm": 30.0, "qemu": 90.0}
_SPEAK_S = {"kvm": 10.0, "qemu": 60.0}
_LOOK_EVERY_S = 0.1
_AGAIN_S = 0.5
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


@contextlib.contextmanager
def doors_open(hosts: Hosts, bed: ObservedBed, nodes: Iterable[str], progress: Progress) -> Iterator[dict[str, Guest]]:
    """The doors to these nodes, open until the end. Whoever does not answer is told of, and not among them."""
    with contextlib.ExitStack() as stack:
        wanted = set(nodes) if hosts.have_guests else set()
        guests = {name: stack.enter_context(door) for name, door in doors(hosts, bed).items() if name in wanted}
        clocks = _Clocks(guests, progress)
        clocks.all(lambda node: _connect(guests[node], bed, node))
        yield {node: guests[node] for node in clocks.right}


def await_copies(there: Mapping[str, Guest]) -> frozenset[str]:
    """Nodes whose memory is about to be kept: those of which copies set their clocks by themselves."""

    def waits(node: str) -> bool:
        try:
            return await_copy(there[node])
        except GuestError:  # then somebody logs in to its copy
            return False

    nodes = list(there)
    answers = each(waits, nodes, jobs=_JOBS, failed="not all nodes could be asked")
    return frozenset(node for node, waiting in zip(nodes, answers, strict=True) if waiting)


def clocks_set(hosts: Hosts, bed: ObservedBed, copies: Iterable[str], progress: Progress) -> frozenset[str]:
    """Those that did so, of copies that do. The others are left to `set_clocks`: they say that, or nothing."""

    def heard(node: str) -> bool:
        domain = bed.nodes[node]
        console = console_of(hosts, bed, node)
        deadline = Deadline.after(_SPEAK_S.get(domain.facts.kind, _SPEAK_S["qemu"]))
        until(lambda: clock_seen(console()) is not None, deadline, every_s=_LOOK_EVERY_S)
        if clock_seen(console()):
            progress.stage(node, "ready")
            return True
        return False

    nodes = list(copies)
    answers = each(heard, nodes, jobs=_JOBS, failed="not all consoles could be read")
    return frozenset(node for node, right in zip(nodes, answers, strict=True) if right)


def set_clocks(
    hosts: Hosts, bed: ObservedBed, nodes: Iterable[str], progress: Progress, there: Mapping[str, Guest] = NONE_OPEN
) -> None:
    """While it stood still a guest's clock did, too. One that does not answer is told of, and keeps its time.

    `there` are doors of the caller's, which stay open.

    Where Lustre would take that for silence, its servers and clients are prepared before any clock of theirs is set.
    """
    wanted = set(nodes)
    if not (wanted and hosts.have_guests):
        return
    with contextlib.ExitStack() as stack:
        guests = {name: door for name, door in doors(hosts, bed, there).items() if name in wanted}
        for name in guests.keys() - there.keys():
            stack.enter_context(guests[name])

        def first(node: str) -> bool:
            _connect(guests[node], bed, node)
            return set_or_be_patient(guests[node], node)

        clocks = _Clocks(guests, progress)
        jumping = [node for node, jumps in clocks.all(first).items() if jumps]
        clocks.all(lambda node: be_heard(guests[node]), jumping)
        clocks.all(lambda node: set_clock(guests[node], node), jumping)
        clocks.all(lambda node: be_heard(guests[node]), jumping)
        clocks.all(lambda node: as_before(guests[node]), jumping)
        for node in clocks.right:
            progress.stage(node, "ready")


def _connect(guest: Guest, bed: ObservedBed, node: str) -> None:
    """Its network was taken up a moment ago: that there is no way yet is no answer. Raises GuestError."""
    deadline = Deadline.after(_CONNECT_S.get(bed.nodes[node].facts.kind, _CONNECT_S["qemu"]))
    while True:
        try:
            guest.connect(deadline)
        except Unreachable as error:
            if error.trouble is not SshTrouble.NO_ROUTE or deadline.left_s < _AGAIN_S:
                raise
            sleep(_AGAIN_S)
        else:
            return


class _Clocks:
    """Those of guests, set step by step: each is over in all of them before the next."""

    def __init__(self, guests: Mapping[str, Guest], progress: Progress) -> None:
        self.right = list(guests)
        self._progress = progress

    def all(self, act: Callable[[str], T], nodes: Iterable[str] | None = None) -> dict[str, T]:
        """What it returns for each; a guest in which it fails is told of, and left out from then on."""

        def one(node: str) -> dict[str, T]:
            try:
                return {node: act(node)}
            except GuestError as error:
                self._progress.warn(f"{node}: its clock is behind, by as long as it stood still: {error.message}")
                self.right.remove(node)
                return {}

        asked = [node for node in self.right if nodes is None or node in nodes]
        told = each(one, asked, jobs=_JOBS, failed="no clock was set")
        return {node: answer for answers in told for node, answer in answers.items()}
