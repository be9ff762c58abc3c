"""A host and its domains while they run: one look by a shell, one call of libvirt's for the counters of all."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import libvirt

from vmlab.inventory.running import HostLook, read_look
from vmlab.shell import script
from vmlab.virt.connection import Host
from vmlab.virt.machine import Machine, machine_of

NUMBERS = "/run/libvirt/qemu"
"""Where libvirt's system daemon has the process numbers of its QEMUs."""

_LOOK = script(__file__, "running.sh")
_LOOK_S = 120.0
_STATS = libvirt.VIR_DOMAIN_STATS_CPU_TOTAL | libvirt.VIR_DOMAIN_STATS_INTERFACE | libvirt.VIR_DOMAIN_STATS_BLOCK


def look(host: Host, domains: Sequence[str] = ()) -> HostLook:
    """The host, and where the memory of these domains' QEMUs is, as far as we may see. Raises HostError."""
    return look_at(machine_of(host), domains)


def look_at(machine: Machine, domains: Sequence[str], numbers: str = NUMBERS) -> HostLook:
    """The same of a machine."""
    return read_look(machine.run(("sh", "-c", _LOOK, "vmlab", numbers, *domains), deadline_s=_LOOK_S).stdout)


def versions(host: Host) -> tuple[str, str]:
    """Of libvirt and of its hypervisor."""

    def act(connection: "libvirt.virConnect") -> tuple[str, str]:
        return _dotted(connection.getLibVersion()), _dotted(connection.getVersion())

    return host.call(act)


def domain_stats(host: Host, domains: Collection[str]) -> Mapping[str, Mapping[str, Any]]:
    """What libvirt has counted of these domains since they were started, in its own names; who is off is absent.

    What would have to wait (a QEMU that does not answer) is left out.
    """

    def act(connection: "libvirt.virConnect") -> Mapping[str, Mapping[str, Any]]:
        flags = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
        found = connection.getAllDomainStats(_STATS, flags)
        return {domain.name(): stats for domain, stats in found if domain.name() in domains}

    return host.call(act)


def vanished(host: Host, domains: Collection[str]) -> frozenset[str]:
    """Those of these domains whose QEMU is gone, and neither the guest nor anybody here had ended it."""

    def act(connection: "libvirt.virConnect") -> list[str]:
        found = connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE)
        return [domain.name() for domain, stats in found if (stats["state.state"], stats["state.reason"]) == _VANISHED]

    return frozenset(host.call(act)) & frozenset(domains)


_VANISHED = (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED)


def _dotted(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
