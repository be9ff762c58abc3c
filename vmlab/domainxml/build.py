"""A node's domain XML: its template plus what the topology asks for, in libvirt's own order of elements."""

import copy
import re
from dataclasses import dataclass

from lxml import etree

from vmlab.domainxml.channel import add_power, add_serial_bus
from vmlab.domainxml.debugger import add_gdb
from vmlab.domainxml.devices import (
    Disk,
    Interface,
    add_root_ports,
    console_elements,
    disk_elements,
    disk_ports,
    interface_element,
)
from vmlab.domainxml.hostdev import Hostdev, add_hostdevs, on_main_bus
from vmlab.domainxml.metadata import NodeMetadata, node_element
from vmlab.domainxml.order import CPU, DOMAIN, child_of, drop, place
from vmlab.domainxml.share import Share, share_element, share_memory
from vmlab.domainxml.template import emulates
from vmlab.domainxml.tuning import Tuning, huge_pages, tune

_OLD_PCI = re.compile(r"pc|pc-i440fx-.*")  # machines without PCI Express: devices have slots of the one bus


@dataclass(frozen=True, slots=True)
class Boot:
    """Boot a kernel directly (paths on the host); without one the guest boots from its own disk."""

    kernel: str
    initrd: str | None
    cmdline: str


@dataclass(frozen=True, slots=True)
class WantedDomain:
    """What one node asks of libvirt. `domain_type` is "kvm", "qemu" (TCG) or "test"; memory and pages in KiB.

    `tuning` is None where the host decides on CPUs and memory; where it is given, its pages count and not `page_kib`.
    """

    name: str
    uuid: str
    domain_type: str
    vcpus: int
    memory_kib: int
    page_kib: int | None
    boot: Boot | None
    disks: tuple[Disk, ...]
    interfaces: tuple[Interface, ...]
    console_log: str
    tuning: Tuning | None = None
    hostdevs: tuple[Hostdev, ...] = ()
    shares: tuple[Share, ...] = ()
    gdb: bool = False


def build(template: etree._Element, machine: WantedDomain, metadata: NodeMetadata) -> etree._Element:
    """The domain to define. The template is not changed."""
    domain = copy.deepcopy(template)
    domain.set("type", machine.domain_type)
    _set(domain, "name", machine.name)
    _set(domain, "uuid", machine.uuid)
    _metadata(domain, metadata)
    _set(domain, "memory", str(machine.memory_kib), unit="KiB")
    drop(domain, "currentMemory")
    _set(domain, "vcpu", str(machine.vcpus))
    if machine.tuning is not None:
        tune(domain, machine.tuning)
    elif machine.page_kib is not None:
        huge_pages(domain, {machine.page_kib: None})
    share_memory(domain, machine.shares)
    _boot(domain, machine.boot)
    if machine.domain_type == "qemu":
        _emulated(domain)
    devices = domain.find("devices")
    assert devices is not None, "a template has devices"  # noqa: S101 - parse_template saw to it
    iothread = 1 if machine.tuning is not None and machine.tuning.dedicated else None
    cells = 1 if machine.tuning is None else len(machine.tuning.cells)
    devices.extend(disk_elements(machine.disks, iothread))
    devices.extend(map(share_element, machine.shares))
    on_ports = disk_ports(machine.disks) + len(machine.interfaces) + on_main_bus(machine.hostdevs, cells)
    on_ports += len(machine.shares) + (machine.gdb or bool(metadata.powers))
    if not _OLD_PCI.fullmatch(emulates(domain).machine):
        add_root_ports(devices, on_ports)
    devices.extend(interface_element(interface) for interface in machine.interfaces)
    add_hostdevs(devices, machine.hostdevs, cells)
    devices.extend(console_elements(machine.console_log))
    if machine.gdb or metadata.powers:
        add_serial_bus(devices)
    if machine.gdb:
        add_gdb(domain, devices)
    if metadata.powers:
        add_power(devices)
    return domain


def _set(domain: etree._Element, tag: str, value: str, **attributes: str) -> etree._Element:
    """Set a child of the domain, putting a new one at its place in libvirt's order."""
    child = child_of(domain, tag, DOMAIN)
    child.text = value
    for key, content in attributes.items():
        child.set(key, content)
    return child


def _metadata(domain: etree._Element, metadata: NodeMetadata) -> None:
    element = _set(domain, "metadata", "")
    element.text = None
    element.append(node_element(metadata))


def _boot(domain: etree._Element, boot: Boot | None) -> None:
    os_element = domain.find("os")
    if boot is None or os_element is None:
        return
    for tag in ("kernel", "initrd", "cmdline"):
        drop(domain, f"os/{tag}")
    at = os_element.find("boot")
    index = len(os_element) if at is None else os_element.index(at)
    for tag, value in reversed((("kernel", boot.kernel), ("initrd", boot.initrd), ("cmdline", boot.cmdline))):
        if value is not None:
            child = etree.Element(tag)
            child.text = value
            os_element.insert(index, child)


def _emulated(domain: etree._Element) -> None:
    """Under TCG there is no host CPU to pass through, and five-level page tables only make each walk longer.

    The guest's topology and cells stay: pins work, since QEMU runs each vCPU in a thread of its own here too. Of
    threads the guest sees cores: TCG's CPU calls itself AMD's and has no topoext.
    """
    cpu = domain.find("cpu")
    if cpu is None or cpu.get("mode") not in ("host-passthrough", "host-model"):
        return
    kept = [element for element in cpu if element.tag in ("topology", "numa")]
    cpu.clear()
    cpu.set("mode", "maximum")
    for element in (*kept, etree.Element("feature", {"policy": "disable", "name": "la57"})):
        place(cpu, element, CPU)
