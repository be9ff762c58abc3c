"""Hosts that are opened, and a bed on them, found again from libvirt alone and held; `guests` has what is in it."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from vmlab.errors import BusyError, UsageError
from vmlab.lab.ground.bed_folder import slug
from vmlab.lab.ground.hosts import Hosts
from vmlab.plan.observed import Observed, ObservedBed, ObservedDomain, over_all
from vmlab.runtime.log import log
from vmlab.virt.borrowed import possible_here
from vmlab.virt.connection import Host, connected

if TYPE_CHECKING:
    from vmlab.topology import Topology

DEFAULT_URI = "qemu:///system"


def default_uri() -> str:
    """The host that is meant where none is named: LIBVIRT_DEFAULT_URI, else the system's libvirt."""
    return os.environ.get("LIBVIRT_DEFAULT_URI") or DEFAULT_URI


@contextlib.contextmanager
def hosts_of(topology: "Topology") -> Iterator[Hosts]:
    """The hosts that a topology names, for the `with` block.

    Raises HostError for another machine than this one, UsageError for more than one: what lies above works with
    several, but networks do not reach from one to the other yet.
    """
    if len(topology.hosts) > 1:
        raise UsageError("this version of vmlab puts a bed on one host", hint="leave one entry under `hosts`")
    with contextlib.ExitStack() as stack:
        yield Hosts(
            {
                name: stack.enter_context(opened(asked.uri or default_uri(), name=name))
                for name, asked in topology.hosts.items()
            }
        )


@contextlib.contextmanager
def locked(hosts: Hosts, bed: str) -> Iterator[None]:
    """Hold the bed against other vmlabs, on all its hosts; BusyError names who has it."""
    from vmlab.runtime import lock  # noqa: PLC0415  who only looks does not pay for it

    with contextlib.ExitStack() as stack:
        for place in sorted({slug(host) for host in hosts.values()}):
            stack.enter_context(lock.held(f"{place}.{bed}", what=f"the bed {bed}"))
        yield


@contextlib.contextmanager
def leasing(hosts: Hosts) -> Iterator[None]:
    """Hold what beds share of hosts from choosing it until it is seen in libvirt: subnets, CPUs, PCI functions.

    What a killed vmlab left changed on a host is put back first.
    """
    with contextlib.ExitStack() as stack:
        by_slug = {slug(host): host for host in hosts.values()}
        for place in sorted(by_slug):
            stack.enter_context(_leases(by_slug[place], wait_s=60))
            _put_back(by_slug[place])
        yield


@contextlib.contextmanager
def opened(uri: str, *, name: str = "local", anywhere: bool = False) -> Iterator[Host]:
    """A host for the `with` block, as `connected`; on this machine with what a killed vmlab left changed put back."""
    with connected(uri, name=name, anywhere=anywhere) as host:
        if host.local and not host.simulated and possible_here():
            with contextlib.suppress(BusyError), _leases(host, wait_s=0):  # whoever has them is at work, or does it
                _put_back(host)
        yield host


def _leases(host: Host, *, wait_s: float) -> AbstractContextManager[None]:
    from vmlab.runtime import lock  # noqa: PLC0415

    what = f"the choice of subnets, CPUs and devices on {host.uri}"
    return lock.held(f"{slug(host)}.leases", what=what, wait_s=wait_s)


def _put_back(host: Host) -> None:
    if host.simulated:
        return
    from vmlab.virt.borrowed import Notes, put_back  # noqa: PLC0415  rarely needed
    from vmlab.virt.machine import machine_of  # noqa: PLC0415
    from vmlab.virt.sysfs import sysfs_of  # noqa: PLC0415

    notes = Notes.of(machine_of(host))
    if not notes.possible:
        return
    for path in put_back(sysfs_of(host), notes):
        log.warning("%s was left changed by a vmlab that was killed: put back", path)


def existing(hosts: Hosts, bed: str) -> ObservedBed:
    """The bed as it is; UsageError if no node of it exists, naming those that do."""
    looks = hosts.look(whole=False)
    found = over_all(bed, looks)
    if not found.nodes:
        from vmlab.topology.wording import nearest  # noqa: PLC0415  slow to import

        where = ", ".join(host.uri for host in hosts.values())
        there = {name for look in looks.values() for name in look.beds}
        if bed in there:
            raise UsageError(f"the bed {bed} has no nodes on {where}, only what is left of them", hint="vmlab up FILE")
        close = nearest(bed, there)
        meant = f"vmlab status {close}, if that is meant" if close else "vmlab up FILE"
        raise UsageError(f"there is no bed {bed} on {where} ({beds_there(looks)})", hint=meant)
    return found


def beds_there(looks: Mapping[str, Observed]) -> str:
    """`beds: ha, test`: what is told to who names a bed that is not there."""
    return f"beds: {', '.join(sorted({name for look in looks.values() for name in look.beds})) or 'none'}"


def chosen(bed: ObservedBed, nodes: str) -> dict[str, ObservedDomain]:
    """The nodes that a node set, `@role` or `*` means."""
    from vmlab.topology.select import select  # noqa: PLC0415  slow to import

    names = select(nodes, {name: metadata.roles for name, metadata in bed.metadata.items()})
    return {name: bed.nodes[name] for name in names}


def everybody(bed: ObservedBed, topology: "Topology | None") -> dict[str, tuple[str, ...]]:
    """The roles of all that can be reached: guests, and the machines beside them that the topology tells of."""
    guests = {name: metadata.roles for name, metadata in bed.metadata.items()}
    machines = {} if topology is None else {name: machine.roles for name, machine in topology.externals.items()}
    return machines | guests
