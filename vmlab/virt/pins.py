"""Where a domain's vCPUs may run."""

from collections.abc import Mapping, Sequence

import libvirt

from vmlab.values.cpuset import cpu_list
from vmlab.virt.connection import Host, missing


def vcpu_pins(host: Host, domain: str) -> Mapping[int, tuple[int, ...]]:
    """The host CPUs that each vCPU may run on, all of them where it floats; {} for a domain that is not there."""
    masks = _masks(host, domain)
    return {vcpu: tuple(cpu for cpu, may in enumerate(mask) if may) for vcpu, mask in enumerate(masks)}


def host_cpus(host: Host, domain: str) -> str:
    """The host CPUs of all vCPUs together, as a list like `2-3`; "any" if they float, "" if there is no such domain."""
    masks = _masks(host, domain)
    if masks and all(all(mask) for mask in masks):
        return "any"
    return cpu_list(cpu for mask in masks for cpu, may in enumerate(mask) if may)


def _masks(host: Host, domain: str) -> Sequence[Sequence[bool]]:
    def act(connection: "libvirt.virConnect") -> Sequence[Sequence[bool]]:
        try:
            masks: Sequence[Sequence[bool]] = connection.lookupByName(domain).vcpuPinInfo(0)
        except libvirt.libvirtError as error:
            if missing(error):
                return ()
            raise
        return masks

    return host.call(act)
