"""From what was seen on a bed's hosts to what is to be done there: one plan for each host, nothing asked any more."""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from ipaddress import IPv4Address
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from lxml import etree

from vmlab.domainxml.crash import keep_crashed
from vmlab.domainxml.metadata import CLOUD_INIT, LEAN, Address, NodeMetadata
from vmlab.domainxml.network import gateway
from vmlab.domainxml.share import Driver
from vmlab.domainxml.template import emulates, parse_template
from vmlab.errors import HostError, Problem, TopologyError
from vmlab.fabrics.infiniband import has_guid
from vmlab.guest.first_boot import Identity, Trust, first_boot
from vmlab.guest.keys import BedKeys
from vmlab.guest.seed import SeedInterface, documents
from vmlab.inventory.model import HostInventory
from vmlab.inventory.passable import refuse_unpassable
from vmlab.inventory.vfs import plan_vfs
from vmlab.lab.beds.named import boot_files
from vmlab.placement.request import NodePlacement
from vmlab.plan.actions import DiscardMemory, Plan, StopDomain, TakeDevices, together
from vmlab.plan.desired import (
    Desired,
    DesiredNode,
    Image,
    Seed,
    addresses,
    desired_networks,
    desired_node,
    desired_targets,
    joined_networks,
)
from vmlab.plan.diff import diff
from vmlab.plan.export import Exports, exports
from vmlab.plan.fitting import Fitted
from vmlab.plan.growing import grows
from vmlab.plan.kernel import BootFiles
from vmlab.plan.lacking import Lacking, refuse_lacking, refuse_without_host, told
from vmlab.plan.lease import Leases, lease
from vmlab.plan.native import guest_architectures
from vmlab.plan.node_place import NodePlace, hidden, macs, place_of
from vmlab.plan.observed import Observed, ObservedBed, ObservedDomain, over_all
from vmlab.plan.overlay import Overlays, narrowed, overlays, refuse_large
from vmlab.plan.placing import Attach, Places, decide, unplaced, virtual
from vmlab.plan.shared import SharedFolder, folders
from vmlab.runtime.shipped import shipped
from vmlab.topology import MANAGEMENT, Node, Topology
from vmlab.values.size import Bytes

DOMAIN_TYPES = {"kvm": "kvm", "tcg": "qemu", "test": "test"}
"""libvirt's words for what guests run on."""


class Fit(Protocol):
    """What a host has of a template for domains of type `kind`. Raises HostError for what guests cannot do without."""

    def __call__(self, host: str, name: str, template: etree._Element, kind: str) -> Fitted:
        """`name` is the template's, as nodes use it."""


def as_it_is(host: str, name: str, template: etree._Element, kind: str) -> Fitted:  # noqa: ARG001 (a Fit)
    """Of a host that was not asked."""
    return Fitted(template)


@dataclass(frozen=True, slots=True)
class Part:
    """What is there, what is wanted, and what is to be done, on one host of the bed."""

    observed: Observed
    desired: Desired
    plan: Plan


@dataclass(frozen=True)
class Prepared:
    """The decisions: `parts` by host. `accel` is "kvm", "tcg" or "test".

    `notes` tell what templates do not get on their hosts.
    """

    topology: Topology
    parts: Mapping[str, Part]
    accel: str
    keys: BedKeys
    places: Places
    notes: tuple[str, ...] = ()

    @cached_property
    def bed(self) -> ObservedBed:
        """What is there of it."""
        return over_all(self.topology.name, {host: part.observed for host, part in self.parts.items()})

    @cached_property
    def nodes(self) -> dict[str, DesiredNode]:
        """All that are wanted, in the topology's order."""
        wanted = {name: node for part in self.parts.values() for name, node in part.desired.nodes.items()}
        return {name: wanted[name] for name in self.topology.nodes}

    def place(self, node: str) -> tuple[str, Part]:
        """The host that a wanted node goes to, or is on, and what is to be done there."""
        return next((host, part) for host, part in self.parts.items() if node in part.desired.nodes)

    @cached_property
    def plan(self) -> Plan:
        """What is to be done on all hosts, to be told; it is done host by host."""
        plans = [part.plan for part in self.parts.values()]
        return plans[0] if len(plans) == 1 else together(plans)

    @property
    def from_memory(self) -> list[str]:
        """The nodes that do not boot: their memory was saved, and is not given up."""
        lost = {a.node for a in self.plan.actions if isinstance(a, DiscardMemory)}
        return [name for name, domain in self.bed.nodes.items() if domain.saved and name not in lost]

    @cached_property
    def members(self) -> dict[str, NodeMetadata]:
        """Every node that the bed has when this is done: those, too, that the topology no longer has and that stay."""
        lanes = self.plan.lanes
        left = {name: found for name, found in self.bed.metadata.items() if name not in lanes}
        return left | {name: node.metadata for name, node in self.nodes.items()}


