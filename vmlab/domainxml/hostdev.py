"""PCI functions of the host in a guest, and the guest's PCI topology around them.

A guest learns which of its NUMA cells a device is in from the root bus that it hangs on. With one cell there is nothing
to tell, and each function gets a root port that libvirt finds a place for. With several, each cell with functions gets
a PCIe expander bus (pxb-pcie) of its own, with a root port for each function, and libvirt has to be told the addresses.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from lxml import etree

from vmlab.domainxml.order import drop
from vmlab.values.pci import PciAddress

# libvirt keeps aliases that begin so, of letters, digits, - and _. The last parts interfaces, and with a digit behind
# it stands for what an interface's name may have besides: `_`, `.`, or nothing before a digit at its beginning.
_ALIAS = "ua-"
_SEPARATOR = "_"
_ESCAPED = {"_": "_0", ".": "_1"}
_BEFORE_DIGIT = "_2"
_TOKEN = re.compile(r"_[012]|_|[^_]+")
# Bus numbers of a guest's one PCI domain.
_BUSES = 256


@dataclass(frozen=True, slots=True)
class Hostdev:
    """A function of the host. `guest_cell` is the guest's NUMA cell that it belongs to; None: to none.

    `serves` are the guest's interfaces that are its ports: none for one that only comes along with its IOMMU group.
    """

    address: PciAddress
    guest_cell: int | None = None
    serves: tuple[str, ...] = ()


def alias_of(interfaces: Iterable[str]) -> str:
    """A user's alias, which is kept in the definition: which function is which interface is read from there."""
    return _ALIAS + _SEPARATOR.join(_escaped(interface) for interface in interfaces)


def interfaces_of(alias: str) -> tuple[str, ...]:
    """What `alias_of` was given; () for an alias that is none of ours."""
    if not alias.startswith(_ALIAS):
        return ()
    plain = {escape: sign for sign, escape in _ESCAPED.items()} | {_BEFORE_DIGIT: ""}
    names = [""]
    for token in _TOKEN.findall(alias.removeprefix(_ALIAS)):
        if token == _SEPARATOR:
            names.append("")
        else:
            names[-1] += plain.get(token, token)
    return tuple(names)


def _escaped(interface: str) -> str:
    text = "".join(_ESCAPED.get(sign, sign) for sign in interface)
    return _BEFORE_DIGIT + text if text[:1].isdecimal() else text


def add_hostdevs(devices: etree._Element, hostdevs: tuple[Hostdev, ...], guest_cells: int) -> None:
    """Add the functions, and expander buses where the guest has several cells.

    Must be called when all other PCI controllers are there: theirs are the lower indices. Functions without expander
    bus need a root port among those. No balloon: VFIO locks all memory, so there is none to give back.
    """
    if not hostdevs:
        return
    _no_balloon(devices)
    placed = {h: h.guest_cell for h in hostdevs if h.guest_cell is not None and guest_cells > 1}
    ports: dict[Hostdev, int] = {}
    index = _first_free_index(devices)
    bus = _lowest_expander_bus(devices)
    for cell in sorted(set(placed.values())):
        of_cell = [h for h, its in placed.items() if its == cell]
        bus -= 1 + len(of_cell)
        devices.append(_expander(index, bus, cell))
        for slot, hostdev in enumerate(of_cell):
            ports[hostdev] = index + 1 + slot
            devices.append(_port_on(index, ports[hostdev], slot))
        index += 1 + len(of_cell)
    devices.extend(hostdev_element(hostdev, ports.get(hostdev)) for hostdev in hostdevs)


def on_main_bus(hostdevs: Iterable[Hostdev], guest_cells: int) -> int:
    """How many of the functions need an ordinary root port."""
    return sum(1 for h in hostdevs if h.guest_cell is None or guest_cells == 1)


def hostdev_element(hostdev: Hostdev, port: int | None) -> etree._Element:
    """The function, on the root port of index `port` or where libvirt likes.

    libvirt takes it from its driver at the start and gives it back at the end (managed). Its option ROM is left out
    as that of virtio NICs is: it could only boot from the network, which costs a minute where nobody answers.
    """
    element = etree.Element("hostdev", {"mode": "subsystem", "type": "pci", "managed": "yes"})
    etree.SubElement(element, "driver", {"name": "vfio"})
    source = etree.SubElement(element, "source")
    address = hostdev.address
    where = {
        "domain": f"{address.domain:#06x}",
        "bus": f"{address.bus:#04x}",
        "slot": f"{address.slot:#04x}",
        "function": f"{address.function:#x}",
    }
    etree.SubElement(source, "address", where)
    if hostdev.serves:
        etree.SubElement(element, "alias", {"name": alias_of(hostdev.serves)})
    etree.SubElement(element, "rom", {"enabled": "no"})
    if port is not None:
        element.append(_address(port, 0))
    return element


def _no_balloon(devices: etree._Element) -> None:
    """Said, not left out: libvirt adds a balloon to a domain that does not mention one."""
    drop(devices, "memballoon")
    etree.SubElement(devices, "memballoon", {"model": "none"})


def _first_free_index(devices: etree._Element) -> int:
    """Above every index that is given, and those that libvirt gives to controllers without one: the lowest free."""
    controllers = devices.findall("controller[@type='pci']")
    given = [int(index, 0) for c in controllers if (index := c.get("index"))]
    root = 0 if 0 in given else 1  # libvirt adds pcie-root where the template leaves it out
    return max([len(controllers) + root, *(index + 1 for index in given)])


def _lowest_expander_bus(devices: etree._Element) -> int:
    """Buses count up from the root and from each expander bus, so ours go down from the top or the template's own."""
    taken = [int(target.get("busNr", ""), 0) for target in devices.findall("controller/target[@busNr]")]
    return min([_BUSES, *taken])


def _expander(index: int, bus: int, cell: int) -> etree._Element:
    element = etree.Element("controller", {"type": "pci", "index": str(index), "model": "pcie-expander-bus"})
    target = etree.SubElement(element, "target", {"busNr": str(bus)})
    etree.SubElement(target, "node").text = str(cell)
    return element


def _port_on(expander: int, index: int, slot: int) -> etree._Element:
    element = etree.Element("controller", {"type": "pci", "index": str(index), "model": "pcie-root-port"})
    element.append(_address(expander, slot))
    return element


def _address(bus: int, slot: int) -> etree._Element:
    """An address in the guest; `bus` is the index of a controller."""
    where = {"domain": "0x0000", "bus": f"{bus:#04x}", "slot": f"{slot:#04x}", "function": "0x0"}
    return etree.Element("address", {"type": "pci"} | where)
