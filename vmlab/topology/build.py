"""From a draft without problems to the bed."""

from vmlab.topology import names
from vmlab.topology.bed import (
    DEFAULT_HOST,
    MANAGEMENT,
    DeviceSelector,
    Disk,
    External,
    Fabric,
    FileSystem,
    HostSpec,
    Kernel,
    Node,
    Reserve,
    Share,
    SiteManagement,
    TargetKind,
    TargetSpec,
    Topology,
)
from vmlab.topology.check_filesystems import clients_of
from vmlab.topology.model import DeviceEntry, DiskEntry, KernelEntry
from vmlab.topology.numbering import numbered
from vmlab.topology.read import Draft, FileSystemDraft
from vmlab.values.vf import VfSettings

_KINDS: tuple[TargetKind, ...] = ("MGT", "MDT", "OST")


def build(draft: Draft, file: str) -> Topology:
    """Unfold. The draft has been checked: every name leads somewhere."""
    return Topology(
        name=draft.head.value.name,
        description=draft.head.value.description,
        file=file,
        hosts=_hosts(draft),
        fabrics=_fabrics(draft),
        nodes=_nodes(draft),
        targets=tuple(target for filesystem in draft.filesystems for target in _targets(filesystem, draft)),
        filesystems={filesystem.name: _filesystem(filesystem, draft) for filesystem in draft.filesystems},
        workloads=tuple(draft.workloads),
        management_lnet=draft.head.value.management.lnet,
        externals=_externals(draft),
        references=draft.head.value.references,
        limit=draft.head.value.limit,
        warm=draft.head.value.warm,
        keep=draft.head.value.keep,
        share_memory=draft.head.value.share_memory,
        management=_management(draft),
    )


def _management(draft: Draft) -> SiteManagement | None:
    entry = draft.head.value.management
    if entry.bridge is None:
        return None
    fabric = Fabric(
        name=MANAGEMENT,
        kind="ethernet",
        lnet=entry.lnet,
        attach="bridge",
        device=None,
        subnet=entry.network,
        mtu=None,
        bridges=_bridges(entry.bridge, draft),
        addresses=entry.addresses,
    )
    return SiteManagement(fabric, entry.gateway, entry.nameserver)


def _hosts(draft: Draft) -> dict[str, HostSpec]:
    hosts = {}
    for name, parsed in draft.hosts.items():
        entry = parsed.value
        reserve = Reserve(entry.reserve.cpus, entry.reserve.memory)
        hosts[name] = HostSpec(name, entry.uri, reserve, entry.address, entry.fence or (), entry.routed, entry.ssh)
    return hosts or {DEFAULT_HOST: HostSpec(DEFAULT_HOST)}


def _fabrics(draft: Draft) -> dict[str, Fabric]:
    fabrics = {}
    for name, parsed in draft.fabrics.items():
        entry = parsed.value
        fabrics[name] = Fabric(
            name=name,
            kind=entry.kind,
            lnet=entry.lnet,
            attach=entry.attach,
            device=_device(entry.device) if entry.device else None,
            subnet=entry.network,
            mtu=entry.mtu,
            bridges=_bridges(entry.bridge, draft),
            vf=VfSettings(entry.vf.vlan, entry.vf.spoof_check, entry.vf.trust),
            addresses=entry.addresses,
            routers=entry.routers,
        )
    return fabrics


def _bridges(written: str | dict[str, str] | None, draft: Draft) -> dict[str, str]:
    if isinstance(written, str):
        return dict.fromkeys(draft.hosts or (DEFAULT_HOST,), written)
    return written or {}


def _device(entry: DeviceEntry) -> DeviceSelector:
    return DeviceSelector(entry.vendor, entry.product, entry.model, entry.address or (), entry.pf, entry.whole_group)


def _nodes(draft: Draft) -> dict[str, Node]:
    nodes = {}
    driver = _driver(draft)
    avoided: dict[tuple[str, ...], tuple[str, ...]] = {}
    for name, node in draft.nodes.items():
        entry = node.entry.value
        sets = entry.avoid or ()
        if sets not in avoided:
            avoided[sets] = names.nodes(sets, draft)
        nodes[name] = Node(
            name=name,
            roles=entry.role,
            cpus=entry.cpus,
            memory=entry.memory,
            disk=entry.disk,
            image=entry.image or draft.head.value.image,
            fabrics={fabric: use.count for fabric, use in entry.fabrics.items()},
            disks=tuple(map(_disk, entry.disks)),
            pin=entry.pin,
            threads=entry.threads,
            numa=entry.numa,
            hugepages=entry.hugepages,
            host=entry.host,
            avoid=tuple(other for other in avoided[sets] if other != name),
            template=entry.template,
            kernel=_kernel(entry.kernel) if entry.kernel else None,
            shares=tuple(Share(share.host, share.at, share.read_only) for share in entry.share),
            gdb=entry.gdb,
            first_boot=entry.first_boot or draft.head.value.first_boot,
            powers=("*" if name == driver else None) if entry.powers is None else ",".join(entry.powers),
        )
    return nodes


def _driver(draft: Draft) -> str | None:
    """The node that powers all others by default: the first client, of the bed's own file system if there is one.

    None where there is nobody else.
    """
    of_filesystems = (clients_of(each, draft) for each in draft.filesystems if not each.external)
    by_role = (name for name, node in draft.nodes.items() if "client" in node.entry.value.role)
    clients = (*(name for found in of_filesystems for name in found), *by_role)
    return next(iter(clients), None) if len(draft.nodes) > 1 else None


def _externals(draft: Draft) -> dict[str, External]:
    found = {}
    for name, machine in draft.externals.items():
        entry, place = machine.entry.value, machine.place
        found[name] = External(
            name=name,
            roles=entry.role,
            user=entry.external.user,
            host=entry.external.hosts[place],
            port=entry.external.port,
            addresses={fabric: use.address[place] for fabric, use in entry.fabrics.items()},
        )
    return found


def _disk(entry: DiskEntry) -> Disk:
    return Disk(
        name=entry.name,
        size=entry.size,
        kind=entry.kind,
        serial=entry.serial,
        wwn=entry.wwn,
        sector=None if entry.sector is None else int(entry.sector),
        paths=entry.multipath,
        device=entry.device,
        reservations=entry.reservations,
    )


def _kernel(entry: KernelEntry) -> Kernel:
    return Kernel(entry.image, entry.initrd, entry.args)


def _targets(filesystem: FileSystemDraft, draft: Draft) -> list[TargetSpec]:
    targets = []
    for kind in _KINDS:
        for target, index in numbered(filesystem, kind):
            entry = target.entry.value
            servers = names.nodes(entry.servers, draft)
            spec = TargetSpec(filesystem.name, kind, index, servers, entry.size, entry.device, entry.faults)
            targets.append(spec)
    return targets


def _filesystem(filesystem: FileSystemDraft, draft: Draft) -> FileSystem:
    head = filesystem.entry.value
    return FileSystem(
        name=filesystem.name,
        backend=head.backend,
        mount=head.mount,
        mkfs_options=head.mkfs_options,
        mount_options=head.mount_options,
        clients=clients_of(filesystem, draft),
        external=filesystem.external,
        shared=head.shared or "",
    )
