"""The memory of domains: saved while they stand still, with or without ending them, and put back."""

import contextlib

import libvirt

from vmlab.domainxml.snapshot import memory_snapshot_xml
from vmlab.virt.connection import Host
from vmlab.virt.faults import pause
from vmlab.virt.start import restore

_SAVE_S = 300.0
_SAVE_S_PER_GIB = 60.0  # a disk that writes 17 MiB/s; 2 s for 80 MiB were measured


def save_memory(host: Host, domain: str, file: str, *, memory_kib: int) -> None:
    """Write the memory of a domain that stands still into a file of its host; it stands still afterwards, too.

    libvirt keeps nothing of it: to it this is a snapshot without disks, and without a record. Raises LibvirtError.
    """

    def act(connection: "libvirt.virConnect") -> None:
        found = connection.lookupByName(domain)
        found.snapshotCreateXML(
            memory_snapshot_xml(found.XMLDesc(), file), libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
        )

    host.call(act, deadline_s=_of_size(memory_kib))


def restore_memory(host: Host, domain: str, file: str, *, memory_kib: int) -> None:
    """Start a domain with the memory of that file; it stands still. Raises LibvirtError."""
    host.call(lambda connection: restore(host, connection, domain, file), deadline_s=_of_size(memory_kib))


def end_saved(host: Host, domain: str, *, paused: bool, memory_kib: int) -> None:
    """Save the memory of a domain that stands still, and end it: whoever starts it next has it go on from there.

    It stands still then, too, if it is to be `paused`. Raises LibvirtError; the domain stands still as before then.
    """
    state = libvirt.VIR_DOMAIN_SAVE_PAUSED if paused else libvirt.VIR_DOMAIN_SAVE_RUNNING
    host.call(lambda connection: connection.lookupByName(domain).managedSave(state), deadline_s=_of_size(memory_kib))


def go_on(host: Host, domain: str) -> None:
    """Let a domain go on that stands still, whoever is still saving its memory: that ends."""
    end_job(host, domain)
    pause(host, domain, paused=False)


def end_job(host: Host, domain: str) -> None:
    """End what libvirt is doing with its memory, if it is."""

    def end(connection: "libvirt.virConnect") -> None:
        with contextlib.suppress(libvirt.libvirtError):  # as a rule there is no such job
            connection.lookupByName(domain).abortJob()

    host.call(end)


def _of_size(memory_kib: int) -> float:
    return _SAVE_S + _SAVE_S_PER_GIB * (memory_kib >> 20)
