"""A template on a host whose QEMU lacks something of it: what is not essential is left out or stood in for, and told.

RHEL's QEMU, for one, has no machine types of upstream's versions, no SPICE, no cirrus and no 9p. What a guest cannot
be without, because it would be another machine or miss its data, is refused with the host's and the thing's name.
"""

import copy
from dataclasses import dataclass
from typing import NamedTuple

from lxml import etree

from vmlab.domainxml.order import drop
from vmlab.domainxml.template import Emulates
from vmlab.errors import HostError
from vmlab.inventory.qemu import Emulator, Qemu

_MOST_NAMED = 6
# Versioned machine types are the same machine as their alias, only of another date.
_FAMILIES = {"pc-q35-": "q35", "pc-i440fx-": "pc", "virt-": "virt", "pseries-": "pseries"}


@dataclass(frozen=True, slots=True)
class Fitted:
    """The template as its host can have it. `remarks` say what is not as it was asked for."""

    template: etree._Element
    remarks: tuple[str, ...] = ()


class _Rule(NamedTuple):
    """Where a device's kind stands in a template (`default` where it is not written), and its name in libvirt's words.

    `instead` are what may stand in for it, the best first; () it may be left out, None: it is refused.
    """

    device: str
    inner: str
    attribute: str
    default: str | None
    choice: str
    instead: tuple[str, ...] | None


_RULES = (
    _Rule("disk", "", "device", "disk", "diskDevice", None),
    _Rule("disk", "target", "bus", None, "bus", None),
    _Rule("hostdev", "", "type", None, "subsysType", None),
    _Rule("filesystem", "driver", "type", "path", "driverType", None),
    _Rule("tpm", "", "model", None, "model", None),
    _Rule("rng", "", "model", None, "model", ()),
    _Rule("rng", "backend", "model", None, "backendModel", ()),
    _Rule("panic", "", "model", "isa", "model", ()),
    _Rule("redirdev", "", "bus", "usb", "bus", ()),
    _Rule("channel", "", "type", None, "type", ()),
    _Rule("graphics", "", "type", None, "type", ("vnc",)),
    _Rule("video", "model", "type", None, "modelType", ("virtio", "vga", "bochs")),
)


def machine_type(name: str, wants: Emulates, emulator: Emulator, host: str) -> tuple[str, tuple[str, ...]]:
    """The machine type that a template gets on a host, and what is to be said about that. `name` is the template's.

    Raises HostError for a machine that is of no family that the host's QEMU has.
    """
    if not wants.machine or wants.machine in emulator.machines:
        return wants.machine, ()
    lacking = _lacking(name, f"the machine type {wants.machine}", emulator.path, host)
    family = next((alias for start, alias in _FAMILIES.items() if wants.machine.startswith(start)), "")
    if family in emulator.machines:
        return family, (f"{lacking}: it gets {family}",)
    aliases = sorted(machine for machine in emulator.machines if "-" not in machine) or sorted(emulator.machines)
    there = ", ".join(aliases[:_MOST_NAMED]) or "none"
    raise HostError(lacking, hint=f"machine types there: {there}; `virsh capabilities` lists all")


def fit(name: str, template: etree._Element, qemu: Qemu, *, host: str, kind: str, efi: str = "") -> Fitted:
    """The template with what the host's QEMU has.

    `kind` is the domain type: "kvm", or "qemu" for emulated guests; `efi` the line that installs UEFI firmware there.
    Raises HostError with the host's and the device's name for what guests cannot do without.
    """
    fitted, remarks = copy.deepcopy(template), []
    remarks += _program(fitted, name, qemu, host)
    remarks += _firmware(fitted, name, qemu, host, efi)
    remarks += _cpu(fitted, name, qemu, host, kind)
    devices = fitted.find("devices")
    for rule in _RULES if devices is not None else ():
        for element in [] if devices is None else devices.findall(rule.device):
            remarks += _device(element, rule, name, qemu, host)
    return Fitted(fitted, tuple(remarks))


