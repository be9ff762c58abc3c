"""What a topology file means, unfolded: each node and target by itself. What a user may write is in `model`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, Literal

from vmlab.topology import select
from vmlab.values.addresses import AddressRange
from vmlab.values.nid import Nid
from vmlab.values.pci import PciAddress
from vmlab.values.rate import Rate
from vmlab.values.size import Bytes
from vmlab.values.ssh_uri import SshUri
from vmlab.values.vf import VfSettings

Role = Literal["mgs", "mds", "oss", "client", "router", "fta", "build"]
Kind = Literal["infiniband", "ethernet"]
Attach = Literal["auto", "passthrough", "vf", "virtio", "bridge"]
Pin = Literal["dedicated", "shared"]
Threads = Literal["prefer", "isolate", "require"]
NumaPolicy = Literal["strict", "preferred", "none"]
Backend = Literal["ldiskfs", "zfs", "wbcfs"]
TargetKind = Literal["MGT", "MDT", "OST"]
DiskKind = Literal["virtio", "scsi"]
FirstBoot = Literal["auto", "cloud-init"]
Warm = Literal["auto", "never", "only"]
Keep = Literal["warm"]

DEFAULT_HOST = "local"
MANAGEMENT = "mgmt"
"""The network that every bed has, by which vmlab reaches its guests."""


@dataclass(frozen=True, slots=True)
class Reserve:
    """What a host keeps for itself; `cpus` are whole cores. None: not written, so that a default holds under KVM."""

    cpus: int | None = None
    memory: Bytes | None = None


@dataclass(frozen=True, slots=True)
class HostSpec:
    """A machine that runs nodes. No `uri`: LIBVIRT_DEFAULT_URI, or qemu:///system.

    `ssh` leads to a shell there; None: as the `uri` does.
    `address` is its own in the network that joins the guests of several hosts. `routed` is a range that the site routes
    to it, for its guests' management. `fence` are the words of a command that switches its power, as fence agents do;
    empty for none.
    """

    name: str
    uri: str | None = None
    reserve: Reserve = Reserve()
    address: IPv4Address | None = None
    fence: tuple[str, ...] = ()
    routed: IPv4Network | None = None
    ssh: SshUri | None = None


@dataclass(frozen=True, slots=True)
class DeviceSelector:
    """Which host devices may serve a fabric. What is not given does not restrict.

    `model` is a shell pattern on the product's name; `pf` a physical function by address or by its device's name.
    `whole_group`: where a function shares its IOMMU group, the guest gets the others of the group, too.
    """

    vendor: int | None = None
    product: int | None = None
    model: str | None = None
    address: tuple[PciAddress, ...] = ()
    pf: PciAddress | str | None = None
    whole_group: bool = False


@dataclass(frozen=True, slots=True)
class Fabric:
    """A network of the bed. `lnet` is normalised (`tcp`, not `tcp0`); without `subnet` one is leased by `up`.

    `bridges` are those of hosts that guests are on, by host; none where it has none. `addresses` are those that the
    site gives to guests, in a network of its own: `subnet` is that network then. `routers` are the site's LNet routers
    on it, by the network that is beyond them.
    """

    name: str
    kind: Kind
    lnet: str | None
    attach: Attach
    device: DeviceSelector | None
    subnet: IPv4Network | None
    mtu: int | None
    bridges: Mapping[str, str] = field(default_factory=dict, hash=False)
    vf: VfSettings = field(default_factory=VfSettings)
    addresses: AddressRange | None = None
    routers: Mapping[str, tuple[Nid, ...]] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class SiteManagement:
    """A network of the site that is the management network: a bridge of each host is in it, and guests get addresses.

    Without a `gateway` they have no way out of it, without a `nameserver` they know no names but the bed's.
    """

    fabric: Fabric
    gateway: IPv4Address | None = None
    nameserver: IPv4Address | None = None

    @property
    def taken(self) -> frozenset[IPv4Address]:
        """What no guest gets."""
        return frozenset(filter(None, (self.gateway, self.nameserver)))


@dataclass(frozen=True, slots=True)
class Numa:
    """How CPUs, memory and devices share host cells. `cells`: so many guest cells, each strictly in a host cell."""

    policy: NumaPolicy = "strict"
    cells: int | None = None


@dataclass(frozen=True, slots=True)
class Disk:
    """A node's own disk: a file of the bed of `size`, or a SCSI `device` of the host, passed as it is.

    `label` is its serial number, by which guests find it: /dev/disk/by-id/virtio-LABEL, or
    scsi-0QEMU_QEMU_HARDDISK_LABEL, and wwn-0xWWN. `sector` in bytes; None: 512. `paths`: it is on so many controllers
    at once. `reservations`: persistent ones of SCSI reach the device.
    """

    name: str
    size: Bytes | None
    kind: DiskKind = "virtio"
    serial: str | None = None
    wwn: str | None = None
    sector: int | None = None
    paths: int = 1
    device: str | None = None
    reservations: bool = False

    @property
    def label(self) -> str:
        """The serial number; without one, its name."""
        return self.serial or self.name


@dataclass(frozen=True, slots=True)
class Kernel:
    """What a node boots instead of its image's own: files as written, and further arguments."""

    image: str | None = None
    initrd: str | None = None
    args: str = ""


