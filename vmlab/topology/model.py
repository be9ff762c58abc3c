"""What may be written in a topology file: its keys, their defaults, and what each value may be.

These classes are the JSON Schema that editors complete from. Values arrive as YAML gave them (`strict`: no guessing)
and leave as the values of `bed`. A rule that needs two keys is in `check`.
"""

from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from vmlab.topology.bed import Attach, Backend, DiskKind, FirstBoot, Keep, Kind, Numa, Pin, Threads, Warm
from vmlab.topology.scalars import (
    MIB,
    Addresses,
    AddressSpan,
    BedName,
    Bridges,
    CommandLine,
    DevicePath,
    DiskName,
    ExternalRoles,
    HostAddress,
    HostDevice,
    LnetNet,
    MachineAddresses,
    Machines,
    MountPoint,
    Nids,
    NodeSets,
    NumaChoice,
    PageSize,
    PciId,
    PhysicalFunction,
    Powers,
    Roles,
    SectorSize,
    Sharing,
    Shell,
    Subnet,
    TcpNet,
    Text,
    Uri,
    Word,
    Wwn,
    as_tuple,
    as_uses,
    at_least,
)
from vmlab.values.addresses import AddressRange
from vmlab.values.rate import Rate
from vmlab.values.size import Bytes

_HIGHEST_INDEX = 0xFFFF
_LARGEST_COUNT = 4096
_MOST_PARTS = 64


class Part(BaseModel):
    """Any mapping with fixed keys. `stand_ins` replace required keys that are wrong, so that checking goes on."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    stand_ins: ClassVar[Mapping[str, Any]] = {}


def network_of(subnet: IPv4Network | None, addresses: AddressRange | None) -> IPv4Network | None:
    """The subnet; without one, that of the site's addresses if a /24 has them all."""
    if subnet is not None or addresses is None:
        return subnet
    around = IPv4Network((addresses.first, 24), strict=False)
    return around if addresses.last in around else None


class ReserveEntry(Part):
    """What the host keeps for itself."""

    cpus: int | None = Field(
        None, ge=0, le=4096, description="whole cores; absent: one under KVM, but not the last that is free"
    )
    memory: Annotated[Bytes, at_least(Bytes(0))] | None = Field(
        None, description="absent: 2GiB under KVM, or a twentieth of the host's memory if that is more"
    )


class HostEntry(Part):
    """A machine that runs nodes."""

    uri: Uri | None = Field(None, description="libvirt's URI; default: LIBVIRT_DEFAULT_URI, or qemu:///system")
    ssh: Shell | None = Field(
        None, description="how to log in there, beside a `uri` of another machine; absent: as qemu+ssh does"
    )
    reserve: ReserveEntry = Field(default_factory=ReserveEntry)
    address: HostAddress | None = Field(
        None, description="its own in the network that joins guests of several hosts (VXLAN: only the hosts are in it)"
    )
    routed: Subnet | None = Field(
        None, description="a range that the site routes to it: what its guests' management networks are leased of"
    )
    fence: CommandLine | None = Field(
        None, description="a fence agent and its options, to switch the whole host off when it does not answer"
    )


class DeviceEntry(Part):
    """Which host devices may serve the fabric."""

    vendor: PciId | None = Field(None, description="PCI vendor id, such as 0x15b3")
    product: PciId | None = Field(None, description="PCI device id")
    model: Word | None = Field(None, description="shell pattern on the product's name")
    address: Addresses | None = Field(None, description="one PCI address or a list")
    pf: PhysicalFunction | None = Field(None, description="the physical function whose VFs may serve")
    whole_group: bool = Field(default=False, description="pass the other functions of a shared IOMMU group along")


class VfEntry(Part):
    """What the host enforces on the fabric's Ethernet VFs; absent: the driver's own."""

    vlan: int | None = Field(None, ge=0, le=4094, description="0: none")
    spoof_check: bool | None = None
    trust: bool | None = None


class FabricEntry(Part):
    """A network."""

    stand_ins: ClassVar[Mapping[str, Any]] = {"kind": "ethernet"}

    kind: Kind
    lnet: LnetNet | None = Field(None, description="LNet network: tcp, tcp1, o2ib, o2ib2 ...; absent: none")
    attach: Attach = "auto"
    device: DeviceEntry | None = None
    subnet: Subnet | None = Field(None, description="absent: leased from a range that the host does not route")
    mtu: int | None = Field(None, ge=576, le=65520)
    bridge: Bridges | None = Field(None, description="the host bridge, with attach: bridge; or of each host its own")
    vf: VfEntry = VfEntry()
    addresses: AddressSpan | None = Field(
        None, description="the site's, for guests on its network; with attach: bridge, vf or passthrough"
    )
    routers: Annotated[dict[LnetNet, Nids], Field(max_length=_MOST_PARTS)] = Field(
        default_factory=dict, description="the site's LNet routers, by the network beyond them"
    )

    @property
    def network(self) -> IPv4Network | None:
        """The subnet; without one, that of the site's addresses if a /24 has them all."""
        return network_of(self.subnet, self.addresses)


