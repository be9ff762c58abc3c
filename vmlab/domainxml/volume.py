"""The XML of a bed's volumes."""

from dataclasses import dataclass

from lxml import etree


@dataclass(frozen=True, slots=True)
class Volume:
    """A file of a bed; `backing` makes it a qcow2 clone of an image, `capacity` is in bytes.

    It lies in the beds' pool, or in the `folder` of that name (`identity.folder_name`).
    """

    name: str
    capacity: int
    format: str
    backing: str | None = None
    folder: str = ""


def volume_xml(volume: Volume) -> etree._Element:
    """The volume to create: sparse, so that a bed of terabytes fits a test machine."""
    element = etree.Element("volume")
    etree.SubElement(element, "name").text = volume.name
    etree.SubElement(element, "capacity", {"unit": "bytes"}).text = str(volume.capacity)
    etree.SubElement(element, "allocation", {"unit": "bytes"}).text = "0"
    target = etree.SubElement(element, "target")
    etree.SubElement(target, "format", {"type": volume.format})
    if volume.backing is not None:
        backing = etree.SubElement(element, "backingStore")
        etree.SubElement(backing, "path").text = volume.backing
        etree.SubElement(backing, "format", {"type": "qcow2"})
    return element