@dataclass(frozen=True, slots=True)
class Share:
    """A folder of the host, as written, in the guest `at` a mount point."""

    host: str
    at: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """One guest. `fabrics` are the numbers of its ports by fabric; no `disk`: the image's own size.

    `first_boot`: "auto" is without cloud-init where the image can. `gdb`: a debugger can be joined to it. `powers` is
    the node set that it may switch off and on from inside, as written or by default; "" for none, None where neither
    says anything.
    """

    name: str
    roles: tuple[Role, ...]
    cpus: int
    memory: Bytes
    disk: Bytes | None
    image: str
    fabrics: Mapping[str, int]
    disks: tuple[Disk, ...]
    pin: Pin
    threads: Threads
    numa: Numa
    hugepages: Bytes | None
    host: str | None
    avoid: tuple[str, ...]
    template: str
    kernel: Kernel | None = None
    shares: tuple[Share, ...] = ()
    gdb: bool = False
    powers: str | None = None
    first_boot: FirstBoot = "auto"


@dataclass(frozen=True, slots=True)
class External:
    """A machine that is there anyway, reached as its user does: vmlab neither makes, powers nor ends it.

    `user` "" and `port` None are what ssh's own configuration says; `addresses` are its own ones, by fabric.
    """

    name: str
    roles: tuple[Role, ...]
    user: str
    host: str
    port: int | None
    addresses: Mapping[str, IPv4Address]

    @property
    def uri(self) -> str:
        """How to log in, as in the file."""
        return str(SshUri(self.user, (self.host,), self.port))

    @property
    def fabrics(self) -> Mapping[str, int]:
        """As a node has them: one port on each."""
        return dict.fromkeys(self.addresses, 1)


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """One Lustre target: a shared volume of `size`, or a `device` that its servers see by themselves.

    `servers[0]` is the primary, the others its failover partners. Neither size nor device: backend wbcfs, in memory.
    `faults`: its disk can be told to fail.
    """

    fsname: str
    kind: TargetKind
    index: int
    servers: tuple[str, ...]
    size: Bytes | None
    device: str | None
    faults: bool = False

    @property
    def label(self) -> str:
        """As Lustre labels it: `lustre-MGS`, `lustre-MDT0000`, `lustre-OST000a`."""
        return f"{self.fsname}-MGS" if self.kind == "MGT" else f"{self.fsname}-{self.kind}{self.index:04x}"


