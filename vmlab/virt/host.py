"""What a host has to give."""

from collections.abc import Iterator
from dataclasses import dataclass

import libvirt
from lxml import etree

from vmlab.virt.connection import Host, gone_is_fine


def machine_uuid(host: Host) -> str:
    """What libvirt knows its machine by: firmware's word, or its own configuration's. "" where it does not say."""
    told = host.call(lambda connection: connection.getCapabilities())
    return str(etree.fromstring(told).findtext("host/uuid", ""))


def available_memory(host: Host) -> int | None:
    """KiB that new guests can have without swapping: free memory and caches. None where libvirt does not tell."""

    def act(connection: "libvirt.virConnect") -> int | None:
        try:
            told = connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_SUPPORT:
                return None
            raise
        return int(told["free"]) + int(told.get("cached", 0)) + int(told.get("buffers", 0))

    return host.call(act)


@dataclass(frozen=True, slots=True)
class GuestMemory:
    """What the guest of a running domain has of the host's memory now, in KiB. `ends`: it is switching itself off."""

    domain: str
    kib: int
    ends: bool


def guests_memory(host: Host) -> list[GuestMemory]:
    """Of each guest that runs, whosever it is; all that it may have where libvirt does not tell what it has."""

    def act(connection: "libvirt.virConnect") -> list[GuestMemory]:
        running = connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
        return [found for domain in running for found in _memory(domain)]

    return host.call(act)


def _memory(domain: "libvirt.virDomain") -> Iterator[GuestMemory]:
    with gone_is_fine():
        state, _, kib, _, _ = domain.info()
        try:
            kib = domain.memoryStats().get("rss", kib)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID:
                return  # it ended just now
            if error.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:
                raise
        yield GuestMemory(domain.name(), int(kib), state == libvirt.VIR_DOMAIN_SHUTDOWN)