def decide_all(
    topology: Topology,
    looks: Mapping[str, Observed],
    inventories: Mapping[str, HostInventory],
    *,
    images: Mapping[tuple[str, str], Image],
    keys: BedKeys,
    accel: str,
    restart: bool,
    share_drivers: Mapping[str, Driver] = MappingProxyType({}),
    recorded: bool = False,
    fit: Fit = as_it_is,
    joined: bool = False,
    draw: Callable[[], str] = lambda: secrets.token_hex(6),
) -> Prepared:
    """Everything that follows from what was seen, by host. Without `inventories` nothing is placed or passed.

    `images` are by host and name, `share_drivers` by host (else virtiofs). A `recorded` host may lack the MAC addresses
    and GUIDs of its functions. A node that is there stays on its host. `fit` makes of a template what the host's QEMU
    has of it. Networks are `joined` over the hosts, if that is wanted. `draw` gives what tells the bed's folders on
    shared storage from others'. Raises HostError where that, or the bed as a whole, cannot be.
    """
    bed = over_all(topology.name, looks)
    _refuse_moves(topology, bed)
    carried, unjoined = _joining(topology, looks) if joined else (None, None)
    leases = lease(topology, bed, looks)
    out, shared = exports(topology, looks), folders(topology, looks, draw)
    draft = _Draft(topology, looks, bed, leases, images, keys, accel, share_drivers, fit, carried, out, shared)
    lacking = draft.lacking()
    places = _placed(draft, inventories, lacking, restart=restart)
    over = joined_networks(topology, places.attach)
    if over and unjoined is not None:
        raise unjoined
    if carried is not None:
        refuse_large(topology, over, carried.mtu)
    draft = draft.joined(places.attach)
    topology = draft.topology
    draft = replace(draft, folders={name: draft.at_home(folder, places) for name, folder in draft.folders.items()})
    here: dict[str, list[Node]] = {host: [] for host in looks}
    for node in topology.nodes.values():
        here[draft.host(node.name, places)].append(node)
    refuse_lacking(here, lacking)
    parts = {
        host: _part(draft, host, nodes, places, inventories, restart=restart, strict=not recorded)
        for host, nodes in here.items()
    }
    _refuse_undoable(topology, places, parts, inventories)
    notes = tuple(dict.fromkeys(remark for fitted in draft.fits.values() for remark in fitted.remarks))
    return Prepared(topology, parts, accel, keys, places, notes)


def _joining(topology: Topology, looks: Mapping[str, Observed]) -> tuple[Overlays | None, HostError | None]:
    """What joins the networks that may go over all hosts; why nothing could, if it may be that nothing has to.

    Raises HostError where some have to. Before a fabric that is `auto` is placed nobody knows what it is.
    """
    may = joined_networks(topology, unplaced(topology))
    must = joined_networks(topology, {fabric.name: fabric.attach for fabric in topology.fabrics.values()})
    if not may:
        return None, None
    try:
        return overlays(topology, {host: look.links for host, look in looks.items()}, may), None
    except HostError as error:
        if must:
            raise
        return None, error


