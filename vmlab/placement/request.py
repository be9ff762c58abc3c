"""What is asked of `place`, and what it answers. Intent, host and answer are different types."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from vmlab.inventory.model import HostInventory
from vmlab.placement.reserve import Kept
from vmlab.topology.bed import DeviceSelector, Kind, Numa, Pin, Reserve, Threads
from vmlab.values.pci import PciAddress
from vmlab.values.size import Bytes

NO_RESERVE = Reserve(0, Bytes(0))

Hardware = Literal["passthrough", "vf"]
"""How a guest gets a device of the host: a whole function, or a virtual one."""


@dataclass(frozen=True, slots=True)
class DeviceWish:
    """One port of a node that wants a function of the host: `index` counts the node's ports on the fabric from 0."""

    fabric: str
    index: int
    kind: Kind
    function: Hardware
    selector: DeviceSelector | None = None
    whole_group: bool = False


@dataclass(frozen=True, slots=True)
class NodeRequest:
    """What one node asks for. `page_kib` None means ordinary pages; `avoid` are other nodes of the bed.

    `pairs` are its partners in HA pairs, avoided before those of `avoid`. `host` None: any host that runs guests of the
    architecture, "" for one of any, and that is none of the `unfit`, which are told with what they lack.
    """

    name: str
    cpus: int
    memory_kib: int
    numa: Numa
    page_kib: int | None = None
    pin: Pin = "dedicated"
    threads: Threads = "prefer"
    devices: tuple[DeviceWish, ...] = ()
    host: str | None = None
    architecture: str = ""
    avoid: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()
    unfit: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class HostSpace:
    """A host to place on. What its `claims` hold is taken, except claims of the nodes that are being placed anew.

    For what its `reserve` does not say, see `reserve`.
    """

    inventory: HostInventory
    reserve: Reserve = NO_RESERVE


@dataclass(frozen=True, slots=True)
class PlacedCell:
    """One guest cell. `vcpus` maps each vCPU to the host CPUs it may run on; a shared vCPU has several.

    `host_cell` None: bound to no cell (`numa: none`).
    """

    host_cell: int | None
    vcpus: Mapping[int, tuple[int, ...]]
    memory_kib: int
    page_kib: int | None


@dataclass(frozen=True, slots=True)
class PlacedDevice:
    """One function for one port. `group` are the other functions of its IOMMU group that must come with it.

    `remote`: it is in none of the node's cells. `guest_cell` is the index in `cells` that it belongs to, 0 if none.
    `planned`: a virtual function that `up` has to make first; its address is where it will be.
    """

    fabric: str
    index: int
    address: PciAddress
    function: Hardware
    host_cell: int | None
    iommu_group: int | None
    remote: bool
    guest_cell: int = 0
    physical_function: PciAddress | None = None
    vf_number: int | None = None
    planned: bool = False
    group: tuple[PciAddress, ...] = ()


@dataclass(frozen=True, slots=True)
class NodePlacement:
    """Where one node goes. `emulator_cpus` are for QEMU's own threads: never one that a dedicated vCPU has."""

    node: str
    host: str
    cells: tuple[PlacedCell, ...]
    emulator_cpus: tuple[int, ...]
    devices: tuple[PlacedDevice, ...] = ()


@dataclass(frozen=True, slots=True)
class Placement:
    """Where every node goes. `notes` are remarks for the user: partners that share a host or a cell, remote devices.

    `vfs` is how many virtual functions each physical function must have, where that is not what it has now. `kept` is
    what each host keeps for itself.
    """

    nodes: Mapping[str, NodePlacement]
    vfs: Mapping[tuple[str, PciAddress], int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    kept: Mapping[str, Kept] = field(default_factory=dict)
