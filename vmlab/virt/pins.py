"""Where a domain's vCPUs may run."""

import libvirt

from vmlab.values.cpuset import cpu_list
from vmlab.virt.connection import Host, missing


def host_cpus(host: Host, domain: str) -> str:
    """The host CPUs of all vCPUs together, as a list like `2-3`; "any" if they float freely, "" if it is not there."""

    def act(connection: "libvirt.virConnect") -> str:
        try:
            masks = connection.lookupByName(domain).vcpuPinInfo(0)
        except libvirt.libvirtError as error:
            if missing(error):
                return ""
            raise
        if all(all(mask) for mask in masks):
            return "any"
        return cpu_list(cpu for mask in masks for cpu, allowed in enumerate(mask) if allowed)

    return host.call(act)
