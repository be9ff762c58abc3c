"""The guests of a bed: a door to each, and the steps that each has to satisfy."""

from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from ipaddress import IPv4Address
from pathlib import Path

from vmlab.domainxml.metadata import LEAN, NodeMetadata
from vmlab.domainxml.network import gateway
from vmlab.domainxml.read import DomainFacts
from vmlab.fabrics import kind_of
from vmlab.guest.boot import lean_step
from vmlab.guest.disks import disk_steps
from vmlab.guest.hosts import hosts_step
from vmlab.guest.kept import kept_step
from vmlab.guest.keys import BedKeys
from vmlab.guest.names import names_step
from vmlab.guest.power import power_step
from vmlab.guest.shares import share_steps
from vmlab.guest.ssh import Guest
from vmlab.guest.trust import trust_steps
from vmlab.lab.ground.bed_folder import folder
from vmlab.lab.ground.hosts import Hosts
from vmlab.plan.observed import ObservedBed
from vmlab.steps import Step
from vmlab.virt.connection import Host
from vmlab.virt.machine import machine_of
from vmlab.virt.observe import Routes, near, routes_here


def guests(hosts: Hosts, bed: ObservedBed) -> dict[str, Guest]:
    """A door to each node."""
    secret = folder(hosts.keeper, bed.name)
    routes = cache(routes_here)
    return {
        name: _guest(metadata, secret, _through(hosts, hosts.of(bed.nodes[name]), metadata, routes))
        for name, metadata in bed.metadata.items()
    }


def guest_of(hosts: Hosts, host: Host, metadata: NodeMetadata) -> Guest:
    """The door to one node, which is on that host."""
    return _guest(metadata, folder(hosts.keeper, metadata.bed), _through(hosts, host, metadata, routes_here))


def _guest(metadata: NodeMetadata, secret: Path, through: str) -> Guest:
    return Guest(metadata.bed, metadata.node, metadata.management.ip.ip, metadata.user, secret, through=through)


def _through(hosts: Hosts, host: Host, metadata: NodeMetadata, routes: Callable[[], Routes]) -> str:
    """What leads to a guest of that host where this machine is not in its network and knows no way there.

    A network of the bed's own is this machine's if that is one of its hosts: whatever else has the same addresses is
    another one. Where only a default route might lead to one of the site's the host does, which is in it.
    """
    if host.local or host.simulated:
        return ""
    way = metadata.management
    direct = hosts.routed if way.attach == "virtio" else near(routes(), way.ip.ip)
    return "" if direct else machine_of(host).through


def steps_of(
    hosts: Hosts, metadata: NodeMetadata, facts: DomainFacts, nodes: Mapping[str, NodeMetadata]
) -> tuple[Step, ...]:
    """What a node has to satisfy, whose domain says `facts`; `nodes` is the whole bed."""
    keys = BedKeys.of(folder(hosts.keeper, metadata.bed))
    names = (metadata.node, *(str(address.ip.ip) for address in metadata.addresses))
    lean = metadata.first_boot == LEAN
    return (
        *((lean_step(),) if lean else ()),
        _hosts_file(tuple((name, nodes[name].management.ip.ip) for name in sorted(nodes))),
        *trust_steps(keys.authority, keys.host_certificate(metadata.node, names), keys.root_certificate(metadata.node)),
        *((names_step(server),) if (server := _name_server(metadata)) else ()),
        *disk_steps(facts.details.links, facts.details.paths),
        *share_steps(metadata.shares),
        *((power_step(),) if metadata.powers else ()),
        *(step for address in metadata.addresses for step in kind_of(address).steps(address, mtu=address.mtu)),
        kept_step(metadata.first_boot),
    )


def _name_server(metadata: NodeMetadata) -> str:
    """Whom a node asks for names; "" for nobody."""
    if metadata.on_site:
        return metadata.nameserver
    return metadata.gateway or gateway(metadata.management.ip.network)


@lru_cache(maxsize=4)
def _hosts_file(addresses: tuple[tuple[str, IPv4Address], ...]) -> Step:
    """The same for all nodes, and made once: with thousands of them it is long."""
    return hosts_step(dict(addresses))