@dataclass(frozen=True)
class _Draft:
    """What a node is made from, before and after it is known where it goes."""

    topology: Topology
    looks: Mapping[str, Observed]
    bed: ObservedBed
    leases: Leases
    images: Mapping[tuple[str, str], Image]
    keys: BedKeys
    accel: str
    share_drivers: Mapping[str, Driver]
    fit: Fit
    carried: Overlays | None
    exports: Exports
    folders: Mapping[str, SharedFolder]
    fits: dict[tuple[str, str, bool], Fitted] = field(default_factory=dict)
    narrow: dict[tuple[str, ...], "_Draft"] = field(default_factory=dict)

    def joined(self, attach: Attach) -> "_Draft":
        """With packets as what goes over all hosts leaves them, where the fabrics are attached so."""
        if self.carried is None:
            return self
        over = joined_networks(self.topology, attach)
        if over not in self.narrow:
            self.narrow[over] = replace(self, topology=narrowed(self.topology, self.carried, over))
        return self.narrow[over]

    @property
    def pinned(self) -> bool:
        """Emulated guests are bound to nothing."""
        return self.accel == "kvm"

    @cached_property
    def templates(self) -> dict[str, etree._Element]:
        """By the names that nodes use."""
        return templates_of(self.topology)

    def fitted(self, host: str, name: str, *, preserved: bool) -> etree._Element:
        """A template as that host has it."""
        if (host, name, preserved) not in self.fits:
            template = keep_crashed(self.templates[name]) if preserved else self.templates[name]
            self.fits[host, name, preserved] = self.fit(host, name, template, DOMAIN_TYPES[self.accel])
        return self.fits[host, name, preserved].template

    def lacking(self) -> Lacking:
        """What hosts lack that guests of the templates cannot do without."""
        found: dict[str, dict[str, HostError]] = {}
        for name, template in self.templates.items():
            for host in self.looks:
                try:
                    self.fit(host, name, template, DOMAIN_TYPES[self.accel])
                except HostError as error:
                    found.setdefault(name, {})[host] = error
        return found

    @cached_property
    def files(self) -> BootFiles:
        """Kernels and initrds of the user's."""
        return boot_files(self.topology)

    @cached_property
    def authorized_key(self) -> str:
        """Of whoever logs in."""
        return self.keys.public_key

    def host(self, name: str, places: Places) -> str:
        """Where a node goes."""
        placed = places.node(name)
        if placed is not None:
            return placed.host
        found = self.bed.nodes.get(name)
        return found.host if found is not None else self.topology.nodes[name].host or next(iter(self.looks))

    def at_home(self, folder: SharedFolder, places: Places) -> SharedFolder:
        """With the host that makes it, or has made it: the first that one of its servers is on."""
        on = {self.host(server, places) for server in folder.servers(self.topology)}
        return replace(folder, home=folder.home or next(host for host in self.looks if host in on))

    def node(self, asked: Node, attach: Attach, place: NodePlace | None, host: str) -> DesiredNode:
        """One node, as it should be on that host."""
        image = self.images[host, asked.image]
        found = self.bed.nodes.get(asked.name)
        # One that an older vmlab started is no other for that: it is kept when it crashes from its next start on.
        # Nor does a node lose what it has by default, because another client has come before it in the file.
        if asked.powers is None and found is not None and found.facts.metadata is not None:
            asked = replace(asked, powers="*" if found.facts.metadata.powers == "*" else None)
        preserved = found is None or found.facts.details.preserved or not (found.running or found.saved)

        way = _first_boot(asked, image, found)
        grow = asked.disk is not None and asked.disk > image.size

        @cache
        def seeds(places: tuple[Address, ...]) -> Seed:
            return self._seed(asked.name, image.user, places, way, host, grow=grow)

        def made(topology: Topology, node: Node) -> DesiredNode:
            return desired_node(
                topology,
                node,
                image=image,
                template=self.fitted(host, asked.template, preserved=preserved),
                domain_type=DOMAIN_TYPES[self.accel],
                pool_path=self.looks[host].pool_path,
                host=host,
                addresses=addresses(self.topology, self.leases, attach, asked.name),
                seeds=seeds,
                first_boot=way,
                place=place,
                files=self.files,
                share_driver=self.share_drivers.get(host, "virtiofs"),
                gateway=self.leases.gateways.get(host, ""),
                nameserver=self.nameserver,
                exports=self.exports.seen_on(host),
                folders=self.folders,
            )

        wanted = made(self.topology, asked)
        if found is None or found.live is None or found.facts.metadata is None:
            return wanted
        if found.facts.metadata.digest == wanted.digest:
            return wanted
        there = set(found.facts.serials)
        targets = tuple(t for t in self.topology.targets if t.label in there or asked.name not in t.servers)
        disks = tuple(disk for disk in asked.disks if disk.label in there or disk.device)
        memory = Bytes(found.facts.memory_kib << 10)
        before = made(replace(self.topology, targets=targets), replace(asked, disks=disks, memory=memory))
        return replace(wanted, digest_as_it_runs=before.digest)

    def _seed(self, node: str, user: str, places: tuple[Address, ...], way: str, host: str, *, grow: bool) -> Seed:
        """What a node is told of itself: cloud-init's documents in any case, as an image may promise too much."""
        interfaces = [self._interface(place, host) for place in places if not has_guid(place)]
        told = documents(
            bed=self.topology.name,
            node=node,
            user=user,
            authorized_key=self.authorized_key,
            host_key=self.keys.host_key(node),
            interfaces=interfaces,
            brief=bool(way),
        )
        if way != LEAN:
            return Seed(told)
        names = (node, *(str(place.ip.ip) for place in places))
        identity = Identity(
            node=node,
            user=user,
            machine_id=self.keys.machine_id(node),
            authorized_key=self.authorized_key,
            host_key=self.keys.host_key(node),
            trust=Trust(self.keys.authority, self.keys.host_certificate(node, names), self.keys.root_certificate(node)),
            interfaces=interfaces,
            grow=grow,
        )
        return Seed(told, first_boot(identity))

    @property
    def management_mtu(self) -> int | None:
        """None for what interfaces have by themselves."""
        return self.carried.narrow if self.carried is not None and MANAGEMENT in self.carried.vnis else None

    @property
    def nameserver(self) -> str:
        """Whom nodes ask on a network of the site; "" for nobody, and on one of the bed's own for its gateway."""
        site = self.topology.management
        return str(site.nameserver) if site is not None and site.nameserver is not None else ""

    def _interface(self, place: Address, host: str) -> SeedInterface:
        site = self.topology.management
        if place.fabric == MANAGEMENT and site is not None:
            return SeedInterface(place.interface, place.mac, place.ip, gateway=site.gateway, nameserver=site.nameserver)
        if place.fabric != MANAGEMENT:
            return SeedInterface(place.interface, place.mac, place.ip, mtu=self.topology.fabrics[place.fabric].mtu)
        way = IPv4Address(self.leases.gateways.get(host) or gateway(self.leases.subnet(MANAGEMENT, host)))
        mtu = self.management_mtu
        return SeedInterface(place.interface, place.mac, place.ip, gateway=way, nameserver=way, mtu=mtu)

    def unchanged(self, name: str, attach: Attach) -> bool:
        """The node is there, and as it is asked for, or can become so while it runs."""
        domain = self.bed.nodes[name]
        if name not in self.topology.nodes or domain.facts.metadata is None:
            return False
        anywhere = NodePlace(None, (), ())
        asked = self.joined(attach).node(self.topology.nodes[name], attach, anywhere, domain.host)
        return asked.digest == domain.facts.metadata.digest or grows(asked, domain)


