"""What a bed should be on the host: its networks, volumes and domains, complete, as values."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from lxml import etree

from vmlab.domainxml.build import Boot, WantedDomain, build
from vmlab.domainxml.devices import Disk, Interface, Nbd
from vmlab.domainxml.metadata import Address, NetworkMetadata, NodeMetadata, ShareMount, write_digest
from vmlab.domainxml.network import Network
from vmlab.domainxml.share import Driver, Share
from vmlab.domainxml.snapshot import add_generation
from vmlab.domainxml.text import text
from vmlab.domainxml.volume import Volume
from vmlab.plan.export import Exports
from vmlab.plan.kernel import BootFile, BootFiles, boot_of, files_of
from vmlab.plan.lease import Leases, interface_name, ports
from vmlab.plan.node_place import NodePlace
from vmlab.plan.overlay import Overlay
from vmlab.plan.placing import HARDWARE, Attach
from vmlab.plan.shared import SharedFolder
from vmlab.topology import MANAGEMENT, Node, Topology
from vmlab.values import identity
from vmlab.values.pci import PciAddress
from vmlab.values.vf import VfSettings


@dataclass(frozen=True, slots=True)
class Image:
    """What `plan` needs of an image: paths on the host, the disk's virtual size in bytes, who logs in.

    `architecture` "" is not known. `lean`: its guests need no cloud-init.
    """

    name: str
    disk: str
    size: int
    user: str
    boot: Boot | None
    architecture: str = ""
    lean: bool = False


@dataclass(frozen=True, slots=True)
class Seed:
    """What is on a node's seed: cloud-init's documents, and the archive of a node that does without; b"" for others."""

    documents: Mapping[str, str]
    archive: bytes = b""


Seeds = Callable[[tuple[Address, ...]], Seed]
NO_MACS: Mapping[str, str] = MappingProxyType({})
NO_FILES: BootFiles = MappingProxyType({})
NO_EXPORTS: Mapping[str, Nbd] = MappingProxyType({})
NOTHING_EXPORTED = Exports()
NO_FOLDERS: Mapping[str, SharedFolder] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class DesiredNode:
    """One node. `xml` carries the digest; `root` is its clone, `seed` the name of its seed volume, `told` its content.

    `files` are those of the user's that it boots. `digest_as_it_runs` is that of the node with no other disks and
    memory than it has while it runs.

    The digest is of what was asked for, and not of where on the host it went: that only matters to a node that starts.
    """

    name: str
    domain: str
    uuid: str
    xml: str
    digest: str
    metadata: NodeMetadata
    functions: tuple[PciAddress, ...]
    memory_kib: int
    root: Volume
    disks: tuple[Volume, ...]
    seed: str
    told: Seed
    digest_as_it_runs: str = ""
    files: tuple[BootFile, ...] = ()


@dataclass(frozen=True, slots=True)
class Desired:
    """What a bed should have on one host. `targets` are the shared volumes of the file systems.

    `hidden` are functions whose MAC addresses only show when they are back with their drivers, with their nodes.
    `exports` are those of the shared volumes that other hosts need, `folders` those that this one makes.
    """

    bed: str
    networks: tuple[Network, ...]
    targets: tuple[Volume, ...]
    nodes: Mapping[str, DesiredNode]
    vfs: Mapping[PciAddress, int]
    hidden: Mapping[PciAddress, str] = field(default_factory=dict)
    overlays: tuple[Overlay, ...] = ()
    exports: Mapping[str, Nbd] = field(default_factory=dict)
    folders: tuple[SharedFolder, ...] = ()


def over_networks(topology: Topology, attach: Attach) -> tuple[str, ...]:
    """The networks that a bed has on each of its hosts: its own management network, and the virtio fabrics."""
    own = () if topology.management is not None else (MANAGEMENT,)
    return (*own, *(name for name in topology.fabrics if attach[name] == "virtio"))


def joined_networks(topology: Topology, attach: Attach) -> tuple[str, ...]:
    """Those of them that are one over all hosts."""
    return tuple(name for name in over_networks(topology, attach) if name != MANAGEMENT or not topology.routed)


def desired_networks(
    topology: Topology, leases: Leases, attach: Attach, *, host: str = "", management_mtu: int | None = None
) -> tuple[Network, ...]:
    """The bed's own management network, and one isolated network for each virtio fabric; as they are on that host."""
    bed = topology.name

    def network(fabric: str, *, mtu: int | None) -> Network:
        return Network(
            name=identity.network_name(bed, fabric),
            uuid=identity.network_uuid(bed, fabric),
            bridge=identity.bridge_name(bed, fabric),
            routed=fabric == MANAGEMENT,
            mtu=mtu,
            nat=not topology.routed,
            metadata=NetworkMetadata(bed, fabric, leases.subnet(fabric, host)),
            gateway=leases.gateways.get(host, "") if fabric == MANAGEMENT else "",
        )

    return tuple(
        network(name, mtu=management_mtu if name == MANAGEMENT else topology.fabrics[name].mtu)
        for name in over_networks(topology, attach)
    )


