"""What a snapshot needs to know of a domain, and asks of libvirt; and the device that tells a kernel of its return."""

from collections.abc import Iterator

from lxml import etree

from vmlab.domainxml.order import DOMAIN, child_of
from vmlab.domainxml.read import PARSER
from vmlab.domainxml.template import emulates

_PC = ("pc", "q35")


def add_generation(domain: etree._Element) -> None:
    """Have libvirt give the domain a number that is another one whenever its memory is put back (vmgenid).

    The kernel then draws new random numbers. libvirt fills the empty element in, and keeps what it filled in.
    """
    machine = emulates(domain)
    if machine.architecture == "x86_64" and machine.machine.partition("-")[0] in _PC:
        child_of(domain, "genid", DOMAIN)


def memory_snapshot_xml(live: str, file: str) -> str:
    """Ask for the memory of a domain, whose XML is `live`, and for none of its disks."""
    element = etree.Element("domainsnapshot")
    etree.SubElement(element, "memory", {"snapshot": "external", "file": file})
    disks = etree.SubElement(element, "disks")
    for target in etree.fromstring(live, PARSER).iterfind("devices/disk/target"):
        etree.SubElement(disks, "disk", {"name": target.get("dev", ""), "snapshot": "no"})
    return etree.tostring(element, encoding="unicode")


def written_disks(xml: str) -> tuple[str, ...]:
    """Where the disks lie that a domain may write to: files, block devices, or what else the XML names."""
    sources = (
        disk.find("source")
        for disk in etree.fromstring(xml, PARSER).iterfind("devices/disk")
        if disk.find("readonly") is None
    )
    return tuple(_place(source) for source in sources if source is not None)


def _place(source: etree._Element) -> str:
    return next((place for name in ("file", "dev", "volume", "name") if (place := source.get(name))), "a disk")


def why_unsavable(xml: str) -> tuple[str, ...]:
    """What in a domain keeps QEMU from saving its memory, as it would be told of the node; nothing if it can."""
    return tuple(dict.fromkeys(_unsavable(etree.fromstring(xml, PARSER))))


def _unsavable(domain: etree._Element) -> Iterator[str]:
    for hostdev in domain.iterfind("devices/hostdev"):
        yield f"has a {'PCI function' if hostdev.get('type') == 'pci' else 'device'} of the host"
    for share in domain.iterfind("devices/filesystem"):
        driver = share.find("driver")
        how = "9p" if driver is None or driver.get("type", "path") == "path" else driver.get("type", "")
        yield f"shares a folder with the host ({how})"
    arguments = (arg.get("value", "") for arg in domain.iterfind("{*}commandline/{*}arg"))
    if domain.find("devices/disk/target[@bus='nvme']") is not None or any("nvme" in value for value in arguments):
        yield "has an emulated NVMe disk"
