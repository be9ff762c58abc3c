"""Addresses of the site that nodes are about to get: whether somebody there has one already."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address
from typing import NamedTuple

from vmlab.errors import HostError
from vmlab.lab.beds.decide import Prepared
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.progress import Progress
from vmlab.topology import Fabric
from vmlab.virt.arp import answering, pinged


class New(NamedTuple):
    """An address that a node does not have yet; `interface` is the host's in that network, "" if it shows none."""

    node: str
    host: str
    fabric: Fabric
    interface: str
    address: IPv4Address

    def on(self, host: str, interface: str) -> "New":
        """The same, to be asked for in that network by another host."""
        return self._replace(host=host, interface=interface)


def refuse_taken(hosts: Hosts, prepared: Prepared, progress: Progress) -> None:
    """Raise HostError if somebody in the site's network answers at an address that a node would get now.

    On Ethernet by ARP, on InfiniBand by ping where the host has an address there. Where nobody can look that is told,
    and not taken for a no.
    """
    places: dict[tuple[str, str, str], list[New]] = defaultdict(list)
    here = next((name for name, host in hosts.items() if host.local), None)
    for new in new_addresses(prepared):
        # Bridges of a fabric are in one network on all hosts, and only this machine can be asked.
        asked = new if here is None or here not in new.fabric.bridges else new.on(here, new.fabric.bridges[here])
        if not hosts[asked.host].simulated:
            places[asked.host, asked.fabric.name, asked.interface].append(asked)
    for (_, fabric, _), members in places.items():
        try:
            found = _answers(hosts, prepared, members)
        except HostError as error:
            told = f"whether the addresses that nodes get on {fabric} are free is not known: {error.message}"
            progress.warn(told)
            continue
        refuse(members, found)


def refuse(members: Iterable[New], found: Mapping[IPv4Address, str]) -> None:
    """Raise HostError for the first of the addresses at which somebody was found, and by what."""
    for new in members:
        if new.address in found:
            fabric = new.fabric.name
            raise HostError(
                f"{new.address} on {fabric} was to be that of {new.node}, and {found[new.address]} answers there",
                hint=f"leave it out of `addresses` of {fabric}, or end who has it",
            )


def new_addresses(prepared: Prepared) -> Iterator[New]:
    """What nodes would get of the site that they do not have yet."""
    topology = prepared.topology
    had = {name: {place.ip.ip for place in found.addresses} for name, found in prepared.bed.metadata.items()}
    for name, node in prepared.nodes.items():
        host, _ = prepared.place(name)
        for number, place in enumerate(node.metadata.addresses):
            fabric = topology.fabric(place.fabric)
            if fabric is None or fabric.addresses is None or place.ip.ip in had.get(name, ()):
                continue
            earlier = sum(other.fabric == place.fabric for other in node.metadata.addresses[:number])
            interface = fabric.bridges.get(host) or _netdev(prepared, name, fabric, earlier)
            yield New(name, host, fabric, interface, place.ip.ip)


def _netdev(prepared: Prepared, node: str, fabric: Fabric, index: int) -> str:
    """The interface, on the host, of the function that serves a node's port, or of its physical function."""
    place = prepared.places.node(node)
    if place is None:
        return ""
    for device in place.devices:
        if (device.fabric, device.index) == (fabric.name, index):
            function = prepared.places.hosts[place.host].functions.get(device.physical_function or device.address)
            ports = function.ports if function is not None else ()
            return next((port.interface for port in ports if port.interface and port.link_layer == fabric.kind), "")
    return ""


def _answers(hosts: Hosts, prepared: Prepared, members: list[New]) -> dict[IPv4Address, str]:
    """Who answers at which address. Raises HostError where nobody can look."""
    first, addresses = members[0], [new.address for new in members]
    if not hosts[first.host].local:
        raise HostError(f"{first.host} is another machine")
    if first.fabric.kind == "infiniband":
        routes = prepared.parts[first.host].observed.routes
        if not any(address in network for address in addresses for _, network in routes):
            raise HostError(f"{first.host} has no address in that network to ping from")
        return pinged(addresses)
    if not first.interface:
        raise HostError(f"{first.host} shows no interface there")
    return answering(first.interface, addresses)