def desired_targets(
    topology: Topology,
    here: AbstractSet[str],
    exports: Exports = NOTHING_EXPORTED,
    host: str = "",
    folders: Mapping[str, SharedFolder] = NO_FOLDERS,
) -> tuple[Volume, ...]:
    """A raw volume for each Lustre target that vmlab provides the disk of, where one of its servers is `here`.

    What is exported, or in a folder that several hosts mount, is of the host that exports or made it, whoever serves.
    """
    in_folders = [(folder, volume) for folder in folders.values() for volume in folder.volumes(topology)]
    elsewhere = {volume.name for volume in (*exports.volumes, *(volume for _, volume in in_folders))}
    own = tuple(
        Volume(name, int(target.size), "raw")
        for target in topology.targets
        if target.size is not None
        and not here.isdisjoint(target.servers)
        and (name := identity.target_volume(topology.name, target.label)) not in elsewhere
    )
    shared = (volume for folder, volume in in_folders if folder.home == host)
    return (*own, *(exports.volumes if host == exports.home else ()), *shared)


def addresses(
    topology: Topology, leases: Leases, attach: Attach, node: str, macs: Mapping[str, str] = NO_MACS
) -> tuple[Address, ...]:
    """A node's places on the fabrics, the management network first.

    `macs` are those of devices that bring their own, by interface: MAC addresses, or GUIDs of InfiniBand ports.
    """

    def how(fabric: str) -> str:
        if fabric == MANAGEMENT and topology.management is not None:
            return topology.management.fabric.attach
        if fabric == MANAGEMENT:
            return "routed" if topology.routed else "virtio"
        return attach[fabric]

    return tuple(
        Address(
            fabric=fabric,
            kind="management" if fabric == MANAGEMENT else topology.fabrics[fabric].kind,
            attach=how(fabric),
            interface=interface_name(fabric, index),
            mac=macs.get(interface_name(fabric, index)) or identity.mac(topology.name, node, fabric, index),
            ip=leases.addresses[node, fabric, index],
            mtu=topology.fabrics[fabric].mtu if attach.get(fabric) in HARDWARE else None,
            vf=_asked(topology.fabrics[fabric].vf) if attach.get(fabric) == "vf" else None,
        )
        for fabric, index in ports(topology, node)
    )


def _asked(settings: VfSettings) -> VfSettings | None:
    return None if settings == VfSettings() else settings


def desired_node(
    topology: Topology,
    node: Node,
    *,
    image: Image,
    template: etree._Element,
    domain_type: str,
    pool_path: str,
    host: str,
    addresses: tuple[Address, ...],
    seeds: Seeds,
    first_boot: str = "",
    place: NodePlace | None = None,
    files: BootFiles = NO_FILES,
    share_driver: Driver = "virtiofs",
    gateway: str = "",
    nameserver: str = "",
    exports: Mapping[str, Nbd] = NO_EXPORTS,
    folders: Mapping[str, SharedFolder] = NO_FOLDERS,
) -> DesiredNode:
    """One node's domain and volumes, on that `host`. `seeds` makes its seed; a change of that is a change of the node.

    `addresses` are those before it is known which devices it gets; `place` says that, and where on the host it goes.
    `files` are all that the bed's nodes boot of the user's. Where one was taken from does not matter, only what it is.
    `gateway` and `nameserver` are as in the metadata, `exports` are the volumes that its host reaches by the network;
    `folders` are by file system.
    """
    bed = topology.name
    root = Volume(
        identity.root_volume(bed, node.name),
        max(image.size, int(node.disk or 0)),
        "qcow2",
        backing=image.disk,
    )
    disks = tuple(
        Volume(identity.disk_volume(bed, node.name, d.name), int(d.size), "raw")
        for d in node.disks
        if d.size is not None
    )
    own = files_of(node, files)
    shares = _shares(topology, node, share_driver)
    seed = identity.seed_volume(bed, node.name)
    metadata = NodeMetadata(
        bed=bed,
        node=node.name,
        roles=tuple(node.roles),
        image=image.name,
        user=image.user,
        digest="",
        addresses=addresses,
        shares=tuple(ShareMount(share.tag, share.at, share.driver, share.read_only) for share in shares),
        powers=node.powers or "",
        first_boot=first_boot,
        gateway=gateway,
        nameserver=nameserver,
    )
    machine = WantedDomain(
        name=identity.domain_name(bed, node.name),
        uuid=identity.domain_uuid(bed, node.name),
        domain_type=domain_type,
        vcpus=node.cpus,
        memory_kib=node.memory.kib,
        page_kib=node.hugepages.kib if node.hugepages is not None else None,
        boot=boot_of(node, image.boot, own, pool_path),
        disks=_by_bus(
            Disk(f"{pool_path}/{root.name}", "qcow2", "root"),
            Disk(f"{pool_path}/{seed}", "raw", "seed", readonly=True),
            *_node_disks(bed, node, pool_path),
            *_target_disks(topology, node, pool_path, exports, folders),
            *_passed_disks(node),
        ),
        interfaces=tuple(_interface(topology, host, way) for way in addresses if way.attach not in HARDWARE),
        console_log=f"{pool_path}/{identity.console_volume(bed, node.name)}",
        shares=shares,
        gdb=node.gdb,
    )
    domain = build(template, machine, metadata)
    told = seeds(addresses)
    wish = () if place is None else (node.pin, node.threads, node.numa.policy, node.numa.cells, node.host)
    digest = _digest(domain, root, disks, told, wish)
    if "kernel" in own:
        metadata = replace(metadata, kernel=own["kernel"].source)
    if place is not None:
        metadata = replace(metadata, addresses=place.addresses)
        told = seeds(place.addresses)
        machine = replace(machine, tuning=place.tuning, hostdevs=place.hostdevs)
    if place is not None or metadata.kernel:
        domain = build(template, machine, metadata)
    add_generation(domain)  # not in the digest: a node that an older vmlab defined is no other for lacking it
    write_digest(domain, digest)
    return DesiredNode(
        name=node.name,
        domain=machine.name,
        uuid=machine.uuid,
        xml=text(domain),
        digest=digest,
        metadata=replace(metadata, digest=digest),
        memory_kib=machine.memory_kib,
        root=root,
        disks=disks,
        seed=seed,
        told=told,
        functions=() if place is None else tuple(hostdev.address for hostdev in place.hostdevs),
        files=tuple(own.values()),
    )


