"""Disks of targets that servers on several hosts share because one host exports them: QEMU's NBD, by TCP.

It is neither authenticated nor encrypted, as what joins the guests' networks, and goes where that goes: between the
hosts' `address`es. The port is leased as a VNI is, and stands in the domains that have the disk.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmlab.domainxml.devices import Nbd
from vmlab.domainxml.volume import Volume
from vmlab.errors import HostError
from vmlab.values import identity

if TYPE_CHECKING:
    from vmlab.plan.observed import Observed, ObservedDomain
    from vmlab.topology import Topology

PORTS = range(61000, 62000)
"""Whence ports are leased: above those that Linux gives to clients by itself."""


@dataclass(frozen=True, slots=True)
class Exports:
    """Of a bed, from its first host: the disks, and where each is reached from other hosts, both by volume."""

    home: str = ""
    volumes: tuple[Volume, ...] = ()
    places: Mapping[str, Nbd] | None = None

    def seen_on(self, host: str) -> Mapping[str, Nbd]:
        """What a node on that host reaches by the network."""
        return {} if host == self.home or self.places is None else self.places

    def needed(self, topology: "Topology", on: Mapping[str, str]) -> dict[str, Nbd]:
        """Those that a server has which is not at home; `on` are the nodes' hosts."""
        away = {node for node, host in on.items() if host != self.home}
        served = {
            identity.target_volume(topology.name, target.label)
            for target in topology.targets
            if not away.isdisjoint(target.servers)
        }
        return {volume: place for volume, place in (self.places or {}).items() if volume in served}


def exported(topology: "Topology") -> tuple[Volume, ...]:
    """The disks that lie on the first host: of targets with partners, in file systems that say `shared: export`."""
    return tuple(
        Volume(identity.target_volume(topology.name, target.label), int(target.size), "raw")
        for target in topology.targets
        if target.size is not None
        and len(target.servers) > 1
        and topology.filesystems[target.fsname].shared == "export"
    )


def exports(topology: "Topology", looks: Mapping[str, "Observed"]) -> Exports:
    """The bed's. Raises HostError where the first host has no `address`, or another one has a disk of these."""
    volumes = exported(topology)
    if len(looks) == 1 or not volumes:
        return Exports()
    home = next(iter(looks))
    address = topology.hosts[home].address
    if address is None:
        raise HostError(
            f"{home} exports {volumes[0].name}, and the file does not say over which network",
            hint=f"hosts: {{{home}: {{address: IPV4}}}}, the one in a network that only the hosts are in",
        )
    for host, look in looks.items():
        for volume in volumes:
            if host != home and volume.name in look.volumes:
                raise HostError(
                    f"{look.volumes[volume.name].path} is on {host}, and {home}, the first host, would export it",
                    hint=f"name {host} first under `hosts`; or no `shared: export`, and `host: {host}` for its servers",
                )
    ports = dict(_ports(topology.name, [volume.name for volume in volumes], home, looks))
    return Exports(home, volumes, {volume: Nbd(str(address), port) for volume, port in ports.items()})


def _ports(bed: str, volumes: Iterable[str], home: str, looks: Mapping[str, "Observed"]) -> Iterator[tuple[str, int]]:
    """What is in force stays; else the first that nobody listens on or has, from one that derives from the name."""
    in_force = {name: nbd.port for name, nbd in looks[home].bed(bed).exports.items()}
    taken = set(looks[home].links.listening)
    for look in looks.values():
        for domain in look.bed(bed).nodes.values():
            in_force.update((volume, place.port) for volume, place in attached(domain).items())
        taken.update(place.port for domain in look.domains.values() for place in attached(domain).values())
    for volume in volumes:
        if volume in in_force:
            yield volume, in_force[volume]
            continue
        start = int.from_bytes(hashlib.sha256(volume.encode()).digest()[:4], "big")
        turned = (PORTS[(start + number) % len(PORTS)] for number in range(len(PORTS)))
        port = next((port for port in turned if port not in taken), None)
        if port is None:
            raise HostError(f"no port is free on {home} from {PORTS[0]} to {PORTS[-1]}", hint="ss -ltn")
        taken.add(port)
        yield volume, port


def attached(domain: "ObservedDomain") -> dict[str, Nbd]:
    """The volumes that a domain has by the network, and where each is reached."""
    places = ((place.rpartition("/")[2], Nbd.of(place)) for place in domain.facts.disks)
    return {volume: nbd for volume, nbd in places if nbd is not None}
