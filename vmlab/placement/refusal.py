"""Why a function of the host may not serve a wish."""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from vmlab.inventory.model import HostInventory, PciFunction
from vmlab.placement.request import DeviceWish
from vmlab.topology.bed import DeviceSelector, Kind
from vmlab.values.pci import PciAddress

_INFINIBAND_CLASSES = (0x0207, 0x0280, 0x0C06)
_HARMLESS_DRIVERS = (None, "vfio-pci", "pci-stub")


@dataclass(frozen=True, slots=True)
class Want:
    """What wishes that the same functions can serve have in common."""

    kind: Kind
    function: Literal["passthrough", "vf"]
    selector: DeviceSelector | None
    whole_group: bool

    @classmethod
    def of(cls, wish: DeviceWish) -> "Want":
        """All but whose wish it is."""
        return cls(wish.kind, wish.function, wish.selector, wish.whole_group)


@dataclass(frozen=True, slots=True)
class Functions:
    """The functions of a host, and in words who has them already."""

    inventory: HostInventory
    holders: Mapping[PciAddress, str]

    def candidate(self, function: PciFunction, want: Want) -> bool:
        """Of the kind that is wanted, so that it is worth saying why it is refused."""
        if not function.is_network or function.is_virtual:
            return False
        return want.kind in self._kinds(function)

    def refuse_whole(self, function: PciFunction, want: Want) -> str | None:
        """Why the function cannot be passed to a guest; None if it can."""
        if not self._selected(function, want.selector):
            return "`device` does not select it"
        if self.inventory.no_iommu is not None:
            return self.inventory.no_iommu
        if (reason := self._busy(function)) is not None:
            return reason
        used = [f"{vf}: {reason}" for vf in function.virtual_functions if (reason := self._busy_at(vf)) is not None]
        if used:
            return f"its virtual functions are in use ({'; '.join(used)})"
        return self._group(function, want)

    def refuse_parent(self, function: PciFunction, want: Want) -> str | None:
        """Why no virtual function of this physical one can serve; None if some can that exist or can be made."""
        if not self._selected(function, want.selector) and not any(
            self._selected(vf, want.selector) for vf in self.existing(function)
        ):
            return "`device` does not select it"
        if self.inventory.no_iommu is not None:
            return self.inventory.no_iommu
        return function.broken or self.holders.get(function.address) or self._no_virtual(function, want)

    def _no_virtual(self, function: PciFunction, want: Want) -> str | None:
        existing = self.existing(function)
        if not existing and function.generation == "mlx4":
            return "it has no virtual functions, and mlx4_core makes them only when it is loaded (option num_vfs)"
        if not existing and not function.total_vfs:
            return "it has no SR-IOV"
        reasons = [self.refuse_virtual(vf, function, want) for vf in existing]
        if existing and None not in reasons:
            told = "; ".join(f"{vf.address}: {reason}" for vf, reason in zip(existing, reasons, strict=True))
            return f"none of its {len(existing)} virtual functions is free ({told})"
        return None

    def refuse_virtual(self, function: PciFunction, parent: PciFunction, want: Want) -> str | None:
        """Why this existing virtual function cannot serve; None if it can."""
        if not self._selected(function, want.selector) and not self._selected(parent, want.selector):
            return "`device` does not select it"
        return self._busy(function) or self._group(function, want)

    def renewable(self, function: PciFunction) -> bool:
        """Its virtual functions can be made, or made anew in another number: none is in use, and the driver can."""
        if function.generation == "mlx4" or not function.total_vfs or function.broken is not None:
            return False
        return all(self._busy_at(vf) is None for vf in function.virtual_functions)

    def existing(self, function: PciFunction) -> list[PciFunction]:
        """The virtual functions, in the order of their numbers."""
        return [self.inventory.functions[vf] for vf in function.virtual_functions if vf in self.inventory.functions]

    def members(self, function: PciFunction) -> tuple[PciFunction, ...]:
        """What a guest gets together with the function: all of its IOMMU group but bridges, itself included."""
        return tuple(member for member in self.inventory.group(function) if not member.is_bridge)

    def planned_by_address(self, function: PciFunction, want: Want) -> bool:
        """Virtual functions that are not there yet can only be selected by their parent."""
        return self._selected(function, want.selector)

    def _kinds(self, function: PciFunction) -> set[Kind]:
        """By its ports; a function that shows none, since vfio-pci or nothing drives it, by its class."""
        if function.ports:
            return {port.link_layer for port in function.ports}
        return {"infiniband"} if function.class_code >> 8 in _INFINIBAND_CLASSES else {"ethernet"}

    def _selected(self, function: PciFunction, selector: DeviceSelector | None) -> bool:
        if selector is None:
            return True
        parent = self.inventory.functions.get(function.physical_function) if function.physical_function else function
        return (
            selector.vendor in (None, function.vendor)
            and selector.product in (None, function.product)
            and (selector.model is None or fnmatchcase(function.product_name, selector.model))
            and (not selector.address or function.address in selector.address)
            and (selector.pf is None or (parent is not None and selector.pf in _names(parent)))
        )

    def _busy_at(self, address: PciAddress) -> str | None:
        function = self.inventory.functions.get(address)
        return self.holders.get(address) if function is None else self._busy(function)

    def _busy(self, function: PciFunction) -> str | None:
        if function.broken is not None:
            return function.broken
        if function.used_by is not None:
            return f"the host uses it: {function.used_by}"
        return self.holders.get(function.address)

    def _group(self, function: PciFunction, want: Want) -> str | None:
        others = [member for member in self.members(function) if member.address != function.address]
        if want.whole_group:
            needed = [f"{other.address}: {reason}" for other in others if (reason := self._busy(other)) is not None]
            parent = function.physical_function
            needed += [f"{other.address}: it is the physical function" for other in others if other.address == parent]
            if needed:
                return f"its IOMMU group {function.iommu_group} cannot come as a whole ({'; '.join(needed)})"
        elif any(other.driver not in _HARMLESS_DRIVERS or self._busy(other) is not None for other in others):
            told = ", ".join(self._member(other) for other in others)
            return f"its IOMMU group {function.iommu_group} is shared with {told}"
        return None

    def _member(self, function: PciFunction) -> str:
        """`0000:05:00.0 (ahci; the host uses it: / is mounted from it)`."""
        facts = [function.product_name, function.driver or "no driver", self._busy(function)]
        return f"{function.address} ({'; '.join(fact for fact in facts if fact)})"


def _names(function: PciFunction) -> set[PciAddress | str]:
    names = {name for port in function.ports for name in (port.interface, port.rdma) if name is not None}
    return {function.address, *names}