def _first_boot(asked: Node, image: Image, found: ObservedDomain | None) -> str:
    """The way that a node becomes itself. One that an older vmlab started keeps its own, which has no name."""
    lean = image.lean and asked.first_boot == "auto"
    old = found is not None and found.facts.metadata is not None and not found.facts.metadata.first_boot
    if old and not lean and found is not None and (found.running or found.saved):
        return ""
    return LEAN if lean else CLOUD_INIT


def _refuse_moves(topology: Topology, bed: ObservedBed) -> None:
    for name, node in topology.nodes.items():
        if name in bed.nodes and node.host not in (None, bed.nodes[name].host):
            raise HostError(
                f"{name} is on the host {bed.nodes[name].host}, and the file wants it on {node.host}",
                hint=f"vmlab rebuild {topology.file}",
            )


def _placed(draft: _Draft, inventories: Mapping[str, HostInventory], lacking: Lacking, *, restart: bool) -> Places:
    if not inventories:
        return Places(virtual(draft.topology))

    def keep(attach: Attach) -> frozenset[str]:
        """Nodes that run and stay as they are: all of them, or with `restart` those that did not change."""
        running = (name for name, domain in draft.bed.nodes.items() if domain.running)
        return frozenset(name for name in running if not restart or draft.unchanged(name, attach))

    native = guest_architectures(
        draft.topology,
        inventories if draft.pinned else {},
        {name: image for (_, name), image in draft.images.items()},
        {name: emulates(template) for name, template in draft.templates.items()},
    )
    new = [node for name, node in draft.topology.nodes.items() if name not in draft.bed.nodes]
    refuse_without_host(new, inventories, lacking)
    return decide(
        draft.topology, inventories, draft.bed, pinned=draft.pinned, keep=keep, native=native, unfit=told(lacking)
    )


