"""The names of a bed's nodes in every guest: a block of /etc/hosts.

A step over ssh and not part of the seed, so that adding a node leaves the other nodes' seeds as they are.
"""

from collections.abc import Mapping
from ipaddress import IPv4Address

from vmlab.guest.block import block_step
from vmlab.steps import Step

NAMES = "hosts"
"""The step's name."""


def hosts_step(addresses: Mapping[str, IPv4Address]) -> Step:
    """All nodes' short names with their management addresses, in the order given."""
    lines = "\n".join(f"{address} {name}" for name, address in addresses.items())
    return block_step(NAMES, "/etc/hosts", lines)
