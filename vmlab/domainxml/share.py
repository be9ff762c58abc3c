"""Folders of the host in a guest: by virtiofs, or by 9p where the host has none."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from lxml import etree

from vmlab.domainxml.order import DOMAIN, child_of, drop

Driver = Literal["virtiofs", "9p"]


@dataclass(frozen=True, slots=True)
class Share:
    """The host's folder `source`; the guest mounts it by its `tag` at `at`."""

    source: str
    at: str
    tag: str
    driver: Driver
    read_only: bool = False


def share_element(share: Share) -> etree._Element:
    """The device. Owners and modes are the host's own, with either driver.

    virtiofsd runs as root. With 9p it is QEMU that opens files, as the guests' user: it sees what all may see, and
    where that user may not give a file away, the file stays its own (squash).
    libvirt's virtiofs is not told `<readonly/>`, which Debian 12's refuses: there the guest's mount is read-only.
    """
    by_virtiofs = share.driver == "virtiofs"
    element = etree.Element("filesystem", {"type": "mount", "accessmode": "passthrough" if by_virtiofs else "squash"})
    if by_virtiofs:
        etree.SubElement(element, "driver", {"type": "virtiofs"})
    etree.SubElement(element, "source", {"dir": share.source})
    etree.SubElement(element, "target", {"dir": share.tag})
    if share.read_only and not by_virtiofs:
        etree.SubElement(element, "readonly")
    return element


def share_memory(domain: etree._Element, shares: Iterable[Share]) -> None:
    """virtiofsd maps the guest's memory; what else the template says of that memory stays."""
    if all(share.driver != "virtiofs" for share in shares):
        return
    drop(domain, "memoryBacking/source", "memoryBacking/access")
    backing = child_of(domain, "memoryBacking", DOMAIN)
    etree.SubElement(backing, "source", {"type": "memfd"})
    etree.SubElement(backing, "access", {"mode": "shared"})
