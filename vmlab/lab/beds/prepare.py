"""Everything that is decided before anything is done: what is there, what is wanted, and the plan between them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lxml import etree

from vmlab.domainxml.build import Boot
from vmlab.domainxml.read import read_domain
from vmlab.domainxml.share import Driver
from vmlab.errors import HostError
from vmlab.guest.keys import BedKeys
from vmlab.lab.beds.decide import DOMAIN_TYPES, Fit, Prepared, as_it_is, decide_all, templates_of
from vmlab.lab.beds.named import refuse_unusable
from vmlab.lab.beds.same_disks import refuse_other_disks
from vmlab.lab.ground.bed_folder import folder, new_folder
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.images_elsewhere import elsewhere, store_here
from vmlab.lab.ground.progress import Progress
from vmlab.plan.desired import (
    Image,
)
from vmlab.plan.filesystems import check_backends, check_images
from vmlab.plan.fitting import Fitted
from vmlab.plan.observed import Observed, ObservedBed, over_all
from vmlab.plan.placing import wants_devices
from vmlab.runtime.garbage import uncollected
from vmlab.store.images import Manifest, at_path, find
from vmlab.topology import MANAGEMENT, Fabric, Topology
from vmlab.values.libvirt_uri import of_session
from vmlab.virt.accel import locked_away, why_no_kvm
from vmlab.virt.connection import Host
from vmlab.virt.inventory import inventory
from vmlab.virt.machine import machine_of
from vmlab.virt.observe import near, routes_here
from vmlab.virt.passthrough import without_vfio
from vmlab.virt.pool import IMAGES, pool_path
from vmlab.virt.qemu import Offer, emulator, fitted, offer
from vmlab.virt.shares import share_driver
from vmlab.virt.sysfs import sysfs_of
from vmlab.virt.tsc import kernel_parameters

_FEWEST_AT_ONCE = 2
_PER_CPU = 4

Images = Mapping[tuple[str, str], tuple[Manifest, Path]]
"""By host, and the name that nodes use: each with the folder that its files lie in."""


def images_of(hosts: Hosts, topology: Topology) -> Images:
    """The images that the nodes name, on each host: what is known of them is told by the store of this machine."""
    found = {}
    here = store_here(hosts)
    stores = hosts.each(
        lambda host: Path(host.call(lambda connection: pool_path(connection, IMAGES))),
        failed="not all hosts could be asked",
    )
    for host in hosts.values():
        store = stores[host.name]
        for name in {node.image: None for node in topology.nodes.values()}:
            if "/" in name:
                if elsewhere(host):
                    raise HostError(
                        f"the image {name} is a file of this machine, and {host.name} gets only images of the store",
                        hint=f"vmlab image import NAME {name}",
                    )
                path = Path(topology.file).parent / name
                found[host.name, name] = (at_path(path), path.resolve().parent)
            else:
                found[host.name, name] = (find(here if elsewhere(host) else store, name), store)
    return found


def lustre_in(images: Images) -> bool | None:
    """Whether one of the images carries Lustre. None: of one nothing is known, so its guests have to be asked."""
    manifests = [manifest for manifest, _ in images.values()]
    if any(manifest.lustre for manifest in manifests):
        return True
    return False if all(manifest.tells for manifest in manifests) else None


def acceleration(hosts: Hosts, wish: str, images: Images, progress: Progress) -> str:
    """What guests run on: "kvm" or "tcg" ("test" on libvirt's test driver).

    `wish` is "auto", "kvm" or "tcg". Raises HostError when KVM is insisted on and cannot run a guest.
    """
    if hosts.simulated:
        return "test"
    local = next((host for host in hosts.values() if host.local), None)
    if local is not None and locked_away():
        progress.warn("only root may open /dev/kvm, which slows libvirt down: chgrp kvm /dev/kvm; chmod 660 /dev/kvm")
    if wish == "tcg":
        return "tcg"
    why_not = no_kvm_elsewhere(hosts)
    if local is not None and why_not is None:
        kernels = [
            folder / manifest.files.kernel
            for (host, _), (manifest, folder) in images.items()
            if host == local.name and manifest.files.kernel
        ]
        why_not = why_no_kvm(emulator(local).path, kernels[0] if kernels else None, say=progress.say)
    if why_not is None:
        return "kvm"
    if wish == "kvm":
        raise HostError(f"KVM runs no guests here: {why_not}", hint="--accel tcg, which is slow and works anywhere")
    progress.warn(f"KVM runs no guests here: {why_not}. Guests are emulated (TCG): slow, and their speed means nothing")
    return "tcg"


def at_once(hosts: Hosts, accel: str) -> int:
    """How many nodes should start at the same time: more of them would only take the CPUs from each other.

    What a guest waits for under KVM is not its CPU alone; one that is emulated takes one for itself.
    """
    told = hosts.each(
        lambda host: int(host.call(lambda connection: connection.getInfo())[2]), failed="not all hosts could be asked"
    )
    cpus = sum(told.values())
    return max(_FEWEST_AT_ONCE, cpus * _PER_CPU if accel == "kvm" else cpus + 1)


def refuse_without_bridges(topology: Topology, looks: Mapping[str, Observed]) -> None:
    """Raise HostError for a host that has no such bridge as a fabric is to have there."""
    for fabric in topology.described:
        for name, bridge in fabric.bridges.items():
            if bridge not in looks[name].bridges:
                which = f"the host {name}" if len(looks) > 1 else "the host"
                raise HostError(
                    f"{which} has no bridge {bridge}, which {_named(fabric)} asks for",
                    hint=f"ip link add {bridge} type bridge",
                )


def no_kvm_elsewhere(hosts: Hosts) -> str | None:
    """Why the other machines of a bed run no guests under KVM, as far as their libvirts say; nobody tries it there."""
    told = hosts.each(
        lambda host: not elsewhere(host) or "kvm" in emulator(host).kinds, failed="not all hosts could be asked"
    )
    lacking = [name for name, offers in told.items() if not offers]
    return f"libvirt on {', '.join(lacking)} offers none" if lacking else None


def prepare(
    hosts: Hosts,
    topology: Topology,
    *,
    accel: str,
    restart: bool,
    images: Images,
) -> Prepared:
    """Look at the hosts and decide; nothing is changed."""
    _refuse_over_hosts(hosts, topology)
    looks = hosts.look()
    if lustre_in(images):
        manifests = {node.name: images[hosts.home.name, node.image][0] for node in topology.nodes.values()}
        told = [name for name, manifest in manifests.items() if manifest.tells]
        check_images(topology, [name for name in told if manifests[name].lustre], told)
        check_backends(topology, {name: manifests[name].backends for name in told})
    if not hosts.simulated:
        refuse_without_bridges(topology, looks)
    inventories = {}
    if not hosts.simulated and (accel == "kvm" or wants_devices(topology)):
        inventories = hosts.each(inventory, failed="not all hosts could be asked")
        if wants_devices(topology):
            why_not = hosts.each(_unable_to_pass, failed="not all hosts could be asked")
            inventories = {
                name: found if found.no_iommu is not None else replace(found, no_iommu=why_not[name])
                for name, found in inventories.items()
            }
    bed = over_all(topology.name, looks)
    prepared_images = _images(hosts, images, accel)
    keys = _keys(hosts, bed)
    refuse_unusable(hosts, topology, prepared_images)
    if not hosts.simulated:
        refuse_other_disks(hosts, topology, bed)
    with uncollected():
        return decide_all(
            topology,
            looks,
            inventories,
            images=prepared_images,
            keys=keys,
            accel=accel,
            restart=restart,
            share_drivers=_share_drivers(hosts, topology, accel),
            fit=as_it_is if hosts.simulated else _fit(hosts, topology, DOMAIN_TYPES[accel]),
            joined=hosts.several and not hosts.simulated,
        )


def _named(fabric: Fabric) -> str:
    return "`management`" if fabric.name == MANAGEMENT else f"the fabric {fabric.name}"


def _images(hosts: Hosts, images: Images, accel: str) -> dict[tuple[str, str], Image]:
    parameters = dict.fromkeys(hosts, "")
    if accel == "tcg" and any(manifest.files.kernel is not None for manifest, _ in images.values()):
        parameters = hosts.each(kernel_parameters, failed="not all hosts could be asked")
    return {where: _image(manifest, store, parameters[where[0]]) for where, (manifest, store) in images.items()}


def _share_drivers(hosts: Hosts, topology: Topology, accel: str) -> dict[str, Driver]:
    if not any(node.shares for node in topology.nodes.values()):
        return {}
    return hosts.each(lambda host: share_driver(host, DOMAIN_TYPES[accel]), failed="not all hosts could be asked")


def _fit(hosts: Hosts, topology: Topology, kind: str) -> Fit:
    """All hosts are asked at once; what one of them lacks is only told if a node is to go there."""
    templates = templates_of(topology)

    def ask(host: Host) -> dict[str, Offer | HostError]:
        found: dict[str, Offer | HostError] = {}
        for name, template in templates.items():
            try:
                found[name] = offer(host, name, template, kind)
            except HostError as error:
                found[name] = error
        return found

    offers = hosts.each(ask, failed="not all hosts could be asked")

    def fit(host: str, name: str, template: etree._Element, kind: str) -> Fitted:
        found = offers[host][name]
        if isinstance(found, HostError):
            raise found
        return fitted(found, name, template, kind)

    return fit


def _refuse_over_hosts(hosts: Hosts, topology: Topology) -> None:
    """Raise HostError for a disk of vmlab's that servers on several hosts would have."""
    if hosts.simulated or not hosts.several:
        return
    for target in topology.targets:
        if (
            target.size is not None
            and len(target.servers) > 1
            and not topology.filesystems[target.fsname].shared
            and len({_pinned(topology, s) for s in target.servers}) > 1
        ):
            raise HostError(
                f"{target.label} is a disk of {', '.join(target.servers)}, which may be on hosts that do not share it",
                hint="the same `host:` for each of them; `device:`, a LUN that both hosts see; `shared: FOLDER` that "
                "both mount; or `shared: export`",
            )


def _pinned(topology: Topology, node: str) -> str:
    """The host that the file names for a node; where it names none, no two nodes are sure to be on one."""
    return topology.nodes[node].host or f" {node}"


def _unable_to_pass(host: Host) -> str | None:
    """Why no functions are passed there, if that is so.

    A session's libvirt runs as an ordinary user, who may neither rebind functions nor lock memory for them.
    """
    if of_session(host.uri):
        return "devices take the system's libvirt (qemu:///system), not a session's"
    return without_vfio(sysfs_of(host), machine_of(host))


def _keys(hosts: Hosts, bed: ObservedBed) -> BedKeys:
    """The bed's keys; new ones for a bed that has neither keys nor a node. Nodes without keys are out of reach.

    A secret in the old place, which may be another host's, is only taken for this bed's if anything of it is here.
    """
    place = folder(hosts.keeper, bed.name) if bed.exists else new_folder(hosts.keeper, bed.name)
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
    for note in prepared.notes:
        progress.warn(note)
    _remark_on_exports(prepared, progress)
    _remark_on_management(prepared, progress)
    for name, node in prepared.nodes.items():
        if topology.nodes[name].gdb and not read_domain(node.xml).details.kernel:
            progress.warn(f"{name} boots from its own disk: gdb finds symbols only if its boot loader says nokaslr")
    for note in prepared.places.placement.notes if prepared.places.placement is not None else ():
        progress.warn(note)
    if images and topology.filesystems:
        _remark_on_lustre(topology, images, progress)
    for action in prepared.plan.pending:
        if action.node is not None and action.kind in ("stop-domain", "undefine-domain"):
            progress.warn(f"{action.node}: {action.reason}; left as it is, --restart applies it")


def _remark_on_exports(prepared: Prepared, progress: Progress) -> None:
    for host, part in prepared.parts.items():
        if number := len(part.desired.exports):
            progress.warn(
                f"{host} exports {number} disk{'s' * (number > 1)} to other hosts (`shared: export`, NBD): figures say "
                f"nothing about disks, and no failover outlives {host}"
            )


def _remark_on_management(prepared: Prepared, progress: Progress) -> None:
    site = prepared.topology.management
    network = site.fabric.subnet if site is not None else None
    if network is None or prepared.accel == "test" or near(routes_here(), network[1]):
        return
    for host, part in prepared.parts.items():
        if part.desired.nodes and not near(part.observed.routes, network[1]):
            progress.warn(
                f"{host} has no address in {network}, the management network: what reaches its guests is a default "
                f"route, if anything does"
            )


def _remark_on_lustre(topology: Topology, images: Images, progress: Progress) -> None:
    names, filesystems = ", ".join(sorted({name for _, name in images})), ", ".join(topology.filesystems)
    match lustre_in(images):
        case False:
            progress.say(
                f"the image {names} carries no Lustre: the bed comes up without its file systems ({filesystems})"
            )
        case None:
            unknown = ", ".join(sorted({name for (_, name), (manifest, _) in images.items() if not manifest.tells}))
            progress.say(
                f"whether the image {unknown} carries Lustre is not known, so `up` asks its guests, and brings "
                f"{filesystems} up if it does; a manifest beside the disk says it (vmlab image import --help)"
            )


def _image(manifest: Manifest, store: Path, parameters: str) -> Image:
    """`parameters` are those that its kernel gets besides its own."""
    files = manifest.files
    boot = None
    if files.kernel is not None:
        initrd = str(store / files.initrd) if files.initrd else None
        boot = Boot(str(store / files.kernel), initrd, manifest.cmdline + parameters)
    disk = str(store / files.disk)
    return Image(manifest.name, disk, manifest.size, manifest.user, boot, manifest.architecture, manifest.lean)
