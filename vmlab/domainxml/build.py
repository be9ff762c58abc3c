"""A node's domain XML: its template plus what the topology asks for, in libvirt's own order of elements."""

import copy
from dataclasses import dataclass

from lxml import etree

from vmlab.domainxml.devices import Disk, Interface, console_elements, disk_element, interface_element, root_ports
from vmlab.domainxml.metadata import NodeMetadata, node_element

# The order in which libvirt writes a domain's children (src/conf/domain_conf.c, virDomainDefFormatInternal); elements
# that a template has beyond these stay where they are.
_ORDER = (
    "name", "uuid", "title", "description", "metadata", "maxMemory", "memory", "currentMemory", "memoryBacking", "vcpu",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Boot:
    """Boot a kernel directly (paths on the host); without one the guest boots from its own disk."""

    kernel: str
    initrd: str | None
    cmdline: str


@dataclass(frozen=True, slots=True)
class Machine:
    """What one node asks of libvirt. `domain_type` is "kvm", "qemu" (TCG) or "test"; memory and pages in KiB."""

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


def build(template: etree._Element, machine: Machine, metadata: NodeMetadata) -> etree._Element:
    """The domain to define. The template is not changed."""
    domain = copy.deepcopy(template)
    domain.set("type", machine.domain_type)
    _set(domain, "name", machine.name)
    _set(domain, "uuid", machine.uuid)
    _metadata(domain, metadata)
    _set(domain, "memory", str(machine.memory_kib), unit="KiB")
    _drop(domain, "currentMemory")
    _set(domain, "vcpu", str(machine.vcpus))
    if machine.page_kib is not None:
        _huge_pages(domain, machine.page_kib)
    _boot(domain, machine.boot)
    if machine.domain_type == "qemu":
        _emulated(domain)
    devices = domain.find("devices")
    assert devices is not None, "a template has devices"  # noqa: S101 - parse_template saw to it
    devices.extend(disk_element(disk, index) for index, disk in enumerate(machine.disks))
    devices.extend(root_ports(len(machine.disks) + len(machine.interfaces)))
    devices.extend(interface_element(interface) for interface in machine.interfaces)
    devices.extend(console_elements(machine.console_log))
    return domain


def text(element: etree._Element) -> str:
    """XML as libvirt takes it and people read it."""
    return etree.tostring(element, pretty_print=True, encoding="unicode")


def _set(domain: etree._Element, tag: str, value: str, **attributes: str) -> etree._Element:
    """Set a child of the domain, putting a new one at its place in libvirt's order."""
    child = domain.find(tag)
    if child is None:
        child = etree.Element(tag)
        before = [e for e in domain if e.tag in _ORDER[: _ORDER.index(tag)]]
        domain.insert(domain.index(before[-1]) + 1 if before else 0, child)
    child.text = value
    for key, content in attributes.items():
        child.set(key, content)
    return child


def _drop(domain: etree._Element, path: str) -> None:
    for element in domain.findall(path):
        parent = element.getparent()
        if parent is not None:
            parent.remove(element)


def _metadata(domain: etree._Element, metadata: NodeMetadata) -> None:
    element = _set(domain, "metadata", "")
    element.text = None
    element.append(node_element(metadata))


def _huge_pages(domain: etree._Element, page_kib: int) -> None:
    _drop(domain, "memoryBacking/hugepages")
    backing = domain.find("memoryBacking")
    if backing is None:
        backing = _set(domain, "memoryBacking", "")
        backing.text = None
    pages = etree.SubElement(backing, "hugepages")
    etree.SubElement(pages, "page", {"size": str(page_kib), "unit": "KiB"})


def _boot(domain: etree._Element, boot: Boot | None) -> None:
    os_element = domain.find("os")
    if boot is None or os_element is None:
        return
    for tag in ("kernel", "initrd", "cmdline"):
        _drop(domain, f"os/{tag}")
    at = os_element.find("boot")
    index = len(os_element) if at is None else os_element.index(at)
    for tag, value in reversed((("kernel", boot.kernel), ("initrd", boot.initrd), ("cmdline", boot.cmdline))):
        if value is not None:
            child = etree.Element(tag)
            child.text = value
            os_element.insert(index, child)


def _emulated(domain: etree._Element) -> None:
    """Under TCG there is no host CPU to pass through, and five-level page tables only make each walk longer."""
    cpu = domain.find("cpu")
    if cpu is None or cpu.get("mode") not in ("host-passthrough", "host-model"):
        return
    cpu.clear()
    cpu.set("mode", "maximum")
    etree.SubElement(cpu, "feature", {"policy": "disable", "name": "la57"})
