"""A domain's power button (ACPI): the guest decides what to do."""

import contextlib

import libvirt

from vmlab.virt.connection import Host


def press(host: Host, domain: str) -> None:
    """Press it, if the domain runs; nobody hears of it where nothing in the guest listens."""

    def act(connection: "libvirt.virConnect") -> None:
        with contextlib.suppress(libvirt.libvirtError):
            connection.lookupByName(domain).shutdown()

    host.call(act)
