"""What is left of a guest whose kernel crashes: the host hears of it at once, and its memory stays for whoever looks.

The kernel writes to the pvpanic device (its module pvpanic_mmio), and QEMU stops the guest. `preserve` has libvirt keep
it so, in the state "crashed". With vmcoreinfo a dump of its memory tells where the kernel's log is (qemu_fw_cfg).
"""

import copy

from lxml import etree

from vmlab.domainxml.order import DOMAIN, child_of
from vmlab.domainxml.template import emulates

_PC = ("pc", "q35")  # machine types begin so; libvirt's and QEMU's other x86_64 machines have no ISA bus


def keep_crashed(template: etree._Element) -> etree._Element:
    """The template with all three. A machine that is no PC only stays as it crashed."""
    kept = copy.deepcopy(template)
    child_of(kept, "on_crash", DOMAIN).text = "preserve"
    machine = emulates(kept)
    if machine.architecture != "x86_64" or machine.machine.partition("-")[0] not in _PC:
        return kept
    features = child_of(kept, "features", DOMAIN)
    if features.find("vmcoreinfo") is None:
        etree.SubElement(features, "vmcoreinfo", {"state": "on"})
    devices = kept.find("devices")
    if devices is not None and devices.find("panic") is None:
        etree.SubElement(devices, "panic", {"model": "isa"})
    return kept
