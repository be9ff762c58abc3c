"""Nodes that stand still together, and go on together with clocks that are right."""

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime

from vmlab.errors import GuestError
from vmlab.lab.ground.doors import doors
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.progress import Progress
from vmlab.plan.observed import ObservedBed
from vmlab.runtime.parallel import LIBVIRT_JOBS, each
from vmlab.runtime.wait import Deadline
from vmlab.virt.faults import pause
from vmlab.virt.memory import go_on

_CONNECT_S = {"kvm": 30.0, "qemu": 90.0}
_SET_S = 30.0
_JOBS = 32
# What is random comes from us as well: not every kernel knows the device by which the others hear of it.
_SET = 'date -u -s "@$1" >/dev/null && cat >/dev/urandom'


def stand_still(hosts: Hosts, bed: ObservedBed, nodes: Iterable[str], progress: Progress) -> None:
    """All at once; what was on its way to a disk is there when this returns. Raises LibvirtError."""

    def stop(node: str) -> None:
        domain = bed.nodes[node]
        pause(hosts.of(domain), domain.facts.name, paused=True)
        progress.stage(node, "stands still")

    each(stop, nodes, jobs=LIBVIRT_JOBS, failed=f"{bed.name}: not all nodes stand still")


def all_go_on(hosts: Hosts, bed: ObservedBed, nodes: Iterable[str], progress: Progress) -> None:
    """Those of them that are there and stand still. Raises LibvirtError."""

    def start(node: str) -> None:
        domain = bed.nodes[node]
        go_on(hosts.of(domain), domain.facts.name)
        progress.stage(node, "goes on")

    there = [node for node in nodes if node in bed.nodes]
    each(start, there, jobs=LIBVIRT_JOBS, failed=f"{bed.name}: not all nodes go on")


def set_clocks(hosts: Hosts, bed: ObservedBed, nodes: Iterable[str], progress: Progress) -> None:
    """While it stood still a guest's clock did, too. One that does not answer is told of, and keeps its time."""
    guests = doors(hosts, bed)

    def set_clock(node: str) -> None:
        seconds = _CONNECT_S.get(bed.nodes[node].facts.kind, _CONNECT_S["qemu"])
        try:
            with guests[node] as guest:
                guest.connect(Deadline.after(seconds))
                command = ("sh", "-c", _SET, "vmlab", f"{datetime.now(UTC).timestamp():.0f}")
                done = guest.run(command, deadline_s=_SET_S, as_root=True, stdin=secrets.token_hex(64))
            why = "" if done.ok else done.last_line
        except GuestError as error:
            why = error.message
        if why:
            progress.warn(f"{node}: its clock is behind, by as long as it stood still: {why}")
        else:
            progress.stage(node, "ready")

    if hosts.have_guests:
        each(set_clock, nodes, jobs=_JOBS, failed=f"{bed.name}: not all clocks could be set")
