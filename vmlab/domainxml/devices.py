"""One function per element of `<devices>`."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from lxml import etree

# Root ports left free for hot-plugging: a PCIe device needs one of its own.
SPARE_ROOT_PORTS = 4


_NBD = re.compile(r"nbd://([0-9.]{7,15}):(\d{1,5})/")


@dataclass(frozen=True, slots=True)
class Nbd:
    """Where a disk is exported by QEMU's NBD: an IPv4 address and a TCP port."""

    address: str
    port: int

    @staticmethod
    def of(place: str) -> "Nbd | None":
        """From `nbd://ADDRESS:PORT/NAME`, as a domain's disks are told; None for what is no such place."""
        found = _NBD.match(place)
        return None if found is None else Nbd(found[1], int(found[2]))


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk. `serial` becomes /dev/disk/by-id/virtio-SERIAL; virtio-blk carries 20 characters of it.

    `sector` in bytes, None: QEMU's 512. Of SCSI disks only: the `wwn`; `paths`, the number of controllers that it is
    on; and `passed`, a block device of the host whose own serial and WWN the guest sees. `reservations`: persistent
    ones reach it, by a helper that libvirt starts. `nbd`: it is an export of another host, whose name is the `path`.
    """

    path: str
    format: str
    serial: str
    shareable: bool = False
    readonly: bool = False
    bus: Literal["virtio", "scsi"] = "virtio"
    wwn: str | None = None
    sector: int | None = None
    paths: int = 1
    passed: bool = False
    reservations: bool = False
    nbd: Nbd | None = None


@dataclass(frozen=True, slots=True)
class Interface:
    """A paravirtual NIC, on a libvirt network or on an existing bridge of the host: exactly one is given."""

    mac: str
    network: str | None
    bridge: str | None
    mtu: int | None = None


def disk_elements(disks: Sequence[Disk], iothread: int | None = None) -> Iterator[etree._Element]:
    """The disks in their order, named vda, vdb, and sda, sdb for each path of each SCSI disk; then SCSI's controllers.

    Guests find disks by serial, never by these names. `iothread` is the number of the thread that does their I/O; None:
    QEMU's main loop. The first path of every SCSI disk is on the first controller, and so on.
    """
    named = {"virtio": 0, "scsi": 0}
    targets = 0
    for disk in disks:
        for path in range(disk.paths):
            element = _disk_element(disk, named[disk.bus], iothread)
            if disk.bus == "scsi":
                where = {"type": "drive", "controller": str(path), "bus": "0", "target": str(targets), "unit": "0"}
                etree.SubElement(element, "address", where)
            named[disk.bus] += 1
            yield element
        targets += disk.bus == "scsi"
    for index in range(scsi_controllers(disks)):
        controller = etree.Element("controller", {"type": "scsi", "index": str(index), "model": "virtio-scsi"})
        if iothread is not None:
            etree.SubElement(controller, "driver", {"iothread": str(iothread)})
        yield controller


def scsi_controllers(disks: Sequence[Disk]) -> int:
    """How many SCSI controllers the disks need."""
    return max((disk.paths for disk in disks if disk.bus == "scsi"), default=0)


def disk_ports(disks: Sequence[Disk]) -> int:
    """How many PCI ports the disks need: a virtio disk has one of its own, SCSI disks have their controllers'."""
    return sum(disk.bus == "virtio" for disk in disks) + scsi_controllers(disks)


def _disk_element(disk: Disk, index: int, iothread: int | None) -> etree._Element:
    kind = "block" if disk.passed else "file" if disk.nbd is None else "network"
    element = etree.Element("disk", {"type": kind, "device": "lun" if disk.passed else "disk"})
    driver = etree.SubElement(element, "driver", {"name": "qemu", "type": disk.format})
    shared = disk.shareable or disk.paths > 1
    if shared:
        # Each partner, and each path, must read what the other wrote, so nothing may stay in a host cache.
        driver.set("cache", "none")
    if not (disk.readonly or disk.passed):
        driver.set("discard", "unmap")
    if disk.nbd is not None:
        # Until its host exports it again the guest stands still, and never hears of it.
        driver.set("error_policy", "stop")
        driver.set("rerror_policy", "stop")
    if iothread is not None and disk.bus == "virtio":
        driver.set("iothread", str(iothread))
    element.append(_source(disk))
    letter = "v" if disk.bus == "virtio" else "s"
    etree.SubElement(element, "target", {"dev": disk_name(index, letter), "bus": disk.bus})
    if disk.sector is not None:
        sector = str(disk.sector)
        etree.SubElement(element, "blockio", {"logical_block_size": sector, "physical_block_size": sector})
    if disk.readonly:
        etree.SubElement(element, "readonly")
    if shared:
        etree.SubElement(element, "shareable")
    if not disk.passed:
        etree.SubElement(element, "serial").text = disk.serial
    if disk.wwn is not None:
        etree.SubElement(element, "wwn").text = disk.wwn
    return element


def _source(disk: Disk) -> etree._Element:
    if disk.nbd is not None:
        element = etree.Element("source", {"protocol": "nbd", "name": disk.path})
        etree.SubElement(element, "host", {"name": disk.nbd.address, "port": str(disk.nbd.port)})
        return element
    element = etree.Element("source", {"dev" if disk.passed else "file": disk.path})
    if disk.reservations:
        etree.SubElement(element, "reservations", {"managed": "yes"})
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
    for _ in range(number + SPARE_ROOT_PORTS):
        etree.SubElement(devices, "controller", {"type": "pci", "model": "pcie-root-port"})


def console_elements(log: str) -> list[etree._Element]:
    """The serial console: live as a pty, and kept in the file `log` (written by virtlogd, begun anew at each start)."""
    serial = etree.Element("serial", {"type": "pty"})
    etree.SubElement(serial, "log", {"file": log, "append": "off"})
    etree.SubElement(serial, "target", {"type": "isa-serial", "port": "0"})
    console = etree.Element("console", {"type": "pty"})
    etree.SubElement(console, "target", {"type": "serial", "port": "0"})
    return [serial, console]


def disk_name(index: int, letter: str = "v") -> str:
    """libvirt's name for the disk at this place: 0 is vda, of SCSI disks (`letter` "s") sda."""
    return f"{letter}d{_letters(index)}"


def _letters(index: int) -> str:
    """0 is a, 25 is z, 26 is aa: as the kernel names disks."""
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(ord("a") + rest) + letters
    return letters
