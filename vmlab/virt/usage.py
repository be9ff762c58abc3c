"""What a running domain has used so far."""

import libvirt

from vmlab.virt.connection import Host

_RD_BYTES, _WR_BYTES = 1, 3
_CPU_TIME = 4


def usage(host: Host, domain: str) -> tuple[float, int]:
    """CPU time in seconds, and bytes that its disks moved; zeros for what libvirt does not tell."""

    def act(connection: "libvirt.virConnect") -> tuple[float, int]:
        try:
            found = connection.lookupByName(domain)
            seconds = found.info()[_CPU_TIME] / 1e9
        except libvirt.libvirtError:
            return 0.0, 0
        try:
            told = found.blockStats("")  # of all its disks together
        except libvirt.libvirtError:
            return seconds, 0
        return seconds, int(told[_RD_BYTES]) + int(told[_WR_BYTES])

    return host.call(act)
