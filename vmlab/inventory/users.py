"""Who has a function of the host: domains, by whichever way, the host itself, or a program of it without a domain."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vmlab.inventory.model import Claim, HostInventory, PciFunction
from vmlab.values.pci import PciAddress

# Drivers by which programs have functions (DPDK, SPDK), those that only keep others away, and those under which a
# function can be a vDPA device.
_PROGRAMS_DRIVERS = frozenset({"uio_pci_generic", "igb_uio", "uio_hv_generic", "nic_uio"})
_PLACEHOLDERS = frozenset({"pci-stub", "xen-pciback", "pciback"})
_VDPA_DRIVERS = frozenset({"mlx5_core", "ifcvf", "vp-vdpa", "vp_vdpa", "sfc", "octep_vdpa", "pds_vdpa", "eni_vdpa"})


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a virtual function: "the domain x", "the host (...)"."""

    vf: PciAddress
    number: int
    who: str

    def __str__(self) -> str:
        return f"VF {self.number} ({self.vf}): {self.who}"


def holders(inventory: HostInventory, pf: PciFunction, *, but: str | None = None) -> tuple[Holder, ...]:
    """Who has one of its VFs, by the rules of `users`."""
    return tuple(
        Holder(vf, number, who)
        for number, vf in enumerate(pf.virtual_functions)
        for who in users(inventory, vf, but=but)
    )


def users(inventory: HostInventory, address: PciAddress, *, but: str | None = None) -> tuple[str, ...]:
    """Who has a function, in words: a domain, even one that is only defined, the host itself, or a program of it.

    `but`: a bed whose domains do not count while they are shut off.
    """
    claims = [claim for claim in inventory.claims if claim.running or but is None or claim.bed != but]
    found = [who for claim in claims if (who := _user(claim, address)) is not None]
    function = inventory.functions.get(address)
    if function is None:
        return tuple(found)
    if function.used_by is not None:
        found.append(f"the host ({function.used_by})")
    if (program := by_program(inventory, function)) is not None:
        found.append(program)
    return (*found, *perhaps(claims, function))


def _user(claim: Claim, address: PciAddress) -> str | None:
    facts = []
    if address in claim.behind and address not in claim.devices:
        facts.append(claim.behind[address])
    elif address not in claim.devices:
        return None
    if not claim.running:
        facts.append("shut off")
    return f"the domain {claim.domain}" + (f" ({', '.join(facts)})" if facts else "")


def perhaps(claims: Iterable[Claim], function: PciFunction) -> Iterator[str]:
    """The domains that may have it: what might be behind a device that one uses and nobody explains is not free."""
    if function.is_virtual and function.driver in _VDPA_DRIVERS:
        for claim in claims:
            for what in claim.lost:
                yield f"perhaps the domain {claim.domain} ({what}, of which nothing tells the function)"


def by_program(inventory: HostInventory, function: PciFunction) -> str | None:
    """The program of the host that has a function by way of vfio-pci or a driver of its kind, without a domain.

    A physical function on vfio-pci may only have been put there for a guest; a virtual one is left to whoever did it.
    """
    way = f"by way of {function.driver}"
    if function.driver in _PROGRAMS_DRIVERS:
        return f"a program of the host, {way}"
    if not on_vfio(function) or any(function.address in claim.devices for claim in inventory.claims):
        return None
    if function.opened_by is not None:
        return f"the program {function.opened_by}, {way}"
    return f"a program of the host, {way}" if function.is_virtual else None


def on_vfio(function: PciFunction) -> bool:
    """It is bound to vfio-pci or to a variant of it (mlx5_vfio_pci), ready for a guest."""
    return "vfio" in (function.driver or "")


def without_driver(pf: PciFunction) -> str | None:
    """Why a physical function can neither make virtual ones nor set them up: its own driver is what does both."""
    if pf.driver is not None and not on_vfio(pf) and pf.driver not in _PROGRAMS_DRIVERS | _PLACEHOLDERS:
        return None
    has = "has no driver on the host" if pf.driver is None else f"is bound to {pf.driver}"
    return f"{has}, and it is its own driver that makes VFs and sets them up"
