"""From a node's placement to what its domain and its addresses say: pins, host devices, MAC addresses and GUIDs."""

from collections.abc import Mapping
from dataclasses import dataclass

from vmlab.domainxml.hostdev import Hostdev
from vmlab.domainxml.metadata import Address
from vmlab.domainxml.tuning import GuestCell, Tuning, guest_threads
from vmlab.errors import HostError
from vmlab.inventory.guids import guids_of
from vmlab.inventory.model import Cell, HostInventory, PciFunction, Port
from vmlab.inventory.passable import idle_on_vfio, stranded
from vmlab.placement.request import NodePlacement, PlacedDevice
from vmlab.plan.lease import interface_name
from vmlab.topology import Topology
from vmlab.topology.bed import Kind
from vmlab.values import identity
from vmlab.values.pci import PciAddress


@dataclass(frozen=True, slots=True)
class NodePlace:
    """A placement in the words of the domain's XML. `tuning` is None for an emulated guest, which is not pinned."""

    tuning: Tuning | None
    hostdevs: tuple[Hostdev, ...]
    addresses: tuple[Address, ...]


def tuning(placement: NodePlacement, inventory: HostInventory) -> Tuning:
    """The guest's cells, and its threads where they are true to the host's."""
    cells = {cell.id: cell for cell in inventory.cells}
    guest_cells = tuple(
        GuestCell(
            vcpus=placed.vcpus,
            memory_kib=placed.memory_kib,
            host_cell=placed.host_cell,
            page_kib=placed.page_kib,
            distances=_distances(cells.get(placed.host_cell if placed.host_cell is not None else -1), placement),
        )
        for placed in placement.cells
    )
    siblings = {cpu.id: cpu.siblings for cell in inventory.cells for cpu in cell.cpus}
    threads = guest_threads(guest_cells, siblings)
    amd = threads > 1 and inventory.cpu_vendor == "AMD"
    return Tuning(guest_cells, placement.emulator_cpus, threads, topoext=amd)


def _distances(cell: Cell | None, placement: NodePlacement) -> tuple[int, ...]:
    """To the cells of the other guest cells; () where the host does not tell them all."""
    if cell is None or len(placement.cells) == 1:
        return ()
    told = [cell.distances.get(other.host_cell) for other in placement.cells if other.host_cell is not None]
    known = tuple(distance for distance in told if distance is not None)
    return known if len(known) == len(placement.cells) else ()


def hostdevs(placement: NodePlacement) -> tuple[Hostdev, ...]:
    """Each function once, with the interfaces that it serves; what only comes with its group follows."""
    several = len(placement.cells) > 1
    serves: dict[PciAddress, list[str]] = {}
    for device in placement.devices:
        serves.setdefault(device.address, []).append(interface_name(device.fabric, device.index))
    found = {
        device.address: Hostdev(
            device.address,
            None if device.remote or not several else device.guest_cell,
            tuple(serves[device.address]),
        )
        for device in placement.devices
    }
    for device in placement.devices:
        for member in device.group:
            found.setdefault(member, Hostdev(member, None if device.remote or not several else device.guest_cell))
    return tuple(found.values())


def macs(
    topology: Topology, node: str, placement: NodePlacement, inventory: HostInventory, *, strict: bool
) -> dict[str, str]:
    """By interface: an HCA's port GUID, or a passed NIC's own MAC address. Ethernet VFs are given the node's own.

    Raises HostError, if `strict`, for a function that shows neither; a record of a host may lack them, and one on
    vfio-pci tells it when it is back with its driver (`hidden`).
    """
    later = hidden(placement, inventory)
    used: dict[tuple[PciAddress, Kind], int] = {}
    found = {}
    for device in placement.devices:
        kind = topology.fabrics[device.fabric].kind
        number = used.get((device.address, kind), 0)
        used[device.address, kind] = number + 1
        function = inventory.functions.get(device.physical_function or device.address)
        interface = interface_name(device.fabric, device.index)
        own = identity.mac(topology.name, node, device.fabric, device.index)
        mac = None if function is None else _mac(device, function, _port(function, kind, number), own)
        if mac is not None:
            found[interface] = mac
        elif strict and device.address not in later:
            told = device.physical_function or device.address
            raise HostError(
                f"{node}: {told} shows neither a MAC address nor a GUID, by which {interface} would be found",
                hint="its driver on the host tells it: is it loaded? vmlab host show",
            )
    return found


def hidden(placement: NodePlacement, inventory: HostInventory) -> frozenset[PciAddress]:
    """Whole functions that have to go back from vfio-pci to their drivers first: these show what they are found by."""
    free = {f.address for f in (*idle_on_vfio(inventory), *stranded(inventory)) if not f.ports}
    return frozenset(device.address for device in placement.devices if device.function == "passthrough") & free


def _mac(device: PlacedDevice, function: PciFunction, port: Port | None, own: str) -> str | None:
    if port is None:
        return None
    if device.function == "vf":
        if port.link_layer == "ethernet":
            return own
        guids = guids_of(function, device.vf_number or 0)
        return str(guids[port.number].port) if port.number in guids else None
    return port.guid if port.link_layer == "infiniband" else port.mac


def _port(function: PciFunction, kind: Kind, number: int) -> Port | None:
    """Of the function's ports of one kind the one of this number, from 0; the last where it has fewer."""
    ports = sorted((port for port in function.ports if port.link_layer == kind), key=lambda port: port.number)
    return ports[min(number, len(ports) - 1)] if ports else None


def place_of(
    placement: NodePlacement,
    hosts: Mapping[str, HostInventory],
    addresses: tuple[Address, ...],
    *,
    pinned: bool,
) -> NodePlace:
    """All of it; `addresses` are those of the node with the MACs of its devices. An emulated guest is not `pinned`."""
    inventory = hosts[placement.host]
    return NodePlace(
        tuning=tuning(placement, inventory) if pinned else None,
        hostdevs=hostdevs(placement),
        addresses=addresses,
    )
