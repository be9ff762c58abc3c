"""Everything that is decided before anything is done: what is there, what is wanted, and the plan between them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path

from lxml import etree

from vmlab.domainxml.build import Boot
from vmlab.domainxml.metadata import Address, NodeMetadata
from vmlab.domainxml.network import gateway
from vmlab.domainxml.template import emulates, parse_template
from vmlab.errors import HostError, Problem, TopologyError
from vmlab.fabrics.infiniband import has_guid
from vmlab.guest.keys import BedKeys
from vmlab.guest.seed import SeedInterface, documents
from vmlab.inventory.model import HostInventory
from vmlab.inventory.passable import refuse_unpassable
from vmlab.inventory.vfs import plan_vfs
from vmlab.lab.ground.bed_folder import folder, new_folder
from vmlab.lab.ground.progress import Progress
from vmlab.plan.actions import Plan, StartDomain, StopDomain, TakeDevices
from vmlab.plan.desired import (
    Desired,
    DesiredNode,
    Image,
    addresses,
    desired_networks,
    desired_node,
    desired_targets,
)
from vmlab.plan.diff import diff
from vmlab.plan.filesystems import check_backends, check_images
from vmlab.plan.lease import Leases, lease
from vmlab.plan.native import guest_architectures
from vmlab.plan.node_place import NodePlace, hidden, macs, place_of
from vmlab.plan.observed import Observed, ObservedBed
from vmlab.plan.placing import Attach, Places, decide, virtual, wants_devices
from vmlab.runtime.shipped import shipped
from vmlab.store.images import Manifest, at_path, find
from vmlab.topology import MANAGEMENT, Node, Topology
from vmlab.virt.accel import locked_away, why_no_kvm
from vmlab.virt.connection import Host
from vmlab.virt.host import available_memory
from vmlab.virt.inventory import inventory
from vmlab.virt.machine import machine_of
from vmlab.virt.observe import observe
from vmlab.virt.passthrough import without_vfio
from vmlab.virt.pool import IMAGES, pool_path
from vmlab.virt.sysfs import sysfs_of
from vmlab.virt.tsc import kernel_parameters


@dataclass(frozen=True, slots=True)
class Prepared:
    """The decisions. `accel` is "kvm", "tcg" or "test"."""

    topology: Topology
    observed: Observed
    desired: Desired
    plan: Plan
    accel: str
    keys: BedKeys
    places: Places

    @property
    def members(self) -> dict[str, NodeMetadata]:
        """Every node that the bed has when this is done: those, too, that the topology no longer has and that stay."""
        there = self.observed.bed(self.topology.name).metadata
        left = {name: found for name, found in there.items() if name not in self.plan.lanes}
        return left | {name: node.metadata for name, node in self.desired.nodes.items()}


Images = Mapping[str, tuple[Manifest, Path]]
"""By the name that nodes use: each with the folder that its files lie in."""

_DOMAIN_TYPES = {"kvm": "kvm", "tcg": "qemu", "test": "test"}


def images_of(host: Host, topology: Topology) -> Images:
    """The images that the nodes name, each with the folder that its files lie in."""
    store = Path(host.call(lambda connection: pool_path(connection, IMAGES)))
    found = {}
    for name in {node.image: None for node in topology.nodes.values()}:
        if "/" in name:
            path = Path(topology.file).parent / name
            found[name] = (at_path(path), path.resolve().parent)
        else:
            found[name] = (find(store, name), store)
    return found


def lustre_in(images: Images) -> bool | None:
    """Whether one of the images carries Lustre. None: of one nothing is known, so its guests have to be asked."""
    manifests = [manifest for manifest, _ in images.values()]
    if any(manifest.lustre for manifest in manifests):
        return True
    return False if all(manifest.tells for manifest in manifests) else None


def acceleration(host: Host, wish: str, images: Images, progress: Progress) -> str:
    """What guests run on: "kvm" or "tcg" ("test" on libvirt's test driver).

    `wish` is "auto", "kvm" or "tcg". Raises HostError when KVM is insisted on and cannot run a guest.
    """
    if host.simulated:
        return "test"
    if host.local and locked_away():
        progress.warn("only root may open /dev/kvm, which slows libvirt down: chgrp kvm /dev/kvm; chmod 660 /dev/kvm")
    if wish == "tcg":
        return "tcg"
    kernels = [folder / manifest.files.kernel for manifest, folder in images.values() if manifest.files.kernel]
    why_not = why_no_kvm(kernels[0] if kernels else None, say=progress.say) if host.local else None
    if why_not is None:
        return "kvm"
    if wish == "kvm":
        raise HostError(f"KVM runs no guests here: {why_not}", hint="--accel tcg, which is slow and works anywhere")
    progress.warn(f"KVM runs no guests here: {why_not}. Guests are emulated (TCG): slow, and their speed means nothing")
    return "tcg"


def prepare(
    host: Host,
    topology: Topology,
    *,
    accel: str,
    restart: bool,
    images: Images,
) -> Prepared:
    """Look at the host and decide; nothing is changed."""
    observed = observe(host)
    if lustre_in(images):
        manifests = {node.name: images[node.image][0] for node in topology.nodes.values()}
        told = [name for name, manifest in manifests.items() if manifest.tells]
        check_images(topology, [name for name in told if manifests[name].lustre], told)
        check_backends(topology, {name: manifests[name].backends for name in told})
    for fabric in topology.fabrics.values():
        if fabric.bridge is not None and host.local and fabric.bridge not in observed.bridges:
            raise HostError(
                f"the host has no bridge {fabric.bridge}, which the fabric {fabric.name} asks for",
                hint=f"ip link add {fabric.bridge} type bridge",
            )
    hosts: dict[str, HostInventory] = {}
    if not host.simulated and (accel == "kvm" or wants_devices(topology)):
        found = inventory(host)
        hosts = {next(iter(topology.hosts)): _passable(host, found) if wants_devices(topology) else found}
    prepared_images = {name: _image(manifest, store, accel) for name, (manifest, store) in images.items()}
    keys = _keys(host, observed.bed(topology.name))
    return decide_all(topology, observed, hosts, images=prepared_images, keys=keys, accel=accel, restart=restart)


def _passable(host: Host, found: HostInventory) -> HostInventory:
    """A session's libvirt runs as an ordinary user, who may neither rebind functions nor lock memory for them."""
    if host.uri.endswith("/session"):
        return replace(found, no_iommu="devices take the system's libvirt (qemu:///system), not a session's")
    if found.no_iommu is None and (reason := without_vfio(sysfs_of(host), machine_of(host))) is not None:
        return replace(found, no_iommu=reason)
    return found


def decide_all(
    topology: Topology,
    observed: Observed,
    hosts: Mapping[str, HostInventory],
    *,
    images: Mapping[str, Image],
    keys: BedKeys,
    accel: str,
    restart: bool,
    recorded: bool = False,
) -> Prepared:
    """Everything that follows from what was seen. Without `hosts` nothing is placed, and no device is passed.

    A `recorded` host may lack the MAC addresses and GUIDs of its functions.
    """
    bed = observed.bed(topology.name)
    leases = lease(topology, observed)
    templates = {name: _template(topology, name) for name in {n.template for n in topology.nodes.values()}}
    authorized_key = keys.public_key
    pinned = accel == "kvm"
    machines = {name: emulates(template) for name, template in templates.items()}
    architectures = guest_architectures(topology, hosts if pinned else {}, images, machines)

    def node(asked: Node, attach: Attach, place: NodePlace | None) -> DesiredNode:
        image = images[asked.image]

        def seeds(places: tuple[Address, ...]) -> Mapping[str, str]:
            return documents(
                bed=topology.name,
                node=asked.name,
                user=image.user,
                authorized_key=authorized_key,
                host_key=keys.host_key(asked.name),
                interfaces=[_interface(topology, leases, p) for p in places if not has_guid(p)],
            )

        return desired_node(
            topology,
            asked,
            image=image,
            template=templates[asked.template],
            domain_type=_DOMAIN_TYPES[accel],
            pool_path=observed.pool_path,
            addresses=addresses(topology, leases, attach, asked.name),
            documents=seeds,
            place=place,
        )

    def keep(attach: Attach) -> frozenset[str]:
        """Nodes that run and stay as they are: all of them, or with `restart` those that did not change."""
        running = {name: d for name, d in bed.nodes.items() if d.running}
        if not restart:
            return frozenset(running)
        bare = NodePlace(None, (), ())
        return frozenset(
            name
            for name, domain in running.items()
            if name in topology.nodes
            and domain.facts.metadata is not None
            and node(topology.nodes[name], attach, replace(bare, addresses=())).digest == domain.facts.metadata.digest
        )

    if hosts:
        places = decide(topology, hosts, bed, pinned=pinned, keep=keep, native=architectures)
    else:
        places = Places(virtual(topology))

    def place(name: str) -> NodePlace | None:
        found = places.node(name)
        if found is None:
            return None
        metadata = bed.metadata.get(name)
        if metadata is not None and name in places.kept:
            own = metadata.addresses
        else:
            own_macs = macs(topology, name, found, hosts[found.host], strict=not recorded)
            own = addresses(topology, leases, places.attach, name, own_macs)
        return place_of(found, hosts, own, pinned=pinned)

    desired = Desired(
        bed=topology.name,
        networks=desired_networks(topology, leases, places.attach),
        targets=desired_targets(topology),
        nodes={asked.name: node(asked, places.attach, place(asked.name)) for asked in topology.nodes.values()},
        vfs={} if places.placement is None else {pf: count for (_, pf), count in places.placement.vfs.items()},
        hidden={
            address: name
            for name in topology.nodes
            if name not in places.kept and (found := places.node(name)) is not None
            for address in hidden(found, hosts[found.host])
        },
    )
    plan = diff(desired, observed, restart=restart)
    _refuse_undoable(topology, places, desired, plan, hosts)
    return Prepared(topology, observed, desired, plan, accel, keys, places)


def _keys(host: Host, bed: ObservedBed) -> BedKeys:
    """The bed's keys; new ones for a bed that has neither keys nor a node. Nodes without keys are out of reach.

    A secret in the old place, which may be another host's, is only taken for this bed's if anything of it is here.
    """
    place = folder(host, bed.name) if bed.exists else new_folder(host, bed.name)
    if bed.nodes or (place / "secret").exists():
        return BedKeys.of(place)
    return BedKeys.fresh(place)


def remarks(prepared: Prepared, images: Images, progress: Progress) -> None:
    """What the user should know about this bed, one line each."""
    topology = prepared.topology
    for fabric in topology.fabrics.values():
        if fabric.kind == "infiniband" and prepared.places.attach[fabric.name] == "virtio":
            progress.warn(
                f"fabric {fabric.name}: soft-RoCE stands in for InfiniBand; its figures say nothing about hardware"
            )
    for note in prepared.places.placement.notes if prepared.places.placement is not None else ():
        progress.warn(note)
    if images and topology.filesystems:
        _remark_on_lustre(topology, images, progress)
    for action in prepared.plan.pending:
        if action.node is not None and action.kind in ("stop-domain", "undefine-domain"):
            progress.warn(f"{action.node}: {action.reason}; left as it is, --restart applies it")


def _remark_on_lustre(topology: Topology, images: Images, progress: Progress) -> None:
    names, filesystems = ", ".join(sorted(images)), ", ".join(topology.filesystems)
    match lustre_in(images):
        case False:
            progress.say(
                f"the image {names} carries no Lustre: the bed comes up without its file systems ({filesystems})"
            )
        case None:
            unknown = ", ".join(sorted(name for name, (manifest, _) in images.items() if not manifest.tells))
            progress.say(
                f"whether the image {unknown} carries Lustre is not known, so `up` asks its guests, and brings "
                f"{filesystems} up if it does; a manifest beside the disk says it (vmlab image import --help)"
            )


def admit(host: Host, prepared: Prepared) -> None:
    """Refuse a bed that would drive the host out of memory, before anything is started; `plan` asks the same."""
    starting = [
        node
        for name, node in prepared.desired.nodes.items()
        if any(isinstance(action, StartDomain) for action in prepared.plan.lanes.get(name, ()))
    ]
    wanted = sum(node.memory_kib for node in starting)
    free = available_memory(host)
    if free is not None and wanted > free:
        raise HostError(
            f"{len(starting)} nodes want {wanted // 1024} MiB of memory, and the host has {free // 1024} MiB available",
            hint="take other beds down (`vmlab list`), or give the nodes less `memory`",
        )


def _refuse_undoable(
    topology: Topology, places: Places, desired: Desired, plan: Plan, hosts: Mapping[str, HostInventory]
) -> None:
    """What `up` asks again when it makes virtual functions and takes devices for a node, asked before anything is done.

    A node that is stopped first holds nothing any more.
    """
    if places.placement is None:
        return
    stopped = {name for name, lane in plan.lanes.items() if any(isinstance(action, StopDomain) for action in lane)}
    for (host, pf), count in sorted(places.placement.vfs.items()):
        plan_vfs(hosts[host], pf, count, at_least=True, bed=topology.name)
    for name, lane in plan.lanes.items():
        placement = places.node(name)
        if placement is not None and any(isinstance(action, TakeDevices) for action in lane):
            inventory = hosts[placement.host]
            claims = (
                replace(claim, running=False) if claim.bed == topology.name and claim.node in stopped else claim
                for claim in inventory.claims
            )
            planned = {device.address for device in placement.devices if device.planned}
            there = [address for address in desired.nodes[name].functions if address not in planned]
            refuse_unpassable(replace(inventory, claims=tuple(claims)), there, domain=desired.nodes[name].domain)


def _template(topology: Topology, name: str) -> etree._Element:
    path = Path(topology.file).parent / name if "/" in name else shipped("domain-templates") / f"{name}.xml"
    try:
        content = path.read_bytes()
    except OSError as error:
        known = ", ".join(sorted(p.stem for p in shipped("domain-templates").glob("*.xml")))
        message = f"template {name}: {path}: {error.strerror} (templates: {known}, or a path)"
        raise TopologyError([Problem(topology.file, 1, 1, message)]) from error
    return parse_template(content, path)


def _image(manifest: Manifest, store: Path, accel: str) -> Image:
    files = manifest.files
    boot = None
    if files.kernel is not None:
        cmdline = manifest.cmdline + (kernel_parameters() if accel == "tcg" else "")
        boot = Boot(str(store / files.kernel), str(store / files.initrd) if files.initrd else None, cmdline)
    disk = str(store / files.disk)
    return Image(manifest.name, disk, manifest.size, manifest.user, boot, manifest.architecture)


def _interface(topology: Topology, leases: Leases, place: Address) -> SeedInterface:
    if place.fabric == MANAGEMENT:
        host = IPv4Address(gateway(leases.subnets[MANAGEMENT]))
        return SeedInterface(place.interface, place.mac, place.ip, gateway=host, nameserver=host)
    return SeedInterface(place.interface, place.mac, place.ip, mtu=topology.fabrics[place.fabric].mtu)
