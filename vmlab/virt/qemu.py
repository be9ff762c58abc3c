"""Ask libvirt for the host's QEMU, and what it has."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lxml import etree

from vmlab.domainxml.template import emulates
from vmlab.errors import HostError
from vmlab.inventory.architecture import GUESTS, named
from vmlab.inventory.qemu import Emulator, Qemu, read_emulator, read_qemu
from vmlab.plan.fitting import Fitted, fit, machine_type, with_machine
from vmlab.runtime.distribution import install_hint
from vmlab.virt.connection import Host

if TYPE_CHECKING:
    import libvirt

_RUNS_BY = {"kvm": "under KVM", "qemu": "emulated (TCG)"}


def emulator(host: Host, architecture: str = GUESTS) -> Emulator:
    """The QEMU that libvirt has for guests of an architecture. Raises HostError if it has none."""
    told = host.call(lambda connection: connection.getCapabilities())
    wanted = named(architecture) or GUESTS
    found = read_emulator(told, wanted)
    if found is None:
        raise HostError(f"libvirt finds no QEMU for {wanted} guests", hint=install_hint(f"qemu-system-{wanted}"))
    return found


@dataclass(frozen=True, slots=True)
class Offer:
    """What a host has for a template's guests: the machine type that they get there, and its QEMU for that."""

    where: str
    machine: str
    remarks: tuple[str, ...]
    qemu: Qemu


def offer(host: Host, name: str, template: etree._Element, kind: str) -> Offer:
    """What this host has for domains of type `kind`, "kvm" or "qemu", that are made of the template `name`.

    Raises HostError, with the host's name, where it runs none of these at all.
    """
    wants = emulates(template)
    its = emulator(host, wants.architecture)
    where = host.call(lambda connection: connection.getHostname())
    if its.kinds and kind not in its.kinds:
        raise HostError(
            f"{its.path} of the host {where} runs no guests {_RUNS_BY.get(kind, kind)}",
            hint="vmlab host check" if kind == "kvm" else "--accel kvm; this QEMU was built without TCG",
        )
    machine, remarks = machine_type(name, wants, its, where)
    return Offer(where, machine, remarks, _ask(host, wants.architecture, machine, kind))


def fitted(offer: Offer, name: str, template: etree._Element, kind: str) -> Fitted:
    """The template as the host of the offer can have it.

    Raises HostError, with the host's name, for what its QEMU lacks and guests cannot do without.
    """
    changed = with_machine(template, offer.machine)
    found = fit(name, changed, offer.qemu, host=offer.where, kind=kind, efi=install_hint("efi"))
    return Fitted(found.template, (*offer.remarks, *found.remarks))


def _ask(host: Host, architecture: str, machine: str, kind: str) -> Qemu:
    def act(connection: "libvirt.virConnect") -> str:
        told: str = connection.getDomainCapabilities(None, named(architecture) or GUESTS, machine or None, kind)
        return told

    return read_qemu(host.call(act))
