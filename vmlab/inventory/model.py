"""A host as libvirt and a few files of its sysfs describe it: cells, CPUs, pages, PCI functions, and who has what.

Words as in libvirt and OpenStack Nova: a *cell* is a NUMA node of the host, a *CPU* one hardware thread, *siblings* are
the threads of one core. Memory is in KiB, as libvirt counts it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal

from vmlab.values.pci import PciAddress

Generation = Literal["mlx4", "mlx5", "other"]
LinkLayer = Literal["ethernet", "infiniband"]


@dataclass(frozen=True, slots=True)
class Cpu:
    """An online CPU. `siblings` are the online threads of its core, itself included."""

    id: int
    socket: int
    die: int
    core: int
    siblings: frozenset[int]


@dataclass(frozen=True, slots=True)
class PagePool:
    """The huge pages of one size in one cell, as numbers of pages. `free` is None where only a record is known."""

    size_kib: int
    total: int
    free: int | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """A NUMA node. A memory-only cell has no CPUs, a CPU-only one no memory.

    `available_kib` is what new guests can have of ordinary pages without swapping (free memory and page cache); None
    on a recorded host. `huge` are the pools by page size in KiB; ordinary pages are not among them.
    `distances` are as the ACPI SLIT gives them: 10 is the cell itself; {} where the host does not tell.
    """

    id: int
    memory_kib: int
    cpus: tuple[Cpu, ...]
    available_kib: int | None = None
    huge: Mapping[int, PagePool] = field(default_factory=dict)
    distances: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Port:
    """A network port of a function. `guid` in the form 0011:2233:4455:6677 on an InfiniBand port, `lid`s as decimal.

    What is None could not be read: a function that is bound to vfio-pci shows no ports at all.
    """

    number: int
    link_layer: LinkLayer
    interface: str | None = None
    rdma: str | None = None
    mac: str | None = None
    guid: str | None = None
    state: str | None = None
    sm_lid: int | None = None


@dataclass(frozen=True, slots=True)
class PciLink:
    """A PCI Express link as it was negotiated, and as the function could have it: GT/s, and the number of lanes."""

    speed: str
    width: int
    best_speed: str
    best_width: int

    def __str__(self) -> str:
        """`8GT/s x8`; a slot that is too slow or narrow shows: `8GT/s x4 of 8GT/s x8`."""
        now, best = f"{self.speed}GT/s x{self.width}", f"{self.best_speed}GT/s x{self.best_width}"
        return now if now == best else f"{now} of {best}"


@dataclass(frozen=True, slots=True)
class PciFunction:
    """A PCI function. `class_code` is the 24-bit class as in 0x020700 (InfiniBand) or 0x020000 (Ethernet).

    `used_by` says why the host itself needs it ("the default route, over bond0 and br0"), in words for the user.
    `opened_by` is a program of the host that has its vfio group open, as far as we may see.
    `broken` says what went wrong with it since the host booted (a reset that failed): it must not be given to a guest.
    `names` are those by which domains may use it without having it: interfaces on it, of which not all are ports
    (representors, subfunctions, IPoIB children), vDPA devices and mediated ones. `wireless`: its interface is.
    `sriov_offset` and `sriov_stride` are those of its SR-IOV capability: virtual function n sits at routing ID
    pf + offset + n * stride.
    """

    address: PciAddress
    class_code: int
    vendor: int
    product: int
    vendor_name: str = ""
    product_name: str = ""
    driver: str | None = None
    cell: int | None = None
    iommu_group: int | None = None
    physical_function: PciAddress | None = None
    virtual_functions: tuple[PciAddress, ...] = ()
    total_vfs: int = 0
    sriov_offset: int | None = None
    sriov_stride: int | None = None
    link: PciLink | None = None
    ports: tuple[Port, ...] = ()
    used_by: str | None = None
    opened_by: str | None = None
    broken: str | None = None
    names: tuple[str, ...] = ()
    wireless: bool = False

    @property
    def is_virtual(self) -> bool:
        """A virtual function."""
        return self.physical_function is not None

    @property
    def is_bridge(self) -> bool:
        """A PCI bridge or root port: vfio leaves those of a group where they are."""
        return self.class_code >> 16 == 0x06  # noqa: PLR2004 - the base class "bridge device"

    @property
    def is_network(self) -> bool:
        """Of a network's classes: Ethernet, InfiniBand, fabric, other, and the old serial-bus InfiniBand class."""
        return self.class_code >> 8 in (0x0200, 0x0207, 0x0208, 0x0280, 0x0C06)

    @property
    def generation(self) -> Generation:
        """Whose procedure its virtual functions need: of the two Mellanox drivers, or the kernel's common one."""
        if self.driver in ("mlx4_core", "mlx5_core"):
            return "mlx4" if self.driver == "mlx4_core" else "mlx5"
        if self.vendor != 0x15B3:  # noqa: PLR2004 - Mellanox Technologies
            return "other"
        # Device ids, from the kernel's tables: mlx4_core has 0x1002 to 0x1010, mlx5_core all from 0x1011 on.
        return "mlx4" if 0x1002 <= self.product <= 0x1010 else "mlx5" if self.product >= 0x1011 else "other"  # noqa: PLR2004


