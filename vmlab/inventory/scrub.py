"""Take out of a record what names one machine or its owner's secrets and tells nothing about placement."""

from lxml import etree

from vmlab.inventory.document import document

NO_UUID = "00000000-0000-0000-0000-000000000000"
# World-wide names, what a guest's firmware tables and QEMU's command line are given, what people wrote.
_DROPPED = frozenset({"sysinfo", "wwn", "commandline", "title", "description"})


def scrubbed(text: str, name: str, tag: str) -> str:
    """The XML document without serial numbers and uuids; MAC addresses and GUIDs stay, since ports are told by them.

    Raises HostError for a text that is no XML document <`tag`>.
    """
    root = document(text, name, tag)
    for element in list(root.iter()):
        local = etree.QName(element).localname
        if _names_mediated_device(element):
            continue
        if local == "uuid":
            element.text = NO_UUID
        elif local in _DROPPED or _is_serial_number(element, local):
            _remove(element)
        if element.get("uuid") is not None:
            element.set("uuid", NO_UUID)
    return etree.tostring(root, encoding="unicode") + "\n"


def _is_serial_number(element: etree._Element, local: str) -> bool:
    """A disk's, or the vital product data of a PCI device. A serial line, too, is called <serial>: it has children."""
    return (local == "serial" and not len(element)) or (local == "capability" and element.get("type") == "vpd")


def _names_mediated_device(element: etree._Element) -> bool:
    """A mediated device has no other name: by it a domain's is found among the host's."""
    parent = element.getparent()
    device = parent if parent is None or parent.tag != "source" else parent.getparent()
    return device is not None and device.tag in ("capability", "hostdev") and device.get("type") == "mdev"


def _remove(element: etree._Element) -> None:
    parent = element.getparent()
    if parent is not None:
        parent.remove(element)
