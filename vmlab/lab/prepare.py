"""Everything that is decided before anything is done: what is there, what is wanted, and the plan between them."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from lxml import etree

from vmlab.domainxml.build import Boot
from vmlab.domainxml.metadata import Address
from vmlab.domainxml.network import gateway
from vmlab.domainxml.template import parse_template
from vmlab.errors import HostError, Problem, TopologyError
from vmlab.guest.keys import BedKeys
from vmlab.guest.seed import Interface, documents
from vmlab.lab.bed import folder
from vmlab.lab.progress import Progress
from vmlab.plan.actions import Plan
from vmlab.plan.desired import (
    Desired,
    DesiredNode,
    Image,
    addresses,
    attachment,
    desired_networks,
    desired_node,
    desired_targets,
)
from vmlab.plan.diff import diff
from vmlab.plan.lease import MANAGEMENT, Leases, lease
from vmlab.plan.observed import Observed
from vmlab.runtime.shipped import shipped
from vmlab.store.images import Manifest, at_path, find
from vmlab.topology import Node, Topology
from vmlab.virt.accel import locked_away, why_no_kvm
from vmlab.virt.connection import Host
from vmlab.virt.observe import observe
from vmlab.virt.pool import IMAGES, pool_path
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


def images_of(host: Host, topology: Topology) -> dict[str, tuple[Manifest, Path]]:
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


def acceleration(host: Host, wish: str, images: Mapping[str, tuple[Manifest, Path]], progress: Progress) -> str:
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
    why_not = why_no_kvm(kernels[0] if kernels else None) if host.local else None
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
    images: Mapping[str, tuple[Manifest, Path]],
) -> Prepared:
    """Look at the host and decide; nothing is changed."""
    observed = observe(host)
    keys = _keys(topology.name, exists=bool(observed.bed(topology.name).nodes))
    for fabric in topology.fabrics.values():
        if fabric.bridge is not None and host.local and fabric.bridge not in observed.bridges:
            raise HostError(
                f"the host has no bridge {fabric.bridge}, which the fabric {fabric.name} asks for",
                hint=f"ip link add {fabric.bridge} type bridge",
            )
    leases = lease(topology, observed)
    templates = {name: _template(topology, name) for name in {n.template for n in topology.nodes.values()}}
    domain_type = {"kvm": "kvm", "tcg": "qemu", "test": "test"}[accel]
    prepared_images = {name: _image(manifest, store, accel) for name, (manifest, store) in images.items()}
    authorized_key = keys.public_key

    def node(asked: Node) -> DesiredNode:
        image = prepared_images[asked.image]
        places = addresses(topology, leases, asked.name)
        return desired_node(
            topology,
            asked,
            image=image,
            template=templates[asked.template],
            domain_type=domain_type,
            pool_path=observed.pool_path,
            addresses=places,
            documents=documents(
                bed=topology.name,
                node=asked.name,
                user=image.user,
                authorized_key=authorized_key,
                host_key=keys.host_key(asked.name),
                interfaces=[_interface(topology, leases, place) for place in places],
            ),
        )

    desired = Desired(
        bed=topology.name,
        networks=desired_networks(topology, leases),
        targets=desired_targets(topology),
        nodes={asked.name: node(asked) for asked in topology.nodes.values()},
    )
    return Prepared(topology, observed, desired, diff(desired, observed, restart=restart), accel, keys)


def _keys(bed: str, *, exists: bool) -> BedKeys:
    """The bed's keys; new ones for a bed that has neither keys nor a node. Nodes without keys are out of reach."""
    if exists or (folder(bed) / "secret").exists():
        return BedKeys.of(folder(bed))
    return BedKeys.fresh(folder(bed))


def remarks(prepared: Prepared, images: Mapping[str, tuple[Manifest, Path]], progress: Progress) -> None:
    """What the user should know about this bed, one line each."""
    topology = prepared.topology
    for fabric in topology.fabrics.values():
        if fabric.kind == "infiniband" and attachment(topology, fabric.name) == "virtio":
            progress.warn(
                f"fabric {fabric.name}: soft-RoCE stands in for InfiniBand; its figures say nothing about hardware"
            )
    bare = sorted({name for name, (manifest, _) in images.items() if manifest.lustre is None})
    if topology.filesystems and bare:
        progress.say(
            f"the image {', '.join(bare)} carries no Lustre: the bed comes up without its file systems "
            f"({', '.join(topology.filesystems)})"
        )
    for action in prepared.plan.pending:
        if action.node is not None and action.kind in ("stop-domain", "undefine-domain"):
            progress.warn(f"{action.node}: {action.reason}; left as it is, --restart applies it")


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
    return Image(manifest.name, str(store / files.disk), manifest.size, manifest.user, boot)


def _interface(topology: Topology, leases: Leases, place: Address) -> Interface:
    if place.fabric == MANAGEMENT:
        host = IPv4Address(gateway(leases.subnets[MANAGEMENT]))
        return Interface(place.interface, place.mac, place.ip, gateway=host, nameserver=host)
    return Interface(place.interface, place.mac, place.ip, mtu=topology.fabrics[place.fabric].mtu)
