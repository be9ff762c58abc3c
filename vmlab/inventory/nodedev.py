"""PCI functions and their ports, from what `virsh nodedev-dumpxml` prints of PCI, net, vDPA and mediated devices.

The format: https://libvirt.org/formatnode.html. Which sockets, blocks and other devices come along does not matter.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from lxml import etree

from vmlab.errors import HostError
from vmlab.inventory.document import checked_address, document, natural, number, pci_address
from vmlab.inventory.model import PciFunction, PciLink
from vmlab.inventory.ports import Netdev, interface_ports, own_interfaces
from vmlab.values.pci import PciAddress

_MELLANOX = 0x15B3
_ETHERNET_CLASS, _INFINIBAND_CLASS, _FABRIC_CLASS = 0x020000, 0x020700, 0x020800
_OTHER_NETWORK_CLASS, _PCI_BRIDGE_CLASS = 0x028000, 0x060400
# Where no class is told, what the product's name says; Wi-Fi cards are "Network Adapters", too.
_CLASS_WORDS = (
    (re.compile(r"wireless|wi-?fi|wlan|802\.11", re.IGNORECASE), _OTHER_NETWORK_CLASS),
    (re.compile(r"omni-?path", re.IGNORECASE), _FABRIC_CLASS),
    (re.compile(r"infiniband|\bHCA\b", re.IGNORECASE), _INFINIBAND_CLASS),
    (re.compile(r"ethernet|network|gigabit|\bNIC\b", re.IGNORECASE), _ETHERNET_CLASS),
)
_SUBFUNCTION = re.compile(r"[^/]+\.sf\.[0-9]+")


@dataclass(frozen=True, slots=True)
class _Child:
    """Something on a function: what domains may call it, and its interface if it is one."""

    parent: str
    path: str
    names: tuple[str, ...]
    interface: Netdev | None = None
    wireless: bool = False


def read_nodedevs(texts: Mapping[str, str]) -> Mapping[PciAddress, PciFunction]:
    """All PCI functions in bus order; `texts` are the XML documents by a name for errors.

    Ports are those that libvirt knows as interfaces, but for those that `ports` tells from them.
    A function that others name as a member of their IOMMU group or as their virtual function is there even if no
    document describes it, with vendor and product 0 and without a driver.

    Raises HostError for a document that cannot be understood, or two of the same function.
    """
    functions: dict[PciAddress, PciFunction] = {}
    names: dict[str, PciAddress] = {}
    groups: dict[PciAddress, int] = {}
    children: list[_Child] = []
    for name, text in texts.items():
        root = document(text, name, "device")
        pci = root.find("capability[@type='pci']")
        if pci is not None:
            function = _function(root, pci, name)
            if function.address in functions:
                raise HostError(f"{name}: the PCI function {function.address} is described twice")
            functions[function.address] = function
            names[root.findtext("name", "").strip()] = function.address
            groups |= _group_members(pci, name)
        elif (child := _child(root)) is not None:
            children.append(child)
    _complete(functions, groups)
    found = _by_function(children, names)
    return {a: _with_children(functions[a], found.get(a, ())) for a in sorted(functions)}


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
    """libvirt before 4.10 has no `<class>`: bridges, Mellanox's HCAs and what is called a NIC are known even so."""
    text = pci.findtext("class")
    if text is not None:
        return natural(text, f"{name}: <class>") & 0xFFFFFF
    if pci.find("capability[@type='pci-bridge']") is not None:
        return _PCI_BRIDGE_CLASS
    if _id(pci.find("vendor"), name) == _MELLANOX:
        return _OTHER_NETWORK_CLASS
    product = pci.findtext("product", "")
    return next((code for words, code in _CLASS_WORDS if words.search(product)), 0)


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


def _child(root: etree._Element) -> _Child | None:
    """A net, vDPA or mediated device; None for any other."""
    parent, path = root.findtext("parent", "").strip(), root.findtext("path", "").strip()
    net = root.find("capability[@type='net']")
    if net is not None:
        interface = _interface(net, path)
        wireless = net.find("capability[@type='80211']") is not None
        return _Child(parent, path, (interface.name,), interface, wireless)
    other = root.find("capability[@type='vdpa']")
    if other is None:
        other = root.find("capability[@type='mdev']")
    if other is None:
        return None
    told = (other.findtext("chardev", ""), other.findtext("uuid", ""))
    return _Child(parent, path, tuple(name.strip() for name in told if name.strip()))


def _interface(net: etree._Element, path: str) -> Netdev:
    link = net.find("link")
    return Netdev(
        name=net.findtext("interface", "").strip(),
        address=net.findtext("address", "").strip().lower(),
        state=None if link is None else link.get("state"),
        part=any(_SUBFUNCTION.fullmatch(part) for part in path.split("/")),
        switchdev=net.find("feature[@name='switchdev']") is not None,
    )


def _by_function(children: Iterable[_Child], names: Mapping[str, PciAddress]) -> Mapping[PciAddress, list[_Child]]:
    """Where libvirt does not list what a device hangs on, its path leads through the function."""
    found: dict[PciAddress, list[_Child]] = {}
    for child in children:
        address = names.get(child.parent) or PciAddress.last_in(child.path)
        if address is not None:
            found.setdefault(address, []).append(child)
    return found


def _with_children(function: PciFunction, children: Iterable[_Child]) -> PciFunction:
    known = tuple(children)
    interfaces = [child.interface for child in known if child.interface is not None]
    switched = bool(function.virtual_functions) and function.generation != "mlx4"
    return replace(
        function,
        ports=interface_ports(own_interfaces(interfaces, virtual_functions=switched)),
        names=tuple(sorted(name for child in known for name in child.names)),
        wireless=any(child.wireless for child in known),
        class_code=function.class_code or (_ETHERNET_CLASS if interfaces else 0),
    )