def _by_bus(*disks: Disk) -> tuple[Disk, ...]:
    """In libvirt's order, so that what it keeps is what was asked for: virtio before SCSI."""
    return tuple(sorted(disks, key=lambda disk: disk.bus == "scsi"))


def _node_disks(bed: str, node: Node, pool_path: str) -> Iterator[Disk]:
    """The node's own disks that are files of the bed."""
    for disk in node.disks:
        if disk.size is not None:
            yield Disk(
                f"{pool_path}/{identity.disk_volume(bed, node.name, disk.name)}",
                "raw",
                disk.label,
                bus=disk.kind,
                wwn=disk.wwn,
                sector=disk.sector,
                paths=disk.paths,
            )


def _target_disks(
    topology: Topology,
    node: Node,
    pool_path: str,
    exports: Mapping[str, Nbd],
    folders: Mapping[str, SharedFolder],
) -> Iterator[Disk]:
    """Those of the Lustre targets that it serves, as primary or as partner."""
    for target in topology.targets:
        if node.name in target.servers and target.size is not None:
            volume = identity.target_volume(topology.name, target.label)
            nbd = exports.get(volume)
            place = folders[target.fsname].path if target.fsname in folders else pool_path
            path = f"{place}/{volume}" if nbd is None else volume
            yield Disk(path, "raw", target.label, shareable=True, nbd=nbd)


def _passed_disks(node: Node) -> Iterator[Disk]:
    """Those of the host, which other nodes may be given, too. Last: they have no serial number of ours."""
    for disk in node.disks:
        if disk.device is not None:
            yield Disk(
                disk.device,
                "raw",
                disk.label,
                shareable=True,
                bus="scsi",
                passed=True,
                reservations=disk.reservations,
            )


def _shares(topology: Topology, node: Node, driver: Driver) -> tuple[Share, ...]:
    """A tag follows from the mount point: the guest's fstab, which has it, stays true when the folder is another."""
    return tuple(
        Share(
            str(topology.path(share.host)),
            share.at,
            f"share-{hashlib.sha256(share.at.encode()).hexdigest()[:8]}",
            driver,
            share.read_only,
        )
        for share in node.shares
    )


def _interface(topology: Topology, host: str, address: Address) -> Interface:
    fabric = topology.fabric(address.fabric)
    if address.attach == "bridge" and fabric is not None:
        return Interface(address.mac, None, fabric.bridges[host])
    mtu = None if fabric is None else fabric.mtu
    return Interface(address.mac, identity.network_name(topology.name, address.fabric), None, mtu)


def _digest(domain: etree._Element, root: Volume, disks: tuple[Volume, ...], told: Seed, wish: object) -> str:
    sizes = [[volume.name, volume.capacity, volume.backing] for volume in (root, *disks)]
    archive = [hashlib.sha256(told.archive).hexdigest()] if told.archive else []
    asked = json.dumps([text(domain), sizes, dict(told.documents), wish, *archive], sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()[:16]
