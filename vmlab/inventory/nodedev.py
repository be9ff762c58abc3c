"""PCI functions and their ports, from what `virsh nodedev-dumpxml` prints of PCI and net devices.

The format: https://libvirt.org/formatnode.html. Which sockets, blocks and other devices come along does not matter.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from lxml import etree

from vmlab.errors import HostError
from vmlab.inventory.document import checked_address, document, natural, number, pci_address
from vmlab.inventory.model import PciFunction, PciLink, Port
from vmlab.values.pci import PciAddress

_MELLANOX = 0x15B3
_ETHERNET_CLASS, _OTHER_NETWORK_CLASS, _PCI_BRIDGE_CLASS = 0x020000, 0x028000, 0x060400
# An IPoIB interface's address: flags and queue pair (4 bytes), then the port's GID, whose second half is its GUID.
_IPOIB_BYTES, _GUID_BYTES = 20, 8


@dataclass(frozen=True, slots=True)
class _Net:
    parent: str
    interface: str
    link_layer: str
    address: str
    state: str | None


def read_nodedevs(texts: Mapping[str, str]) -> Mapping[PciAddress, PciFunction]:
    """All PCI functions in bus order; `texts` are the XML documents by a name for errors.

    Ports are those that libvirt knows as interfaces, numbered from 1 in the order of their GUIDs (InfiniBand) or names.
    A function that others name as a member of their IOMMU group or as their virtual function is there even if no
    document describes it, with vendor and product 0 and without a driver.

    Raises HostError for a document that cannot be understood, or two of the same function.
    """
    functions: dict[PciAddress, PciFunction] = {}
    names: dict[str, PciAddress] = {}
    groups: dict[PciAddress, int] = {}
    nets: list[_Net] = []
    for name, text in texts.items():
        root = document(text, name, "device")
        pci, net = root.find("capability[@type='pci']"), root.find("capability[@type='net']")
        if pci is not None:
            function = _function(root, pci, name)
            if function.address in functions:
                raise HostError(f"{name}: the PCI function {function.address} is described twice")
            functions[function.address] = function
            names[root.findtext("name", "").strip()] = function.address
            groups |= _group_members(pci, name)
        elif net is not None:
            nets.append(_net(root, net))
    _complete(functions, groups)
    ports = _ports(nets, names)
    return {a: _with_ports(functions[a], ports.get(a, ())) for a in sorted(functions)}


def _function(root: etree._Element, pci: etree._Element, name: str) -> PciFunction:
    address = checked_address(
        *(natural(pci.findtext(part), f"{name}: <{part}>") for part in ("domain", "bus", "slot", "function")), what=name
    )
    vendor, product = pci.find("vendor"), pci.find("product")
    physical = pci.find("capability[@type='phys_function']/address")
    virtual = pci.find("capability[@type='virt_functions']")
    group, numa = pci.find("iommuGroup"), pci.find("numa")
    cell = -1 if numa is None else number(numa.get("node"), f"{name}: <numa node>")
    return PciFunction(
        address=address,
        class_code=_class_code(pci, name),
        vendor=_id(vendor, f"{name}: <vendor id>"),
        product=_id(product, f"{name}: <product id>"),
        vendor_name="" if vendor is None else (vendor.text or "").strip(),
        product_name="" if product is None else (product.text or "").strip(),
        driver=root.findtext("driver/name", "").strip() or None,
        cell=None if cell < 0 else cell,
        iommu_group=None if group is None else natural(group.get("number"), f"{name}: <iommuGroup number>"),
        physical_function=None if physical is None else pci_address(physical, name),
        virtual_functions=()
        if virtual is None
        else tuple(sorted({pci_address(found, name) for found in virtual.iterfind("address")})),
        total_vfs=0 if virtual is None else natural(virtual.get("maxCount", "0"), f"{name}: maxCount"),
        link=_link(pci, name),
    )


def _link(pci: etree._Element, name: str) -> PciLink | None:
    """None where one of the two sides is not told: virtual functions, root ports with nothing behind."""
    best, now = pci.find("pci-express/link[@validity='cap']"), pci.find("pci-express/link[@validity='sta']")
    if best is None or now is None:
        return None
    speed, best_speed = now.get("speed", ""), best.get("speed", "")
    width = natural(now.get("width", "0"), f"{name}: <link width>")
    if not speed or not best_speed or not width:
        return None
    return PciLink(speed, width, best_speed, natural(best.get("width", "0"), f"{name}: <link width>"))


def _id(element: etree._Element | None, what: str) -> int:
    value = 0 if element is None else natural(element.get("id"), what)
    if value > 0xFFFF:  # noqa: PLR2004 - ids have 16 bits
        raise HostError(f"{what}: {value:#x} has more than 16 bits")
    return value


def _class_code(pci: etree._Element, name: str) -> int:
    """libvirt before 4.10 has no `<class>`: bridges and Mellanox's HCAs are known all the same."""
    text = pci.findtext("class")
    if text is not None:
        return natural(text, f"{name}: <class>") & 0xFFFFFF
    if pci.find("capability[@type='pci-bridge']") is not None:
        return _PCI_BRIDGE_CLASS
    return _OTHER_NETWORK_CLASS if _id(pci.find("vendor"), name) == _MELLANOX else 0


