"""What a defined domain has to be given before it starts, told by its definition and the host alone."""

from dataclasses import dataclass

from vmlab.domainxml.read import DomainFacts
from vmlab.fabrics.infiniband import has_guid
from vmlab.inventory.model import HostInventory
from vmlab.values.pci import PciAddress
from vmlab.values.vf import VfSettings


@dataclass(frozen=True, slots=True)
class VfIdentity:
    """What the host gives a virtual function before its guest starts: on Ethernet a MAC address, else its GUIDs."""

    pf: PciAddress
    number: int
    address: PciAddress
    mac: str | None
    settings: VfSettings


def identities(facts: DomainFacts, inventory: HostInventory) -> tuple[VfIdentity, ...]:
    """Of each virtual function that is one of the guest's interfaces; one that the host has not is left out."""
    if facts.metadata is None:
        return ()
    found: dict[PciAddress, VfIdentity] = {}
    for address in facts.metadata.addresses:
        function = inventory.functions.get(facts.ports[address.interface]) if address.interface in facts.ports else None
        if function is None or function.physical_function is None or function.address in found:
            continue
        parent = inventory.functions.get(function.physical_function)
        if parent is None or function.address not in parent.virtual_functions:
            continue
        found[function.address] = VfIdentity(
            pf=parent.address,
            number=parent.virtual_functions.index(function.address),
            address=function.address,
            mac=None if has_guid(address) else address.mac,
            settings=address.vf or VfSettings(),
        )
    return tuple(found.values())
