"""QEMU's stub for gdb, behind a socket that libvirt makes, guards and removes.

A TCP port, which QEMU would open by itself, is everybody's on the host, and a path of our own is closed to QEMU by
AppArmor. So libvirt is asked for a channel, whose socket lies in a folder that only the guests' user may enter. The
channel's device in the guest is left without it (`<qemu:override>`), and the stub gets it instead.
"""

from lxml import etree

_QEMU = "http://libvirt.org/schemas/domain/qemu/1.0"
_Q = f"{{{_QEMU}}}"
NAME = "vmlab.gdb"
# Kept by libvirt, and never that of a hostdev: `hostdev.alias_of` begins no interface with `_`.
_ALIAS = "ua-_gdb"


def add_gdb(domain: etree._Element, devices: etree._Element) -> None:
    """Let a debugger be joined, by a channel on the serial bus (`channel.add_serial_bus`).

    libvirt marks the domain as tainted (custom-argv, custom-device), which it is.
    """
    channel = etree.SubElement(devices, "channel", {"type": "unix"})
    etree.SubElement(channel, "target", {"type": "virtio", "name": NAME})
    etree.SubElement(channel, "alias", {"name": _ALIAS})
    line = etree.SubElement(domain, f"{_Q}commandline", nsmap={"qemu": _QEMU})
    for word in ("-gdb", f"chardev:char{_ALIAS}"):
        etree.SubElement(line, f"{_Q}arg", {"value": word})
    override = etree.SubElement(domain, f"{_Q}override", nsmap={"qemu": _QEMU})
    device = etree.SubElement(override, f"{_Q}device", {"alias": _ALIAS})
    frontend = etree.SubElement(device, f"{_Q}frontend")
    etree.SubElement(frontend, f"{_Q}property", {"name": "chardev", "type": "remove"})


def has_gdb(domain: etree._Element) -> bool:
    """The domain was made with it."""
    return _channel(domain) is not None


def gdb_socket(xml: str) -> str | None:
    """Where the socket of a running domain lies; None if there is none."""
    channel = _channel(etree.fromstring(xml))
    source = None if channel is None else channel.find("source")
    return None if source is None else source.get("path")


def _channel(domain: etree._Element) -> etree._Element | None:
    return domain.find(f"devices/channel/target[@name='{NAME}']/..")
