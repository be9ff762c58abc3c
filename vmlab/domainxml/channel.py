"""The channel by which a guest asks the host for power: a virtio-serial port, and its socket on the host.

libvirt makes the socket, in a folder that only root and the guests' user may enter, anew at each start. It is the
domain's own, so whoever holds its end knows which guest asks; nothing that a guest says can change that.
"""

from lxml import etree

from vmlab.domainxml.read import PARSER

NAME = "io.vmlab.power"


def add_serial_bus(devices: etree._Element) -> None:
    """The bus that such channels are on, if the template has none."""
    if devices.find("controller[@type='virtio-serial']") is None:
        devices.append(etree.Element("controller", {"type": "virtio-serial", "index": "0"}))


def add_power(devices: etree._Element) -> None:
    """Let the guest ask."""
    channel = etree.SubElement(devices, "channel", {"type": "unix"})
    etree.SubElement(channel, "target", {"type": "virtio", "name": NAME})


def power_socket(xml: str) -> str | None:
    """Where the socket of a running domain lies; None if it has none."""
    source = etree.fromstring(xml, PARSER).find(f"devices/channel/target[@name='{NAME}']/../source")
    return None if source is None else source.get("path")
