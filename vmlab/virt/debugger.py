"""A debugger at a guest: where it is joined, and what it leaves behind."""

import libvirt

from vmlab.domainxml.debugger import gdb_socket
from vmlab.virt.connection import Host


def socket_of(host: Host, domain: str) -> str | None:
    """Where the socket of a running domain lies; None if it has none, or does not run."""
    return host.call(lambda connection: gdb_socket(connection.lookupByName(domain).XMLDesc()))


def let_run(host: Host, domain: str) -> bool:
    """Let a guest go on that was stopped: a debugger that ends without a farewell leaves it so. Whether it was."""

    def act(connection: "libvirt.virConnect") -> bool:
        found = connection.lookupByName(domain)
        if found.state()[0] != libvirt.VIR_DOMAIN_PAUSED:
            return False
        found.resume()
        return True

    return host.call(act)
