"""What a running domain needs and has room for, as its live XML says."""

from dataclasses import dataclass
from typing import cast

from lxml import etree

from vmlab.domainxml.devices import disk_name
from vmlab.domainxml.read import PARSER, Uses, kib_of, uses_of

# Strings, of which there are many, and no elements that Python would have to make objects of.
_PORTS = etree.XPath("devices/controller[@model='pcie-root-port']/@index", smart_strings=False)
_BUSES = etree.XPath("devices/*/address[@type='pci']/@bus", smart_strings=False)


@dataclass(frozen=True, slots=True)
class LiveFacts:
    """`free_ports`: PCIe root ports without a device. `most_kib`: what its balloon may let it have; 0 without one.

    `uses` are the files that its QEMU has.
    """

    free_ports: int
    most_kib: int
    uses: Uses


def read_live(xml: str) -> LiveFacts:
    """Read what `virDomainGetXMLDesc` gives of a domain that runs."""
    root = etree.fromstring(xml, PARSER)
    ports = {int(index) for index in cast("list[str]", _PORTS(root))}
    used = {int(bus, 16) for bus in cast("list[str]", _BUSES(root))}
    balloon = root.find("devices/memballoon")
    has_one = balloon is not None and balloon.get("model") != "none"
    return LiveFacts(len(ports - used), kib_of(root) if has_one else 0, uses_of(root))


def disks_to_attach(xml: str, serials: frozenset[str]) -> dict[str, str]:
    """The elements of a domain's disks that have other serials and can be plugged in, by serial."""
    found = {}
    for disk in etree.fromstring(xml, PARSER).iterfind("devices/disk[serial]"):
        serial = disk.findtext("serial", "")
        if serial not in serials and disk.find("target[@bus='virtio']") is not None:
            found[serial] = etree.tostring(disk, encoding="unicode")
    return found


def placed_disk(disk: str, live: str) -> str | None:
    """The disk's element with a name that is free in the running domain; None if that has the disk already."""
    element, root = etree.fromstring(disk, PARSER), etree.fromstring(live, PARSER)
    serial = element.findtext("serial")
    if any(there.findtext("serial") == serial for there in root.iterfind("devices/disk")):
        return None
    taken = {target.get("dev") for target in root.iterfind("devices/disk/target")}
    target = element.find("target")
    assert target is not None, "`disks_to_attach` saw to it"  # noqa: S101
    target.set("dev", next(name for name in map(disk_name, range(len(taken) + 1)) if name not in taken))
    return etree.tostring(element, encoding="unicode")