class ManagementEntry(Part):
    """The network by which vmlab reaches the guests; absent: one of the bed's own, behind NAT."""

    lnet: TcpNet | None = Field(None, description="LNet network on it: tcp, tcp1 ...; absent: LNet keeps off it")
    bridge: Bridges | None = Field(
        None,
        description="a bridge in a network of the site, which is the management network then; or of each host its own",
    )
    addresses: AddressSpan | None = Field(None, description="the site's, for guests, with `bridge`")
    subnet: Subnet | None = Field(None, description="of the site's network; absent: the /24 that has the addresses")
    gateway: HostAddress | None = Field(None, description="of the site's network; absent: guests have no way out of it")
    nameserver: HostAddress | None = Field(None, description="absent: guests know no names but the bed's")

    @property
    def network(self) -> IPv4Network | None:
        """As a fabric's."""
        return network_of(self.subnet, self.addresses)


class FabricUse(Part):
    """How a node sits on a fabric."""

    count: int = Field(1, ge=1, le=16, description="ports or functions")


class DiskEntry(Part):
    """A disk of the node's own."""

    stand_ins: ClassVar[Mapping[str, Any]] = {"name": "none"}

    name: DiskName
    size: Annotated[Bytes, at_least(MIB)] | None = Field(None, description="of a file of the bed")
    device: HostDevice | None = Field(None, description="a SCSI disk of the host, passed as it is: instead of a size")
    kind: DiskKind = "virtio"
    serial: DiskName | None = Field(None, description="absent: its name")
    wwn: Wwn | None = Field(None, description="with kind: scsi")
    sector: SectorSize | None = Field(None, description="absent: 512B")
    multipath: int = Field(1, ge=1, le=4, description="paths to this one disk, with kind: scsi")
    reservations: bool = Field(default=False, description="persistent ones, with `device`")

    @property
    def label(self) -> str:
        """Its serial number."""
        return self.serial or self.name


class KernelEntry(Part):
    """What a node boots; what is absent is the image's own. Files are below the topology file's folder."""

    image: Word | None = Field(None, description="a bzImage; without an initrd it boots without one")
    initrd: Word | None = None
    args: Text = Field("", description="behind the image's own arguments")


class ShareEntry(Part):
    """A folder of the host in the guest."""

    stand_ins: ClassVar[Mapping[str, Any]] = {"host": ".", "at": "/none"}

    host: Word = Field(description="a folder, below the topology file's unless it is absolute")
    at: MountPoint
    read_only: bool = False


FabricUses = Annotated[
    dict[str, FabricUse],
    BeforeValidator(as_uses),
    Field(max_length=_MOST_PARTS),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
                {
                    "type": "object",
                    "additionalProperties": {
                        "type": ["object", "null"],
                        "properties": {"count": {"type": "integer", "minimum": 1, "maximum": 16, "default": 1}},
                        "additionalProperties": False,
                    },
                },
            ]
        }
    ),
]


class NodeEntry(Part):
    """A guest, or a node set of equal ones."""

    stand_ins: ClassVar[Mapping[str, Any]] = {"role": "build"}

    role: Roles
    cpus: int = Field(1, ge=1, le=1024, description="vCPUs")
    memory: Annotated[Bytes, at_least(Bytes(128 << 20))] = Bytes(1 << 30)
    disk: Annotated[Bytes, at_least(MIB)] | None = Field(None, description="root disk; absent: as large as the image")
    image: Word | None = Field(None, description="absent: the bed's image")
    fabrics: FabricUses = Field(default_factory=dict)
    disks: Annotated[tuple[DiskEntry, ...], BeforeValidator(as_tuple), Field(max_length=_MOST_PARTS)] = ()
    pin: Pin = Field("dedicated", description="dedicated: each vCPU its own host CPU; shared: CPUs nobody is pinned to")
    threads: Threads = Field("prefer", description="how vCPUs sit on SMT siblings")
    numa: NumaChoice = Numa()
    hugepages: PageSize | None = Field(None, description="page size")
    host: Word | None = Field(None, description="absent: vmlab chooses")
    avoid: NodeSets | None = Field(None, description="nodes that should be on other hosts or cells")
    template: Word = Field("server", description="a file of domain-templates/, or a path")
    kernel: KernelEntry | None = Field(None, description="absent: the image's own")
    share: Annotated[tuple[ShareEntry, ...], BeforeValidator(as_tuple), Field(max_length=_MOST_PARTS)] = ()
    first_boot: FirstBoot | None = Field(None, description="absent: the bed's")
    gdb: bool = Field(default=False, description="a debugger can be joined: vmlab gdb BED NODE")
    powers: Powers | None = Field(
        None,
        description="nodes that it may switch off and on from inside, by vmlab-power; []: none; absent: all others for "
        "the first client",
    )


class ExternalUse(Part):
    """Where a machine is on a fabric."""

    address: MachineAddresses = Field(description="of its own; for a node set one for each: 10.1.0.[7-10]")


