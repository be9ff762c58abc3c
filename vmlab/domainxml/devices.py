"""One function per element of `<devices>`."""

from dataclasses import dataclass

from lxml import etree

# Root ports left free for hot-plugging: a PCIe device needs one of its own.
SPARE_ROOT_PORTS = 4


@dataclass(frozen=True, slots=True)
class Disk:
    """A virtio disk. `serial` becomes /dev/disk/by-id/virtio-SERIAL; virtio-blk carries 20 characters of it."""

    path: str
    format: str
    serial: str
    shareable: bool = False
    readonly: bool = False


@dataclass(frozen=True, slots=True)
class Interface:
    """A paravirtual NIC, on a libvirt network or on an existing bridge of the host: exactly one is given."""

    mac: str
    network: str | None
    bridge: str | None
    mtu: int | None = None


def disk_element(disk: Disk, index: int, iothread: int | None = None) -> etree._Element:
    """The disk at place `index` (0 is vda). Guests find disks by serial, never by this name.

    `iothread` is the number of the thread that does its I/O; None: QEMU's main loop.
    """
    element = etree.Element("disk", {"type": "file", "device": "disk"})
    driver = etree.SubElement(element, "driver", {"name": "qemu", "type": disk.format})
    if disk.shareable:
        # Each partner must read what the other wrote, so nothing may stay in a host cache.
        driver.set("cache", "none")
    if not disk.readonly:
        driver.set("discard", "unmap")
    if iothread is not None:
        driver.set("iothread", str(iothread))
    etree.SubElement(element, "source", {"file": disk.path})
    etree.SubElement(element, "target", {"dev": disk_name(index), "bus": "virtio"})
    if disk.readonly:
        etree.SubElement(element, "readonly")
    if disk.shareable:
        etree.SubElement(element, "shareable")
    etree.SubElement(element, "serial").text = disk.serial
    return element


def interface_element(interface: Interface) -> etree._Element:
    """A virtio NIC without boot ROM: nobody boots these guests from the network, and loading it costs time."""
    if interface.network is not None:
        element = etree.Element("interface", {"type": "network"})
        source = {"network": interface.network}
    else:
        element = etree.Element("interface", {"type": "bridge"})
        source = {"bridge": interface.bridge or ""}
    etree.SubElement(element, "mac", {"address": interface.mac})
    etree.SubElement(element, "source", source)
    etree.SubElement(element, "model", {"type": "virtio"})
    if interface.mtu is not None:
        etree.SubElement(element, "mtu", {"size": str(interface.mtu)})
    etree.SubElement(element, "rom", {"enabled": "no"})
    return element


def add_root_ports(devices: etree._Element, number: int) -> None:
    """Add so many PCIe root ports, and the spare ones. Without a root, libvirt takes the first of them for it."""
    if devices.find("controller[@type='pci'][@index='0']") is None:
        devices.insert(0, etree.Element("controller", {"type": "pci", "index": "0", "model": "pcie-root"}))
    devices.extend(
        etree.Element("controller", {"type": "pci", "model": "pcie-root-port"})
        for _ in range(number + SPARE_ROOT_PORTS)
    )


def console_elements(log: str) -> list[etree._Element]:
    """The serial console: live as a pty, and kept in the file `log` (written by virtlogd, begun anew at each start)."""
    serial = etree.Element("serial", {"type": "pty"})
    etree.SubElement(serial, "log", {"file": log, "append": "off"})
    etree.SubElement(serial, "target", {"type": "isa-serial", "port": "0"})
    console = etree.Element("console", {"type": "pty"})
    etree.SubElement(console, "target", {"type": "serial", "port": "0"})
    return [serial, console]


def disk_name(index: int) -> str:
    """libvirt's name for the virtio disk at this place: 0 is vda."""
    return f"vd{_letters(index)}"


def _letters(index: int) -> str:
    """0 is a, 25 is z, 26 is aa: as the kernel names disks."""
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(ord("a") + rest) + letters
    return letters
