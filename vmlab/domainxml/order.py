"""The order in which libvirt writes children, as far as vmlab puts some in (src/conf/domain_conf.c and cpu_conf.c)."""

from lxml import etree

DOMAIN = (
    "name", "uuid", "genid", "title", "description", "metadata", "maxMemory", "memory", "currentMemory", "blkiotune",
    "memtune", "memoryBacking", "vcpu", "vcpus", "iothreads", "iothreadids", "defaultiothread", "cputune", "numatune",
    "resource", "sysinfo", "bootloader", "bootloader_args", "os", "idmap", "features", "cpu", "clock", "on_poweroff",
    "on_reboot", "on_crash",
)  # fmt: skip
CPUTUNE = (
    "shares", "period", "quota", "global_period", "global_quota", "emulator_period", "emulator_quota",
    "iothread_period", "iothread_quota", "vcpupin", "emulatorpin", "iothreadpin",
)  # fmt: skip
CPU = ("model", "vendor", "topology", "cache", "maxphysaddr", "feature", "numa")


def place(parent: etree._Element, child: etree._Element, order: tuple[str, ...]) -> etree._Element:
    """Put the child behind everything that libvirt writes before it, or its like; `order` has its tag."""
    before = next(parent.iterchildren(*order[: order.index(str(child.tag)) + 1], reversed=True), None)
    if before is None:
        parent.insert(0, child)
    else:
        before.addnext(child)
    return child


def child_of(parent: etree._Element, tag: str, order: tuple[str, ...]) -> etree._Element:
    """The parent's child of that tag, made at its place if there is none."""
    found = next(parent.iterchildren(tag), None)
    return place(parent, etree.Element(tag), order) if found is None else found


def drop(parent: etree._Element, *paths: str) -> None:
    """Remove everything at these paths."""
    for path in paths:
        for element in parent.findall(path):
            above = element.getparent()
            if above is not None:
                above.remove(element)
