"""What is done to a running domain's devices so that they fail: read from its live XML, and written for libvirt."""

from dataclasses import dataclass

from lxml import etree

from vmlab.domainxml.read import PARSER


@dataclass(frozen=True, slots=True)
class DeviceFaults:
    """`links_down` are MACs in lower case, `slow` what disks may do at most, in words, by their serials."""

    links_down: frozenset[str]
    slow: dict[str, str]


def read_faults(xml: str) -> DeviceFaults:
    """Of what `virDomainGetXMLDesc` gives of a domain that runs."""
    root = etree.fromstring(xml, PARSER)
    down = (
        _mac(interface)
        for interface in root.iterfind("devices/interface")
        if interface.find("link[@state='down']") is not None
    )
    slow = {
        disk.findtext("serial", ""): _limits(disk.find("iotune"))
        for disk in root.iterfind("devices/disk[serial]")
        if disk.find("iotune") is not None
    }
    return DeviceFaults(frozenset(down), {serial: told for serial, told in slow.items() if told})


def with_link(xml: str, mac: str, *, up: bool) -> str | None:
    """The element of the interface that has this MAC, with its link so; None if the domain has none."""
    for interface in etree.fromstring(xml, PARSER).iterfind("devices/interface"):
        if _mac(interface) != mac.lower():
            continue
        link = interface.find("link")
        if link is None:
            link = etree.SubElement(interface, "link")
        link.set("state", "up" if up else "down")
        return etree.tostring(interface, encoding="unicode")
    return None


def target_of(xml: str, serial: str) -> str | None:
    """The name (vdb) of the disk that has this serial; None if the domain has none."""
    for disk in etree.fromstring(xml, PARSER).iterfind("devices/disk[serial]"):
        if disk.findtext("serial") == serial:
            return str(disk.xpath("string(target/@dev)")) or None
    return None


def _mac(interface: etree._Element) -> str:
    return str(interface.xpath("string(mac/@address)")).lower()


def _limits(tune: etree._Element | None) -> str:
    words = {"total_bytes_sec": "bytes/s", "total_iops_sec": "operations/s"}
    found = ((words.get(str(part.tag)), int(part.text or "0")) for part in (tune if tune is not None else ()))
    return ", ".join(f"{value:,} {unit} at most" for unit, value in found if unit and value)
