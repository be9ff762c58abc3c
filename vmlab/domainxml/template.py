"""Domain templates: complete domains in files, checked for being one before anything is built on them."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lxml import etree

from vmlab.errors import Problem, TopologyError

# Machine types that tell the architecture of a template that does not.
_OF_MACHINE = {"q35": "x86_64", "pc": "x86_64", "microvm": "x86_64", "pseries": "ppc64le", "s390-ccw-virtio": "s390x"}


@dataclass(frozen=True, slots=True)
class Emulates:
    """The machine that a template describes; "" is what it leaves to libvirt, which takes the host's own."""

    architecture: str
    machine: str

    def __str__(self) -> str:
        return "/".join(filter(None, (self.architecture, self.machine)))


def emulates(template: etree._Element) -> Emulates:
    """What `<os><type>` says: `x86_64/q35`."""
    system = next(template.iterchildren("os"), None)
    kind = None if system is None else next(system.iterchildren("type"), None)
    return Emulates("", "") if kind is None else _emulates(kind.get("arch", ""), kind.get("machine", ""))


@cache
def _emulates(told: str, machine: str) -> Emulates:
    family = next((name for name in _OF_MACHINE if machine == name or machine.startswith(f"{name}-")), "")
    return Emulates(told or _OF_MACHINE.get(family, ""), machine)


def parse_template(text: bytes, source: Path) -> etree._Element:
    """The template's root element, free of comments and blank text.

    Raises TopologyError when the text is no XML or its root is no `<domain>` with `<os><type>` and `<devices>`.
    """
    parser = etree.XMLParser(remove_blank_text=True, remove_comments=True, resolve_entities=False, no_network=True)
    try:
        root = etree.fromstring(text, parser)
    except etree.XMLSyntaxError as error:
        line, column = error.position
        raise TopologyError([Problem(str(source), line, column, f"the template is no XML: {error.msg}")]) from error

    def problem(message: str) -> TopologyError:
        return TopologyError([Problem(str(source), 1, 1, message)])

    if root.tag != "domain":
        raise problem(f"the template is no libvirt domain: its root element is <{root.tag}> (expected <domain>)")
    for needed in ("os/type", "devices"):
        if root.find(needed) is None:
            raise problem(f"the template is no complete domain: <{needed.replace('/', '><')}> is missing")
    return root
