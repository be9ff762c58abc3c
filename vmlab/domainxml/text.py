"""XML as text."""

from lxml import etree


def text(element: etree._Element) -> str:
    """XML as libvirt takes it and people read it."""
    return etree.tostring(element, pretty_print=True, encoding="unicode")
