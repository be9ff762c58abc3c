"""Faults that libvirt does to a running domain: it stands still, a link is down, a disk is slow. None is permanent."""

import libvirt

from vmlab.domainxml.faults import DeviceFaults, read_faults, target_of, with_link
from vmlab.errors import HostError
from vmlab.virt.connection import Host

_LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE


def device_faults(host: Host, domain: str) -> DeviceFaults:
    """What is done to its devices now."""
    return read_faults(host.call(lambda connection: str(connection.lookupByName(domain).XMLDesc())))


def pause(host: Host, domain: str, *, paused: bool) -> None:
    """The virtual CPUs stand still, or go on."""

    def act(connection: "libvirt.virConnect") -> None:
        found = connection.lookupByName(domain)
        if (found.state()[0] == libvirt.VIR_DOMAIN_PAUSED) != paused:
            found.suspend() if paused else found.resume()

    host.call(act)


def set_link(host: Host, domain: str, mac: str, *, up: bool) -> None:
    """The cable of the NIC with this MAC. Raises HostError if the domain has none, as of a function of the host."""

    def act(connection: "libvirt.virConnect") -> None:
        found = connection.lookupByName(domain)
        xml = with_link(found.XMLDesc(), mac, up=up)
        if xml is None:
            raise HostError(f"{domain} has no virtual NIC {mac}: libvirt has no cable of a passed function to pull")
        found.updateDeviceFlags(xml, _LIVE)

    host.call(act)


def slow_disk(host: Host, domain: str, serial: str, *, bytes_s: int, iops: int) -> None:
    """What the disk may do at most; 0: as much as it can. Raises HostError if the domain has none of this serial."""

    def act(connection: "libvirt.virConnect") -> None:
        found = connection.lookupByName(domain)
        target = target_of(found.XMLDesc(), serial)
        if target is None:
            raise HostError(f"{domain} has no disk {serial}", hint="vmlab status BED -o json")
        found.setBlockIoTune(target, {"total_bytes_sec": bytes_s, "total_iops_sec": iops}, _LIVE)

    host.call(act)
