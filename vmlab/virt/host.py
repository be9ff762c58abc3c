"""What a host has to give."""

import libvirt

from vmlab.virt.connection import Host


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
