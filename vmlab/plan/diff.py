"""From what is there to what is wanted, and from what is there to nothing."""

from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import PurePath

from vmlab.domainxml.metadata import NodeMetadata
from vmlab.domainxml.network import Network
from vmlab.domainxml.read import DomainFacts, VolumeFacts, read_domain
from vmlab.domainxml.volume import Volume
from vmlab.errors import HostError
from vmlab.plan.actions import (
    Action,
    CreateFolder,
    CreateNetwork,
    CreateVfs,
    CreateVolume,
    DefineDomain,
    DiscardMemory,
    EndExport,
    ExportVolume,
    JoinNetwork,
    LeaveNetwork,
    Plan,
    RemoveFolder,
    RemoveNetwork,
    RemoveVolume,
    ReturnDevices,
    StartDomain,
    StartNetwork,
    StopDomain,
    TakeDevices,
    UndefineDomain,
    WriteFile,
    WriteSeed,
)
from vmlab.plan.desired import Desired, DesiredNode
from vmlab.plan.growing import grows, growth
from vmlab.plan.observed import Observed, ObservedBed, ObservedDomain
from vmlab.plan.overlay import is_as
from vmlab.values import identity


def diff(desired: Desired, observed: Observed, *, restart: bool) -> Plan:
    """The actions that make the bed as desired.

    Memory that was saved is only given up with `restart`: without it that is refused (HostError).

    A running domain that differs is only touched with `restart`; without it the change is told in `pending`. So are
    nodes that the topology no longer has. Raises HostError, naming it, when a domain, network or volume of a name
    that the bed needs belongs to somebody else.
    """
    bed = observed.bed(desired.bed)
    refuse_foreign(desired, observed)
    refuse_used_elsewhere(bed, observed, {volume.path for volume in bed.volumes.values()})
    networks = [action for network in desired.networks for action in _network(network, bed)]
    networks += _joins(desired, bed, {action.name for action in networks if not isinstance(action, StartNetwork)})
    lanes = {node.name: tuple(_node(node, bed)) for node in desired.nodes.values()}
    owned = _by_node(bed.volumes)
    for name, domain in bed.nodes.items():
        if name not in desired.nodes:
            lanes[name] = tuple(_gone(name, domain, owned.get(name, ()), "no longer in the topology"))
    if not restart:
        _refuse_to_discard(bed, {name: lanes[name] for name in desired.nodes})
    # A running guest holds on to the bridge of a network that is made anew, so it has to start again.
    anew = {action.name for action in networks if isinstance(action, RemoveNetwork)}
    for name, domain in bed.nodes.items():
        if domain.running and anew & set(domain.facts.details.sources) and not _stops(lanes.get(name, ())):
            lanes[name] = tuple(_start_again(name, domain))
    unseen = {folder.name for folder in bed.folders.values() if folder.whole and not folder.active}
    targets = (volume for volume in desired.targets if volume.folder not in unseen)
    volumes = [action for volume in targets for action in _volume(volume, bed, None)]
    volumes += _exports(desired, bed)
    # What is only done with leave: stop a running node, remove one that is gone from the topology.
    held_networks = set() if restart else anew
    held_nodes = set() if restart else {n for n, lane in lanes.items() if _stops(lane) or n not in desired.nodes}
    staying = {name: domain for name, domain in bed.nodes.items() if name in held_nodes}
    booting = [node for node in desired.nodes.values() if node.name not in held_nodes]
    return Plan(
        host=tuple(_host(desired)),
        networks=tuple(action for action in networks if action.name not in held_networks),
        volumes=(*volumes, *_files(booting, bed)),
        last=tuple(_stale_files(booting, staying, bed)),
        folders=tuple(_folders(desired, bed)),
        nodes={name: lane for name, lane in lanes.items() if lane and name not in held_nodes},
        pending=(
            *(action for action in networks if action.name in held_networks),
            *(action for name, lane in lanes.items() if name in held_nodes for action in lane),
        ),
    )


