"""The GUIDs of an HCA's virtual functions: a pool for each port, the same at each boot and on each host.

A virtual function has no GUID of its own: the driver shows zeros, with which no subnet manager talks, or draws new ones
at each boot, so that nothing that a site notes down (partitions, host names) would hold.
"""

import hashlib
from dataclasses import dataclass

from vmlab.inventory.model import PciFunction
from vmlab.values.guid import Guid

_LOCAL = 0x02  # an EUI-64's second bit: administered locally; its first bit, for groups, stays clear
_MOST = 1 << 15


@dataclass(frozen=True, slots=True)
class VfGuids:
    """What one virtual function gets. Both are always valid, and no other function of the pool has either."""

    node: Guid
    port: Guid


def vf_guids(pf_port: Guid, number: int) -> VfGuids:
    """The GUIDs of virtual function `number` (from 0) at the physical port with the GUID `pf_port`.

    02, five bytes that tell physical ports apart, and the number: doubled for the node, plus one for the port.
    Raises ValueError for a port without a GUID: all pools would be one then.
    """
    if not pf_port.valid:
        raise ValueError(f"{pf_port} is no port's GUID")
    if not 0 <= number < _MOST:
        raise ValueError(f"there is no virtual function {number}")
    pool = bytes([_LOCAL]) + hashlib.sha256(str(pf_port).encode()).digest()[:5]
    first = int.from_bytes(pool) << 16 | number << 1
    return VfGuids(node=Guid(first), port=Guid(first | 1))


def guids_of(pf: PciFunction, number: int) -> dict[int, VfGuids]:
    """What VF `number` of an HCA gets, by the number of its InfiniBand port; {} where no port shows its GUID."""
    return {
        port.number: vf_guids(Guid.parse(port.guid), number)
        for port in pf.ports
        if port.link_layer == "infiniband" and port.guid is not None and Guid.parse(port.guid).valid
    }
