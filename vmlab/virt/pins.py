"""Where a domain's vCPUs may run."""

from collections.abc import Collection, Mapping, Sequence

import libvirt

from vmlab.values.cpuset import cpu_list
from vmlab.virt.connection import Host, gone_is_fine, missing

Masks = Sequence[Sequence[bool]]
"""Of each vCPU, whether it may run on each of the host's CPUs."""


def vcpu_pins(host: Host, domain: str) -> Mapping[int, tuple[int, ...]]:
    """The host CPUs that each vCPU may run on, all of them where it floats; {} for a domain that is not there."""

    def act(connection: "libvirt.virConnect") -> Masks:
        with gone_is_fine():
            return _masks(connection.lookupByName(domain))
        return ()

    return {vcpu: tuple(cpu for cpu, may in enumerate(mask) if may) for vcpu, mask in enumerate(host.call(act))}


def host_cpus(host: Host, domains: Collection[str]) -> Mapping[str, str]:
    """The host CPUs of all vCPUs of each domain together, as a list like `2-3`; "any" if they float.

    A domain that is not there is not in it.
    """

    def act(connection: "libvirt.virConnect") -> dict[str, Masks]:
        there = ((domain.name(), domain) for domain in connection.listAllDomains())
        return {name: _masks(domain) for name, domain in there if name in domains}

    return {name: _told(masks) for name, masks in host.call(act).items() if masks}


def _told(masks: Masks) -> str:
    if all(all(mask) for mask in masks):
        return "any"
    return cpu_list(cpu for mask in masks for cpu, may in enumerate(mask) if may)


def _masks(domain: "libvirt.virDomain") -> Masks:
    """() for a domain that is gone."""
    try:
        masks: Masks = domain.vcpuPinInfo(0)
    except libvirt.libvirtError as error:
        if missing(error):
            return ()
        raise
    return masks