def _host(desired: Desired) -> Iterator[Action]:
    for pf, count in sorted(desired.vfs.items()):
        yield CreateVfs(f"{pf}", None, f"{count} virtual functions are needed", pf, count, desired.bed)
    for address, node in sorted(desired.hidden.items()):
        yield ReturnDevices(f"{address}", node, "on vfio-pci it does not show its MAC address", (address,))


def _start_again(name: str, domain: ObservedDomain) -> Iterator[Action]:
    yield StopDomain(domain.facts.name, name, "its network is made anew")
    yield StartDomain(domain.facts.name, name, "its network is made anew")


def removal(bed: ObservedBed, observed: Observed, *, keep_disks: bool) -> Plan:
    """The actions that leave nothing of the bed, or only its disks, marked as kept before anything else is done.

    Raises HostError when a domain outside the bed uses one of the disks: nothing is removed then.
    """
    mark = Volume(identity.kept_volume(bed.name), 0, "raw")
    disks = {name for name in bed.volumes if identity.has_data(name)}
    doomed = {n: v for n, v in bed.volumes.items() if not keep_disks or n not in {*disks, mark.name}}
    refuse_used_elsewhere(bed, observed, {v.path for v in doomed.values()})
    owned = _by_node(doomed)
    lanes = {name: tuple(_gone(name, domain, owned.get(name, ()), "down")) for name, domain in bed.nodes.items()}
    left = [volume for node, volumes in owned.items() if node not in lanes for volume in volumes]
    ended = (EndExport(name, None, "down") for name in bed.exports)
    volumes = (*ended, *(RemoveVolume(name, None, "down") for name in left))
    empty = bed.folders.keys() - {identity.filesystem_of(name) for name in bed.volumes.keys() - doomed.keys()}
    folders = tuple(RemoveFolder(bed.folders[name].name, None, "down") for name in sorted(empty))
    links = (LeaveNetwork(network, None, "down", link.name) for network, link in bed.links.items())
    networks = (*links, *(RemoveNetwork(n.facts.name, None, "down") for n in bed.networks.values()))
    unmarked = keep_disks and disks and mark.name not in bed.volumes
    marked = (CreateVolume(mark.name, None, "disks are kept", mark),) if unmarked else ()
    return Plan(networks, volumes, lanes, host=marked, folders=folders)


def refuse_used_elsewhere(bed: ObservedBed, observed: Observed, paths: set[str]) -> None:
    """A disk that a domain outside the bed needs must not be deleted, or written to, under it."""
    for domain in observed.domains.values():
        facts = domain.facts
        if facts.metadata is not None and facts.metadata.bed == bed.name:
            continue
        for path in sorted(domain.disks_in_use & paths):
            attached = f"virsh detach-disk {facts.name} {path} --persistent"
            raise HostError(
                f"the domain {facts.name}, which is not of the bed {bed.name}, uses {path}: nothing is changed",
                hint=attached if path in facts.disks else f"virsh domblklist {facts.name}: its disks are built on it",
            )


def refuse_foreign(desired: Desired, observed: Observed) -> None:
    """Whatever has a name or a UUID that we need must be ours."""
    uuids = {domain.facts.uuid: name for name, domain in observed.domains.items()}
    for node in desired.nodes.values():
        holder = uuids.get(node.uuid, node.domain)
        if holder != node.domain:
            raise HostError(
                f"the domain {holder} has the UUID of {node.domain}: it was renamed, and is not vmlab's any more",
                hint=f"virsh domrename {holder} {node.domain}, or give the bed another name: --name NAME",
            )
        domain = observed.domains.get(node.domain)
        if domain is not None and (domain.facts.metadata is None or domain.facts.metadata.bed != desired.bed):
            raise _foreign("domain", node.domain)
    for folder in desired.folders:
        if folder.name in observed.other_pools:
            raise _foreign("storage pool", folder.name)
    for network in desired.networks:
        found = observed.networks.get(network.name)
        if found is not None and (found.facts.metadata is None or found.facts.metadata.bed != desired.bed):
            raise _foreign("network", network.name)


