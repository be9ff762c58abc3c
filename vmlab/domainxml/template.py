"""Domain templates: complete domains in files, checked for being one before anything is built on them."""

from pathlib import Path

from lxml import etree

from vmlab.errors import Problem, TopologyError


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