def with_machine(template: etree._Element, machine: str) -> etree._Element:
    """The template with another machine type; "" leaves it to libvirt."""
    changed = copy.deepcopy(template)
    kind = changed.find("os/type")
    if kind is not None and machine:
        kind.set("machine", machine)
    return changed


def _lacking(name: str, what: str, program: str, host: str) -> str:
    return f"the template {name} asks for {what}, which {program} of the host {host} does not have"


def _program(template: etree._Element, name: str, qemu: Qemu, host: str) -> list[str]:
    asked = (template.findtext("devices/emulator") or "").strip()
    if not asked or asked == qemu.path:
        return []
    drop(template, "devices/emulator")
    return [f"the template {name} asks for {asked}, and the QEMU of the host {host} is {qemu.path}: it gets that"]


def _firmware(template: etree._Element, name: str, qemu: Qemu, host: str, efi: str) -> list[str]:
    element = template.find("os")
    asked = None if element is None else element.get("firmware")
    if element is None or asked is None or not qemu.lacks("os", "firmware", asked):
        return []
    told = _lacking(name, f"{asked} firmware", str(qemu), host)
    if asked != "bios":
        raise HostError(told, hint=efi or "`virsh domcapabilities` lists what there is")
    del element.attrib["firmware"]  # RHEL describes none, and QEMU's own is one
    return []


def _cpu(template: etree._Element, name: str, qemu: Qemu, host: str, kind: str) -> list[str]:
    """Emulated guests get QEMU's whole CPU for the host's, which libvirt knows since 7.1; before, QEMU's default."""
    cpu = template.find("cpu")
    if cpu is None or not qemu.modes:
        return []
    model = (cpu.findtext("model") or "").strip()
    mode = cpu.get("mode", "custom" if model else "")
    if mode == "custom":
        if model and not qemu.models.get(model, not qemu.models):
            what = f"the CPU model {model}"
            why = _lacking(name, what, str(qemu), host)
            if model in qemu.models:
                why = f"the template {name} asks for {what}, which the CPUs of the host {host} are not able to be"
            raise HostError(why, hint='<cpu mode="host-passthrough"/>, or a model of `virsh domcapabilities`')
        return []
    needed = "maximum" if kind == "qemu" and mode.startswith("host-") else mode
    if not needed or needed in qemu.modes:
        return []
    told = _lacking(name, f'<cpu mode="{needed}">', str(qemu), host)
    if kind == "kvm" and mode != "host-model" and "host-model" in qemu.modes:
        cpu.set("mode", "host-model")
        return [f"{told}: it gets host-model"]
    del cpu.attrib["mode"]
    return [f"{told}: it gets QEMU's default CPU"]


def _device(element: etree._Element, rule: _Rule, name: str, qemu: Qemu, host: str) -> list[str]:
    inner = element.find(rule.inner) if rule.inner else element
    asked = rule.default if inner is None else inner.get(rule.attribute, rule.default)
    if asked is None or not qemu.lacks(rule.device, rule.choice, asked):
        return []
    device = rule.device if rule.device in asked else f"{rule.device} {asked}"
    told = _lacking(name, f"the device {device}", str(qemu), host)
    if rule.instead is None:
        raise HostError(told, hint=f"a `template` without it, or with another: virsh domcapabilities, {rule.device}")
    other = next((stand_in for stand_in in rule.instead if not qemu.lacks(rule.device, rule.choice, stand_in)), None)
    above = element.getparent()
    if above is None:  # gone already, by another rule
        return []
    if other is None:
        above.remove(element)
        return [f"{told}: left out"]
    new = etree.Element(rule.device)
    (etree.SubElement(new, rule.inner) if rule.inner else new).set(rule.attribute, other)
    above.replace(element, new)
    return [f"{told}: it gets {other}"]
