"""What libvirt and the host say, as values: the input of every decision."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network

from vmlab.domainxml.devices import Nbd
from vmlab.domainxml.live import LiveFacts
from vmlab.domainxml.metadata import NodeMetadata, not_understood
from vmlab.domainxml.read import DomainFacts, NetworkFacts, VolumeFacts
from vmlab.errors import HostError
from vmlab.plan.overlay import HostLinks, ObservedLink
from vmlab.values import identity

CRASHED = "crashed"
"""The state of a domain whose kernel crashed, and whose memory is kept."""
RUNNING = ("running", "paused", "blocked", "shutting down", "suspended", CRASHED)
"""The states, in libvirt's words, of a domain that a QEMU process is behind."""


@dataclass(frozen=True, slots=True)
class ObservedDomain:
    """A domain on the host of that name.

    `saved` says where the memory of one that is off was saved: "libvirt" starts from it (`virsh managedsave`), a "file"
    (`virsh save`) is worthless after any other start; "" for neither. `live` is of one that runs, if all was looked at.
    `also_needs` are files that its definition does not tell, if all was looked at: what only the running QEMU has,
    what `<disk type='volume'>` means, what lies below in backing chains.
    """

    facts: DomainFacts
    state: str
    also_needs: frozenset[str]
    host: str = "local"
    saved: str = ""
    live: LiveFacts | None = None

    @property
    def running(self) -> bool:
        """A QEMU process exists; it may be paused, or kept as it crashed."""
        return self.state in RUNNING

    @property
    def disks_in_use(self) -> frozenset[str]:
        """All files that it needs, as far as they were looked for."""
        return self.facts.details.uses.files | self.also_needs


@dataclass(frozen=True, slots=True)
class ObservedNetwork:
    """A libvirt network on the host."""

    facts: NetworkFacts
    active: bool


@dataclass(frozen=True, slots=True)
class ObservedFolder:
    """A folder of a bed on storage that its hosts share, which this host made.

    It is `whole` from when that was done until it is removed. What is in it is only seen while libvirt has it `active`.
    """

    bed: str
    filesystem: str
    path: str
    whole: bool
    active: bool

    @property
    def name(self) -> str:
        """That of libvirt's pool."""
        return identity.folder_name(self.bed, self.filesystem)


@dataclass(frozen=True, slots=True)
class Observed:
    """One look at a host. `routes` are the networks that it reaches without a default route, by interface.

    `volumes` are the files of vmlab's pool, of whomever they are, and of beds' `folders`; `links` are looked at for a
    bed over several hosts. `other_pools` are the names of pools that are no folders of beds.
    """

    domains: Mapping[str, ObservedDomain]
    networks: Mapping[str, ObservedNetwork]
    volumes: Mapping[str, VolumeFacts]
    routes: tuple[tuple[str, IPv4Network], ...] = ()
    bridges: frozenset[str] = frozenset()
    pool_path: str = ""
    links: HostLinks = field(default_factory=HostLinks)
    folders: tuple[ObservedFolder, ...] = ()
    other_pools: frozenset[str] = frozenset()

    @property
    def unreadable(self) -> tuple[str, ...]:
        """What carries metadata of vmlab's form that could not be understood, a line each."""
        domains = ((f"domain {n}", why) for n, domain in self.domains.items() if (why := domain.facts.unreadable))
        networks = ((f"network {n}", why) for n, network in self.networks.items() if (why := network.facts.unreadable))
        return tuple(not_understood(what, why) for what, why in (*domains, *networks))

    def bed(self, name: str) -> "ObservedBed":
        """The part that belongs to a bed."""
        networks = {
            n.facts.metadata.fabric: n
            for n in self.networks.values()
            if n.facts.metadata is not None and n.facts.metadata.bed == name
        }
        return ObservedBed(
            name=name,
            nodes={
                d.facts.metadata.node: d
                for _, d in sorted(self.domains.items())
                if d.facts.metadata is not None and d.facts.metadata.bed == name
            },
            networks=networks,
            volumes={
                v.name: v
                for v in self.volumes.values()
                if (owner := identity.owner_of(v.name)) is not None and owner.bed == name
            },
            links=self.links.of(name, networks),
            exports={
                volume: place
                for volume, place in self.links.exports.items()
                if (owner := identity.owner_of(volume)) is not None and owner.bed == name
            },
            folders={folder.filesystem: folder for folder in self.folders if folder.bed == name},
        )

    @property
    def beds(self) -> tuple[str, ...]:
        """The names of all beds of which anything exists: domains, networks, links, volumes, exports or folders."""
        names = {d.facts.metadata.bed for d in self.domains.values() if d.facts.metadata}
        names |= {n.facts.metadata.bed for n in self.networks.values() if n.facts.metadata}
        links = (identity.overlay_owner(link.alias) for link in self.links.links.values())
        names |= {owner[0] for owner in links if owner is not None}
        names |= {owner.bed for v in self.volumes if (owner := identity.owner_of(v)) is not None}
        names |= {owner.bed for v in self.links.exports if (owner := identity.owner_of(v)) is not None}
        names |= {folder.bed for folder in self.folders}
        return tuple(sorted(names))


@dataclass(frozen=True, slots=True)
class ObservedBed:
    """What exists of one bed: domains by node, networks by fabric, volumes by name; links to other hosts by network.

    `exports` are its disks that are exported to other hosts, by volume; `folders` are by file system.
    """

    name: str
    nodes: Mapping[str, ObservedDomain] = field(default_factory=dict)
    networks: Mapping[str, ObservedNetwork] = field(default_factory=dict)
    volumes: Mapping[str, VolumeFacts] = field(default_factory=dict)
    links: Mapping[str, ObservedLink] = field(default_factory=dict)
    exports: Mapping[str, Nbd] = field(default_factory=dict)
    folders: Mapping[str, ObservedFolder] = field(default_factory=dict)

    @property
    def metadata(self) -> dict[str, NodeMetadata]:
        """What each node is for."""
        return {name: d.facts.metadata for name, d in self.nodes.items() if d.facts.metadata is not None}

    @property
    def kept(self) -> bool:
        """It has disks that were kept on purpose, by whomever."""
        return identity.kept_volume(self.name) in self.volumes and any(map(identity.has_data, self.volumes))

    @property
    def exists(self) -> bool:
        """Anything of it is there."""
        return bool(self.nodes or self.networks or self.volumes or self.links or self.exports or self.folders)


def over_all(name: str, looks: Mapping[str, Observed]) -> ObservedBed:
    """A bed on all its hosts, from a look at each. Of networks and shared disks that several have, one is told.

    Raises HostError when a node is on two of them.
    """
    parts = {host: observed.bed(name) for host, observed in looks.items()}
    if len(parts) == 1:
        return next(iter(parts.values()))
    nodes: dict[str, ObservedDomain] = {}
    for part in parts.values():
        for node, domain in part.nodes.items():
            if node in nodes:
                raise HostError(
                    f"the node {node} of {name} is on {nodes[node].host} and on {domain.host}",
                    hint=f"virsh undefine {domain.facts.name} on one of them",
                )
            nodes[node] = domain
    return ObservedBed(
        name,
        nodes,
        {fabric: network for part in parts.values() for fabric, network in part.networks.items()},
        {volume: facts for part in parts.values() for volume, facts in part.volumes.items()},
        {network: link for part in parts.values() for network, link in part.links.items()},
        {volume: place for part in parts.values() for volume, place in part.exports.items()},
        {filesystem: folder for part in parts.values() for filesystem, folder in part.folders.items()},
    )