def _part(
    draft: _Draft,
    host: str,
    here: Sequence[Node],
    places: Places,
    inventories: Mapping[str, HostInventory],
    *,
    restart: bool,
    strict: bool,
) -> Part:
    topology, look = draft.topology, draft.looks[host]

    def place(name: str) -> NodePlace | None:
        found = places.node(name)
        if found is None:
            return None
        metadata = draft.bed.metadata.get(name)
        if metadata is not None and name in places.kept:
            own = metadata.addresses
        else:
            own_macs = macs(topology, name, found, inventories[host], strict=strict)
            own = addresses(topology, draft.leases, places.attach, name, own_macs)
        return place_of(found, inventories, own, pinned=draft.pinned)

    def away() -> Iterator[tuple[str, NodePlacement]]:
        for node in here:
            found = places.node(node.name)
            if found is not None and node.name not in places.kept:
                yield node.name, found

    desired = Desired(
        bed=topology.name,
        networks=desired_networks(topology, draft.leases, places.attach, host=host, management_mtu=draft.management_mtu)
        if here or draft.carried is not None
        else (),
        targets=desired_targets(topology, {node.name for node in here}, draft.exports, host, draft.folders),
        nodes={node.name: draft.node(node, places.attach, place(node.name), host) for node in here},
        vfs=places.vfs(host),
        hidden={address: name for name, found in away() for address in hidden(found, inventories[host])},
        overlays=draft.carried.on(host, joined_networks(topology, places.attach)) if draft.carried is not None else (),
        exports=draft.exports.needed(topology, {name: draft.host(name, places) for name in topology.nodes})
        if host == draft.exports.home
        else {},
        folders=tuple(folder for folder in draft.folders.values() if folder.home == host),
    )
    return Part(look, desired, diff(desired, look, restart=restart))


def _refuse_undoable(
    topology: Topology, places: Places, parts: Mapping[str, Part], hosts: Mapping[str, HostInventory]
) -> None:
    """What `up` asks again when it makes virtual functions and takes devices for a node, asked before anything is done.

    A node that is stopped first holds nothing any more.
    """
    if places.placement is None:
        return
    lanes = {(host, name): lane for host, part in parts.items() for name, lane in part.plan.lanes.items()}
    stopped = {name for (_, name), lane in lanes.items() if any(isinstance(action, StopDomain) for action in lane)}
    for (host, pf), count in sorted(places.placement.vfs.items()):
        plan_vfs(hosts[host], pf, count, at_least=True, bed=topology.name)
    for (host, name), lane in lanes.items():
        placement = places.node(name)
        if placement is not None and any(isinstance(action, TakeDevices) for action in lane):
            node, inventory = parts[host].desired.nodes[name], hosts[host]
            claims = (
                replace(claim, running=False) if claim.bed == topology.name and claim.node in stopped else claim
                for claim in inventory.claims
            )
            planned = {device.address for device in placement.devices if device.planned}
            there = [address for address in node.functions if address not in planned]
            refuse_unpassable(replace(inventory, claims=tuple(claims)), there, domain=node.domain)


def templates_of(topology: Topology) -> dict[str, etree._Element]:
    """The templates of all nodes, by the names that they use. Raises TopologyError for one that is none."""
    return {name: _template(topology, name) for name in {node.template for node in topology.nodes.values()}}


def _template(topology: Topology, name: str) -> etree._Element:
    path = Path(topology.file).parent / name if "/" in name else shipped("domain-templates") / f"{name}.xml"
    try:
        content = path.read_bytes()
    except OSError as error:
        known = ", ".join(sorted(p.stem for p in shipped("domain-templates").glob("*.xml")))
        message = f"template {name}: {path}: {error.strerror} (templates: {known}, or a path)"
        raise TopologyError([Problem(topology.file, 1, 1, message)]) from error
    return parse_template(content, path)
