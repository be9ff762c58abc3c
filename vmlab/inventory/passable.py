"""Whether functions may be handed to a guest now, what libvirt does not ask; and which were left behind by our guests.

libvirt refuses a function that a running domain has. It does not refuse the function of the host's default route, one
that another domain will want back, or a PF whose VFs run in other guests: it tears those out of them.
"""

from collections.abc import Collection, Iterator

from vmlab.errors import HostError
from vmlab.inventory.model import HostInventory, PciFunction
from vmlab.inventory.users import by_program, holders, on_vfio, perhaps, users
from vmlab.inventory.vfs import name_of
from vmlab.values.pci import PciAddress


def refuse_unpassable(
    inventory: HostInventory, addresses: Collection[PciAddress], *, domain: str, session: bool = False
) -> None:
    """Raise HostError with every reason why `domain` cannot start with these functions.

    `session`: libvirt runs as an ordinary user, who may neither rebind functions nor pin memory for them.
    """
    if reasons := [*_host(inventory, session=session), *_each(inventory, addresses, domain)]:
        message = f"{domain} cannot have the devices it is to get: {'; '.join(reasons)}"
        raise HostError(message, hint="nothing was changed; `vmlab sriov show` tells who has what")


def stranded(inventory: HostInventory) -> tuple[PciFunction, ...]:
    """Functions on vfio-pci that a guest of ours left there: a killed libvirtd or QEMU, a start that was cut off.

    Ours is what stands in the definition of a bed's domain that does not run, and in nobody else's: a function on
    vfio-pci that no domain knows may be a program's of the host (DPDK, SPDK), and is never touched. That is enough,
    since a domain is only undefined when its functions are back.
    """
    return tuple(
        function
        for function in sorted(inventory.functions.values(), key=lambda f: f.address)
        if on_vfio(function)
        and (claims := [claim for claim in inventory.claims if function.address in claim.devices])
        and all(claim.bed is not None and not claim.running for claim in claims)
    )


def idle_on_vfio(inventory: HostInventory) -> tuple[PciFunction, ...]:
    """Whole functions that somebody put on vfio-pci for a guest to come: no domain has them, no program opened them."""
    return tuple(
        function
        for function in sorted(inventory.functions.values(), key=lambda f: f.address)
        if on_vfio(function) and not function.is_virtual and not users(inventory, function.address)
    )


def leaves_group(function: PciFunction) -> bool:
    """It may stay on the host, by its driver, while others of its IOMMU group are in a guest (VFIO's own rule)."""
    return function.driver in (None, "pci-stub") or on_vfio(function)


def _host(inventory: HostInventory, *, session: bool) -> Iterator[str]:
    if session:
        yield "devices take the system's libvirt (qemu:///system), not a session's"
    if inventory.no_iommu is not None:
        yield inventory.no_iommu


def _each(inventory: HostInventory, addresses: Collection[PciAddress], domain: str) -> Iterator[str]:
    told: set[int] = set()
    for address in sorted(addresses):
        function = inventory.functions.get(address)
        if function is None:
            yield f"the host has no PCI function {address}"
            continue
        yield from (f"{name_of(function)} {reason}" for reason in _function(inventory, function, domain))
        if function.iommu_group is not None and function.iommu_group not in told:
            told.add(function.iommu_group)
            yield from _group(inventory, function, addresses)


def _function(inventory: HostInventory, function: PciFunction, domain: str) -> Iterator[str]:
    if function.is_bridge:
        yield "is a PCI bridge"
    if function.used_by is not None:
        yield f"is used by the host: {function.used_by}"
    if function.broken is not None:
        yield f"is out of order: {function.broken}"
    # A domain that is shut off keeps nothing: libvirt itself tells who came first when it starts.
    others = [claim for claim in inventory.claims if claim.running and claim.domain != domain]
    for claim in others:
        if function.address in claim.devices:
            yield f"belongs to the domain {claim.domain}, which runs"
        elif function.address in claim.behind:
            yield f"is used by the domain {claim.domain}, which runs: {claim.behind[function.address]}"
    if (program := by_program(inventory, function)) is not None:
        yield f"is bound to {function.driver}: {program}"
    yield from (f"has {who}" for who in perhaps(others, function))
    if held := holders(inventory, function):
        yield f"has VFs in use, which would be torn out: {', '.join(map(str, held))}"
    elif function.virtual_functions:
        yield f"has {len(function.virtual_functions)} VFs, which would go (vmlab sriov release {function.address})"


def _group(inventory: HostInventory, function: PciFunction, addresses: Collection[PciAddress]) -> Iterator[str]:
    others = [
        other
        for other in inventory.group(function)
        if other.address not in addresses
        and not other.is_bridge
        and (not leaves_group(other) or by_program(inventory, other) is not None)
    ]
    if others:
        members = ", ".join(f"{name_of(other)} on {other.driver}" for other in others)
        yield (
            f"{name_of(function)} is in IOMMU group {function.iommu_group}, which goes to a guest only as a whole; "
            f"its other members stay with the host: {members}"
        )
