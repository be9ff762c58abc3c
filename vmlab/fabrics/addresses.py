"""The IPv4 addresses of a machine whose network interfaces vmlab did not name, and the RDMA devices behind them."""

import json
from dataclasses import dataclass
from ipaddress import IPv4Interface

from vmlab.fabrics._devices import RdmaDevice, RdmaPorts
from vmlab.steps import Command

ADDRESSES: Command = ("ip", "-json", "-4", "address", "show")
"""iproute2; what it prints is read by `read_addresses`."""


@dataclass(frozen=True, slots=True)
class OwnAddress:
    """An address with its network, and the interface that has it."""

    netdev: str
    ip: IPv4Interface

    def device(self, ports: RdmaPorts) -> RdmaDevice | None:
        """The RDMA device of that interface: RoCE by the address, InfiniBand by what is behind it."""
        return ports.by_gid(self.ip.ip) or ports.by_interface(self.netdev)


def read_addresses(text: str) -> tuple[OwnAddress, ...]:
    """In the kernel's order. Never fails: what has another form is left out."""
    try:
        links = json.loads(text)
    except ValueError:
        return ()
    found = []
    for link in links if isinstance(links, list) else ():
        known = link.get("addr_info", ()) if isinstance(link, dict) else ()
        for address in known if isinstance(known, list) else ():
            try:
                ip = IPv4Interface(f"{address['local']}/{address['prefixlen']}")
                found.append(OwnAddress(str(link["ifname"]), ip))
            except (ValueError, KeyError, TypeError):
                continue
    return tuple(found)
