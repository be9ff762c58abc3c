"""A host's QEMU as libvirt tells it: which program it is, and what it has for a machine type.

The formats: https://libvirt.org/formatcaps.html (`<guest>`) and https://libvirt.org/formatdomaincaps.html. No program
is looked for by its name: it is qemu-system-x86_64 on one distribution and /usr/libexec/qemu-kvm on another.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lxml import etree

from vmlab.inventory.document import document


@dataclass(frozen=True, slots=True)
class Emulator:
    """The QEMU of one architecture. `machines` have aliases too; `kinds` are domain types: "kvm", "qemu" (TCG)."""

    path: str
    machines: frozenset[str]
    kinds: frozenset[str]


@dataclass(frozen=True, slots=True)
class Qemu:
    """What it has for one machine type and one kind of domain.

    `modes` and `models` are those of its CPUs, a model with whether this host can run it; `devices` whether there are
    any of a sort; `choices` what there is to choose from: ("rng", "model") has "virtio", ("os", "firmware") "efi".
    """

    path: str
    machine: str
    modes: frozenset[str] = frozenset()
    models: Mapping[str, bool] = field(default_factory=dict)
    devices: Mapping[str, bool] = field(default_factory=dict)
    choices: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.path} ({self.machine})"

    def lacks(self, device: str, choice: str, value: str) -> bool:
        """libvirt says that it does not have it. What an older libvirt does not tell of is not lacking."""
        if not self.devices.get(device, True):
            return True
        offered = self.choices.get((device, choice))
        return offered is not None and value not in offered


def read_emulator(capabilities: str, architecture: str) -> Emulator | None:
    """The QEMU that `virsh capabilities` tells for guests of an architecture; None if there is none."""
    root = document(capabilities, "capabilities", "capabilities")
    for arch in root.iterfind("guest/arch"):
        path = arch.findtext("emulator", "").strip()
        if arch.get("name") == architecture and path:
            machines = {(machine.text or "").strip() for machine in arch.iter("machine")}
            machines |= {machine.get("canonical", "") for machine in arch.iter("machine")}
            kinds = frozenset(domain.get("type", "") for domain in arch.iterfind("domain"))
            return Emulator(path, frozenset(filter(None, machines)), kinds)
    return None


def read_tsc(capabilities: str) -> int | None:
    """The speed of the host's time stamp counter in Hz, as `virsh capabilities` tells; None where it does not."""
    counter = document(capabilities, "capabilities", "capabilities").find("host/cpu/counter[@name='tsc']")
    told = None if counter is None else counter.get("frequency", "")
    return int(told) if told and told.isdecimal() else None


def read_qemu(domain_capabilities: str) -> Qemu:
    """What `virsh domcapabilities` tells."""
    root = document(domain_capabilities, "domain capabilities", "domainCapabilities")
    sections = [element for element in (root.find("os"), *root.iterfind("devices/*")) if element is not None]
    return Qemu(
        path=root.findtext("path", "").strip(),
        machine=root.findtext("machine", "").strip(),
        modes=frozenset(mode.get("name", "") for mode in root.iterfind("cpu/mode[@supported='yes']")),
        models={
            (model.text or "").strip(): model.get("usable") != "no"
            for model in root.iterfind("cpu/mode[@name='custom']/model")
        },
        devices={str(section.tag): section.get("supported") != "no" for section in sections},
        choices={
            (str(section.tag), choice.get("name", "")): _values(choice)
            for section in sections
            for choice in section.iterfind("enum")
        },
    )


def _values(choice: etree._Element) -> frozenset[str]:
    return frozenset((value.text or "").strip() for value in choice.iterfind("value"))