def _group_members(pci: etree._Element, name: str) -> dict[PciAddress, int]:
    group = pci.find("iommuGroup")
    if group is None:
        return {}
    return {
        pci_address(found, name): natural(group.get("number"), f"{name}: <iommuGroup number>")
        for found in group.iterfind("address")
    }


def _complete(functions: dict[PciAddress, PciFunction], groups: Mapping[PciAddress, int]) -> None:
    """Make both sides of each relation say the same; a freshly made virtual function may be missing in one of them."""
    for address, number_ in groups.items():
        known = functions.get(address, PciFunction(address, 0, 0, 0))
        functions[address] = replace(known, iommu_group=number_) if known.iommu_group is None else known
    for function in list(functions.values()):
        for address in function.virtual_functions:
            known = functions.get(address, PciFunction(address, function.class_code, function.vendor, 0))
            functions[address] = replace(
                known,
                physical_function=function.address,
                class_code=known.class_code or function.class_code,
                cell=function.cell if known.cell is None else known.cell,
            )
    for function in list(functions.values()):
        physical = functions.get(function.physical_function) if function.physical_function is not None else None
        if physical is not None and function.address not in physical.virtual_functions:
            virtual = tuple(sorted((*physical.virtual_functions, function.address)))
            functions[physical.address] = replace(physical, virtual_functions=virtual)


def _net(root: etree._Element, net: etree._Element) -> _Net:
    address = net.findtext("address", "").strip().lower()
    link = net.find("link")
    return _Net(
        parent=root.findtext("parent", "").strip(),
        interface=net.findtext("interface", "").strip(),
        link_layer="infiniband" if len(address.split(":")) == _IPOIB_BYTES else "ethernet",
        address=address,
        state=None if link is None else link.get("state"),
    )


def _ports(nets: Iterable[_Net], names: Mapping[str, PciAddress]) -> Mapping[PciAddress, tuple[Port, ...]]:
    found: dict[PciAddress, list[_Net]] = {}
    for net in nets:
        if net.parent in names:
            found.setdefault(names[net.parent], []).append(net)
    return {address: tuple(_numbered(of_one)) for address, of_one in found.items()}


def _numbered(nets: Iterable[_Net]) -> Iterable[Port]:
    """One port for each interface, but for the children of an IPoIB interface (`ib0.8001`): they share its GUID."""
    ports: dict[str, Port] = {}
    for net in sorted(nets, key=lambda n: (len(n.interface), n.interface)):  # ens1f2 before ens1f10
        if net.link_layer == "infiniband":
            guid = guid_of(net.address)
            port = Port(0, "infiniband", interface=net.interface, guid=guid, state=net.state)
            ports.setdefault(guid, port)
        else:
            port = Port(0, "ethernet", interface=net.interface, mac=net.address or None, state=net.state)
            ports[net.interface] = port
    ordered = sorted(ports.values(), key=lambda p: p.guid or "")
    return [replace(port, number=number_) for number_, port in enumerate(ordered, 1)]


def guid_of(address: str) -> str:
    """The port GUID in the 20-byte address of an IPoIB interface, as sysfs writes GUIDs: 0002:c903:000e:b19d."""
    tail = address.split(":")[-_GUID_BYTES:]
    return ":".join(first + second for first, second in zip(tail[::2], tail[1::2], strict=True))


def _with_ports(function: PciFunction, ports: tuple[Port, ...]) -> PciFunction:
    if not ports:
        return function
    return replace(function, ports=ports, class_code=function.class_code or _ETHERNET_CLASS)
