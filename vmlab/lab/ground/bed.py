"""A bed on a host, found again from libvirt alone: its lock, its keys, its guests and the steps of each."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from ipaddress import IPv4Address

from vmlab.domainxml.metadata import NodeMetadata
from vmlab.errors import BusyError, UsageError
from vmlab.fabrics import kind_of
from vmlab.guest.disks import disks_step
from vmlab.guest.hosts import hosts_step
from vmlab.guest.kept import kept_step
from vmlab.guest.keys import BedKeys
from vmlab.guest.ssh import Guest
from vmlab.guest.trust import trust_steps
from vmlab.lab.ground.bed_folder import folder, slug
from vmlab.plan.observed import ObservedBed, ObservedDomain
from vmlab.runtime import lock
from vmlab.runtime.log import log
from vmlab.steps import Step
from vmlab.topology import Topology
from vmlab.topology.select import select
from vmlab.virt.borrowed import Notes, put_back
from vmlab.virt.connection import Host, connected
from vmlab.virt.machine import Machine, machine_of
from vmlab.virt.observe import observe
from vmlab.virt.sysfs import sysfs_of

DEFAULT_URI = "qemu:///system"


def uri_of(topology: Topology | None = None) -> str:
    """Where a bed lives: the topology's host, else LIBVIRT_DEFAULT_URI, else the system's libvirt."""
    named = {host.uri for host in topology.hosts.values()} if topology is not None else set()
    if len(named) > 1:
        raise UsageError("this version of vmlab puts a bed on one host", hint="leave one entry under `hosts`")
    return next(iter(named - {None}), None) or os.environ.get("LIBVIRT_DEFAULT_URI") or DEFAULT_URI


@contextlib.contextmanager
def locked(host: Host, bed: str) -> Iterator[None]:
    """Hold the bed against other vmlabs; BusyError names who has it."""
    with lock.held(f"{slug(host)}.{bed}", what=f"the bed {bed}"):
        yield


@contextlib.contextmanager
def leasing(host: Host) -> Iterator[None]:
    """Hold what beds share of a host from choosing it until it is seen in libvirt: subnets, CPUs, PCI functions.

    What a killed vmlab left changed on the host is put back first.
    """
    with _leases(host, wait_s=60):
        _put_back(host)
        yield


@contextlib.contextmanager
def opened(uri: str, *, anywhere: bool = False) -> Iterator[Host]:
    """A host for the `with` block, as `connected`; on this machine with what a killed vmlab left changed put back."""
    with connected(uri, anywhere=anywhere) as host:
        if host.local and not host.simulated and Notes.of(Machine()).possible:
            with contextlib.suppress(BusyError), _leases(host, wait_s=0):  # whoever has them is at work, or does it
                _put_back(host)
        yield host


def _leases(host: Host, *, wait_s: float) -> AbstractContextManager[None]:
    what = f"the choice of subnets, CPUs and devices on {host.uri}"
    return lock.held(f"{slug(host)}.leases", what=what, wait_s=wait_s)


def _put_back(host: Host) -> None:
    if host.simulated:
        return
    machine = machine_of(host)
    notes = Notes.of(machine)
    for path in put_back(sysfs_of(host), notes) if notes.possible else ():
        log.warning("%s was left changed by a vmlab that was killed: put back", path)


def existing(host: Host, bed: str) -> ObservedBed:
    """The bed as it is; UsageError if no node of it exists, naming those that do."""
    observed = observe(host, volumes=False)
    found = observed.bed(bed)
    if not found.nodes:
        beds = ", ".join(observed.beds) or "none"
        raise UsageError(f"there is no bed {bed} on {host.uri} (beds: {beds})", hint="vmlab up FILE")
    return found


def chosen(bed: ObservedBed, nodes: str) -> dict[str, ObservedDomain]:
    """The nodes that a node set, `@role` or `*` means."""
    names = select(nodes, {name: metadata.roles for name, metadata in bed.metadata.items()})
    return {name: bed.nodes[name] for name in names}


def guests(host: Host, bed: ObservedBed) -> dict[str, Guest]:
    """A door to each node."""
    return {name: guest_of(host, metadata) for name, metadata in bed.metadata.items()}


def guest_of(host: Host, metadata: NodeMetadata) -> Guest:
    """The door to one node."""
    return Guest(metadata.bed, metadata.node, metadata.management.ip.ip, metadata.user, folder(host, metadata.bed))


def steps_of(
    host: Host, metadata: NodeMetadata, serials: Sequence[str], nodes: Mapping[str, NodeMetadata]
) -> tuple[Step, ...]:
    """What a node has to satisfy; `serials` are its disks', `nodes` the whole bed."""
    keys = BedKeys.of(folder(host, metadata.bed))
    return (
        *_common_steps(keys, tuple((name, nodes[name].management.ip.ip) for name in sorted(nodes))),
        disks_step(serials),
        *(step for address in metadata.addresses for step in kind_of(address).steps(address, mtu=address.mtu)),
        kept_step(),
    )


@lru_cache(maxsize=4)
def _common_steps(keys: BedKeys, addresses: tuple[tuple[str, IPv4Address], ...]) -> tuple[Step, ...]:
    """What is the same for all nodes: made once, for with thousands of nodes it is long."""
    return (
        hosts_step(dict(addresses)),
        *trust_steps({name: (address, keys.host_key(name).public) for name, address in addresses}),
    )
