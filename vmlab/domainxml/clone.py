"""A domain as the clone of a template: what both must have alike, and what a clone gets afterwards.

QEMU puts memory back into a machine of the same devices in the same places. So all that a guest can see of its domain
is the template's too, but for its disks other than its root and its seed: these are plugged into the clone. What only
the host sees is each domain's own: names, files, networks, CPUs and cells. The guest is told its MAC addresses (see
store/recipes/first-boot): with the memory its cards have those of the template.
"""

import copy
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree

from vmlab.domainxml.order import DOMAIN, child_of, drop
from vmlab.domainxml.read import PARSER
from vmlab.domainxml.snapshot import why_unsavable

ROOT, SEED = "root", "seed"  # serial numbers, as plan.desired gives them
_OF_THE_HOST = ("uuid", "title", "description", "metadata", "genid", "cputune", "numatune", "resource", "seclabel")
_OF_A_CARD = ("model", "mtu", "rom", "driver", "address")
_MAC = "52:54:00:00:00:{:02x}"
_QEMU = "{http://libvirt.org/schemas/domain/qemu/1.0}commandline"


@dataclass(frozen=True, slots=True)
class Files:
    """Where the files of a template's guest lie."""

    root: str
    seed: str
    console: str


def why_none(xml: str) -> str:
    """Why a domain can be no clone, in words that follow the node's name; "" if it can."""
    domain = etree.fromstring(xml, PARSER)
    if reasons := why_unsavable(xml):
        return reasons[0]
    if domain.find(_QEMU) is not None:
        return "has QEMU arguments of its own"
    if domain.find("devices/interface") is None:
        return "has no network"
    if any(card.get("type") not in ("network", "bridge") for card in domain.iterfind("devices/interface")):
        return "has a network card that is no virtual one"
    if domain.find("os/loader") is not None or domain.find("os/nvram") is not None:
        return "boots by firmware with a memory of its own"
    return ""


def shape(xml: str, *others: object) -> str:
    """A digest of all that a template for this domain must have like it, and of `others`."""
    text = etree.tostring(_alike(xml), method="c14n").decode()
    return hashlib.sha256(repr((text, *others)).encode()).hexdigest()[:16]


def template_xml(xml: str, name: str, files: Files) -> str:
    """The template's own domain, on no network: what its cards send goes nowhere."""
    domain = _alike(xml)
    child_of(domain, "name", DOMAIN).text = name
    child_of(domain, "genid", DOMAIN)
    for disk in domain.iterfind("devices/disk"):
        source = disk.find("source")
        if source is not None:
            source.set("file", files.root if disk.findtext("serial") == ROOT else files.seed)
    for log in domain.iterfind("devices//log"):
        log.set("file", files.console)
    return _text(domain)


def parted(xml: str) -> tuple[str, tuple[str, ...]]:
    """The domain that a template's memory fits, and the disks that are plugged into it then, each in its place."""
    domain = etree.fromstring(xml, PARSER)
    plugged = list(_plugged(domain))
    for disk in plugged:
        _remove(disk)
    return _text(domain), tuple(map(_text, plugged))


def _alike(xml: str) -> etree._Element:
    domain = copy.deepcopy(etree.fromstring(xml, PARSER))
    for tag in _OF_THE_HOST:
        drop(domain, tag)
    child_of(domain, "name", DOMAIN).text = "template"
    for vcpu in domain.iterfind("vcpu"):
        vcpu.attrib.pop("cpuset", "")
    for disk in list(_plugged(domain)):
        _remove(disk)
    for source in domain.iterfind("devices/disk/source"):
        source.set("file", "")
    for number, card in enumerate(domain.iterfind("devices/interface")):
        card.set("type", "ethernet")
        for part in list(card):
            if part.tag not in _OF_A_CARD:
                card.remove(part)
        card.insert(0, etree.Element("mac", {"address": _MAC.format(number)}))
    for source in list(domain.iterfind("devices/channel/source")):
        _remove(source)
    for log in domain.iterfind("devices//log"):
        log.set("file", "")
    return domain


def _plugged(domain: etree._Element) -> Iterator[etree._Element]:
    return (disk for disk in domain.iterfind("devices/disk") if disk.findtext("serial") not in (ROOT, SEED))


def _remove(element: etree._Element) -> None:
    parent = element.getparent()
    if parent is not None:
        parent.remove(element)


def _text(element: etree._Element) -> str:
    return etree.tostring(element, encoding="unicode")