class ExternalEntry(Part):
    """A machine that is no guest, or a node set of such: never made, powered or erased."""

    stand_ins: ClassVar[Mapping[str, Any]] = {"external": "ssh://none", "role": "client"}

    external: Machines = Field(description="how to log in; for a node set one machine for each: ssh://root@cn[1-4]")
    role: ExternalRoles
    fabrics: Annotated[dict[str, ExternalUse], BeforeValidator(as_uses), Field(max_length=_MOST_PARTS)] = Field(
        default_factory=dict
    )


class MgtEntry(Part):
    """The management target. With neither `size` nor `device` it lies on MDT0000's disk."""

    stand_ins: ClassVar[Mapping[str, Any]] = {"servers": ["none"]}

    servers: NodeSets = Field(description="the first is the primary, the others its failover partners")
    size: Annotated[Bytes, at_least(MIB)] | None = Field(None, description="of a shared volume")
    device: DevicePath | None = Field(None, description="a device that the servers see by themselves")
    faults: bool = Field(default=False, description="its disk fails on demand: vmlab fault add BED write-errors NODES")


class TargetEntry(MgtEntry):
    """Metadata or object targets with the same servers."""

    count: int = Field(1, ge=1, le=_LARGEST_COUNT)
    index: int | None = Field(None, ge=0, le=_HIGHEST_INDEX, description="of the first; absent: the next free one")


class FileSystemHead(Part):
    """What a file system's targets have in common."""

    backend: Backend = "ldiskfs"
    shared: Sharing | None = Field(
        None,
        description="how servers on several hosts share disks with a `size`; export: the first host exports them; a "
        "path: they lie in that folder, which all of these hosts mount",
    )
    clients: NodeSets | None = Field(None, description="default: every node with role client or fta")
    mount: MountPoint = "/mnt/lustre"
    mkfs_options: Text = ""
    mount_options: Text = Field("flock,user_xattr", description="of its clients")


def _without_targets(schema: dict[str, Any]) -> None:
    for key in OF_TARGETS:
        schema["properties"].pop(key, None)


OF_TARGETS = ("mgt", "mdts", "osts", "backend", "shared", "mkfs_options")
"""Keys of file systems that vmlab makes."""


class ExternalFileSystemEntry(FileSystemHead):
    """A Lustre file system that exists: mounted, never formatted, failed over or erased."""

    model_config = ConfigDict(json_schema_extra=_without_targets)

    stand_ins: ClassVar[Mapping[str, Any]] = {"external": ["0.0.0.1@tcp"]}

    external: Nids = Field(description="the NIDs of its MGS, those of failover partners too")


class FileSystemEntry(FileSystemHead):
    """A Lustre file system."""

    mgt: MgtEntry | None = Field(None, description="absent: another file system's MGS serves this one too")
    mdts: list[TargetEntry] = Field(min_length=1)
    osts: list[TargetEntry] = Field(min_length=1)


class SweepEntry(Part):
    """What `vmlab run FILE` varies."""

    bed: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(
        min_length=1,
        description="values by key, such as nodes.pair.cpus: [2, 8]; each combination is a bed",
    )


class Head(Part):
    """The bed's own keys."""

    stand_ins: ClassVar[Mapping[str, Any]] = {"name": "none"}

    name: BedName = Field(description="the bed's name on the host")
    description: Text = ""
    image: Word = Field("demo", description="default image of all nodes: a name in the image store, or a path")
    first_boot: FirstBoot = Field(
        "auto", description="how nodes become who they are: auto: without cloud-init where their image can"
    )
    warm: Warm = Field(
        "auto",
        description="whether nodes go on from the memory of a template that was booted once: auto, where they can",
    )
    keep: Keep | None = Field(
        None, description="warm: `down` keeps all, the memory of the nodes, too, as with --keep-warm; absent: nothing"
    )
    share_memory: bool = Field(
        default=False,
        description="`up` ends as `vmlab host share-memory` does: guests hold once what their memory has alike",
    )
    management: ManagementEntry = ManagementEntry()
    references: Word | None = Field(
        None, description="a file by which `vmlab run` judges, below the topology file's folder"
    )
    limit: dict[str, Rate] = Field(
        default_factory=dict, description="what a fabric can carry, a line in plots where the hosts' record knows none"
    )
    sweep: SweepEntry | None = Field(
        None, description="shapes of the bed that `vmlab run FILE` measures one after the other"
    )


class TopologyFile(Head):
    """A test bed for vmlab."""

    hosts: dict[str, HostEntry] | None = None
    fabrics: dict[str, FabricEntry] | None = Field(None, description="the networks besides `mgmt`, which always exists")
    nodes: dict[str, NodeEntry | ExternalEntry] = Field(
        min_length=1, description="by name or node set, such as oss[1-4]"
    )
    filesystems: dict[str, FileSystemEntry | ExternalFileSystemEntry] | None = None
    workloads: list[Any] | None = Field(None, description="what `vmlab run` does, in order")
