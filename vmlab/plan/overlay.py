"""What joins the networks of a bed over several hosts: the kernel's VXLAN, unicast between the addresses of the hosts.

It is neither authenticated nor encrypted, so it goes where the user says: `address` of each host names the network.
A VNI is leased as subnets are, and remembered by the link itself.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from vmlab.domainxml.devices import Nbd
from vmlab.errors import HostError
from vmlab.values import identity

if TYPE_CHECKING:
    from vmlab.topology import Topology

VNIS = range(0x770000, 0x780000)
"""Whence VNIs are leased."""
COST = 50
"""Bytes that VXLAN over IPv4 takes of a packet: its own, UDP's and IP's headers, and the inner Ethernet's."""
_USUAL = 1500


@dataclass(frozen=True, slots=True)
class Overlay:
    """One end of a network on one host: a VXLAN link on the network's bridge. `peers` are the other hosts."""

    bed: str
    fabric: str
    vni: int
    local: IPv4Address
    peers: frozenset[IPv4Address]
    mtu: int

    @property
    def link(self) -> str:
        """Its name on the host."""
        return identity.overlay_name(self.bed, self.fabric)

    @property
    def alias(self) -> str:
        """By which it is known as ours, beside its name."""
        return identity.overlay_alias(self.bed, self.fabric)


@dataclass(frozen=True, slots=True)
class ObservedLink:
    """A VXLAN link of a host, whosever it is. `bridge` is "" for one that is on none."""

    name: str
    alias: str
    vni: int
    local: IPv4Address | None
    peers: frozenset[IPv4Address]
    mtu: int
    bridge: str
    up: bool


@dataclass(frozen=True, slots=True)
class HostLinks:
    """Of a host that was looked at for it: the addresses that it has, with their links' MTU, and its VXLAN links.

    `exports` are disks that it exports, by the volume's name, whosever; `listening` TCP ports.
    """

    addresses: Mapping[IPv4Address, int] = field(default_factory=dict)
    links: Mapping[str, ObservedLink] = field(default_factory=dict)
    exports: Mapping[str, Nbd] = field(default_factory=dict)
    listening: frozenset[int] = frozenset()

    def of(self, bed: str, fabrics: Iterable[str]) -> dict[str, ObservedLink]:
        """The bed's own links that are there, by the name of the network: alias and name agree.

        One that was cut off before it had its alias is known by the bed's `fabrics`.
        """
        begun = {identity.overlay_name(bed, fabric): identity.network_name(bed, fabric) for fabric in fabrics}
        found = {begun[name]: link for name, link in self.links.items() if name in begun and not link.alias}
        for name, link in self.links.items():
            owner = identity.overlay_owner(link.alias)
            if owner is not None and owner[0] == bed and name == identity.overlay_name(*owner):
                found[identity.network_name(*owner)] = link
        return found


@dataclass(frozen=True, slots=True)
class Overlays:
    """All of a bed's: VNIs by fabric, each host's address, and the MTU that fits into the network between them."""

    bed: str
    vnis: Mapping[str, int]
    addresses: Mapping[str, IPv4Address]
    mtu: int

    @property
    def narrow(self) -> int | None:
        """The MTU where it is less than usual."""
        return self.mtu if self.mtu < _USUAL else None

    def on(self, host: str, fabrics: Iterable[str]) -> tuple[Overlay, ...]:
        """The ends on one host."""
        peers = frozenset(address for name, address in self.addresses.items() if name != host)
        return tuple(
            Overlay(self.bed, fabric, self.vnis[fabric], self.addresses[host], peers, self.mtu) for fabric in fabrics
        )


def is_as(link: ObservedLink | None, wanted: Overlay, bridge: str) -> bool:
    """Nothing has to be done to it."""
    return (
        link is not None
        and link.up
        and (link.vni, link.local, link.peers, link.mtu, link.bridge)
        == (
            wanted.vni,
            wanted.local,
            wanted.peers,
            wanted.mtu,
            bridge,
        )
    )


def overlays(topology: "Topology", looks: Mapping[str, HostLinks], fabrics: Iterable[str]) -> Overlays:
    """The bed's, of which these networks go over all hosts.

    Raises HostError where the file does not name the network between the hosts, or a host is not in it.
    """
    addresses: dict[str, IPv4Address] = {}
    mtus = []
    for name, found in looks.items():
        address = topology.hosts[name].address
        if address is None:
            raise HostError(
                f"nothing joins the guests of {', '.join(looks)}: the file does not say over which network "
                f"(VXLAN, which is not authenticated)",
                hint=f"hosts: {{{name}: {{address: IPV4}}}}, of each host the one in a network that only they are in",
            )
        if address not in found.addresses:
            known = ", ".join(map(str, found.addresses)) or "none"
            raise HostError(f"the host {name} has no address {address} (addresses: {known})", hint="ip -4 address show")
        addresses[name] = address
        mtus.append(found.addresses[address])
    return Overlays(topology.name, dict(_vnis(topology.name, looks.values(), fabrics)), addresses, min(mtus) - COST)


def refuse_large(topology: "Topology", fabrics: Iterable[str], mtu: int) -> None:
    """Raise HostError for a fabric whose packets are to be larger than what goes over all hosts."""
    for name in fabrics:
        asked = topology.fabrics[name].mtu if name in topology.fabrics else None
        if asked is not None and asked > mtu:
            raise HostError(
                f"fabric {name}: packets of {asked} bytes do not fit between the hosts, whose network carries "
                f"{mtu + COST} with VXLAN's {COST}",
                hint=f"fabrics: {{{name}: {{mtu: {mtu}}}}}, or a larger MTU of the hosts' interfaces",
            )


def narrowed(topology: "Topology", carried: Overlays, over: Collection[str]) -> "Topology":
    """The topology whose fabrics, if they are `over` VXLAN and it does not say how large packets are, have its MTU."""
    if carried.narrow is None:
        return topology
    fabrics = {
        name: replace(fabric, mtu=carried.narrow) if name in over and fabric.mtu is None else fabric
        for name, fabric in topology.fabrics.items()
    }
    return replace(topology, fabrics=fabrics)


def _vnis(bed: str, looks: Iterable[HostLinks], fabrics: Iterable[str]) -> Iterable[tuple[str, int]]:
    """What is in force stays; else the first that nobody on any of the hosts has, from one that derives from names."""
    fabrics, looks = tuple(fabrics), tuple(looks)
    taken = {link.vni for look in looks for link in look.links.values()}
    for fabric in fabrics:
        own = identity.network_name(bed, fabric)
        in_force = [link.vni for look in looks if (link := look.of(bed, [fabric]).get(own)) is not None]
        if in_force:
            yield fabric, in_force[0]
            continue
        start = int.from_bytes(hashlib.sha256(f"{bed}/{fabric}".encode()).digest()[:4], "big")
        turned = (VNIS[(start + number) % len(VNIS)] for number in range(len(VNIS)))
        vni = next((vni for vni in turned if vni not in taken), None)
        if vni is None:
            raise HostError(f"no VNI is free from {VNIS[0]} to {VNIS[-1]}", hint="ip -d link show type vxlan")
        taken.add(vni)
        yield fabric, vni