def _foreign(kind: str, name: str) -> HostError:
    told = f"a {kind} named {name} exists on the host and is not vmlab's: it is left alone"
    return HostError(told, hint="give the bed another name: --name NAME")


def _network(network: Network, bed: ObservedBed) -> Iterator[Action]:
    found = bed.networks.get(network.metadata.fabric)
    if found is None:
        yield CreateNetwork(network.name, None, "absent", network)
    elif (found.facts.metadata, found.facts.mtu) != (network.metadata, network.mtu):
        reason = "its subnet or MTU changed"
        yield RemoveNetwork(network.name, None, reason)
        yield CreateNetwork(network.name, None, reason, network)
    elif not found.active:
        yield StartNetwork(network.name, None, "not active")


def _joins(desired: Desired, bed: ObservedBed, anew: Container[str]) -> Iterator[Action]:
    """Where a network is made `anew`, its bridge is another one."""
    wanted = {identity.network_name(overlay.bed, overlay.fabric): overlay for overlay in desired.overlays}
    for network, overlay in wanted.items():
        found = bed.links.get(network)
        if network in anew or not is_as(found, overlay, identity.bridge_name(overlay.bed, overlay.fabric)):
            yield JoinNetwork(network, None, "absent" if found is None else "its hosts or its network changed", overlay)
    for network, link in bed.links.items():
        if network not in wanted:
            yield LeaveNetwork(network, None, "the bed is on one host", link.name)


def _exports(desired: Desired, bed: ObservedBed) -> Iterator[Action]:
    """One that is not wanted any more stays until `down`: nodes that are not restarted may have it."""
    for volume, place in desired.exports.items():
        found = bed.exports.get(volume)
        if found is not None and found != place:
            yield EndExport(volume, None, "its address changed")
        if found != place:
            yield ExportVolume(volume, None, "absent" if found is None else "its address changed", place)


def _folders(desired: Desired, bed: ObservedBed) -> Iterator[Action]:
    for folder in desired.folders:
        found = bed.folders.get(folder.filesystem)
        if found is None or not found.whole:
            reason = "absent" if found is None else "its creation was cut off"
            yield CreateFolder(folder.name, None, reason, folder.path)


def _volume(volume: Volume, bed: ObservedBed, node: str | None) -> Iterator[Action]:
    """A disk with data on it is never made anew: a size that differs is refused."""
    found = bed.volumes.get(volume.name)
    if found is None:
        yield CreateVolume(volume.name, node, "absent", volume)
    elif found.capacity != volume.capacity:
        if found.capacity != 0:  # 0: its creation was cut off
            raise HostError(
                f"the disk {found.path} has {found.capacity} bytes, and the topology asks for {volume.capacity}",
                hint=f"keep the old size, or lose what is on it: vmlab rebuild {bed.name}",
            )
        yield RemoveVolume(volume.name, node, "empty")
        yield CreateVolume(volume.name, node, "empty", volume)


def _files(booting: Iterable[DesiredNode], bed: ObservedBed) -> Iterator[Action]:
    """The copies of the users' kernels. One that is shorter than its original was cut off."""
    for file in {file.name: file for node in booting for file in node.files}.values():
        found = bed.volumes.get(file.name)
        if found is None or found.capacity != file.size:
            reason = "absent" if found is None else "half written"
            yield WriteFile(file.name, None, reason, file.source, file.size, file.digest)


def _stale_files(
    booting: Iterable[DesiredNode], staying: Mapping[str, ObservedDomain], bed: ObservedBed
) -> Iterator[Action]:
    """Copies that no node boots any more, neither as it is to be nor, where that is left alone, as it is."""
    needed = {file.name for node in booting for file in node.files}
    needed |= {PurePath(path).name for domain in staying.values() for path in domain.facts.details.uses.boot}
    for name in sorted(bed.volumes):
        if identity.is_boot_volume(name) and name not in needed:
            yield RemoveVolume(name, None, "no node boots it any more")


