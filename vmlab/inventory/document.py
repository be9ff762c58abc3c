"""libvirt's XML documents, read so that whatever they contain is either understood or refused with a HostError."""

import re

from lxml import etree

from vmlab.errors import HostError
from vmlab.topology.wording import quote
from vmlab.values.cpuset import parse_cpu_list
from vmlab.values.pci import PciAddress

_NUMBER = re.compile(r"-?(0[xX][0-9a-fA-F]{1,16}|[0-9]{1,19})", re.ASCII)
# As libvirt scales integers: KB is 1000 bytes, KiB and a bare K 1024.
_PREFIXES = "kmgtpe"
_MOST_KIB = 1 << 53


def document(text: str, what: str, tag: str) -> etree._Element:
    """The root element <`tag`> of a text; `what` names the text in errors. Comments are gone."""
    parser = etree.XMLParser(
        encoding="utf-8", remove_comments=True, remove_pis=True, resolve_entities=False, no_network=True
    )
    try:
        root = etree.fromstring(text.encode(errors="replace"), parser)
    except etree.XMLSyntaxError as error:
        raise HostError(f"{what}: no XML: {error.msg or 'it is empty'}") from error
    if root is None or root.tag != tag:
        raise HostError(f"{what}: its root element is <{'' if root is None else root.tag}> (expected <{tag}>)")
    return root


def number(text: str | None, what: str) -> int:
    """A whole number, decimal or as 0x1f; `what` names it in the error."""
    stripped = (text or "").strip()
    if _NUMBER.fullmatch(stripped) is None:
        raise HostError(f"{what}: {quote(text or '')} is no number")
    negative = stripped.startswith("-")
    digits = stripped.removeprefix("-")
    value = int(digits, 16 if digits[:2].lower() == "0x" else 10)
    return -value if negative else value


def natural(text: str | None, what: str) -> int:
    """A whole number that is not negative."""
    value = number(text, what)
    if value < 0:
        raise HostError(f"{what}: {value} is negative")
    return value


def kib(element: etree._Element, what: str, *, text: str | None = None) -> int:
    """An amount of memory by its `unit` attribute (KiB where there is none), rounded down to KiB.

    `text` is the number where it is not the element's text.
    """
    unit = element.get("unit", "KiB").lower()
    amount = natural(element.text if text is None else text, what)
    if unit in ("b", "bytes"):
        amount //= 1024
    else:
        power = _PREFIXES.find(unit[:1]) + 1 if unit else 0
        if not power or unit[1:] not in ("", "b", "ib"):
            raise HostError(f"{what}: {quote(unit)} is no unit of memory")
        amount = amount * (1000 if unit[1:] == "b" else 1024) ** power // 1024
    if amount > _MOST_KIB:
        raise HostError(f"{what}: {amount} KiB is more than any host has")
    return amount


def cpus(text: str | None, what: str) -> frozenset[int]:
    """A list of CPUs or cells such as `0-3,8`."""
    try:
        return parse_cpu_list(text or "")
    except ValueError as error:
        raise HostError(f"{what}: {error}") from error


def pci_address(element: etree._Element, what: str) -> PciAddress:
    """An `<address>` element with domain, bus, slot and function."""
    parts = [natural(element.get(name, "0" if name == "domain" else None), f"{what}: {name}") for name in _PARTS]
    return checked_address(*parts, what=what)


def checked_address(domain: int, bus: int, slot: int, function: int, *, what: str) -> PciAddress:
    """The address, if all its parts are in the bounds of PCI."""
    if domain > 0xFFFF_FFFF or bus > 0xFF or slot > 0x1F or function > 7:  # noqa: PLR2004 - 32, 8, 5 and 3 bits
        raise HostError(f"{what}: there is no PCI address {domain:04x}:{bus:02x}:{slot:02x}.{function}")
    return PciAddress(domain, bus, slot, function)


_PARTS = ("domain", "bus", "slot", "function")
