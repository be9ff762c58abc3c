"""A bed on a host, found again from libvirt alone: its lock, its keys, its guests and the steps of each."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from functools import lru_cache
from ipaddress import IPv4Address

from vmlab.domainxml.metadata import NodeMetadata
from vmlab.domainxml.network import gateway
from vmlab.domainxml.read import DomainFacts
from vmlab.errors import BusyError, UsageError
from vmlab.fabrics import kind_of
from vmlab.guest.disks import disk_steps
from vmlab.guest.hosts import hosts_step
from vmlab.guest.kept import kept_step
from vmlab.guest.keys import BedKeys
from vmlab.guest.names import names_step
from vmlab.guest.shares import share_steps
from vmlab.guest.ssh import Guest
from vmlab.guest.trust import trust_steps
from vmlab.lab.ground.bed_folder import folder, slug
from vmlab.lab.ground.hosts import Hosts
from vmlab.plan.observed import Observed, ObservedBed, ObservedDomain, over_all
from vmlab.runtime import lock
from vmlab.runtime.log import log
from vmlab.steps import Step
from vmlab.topology import Topology
from vmlab.topology.select import select
from vmlab.topology.wording import nearest
from vmlab.virt.borrowed import Notes, put_back
from vmlab.virt.connection import Host, connected
from vmlab.virt.machine import Machine, machine_of
from vmlab.virt.sysfs import sysfs_of

DEFAULT_URI = "qemu:///system"


def default_uri() -> str:
    """The host that is meant where none is named: LIBVIRT_DEFAULT_URI, else the system's libvirt."""
    return os.environ.get("LIBVIRT_DEFAULT_URI") or DEFAULT_URI


@contextlib.contextmanager
def hosts_of(topology: Topology) -> Iterator[Hosts]:
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


def existing(hosts: Hosts, bed: str) -> ObservedBed:
    """The bed as it is; UsageError if no node of it exists, naming those that do."""
    looks = hosts.look(volumes=False)
    found = over_all(bed, looks)
    if not found.nodes:
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
    names = select(nodes, {name: metadata.roles for name, metadata in bed.metadata.items()})
    return {name: bed.nodes[name] for name in names}


def guests(hosts: Hosts, bed: ObservedBed) -> dict[str, Guest]:
    """A door to each node."""
    return {name: guest_of(hosts, metadata) for name, metadata in bed.metadata.items()}


def guest_of(hosts: Hosts, metadata: NodeMetadata) -> Guest:
    """The door to one node."""
    secret = folder(hosts.home, metadata.bed)
    return Guest(metadata.bed, metadata.node, metadata.management.ip.ip, metadata.user, secret)


def steps_of(
    hosts: Hosts, metadata: NodeMetadata, facts: DomainFacts, nodes: Mapping[str, NodeMetadata]
) -> tuple[Step, ...]:
    """What a node has to satisfy, whose domain says `facts`; `nodes` is the whole bed."""
    keys = BedKeys.of(folder(hosts.home, metadata.bed))
    names = (metadata.node, *(str(address.ip.ip) for address in metadata.addresses))
    return (
        _hosts_file(tuple((name, nodes[name].management.ip.ip) for name in sorted(nodes))),
        *trust_steps(keys.authority, keys.host_certificate(metadata.node, names), keys.root_certificate(metadata.node)),
        names_step(gateway(metadata.management.ip.network)),
        *disk_steps(facts.links, facts.paths),
        *share_steps(metadata.shares),
        *(step for address in metadata.addresses for step in kind_of(address).steps(address, mtu=address.mtu)),
        kept_step(),
    )


@lru_cache(maxsize=4)
def _hosts_file(addresses: tuple[tuple[str, IPv4Address], ...]) -> Step:
    """The same for all nodes, and made once: with thousands of them it is long."""
    return hosts_step(dict(addresses))