def _node(node: DesiredNode, bed: ObservedBed) -> Iterator[Action]:
    domain = bed.nodes.get(node.name)
    start = "not running"
    if domain is None or domain.facts.metadata is None or domain.facts.metadata.digest != node.digest:
        start = "absent" if domain is None else _what_changed(node, domain)
        if domain is not None and grows(node, domain):
            disks = (action for disk in node.disks for action in _volume(disk, bed, node.name))
            yield from growth(node, domain, disks, start)
            return
        yield from _defined(node, bed, domain, start)
    elif not domain.running:
        yield from _as_defined(node, bed, domain)
        start = "from its saved memory" if domain.saved == "libvirt" and not _moved(node, domain) else start
    if start != "not running" or domain is None or not domain.running:
        if node.functions:
            yield TakeDevices(node.domain, node.name, start, node.functions)
        yield StartDomain(node.domain, node.name, start)


def _defined(node: DesiredNode, bed: ObservedBed, domain: ObservedDomain | None, reason: str) -> Iterator[Action]:
    """Its disks, its seed and its definition, in place of one that it may have."""
    if domain is not None:
        yield from _stopped(node.name, domain, reason)
    yield from _root(node, bed, reason)
    for disk in node.disks:
        yield from _volume(disk, bed, node.name)
    yield WriteSeed(node.seed, node.name, reason, node.told.documents, node.told.archive)
    yield DefineDomain(node.domain, node.name, reason, node.uuid, node.xml)


def _as_defined(node: DesiredNode, bed: ObservedBed, domain: ObservedDomain) -> Iterator[Action]:
    """What a node that is off lacks for its start, where nothing else was asked for than when it was defined."""
    moved = _moved(node, domain)
    if domain.saved == "file" and not moved:
        yield DiscardMemory(domain.facts.name, node.name, "it is in a file, which no other start can use")
    for disk in (node.root, *node.disks):
        yield from _volume(disk, bed, node.name)
    if moved or node.seed not in bed.volumes:
        yield WriteSeed(node.seed, node.name, moved or "absent", node.told.documents, node.told.archive)
    if moved:
        yield from _stopped(node.name, domain, moved)
        yield DefineDomain(node.domain, node.name, moved, node.uuid, node.xml)


def _refuse_to_discard(bed: ObservedBed, lanes: Mapping[str, tuple[Action, ...]]) -> None:
    for name, domain in bed.nodes.items():
        for action in lanes.get(name, ()):
            if isinstance(action, DiscardMemory):
                how = "managedsave" if domain.saved == "libvirt" else "save"
                back = f"vmlab power on {bed.name} {name}" if domain.saved == "libvirt" else "virsh restore FILE"
                raise HostError(
                    f"{name} is off, and its memory was saved (virsh {how}): starting it anew loses that "
                    f"({action.reason})",
                    hint=f"{back}; or lose it: --restart",
                )


def _stopped(name: str, domain: ObservedDomain, reason: str) -> Iterator[Action]:
    """Not running, its memory gone, and its functions back on the host: the definition that tells of them goes next."""
    if domain.saved:
        yield DiscardMemory(domain.facts.name, name, reason)
    if domain.running:
        yield StopDomain(domain.facts.name, name, reason)
    if domain.facts.hostdevs:
        yield ReturnDevices(domain.facts.name, name, reason, domain.facts.hostdevs)


def _moved(node: DesiredNode, domain: ObservedDomain) -> str:
    """Why a node that is about to start goes elsewhere on the host than its definition says; "" if it does not."""
    old, new = domain.facts, read_domain(node.xml)
    was, will_be = old.details, new.details
    if (was.pins, was.nodeset, was.emulator_cpus) != (will_be.pins, will_be.nodeset, will_be.emulator_cpus):
        return "placed anew: CPUs or cell"
    return "placed anew: devices" if old.hostdevs != new.hostdevs else ""