@dataclass(frozen=True, slots=True)
class Claim:
    """What one domain takes of the host. `bed` and `node` are None for a domain that is not vmlab's.

    `cpus` are those that its vCPUs have to themselves, empty where they float over all of them. `memory_kib`
    and `huge_kib` (by page size) are by cell; under the key None stands what is bound to no cell. `later_kib` of them
    it does not have yet: that can be plugged in while it runs.
    `devices` are functions that it has, `behind` those that it uses without having them, with how ("macvtap on eth4"),
    `lost` what it uses of which nobody tells the function ("the vDPA device /dev/vhost-vdpa-0"). `unreadable` says why
    metadata of vmlab's form was not understood.
    """

    domain: str
    bed: str | None
    node: str | None
    running: bool
    cpus: frozenset[int] = frozenset()
    memory_kib: Mapping[int | None, int] = field(default_factory=dict)
    huge_kib: Mapping[tuple[int | None, int], int] = field(default_factory=dict)
    devices: frozenset[PciAddress] = frozenset()
    behind: Mapping[PciAddress, str] = field(default_factory=dict)
    lost: tuple[str, ...] = ()
    unreadable: str = ""
    later_kib: int = 0


@dataclass(frozen=True, slots=True)
class HostInventory:
    """A host. `cells` has at least one cell, numbered as the host does; `functions` are all PCI functions by address.

    `no_iommu` says why functions cannot be passed to guests, None if they can. `cpu_vendor` is "Intel", "AMD" or what
    else libvirt says. `isolated` CPUs are those that the kernel's scheduler keeps off (isolcpus): what floats would
    crowd on one of them. `guest_cpus` are those that guests may have at all (cgroups), None for all.
    """

    name: str
    arch: str
    cells: tuple[Cell, ...]
    functions: Mapping[PciAddress, PciFunction] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
    no_iommu: str | None = None
    cpu_vendor: str = ""
    isolated: frozenset[int] = frozenset()
    guest_cpus: frozenset[int] | None = None

    def group(self, function: PciFunction) -> tuple[PciFunction, ...]:
        """The members of the function's IOMMU group in bus order, itself included; only itself if it has no group."""
        if function.iommu_group is None:
            return (function,)
        members = (f for f in self.functions.values() if f.iommu_group == function.iommu_group)
        return tuple(sorted(members, key=lambda f: f.address))

    def owner(self, address: PciAddress) -> Claim | None:
        """The domain whose definition, persistent or running, has this function, or else uses it."""
        having = (claim for claim in self.claims if address in claim.devices)
        using = (claim for claim in self.claims if address in claim.behind)
        return next(chain(having, using), None)