@dataclass(frozen=True, slots=True)
class FileSystem:
    """What all targets and clients of one file system have in common.

    `external` are the NIDs of the MGS of one that is there anyway: it has no targets here, and is only mounted.
    `shared` "export": disks with a `size` that several servers have lie on the first host, which exports them; a path:
    those of all targets lie in that folder, which the servers' hosts mount.
    """

    name: str
    backend: Backend
    mount: str
    mkfs_options: str
    mount_options: str
    clients: tuple[str, ...]
    external: tuple[Nid, ...] = ()
    shared: str = ""

    @property
    def folder(self) -> str:
        """What the hosts of its servers mount; "" for none."""
        return self.shared if self.shared.startswith("/") else ""


@dataclass(frozen=True, slots=True)
class Workload:
    """What `vmlab run` does; `options` as written, already valid if the workload was known."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Topology:
    """A bed as it should be. Everything is in the file's order; `fabrics` does not contain `mgmt`.

    `nodes` are its guests, `externals` the other machines that take part.

    LNet is on the management network only if `management_lnet` names its network there. `references` is a file, as
    written, by which its figures are judged. `limit` is what fabrics can carry. `shapes` are the beds that its sweep
    makes of it. `warm`: whether nodes go on from the memory of a template. `keep`: what `down` keeps; None: nothing.
    `share_memory`: whether guests share what they have alike when all is ready.
    `management` is where that network is the site's, and None where it is the bed's own.
    """

    name: str
    description: str
    file: str
    hosts: Mapping[str, HostSpec]
    fabrics: Mapping[str, Fabric]
    nodes: Mapping[str, Node]
    targets: tuple[TargetSpec, ...]
    filesystems: Mapping[str, FileSystem]
    workloads: tuple[Workload, ...]
    management_lnet: str | None = None
    externals: Mapping[str, External] = field(default_factory=dict)
    references: str | None = None
    limit: Mapping[str, Rate] = field(default_factory=dict)
    shapes: tuple["Shape", ...] = ()
    warm: Warm = "auto"
    keep: Keep | None = None
    share_memory: bool = False
    management: SiteManagement | None = None

    def fabric(self, name: str) -> Fabric | None:
        """A fabric, or the network of the site that is the management network; None for one of the bed's own."""
        if name == MANAGEMENT:
            return self.management.fabric if self.management is not None else None
        return self.fabrics.get(name)

    @property
    def routed(self) -> bool:
        """Guests of each host have a management network of that host's own, and the site routes between these."""
        return next(iter(self.hosts.values())).routed is not None  # all hosts have one, or none

    @property
    def described(self) -> tuple[Fabric, ...]:
        """The fabrics, and before them the management network where it is the site's."""
        return (*(() if self.management is None else (self.management.fabric,)), *self.fabrics.values())

    def lnet(self, fabric: str) -> str | None:
        """The LNet network on a fabric, or on `mgmt`."""
        if fabric == MANAGEMENT:
            return self.management_lnet
        return self.fabrics[fabric].lnet if fabric in self.fabrics else None

    @property
    def site_routers(self) -> dict[Nid, frozenset[str]]:
        """The LNet routers that are no nodes, each with the networks beyond it."""
        found: dict[Nid, frozenset[str]] = {}
        for fabric in self.fabrics.values():
            for net, nids in fabric.routers.items():
                for nid in nids:
                    found[nid] = found.get(nid, frozenset()) | {net}
        return found

    def path(self, written: str) -> Path:
        """A file or folder that the topology names: below its own folder, unless it is absolute."""
        return (Path(self.file).parent / Path(written).expanduser()).absolute()

    def select(self, nodes: str) -> tuple[str, ...]:
        """The nodes, external ones too, that `oss[1-2]`, `@oss,cn1` or `*` mean; UsageError for an unknown name."""
        guests = {name: node.roles for name, node in self.nodes.items()}
        return select.select(nodes, guests | {name: machine.roles for name, machine in self.externals.items()})


@dataclass(frozen=True, slots=True)
class Shape:
    """One of the beds of a sweep; `labels` are the values that make it, by their keys, as written."""

    labels: Mapping[str, str]
    topology: Topology