def _root(node: DesiredNode, bed: ObservedBed, reason: str) -> Iterator[Action]:
    """A clone of another image, or of another size, is made anew: what matters lies on other disks.

    What has a clone's name, without a node that it is of, is only taken for one if it is linked to an image.
    """
    found = bed.volumes.get(node.root.name)
    if found is not None and node.name not in bed.nodes and not _is_clone(found, node.root):
        raise HostError(
            f"the file {found.path} is in the way, and is no clone of vmlab's: it is left alone",
            hint="move it out of the pool's folder",
        )
    if found is not None and (found.capacity, found.backing) == (node.root.capacity, node.root.backing):
        return
    if found is not None:
        yield RemoveVolume(node.root.name, node.name, reason)
    yield CreateVolume(node.root.name, node.name, reason, node.root)


def _is_clone(found: VolumeFacts, root: Volume) -> bool:
    if found.backing is None or root.backing is None:
        return found.capacity == 0  # a creation that was cut off
    return PurePath(found.backing).parent == PurePath(root.backing).parent


def _what_changed(node: DesiredNode, domain: ObservedDomain) -> str:
    """The reason in the user's words, as far as the two domains tell it."""
    old, new = domain.facts, read_domain(node.xml)
    changes = []
    if old.vcpus != new.vcpus:
        changes.append(f"cpus {old.vcpus} -> {new.vcpus}")
    if old.memory_kib != new.memory_kib:
        changes.append(f"memory {old.memory_kib // 1024}MiB -> {new.memory_kib // 1024}MiB")
    if old.kind != new.kind:
        changes.append(f"acceleration {old.kind} -> {new.kind}")
    if (old.disks, old.details.links) != (new.disks, new.details.links):
        changes.append("disks")
    if old.details.sources != new.details.sources or old.ports.keys() != new.ports.keys():
        changes.append("fabrics")
    if old.details.preserved != new.details.preserved:
        changes.append("kept when it crashes")
    if old.metadata is not None and new.metadata is not None:
        changes += _boot_changes(old, new)
        changes += _use_changes(old.metadata, new.metadata)
    return "changed: " + (", ".join(changes) or "template, image, ssh keys or a disk's sectors")


def _boot_changes(old: DomainFacts, new: DomainFacts) -> Iterator[str]:
    """What it boots, by its image's kernel or one of its own."""
    was, will_be = old.details, new.details
    own = any(identity.is_boot_volume(PurePath(path).name) for path in was.uses.boot | will_be.uses.boot)
    images = [facts.metadata.image for facts in (old, new) if facts.metadata is not None]
    if len(set(images)) > 1 or (was.kernel != will_be.kernel and not own):
        yield "image"
    if own and was.uses.boot != will_be.uses.boot:
        yield "kernel"
    if was.boot_args != will_be.boot_args:
        yield "kernel arguments"
    if was.gdb != will_be.gdb:
        yield "gdb"


def _use_changes(old: NodeMetadata, new: NodeMetadata) -> Iterator[str]:
    """What it is for, and reached by."""
    if old.shares != new.shares:
        yield "share"
    if old.roles != new.roles:
        yield "role"
    if old.first_boot != new.first_boot:
        yield "first boot"
    if old.powers != new.powers:
        yield "powers"
    if {a.ip for a in old.addresses} != {a.ip for a in new.addresses}:
        yield "addresses"


def _by_node(volumes: Iterable[str]) -> dict[str | None, list[str]]:
    """Volume names by the node that they are of; under None what is not of one node alone."""
    owned: dict[str | None, list[str]] = {}
    for name in volumes:
        owner = identity.owner_of(name)
        owned.setdefault(None if owner is None else owner.node, []).append(name)
    return owned


def _gone(name: str, domain: ObservedDomain, volumes: Iterable[str], reason: str) -> Iterator[Action]:
    yield from _stopped(name, domain, reason)
    yield UndefineDomain(domain.facts.name, name, reason)
    for volume in volumes:
        yield RemoveVolume(volume, name, reason)


def _stops(lane: tuple[Action, ...]) -> bool:
    return any(isinstance(action, StopDomain) for action in lane)
