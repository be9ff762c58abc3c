"""Why a function of the host may not serve a wish."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal

from vmlab.inventory.model import HostInventory, PciFunction
from vmlab.inventory.passable import leaves_group
from vmlab.inventory.suited import LINK_NAMES, is_rdma, unsuited
from vmlab.inventory.users import by_program, perhaps, without_driver
from vmlab.placement.request import DeviceWish
from vmlab.topology.bed import DeviceSelector, Kind
from vmlab.values.pci import PciAddress


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
        """It is worth saying why it is refused: the user selects it, or it is an HCA or NIC that might have served.

        What else there is of networks is only told where the host has nothing of the kind at all.
        """
        if want.selector is not None and function.address in want.selector.address:
            return want.function == "passthrough" or not function.is_virtual
        if not function.is_network or function.is_virtual:
            return False
        if unsuited(function, want.kind) is None:
            return True
        if not self._selected(function, want.selector):
            return False
        return _restricts(want.selector) or is_rdma(function) or not self._any(want.kind)

    def _any(self, kind: Kind) -> bool:
        return any(not f.is_virtual and unsuited(f, kind) is None for f in self.inventory.functions.values())

    def absent(self, want: Want) -> tuple[PciAddress, ...]:
        """Addresses that the user selects and the host has not, nor will have as virtual functions."""
        selected = () if want.selector is None or want.function == "vf" else want.selector.address
        return tuple(address for address in selected if address not in self.inventory.functions)

    def refuse_whole(self, function: PciFunction, want: Want) -> str | None:
        """Why the function cannot be passed to a guest; None if it can."""
        if function.physical_function is not None:
            return f"it is a virtual function of {function.physical_function}: `attach: vf` gives such to guests"
        if (reason := self._never(function, want)) is not None:
            return reason
        if (reason := self._busy(function)) is not None:
            return reason
        used = [f"{vf}: {reason}" for vf in function.virtual_functions if (reason := self._busy_at(vf)) is not None]
        if used:
            return f"its virtual functions are in use ({'; '.join(used)})"
        if function.virtual_functions:
            count = len(function.virtual_functions)
            return f"it has {count} virtual functions, which would go: `vmlab sriov release {function.address}`"
        return self._group(function, want)

    def refuse_parent(self, function: PciFunction, want: Want) -> str | None:
        """Why no virtual function of this physical one can serve; None if some can that exist or can be made."""
        selected = self._selected(function, want.selector) or any(
            self._selected(vf, want.selector) for vf in self.existing(function)
        )
        if (reason := self._never(function, want, selected=selected)) is not None:
            return reason
        return function.broken or self.holders.get(function.address) or self._no_virtual(function, want)

    def _never(self, function: PciFunction, want: Want, *, selected: bool | None = None) -> str | None:
        """What has nothing to do with who has it."""
        if (reason := unsuited(function, want.kind)) is not None:
            return reason
        if not (self._selected(function, want.selector) if selected is None else selected):
            return "`device` does not select it"
        return self.inventory.no_iommu

    def _no_virtual(self, function: PciFunction, want: Want) -> str | None:
        existing = self.existing(function)
        if not existing and not function.total_vfs:
            return "it has no SR-IOV"
        if (reason := without_driver(function)) is not None:
            return f"it {reason}"
        if not existing and function.generation == "mlx4":
            return "it has no virtual functions, and mlx4_core makes them only when it is loaded (option num_vfs)"
        if want.kind == "ethernet" and function.ports and not _has_interface(function):
            return "it has no network interface on the host, by which its virtual functions are set up"
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

    def limit(self, function: PciFunction, want: Want) -> str | None:
        """Why one that can serve gives no more than it does; None where only others' use is in the way, or nothing."""
        if want.function == "vf":
            reason = self.fixed(function)
            return None if reason is None else f"no more virtual functions can be made: {reason}"
        others = [port for port in function.ports if port.link_layer != want.kind]
        if not others:
            return None
        return "; ".join(f"the link layer of port {port.number} is {LINK_NAMES[port.link_layer]}" for port in others)

    def fixed(self, function: PciFunction) -> str | None:
        """Why its virtual functions cannot be made, or made anew in another number; None if they can.

        The kernel takes all away first. So those of a guest that runs stay, even if that is to be placed anew.
        """
        if not function.total_vfs:
            return "nothing tells that it can have more"
        if function.generation == "mlx4":
            return "mlx4_core makes them only when it is loaded (option num_vfs)"
        if (reason := function.broken or without_driver(function)) is not None:
            return reason
        running = [claim for claim in self.inventory.claims if claim.running]
        used = [
            f"{vf}: {reason}"
            for vf in function.virtual_functions
            if (reason := self._busy_at(vf) or next((c.domain for c in running if vf in c.devices), None)) is not None
        ]
        return f"{len(used)} of its {len(function.virtual_functions)} are in use ({'; '.join(used)})" if used else None

    def existing(self, function: PciFunction) -> list[PciFunction]:
        """The virtual functions, in the order of their numbers."""
        return [self.inventory.functions[vf] for vf in function.virtual_functions if vf in self.inventory.functions]

    def members(self, function: PciFunction) -> tuple[PciFunction, ...]:
        """What a guest gets together with the function: all of its IOMMU group but bridges, itself included."""
        return tuple(member for member in self.inventory.group(function) if not member.is_bridge)

    def planned_by_address(self, function: PciFunction, want: Want) -> bool:
        """Virtual functions that are not there yet can only be selected by their parent."""
        return self._selected(function, want.selector)

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
        if (holder := self.holders.get(function.address)) is not None:
            return holder
        for claim in self.inventory.claims:
            if function.address in claim.behind:
                return f"the domain {claim.domain} uses it ({claim.behind[function.address]})"
        if (program := by_program(self.inventory, function)) is not None:
            return f"bound to {function.driver}: {program}"
        return next(perhaps(self.inventory.claims, function), None)

    def _group(self, function: PciFunction, want: Want) -> str | None:
        others = [member for member in self.members(function) if member.address != function.address]
        if want.whole_group:
            needed = [f"{other.address}: {reason}" for other in others if (reason := self._busy(other)) is not None]
            parent = function.physical_function
            needed += [f"{other.address}: it is the physical function" for other in others if other.address == parent]
            if needed:
                return f"its IOMMU group {function.iommu_group} cannot come as a whole ({'; '.join(needed)})"
        elif any(not leaves_group(other) or self._busy(other) is not None for other in others):
            told = ", ".join(self._member(other) for other in others)
            return f"its IOMMU group {function.iommu_group} is shared with {told}"
        return None

    def _member(self, function: PciFunction) -> str:
        """`0000:05:00.0 (ahci; the host uses it: / is mounted from it)`."""
        facts = [function.product_name, function.driver or "no driver", self._busy(function)]
        return f"{function.address} ({'; '.join(fact for fact in facts if fact)})"


def _restricts(selector: DeviceSelector | None) -> bool:
    return selector is not None and replace(selector, whole_group=False) != DeviceSelector()


def _has_interface(function: PciFunction) -> bool:
    return any(port.link_layer == "ethernet" and port.interface is not None for port in function.ports)


def _names(function: PciFunction) -> set[PciAddress | str]:
    names = {name for port in function.ports for name in (port.interface, port.rdma) if name is not None}
    return {function.address, *names}
