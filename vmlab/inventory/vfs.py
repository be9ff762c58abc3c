"""What has to be done for a physical function to have a number of virtual functions, or why it cannot be.

The kernel's rules: a count goes from 0 to N and back to 0 only (EBUSY), never above `sriov_totalvfs` (ERANGE),
and by the PF's driver (ENOENT without one). It destroys virtual functions that are in use without a word, so that rule
is ours.
"""

from dataclasses import dataclass

from vmlab.errors import HostError, UsageError
from vmlab.inventory.model import HostInventory, PciFunction
from vmlab.inventory.users import Holder, holders, without_driver
from vmlab.values.pci import PciAddress


@dataclass(frozen=True, slots=True)
class VfPlan:
    """The counts to write, one after the other: (), (4,), (0, 4) or (0,). `now` is what they start from."""

    pf: PciAddress
    now: int
    wanted: int
    writes: tuple[int, ...] = ()


def plan_vfs(
    inventory: HostInventory, address: PciAddress, wanted: int, *, at_least: bool = False, bed: str | None = None
) -> VfPlan:
    """What makes the function's VFs `wanted` in number; with `at_least` more of them are fine, too.

    `bed`: VFs that its nodes have while they are shut off may go: these are given others before they start.
    Raises HostError with the reason, and with every holder where VFs would be taken away from somebody.
    """
    pf = _physical(inventory, address, wanted)
    now = len(pf.virtual_functions)
    if wanted == now or (at_least and wanted < now):
        return VfPlan(address, now, now)
    _refuse_impossible(inventory, pf, wanted)
    if now and (held := holders(inventory, pf, but=bed)):
        raise HostError(
            f"{name_of(pf)} has {now} VFs and would have to give them all up to have {wanted}, "
            f"but they are in use: {'; '.join(map(str, held))}",
            hint=_free(held),
        )
    return VfPlan(address, now, wanted, (*((0,) if now else ()), *((wanted,) if wanted else ())))


def find_function(inventory: HostInventory, name: str) -> PciFunction:
    """A function by its address (0000:41:00.0, or 41:00.0) or by its network or RDMA device's name.

    Raises UsageError naming the physical functions that there are.
    """
    for text in (name, f"0000:{name}"):
        try:
            address = PciAddress.parse(text)
        except ValueError:
            continue
        if address in inventory.functions:
            return inventory.functions[address]
    for function in inventory.functions.values():
        if any(name in (port.interface, port.rdma) for port in function.ports):
            return function
    known = ", ".join(name_of(pf) for pf in physical_functions(inventory)) or "none"
    raise UsageError(
        f"{inventory.name} has no PCI function {name!r:.60} (with SR-IOV: {known})", hint="vmlab sriov show"
    )


def physical_functions(inventory: HostInventory) -> tuple[PciFunction, ...]:
    """Those that can have VFs, in bus order."""
    found = (f for f in inventory.functions.values() if f.total_vfs or f.virtual_functions)
    return tuple(sorted(found, key=lambda f: f.address))


def name_of(function: PciFunction) -> str:
    """The address and what the host calls it: `0000:41:00.0 (mlx5_0, ib0)`."""
    names = [name for port in function.ports for name in (port.rdma, port.interface) if name]
    return f"{function.address} ({', '.join(dict.fromkeys(names))})" if names else str(function.address)


def _physical(inventory: HostInventory, address: PciAddress, wanted: int) -> PciFunction:
    pf = inventory.functions.get(address)
    if pf is None:
        raise HostError(f"{inventory.name} has no PCI function {address}", hint="vmlab sriov show")
    if pf.physical_function is not None:
        raise HostError(f"{name_of(pf)} is itself a VF, of {pf.physical_function}", hint="vmlab sriov show")
    if not pf.total_vfs and not pf.virtual_functions:
        raise HostError(f"{name_of(pf)} has no SR-IOV, or its firmware has it switched off", hint=_firmware(pf, wanted))
    return pf


def _refuse_impossible(inventory: HostInventory, pf: PciFunction, wanted: int) -> None:
    if wanted > pf.total_vfs:
        raise HostError(f"{name_of(pf)} can have {pf.total_vfs} VFs, not {wanted}", hint=_firmware(pf, wanted))
    if pf.broken is not None:
        raise HostError(f"{name_of(pf)} is out of order: {pf.broken}", hint="switch the host off and on again")
    if owners := [claim.domain for claim in inventory.claims if claim.running and pf.address in claim.devices]:
        raise HostError(
            f"{name_of(pf)} is passed as a whole to the domain {owners[0]}", hint=f"virsh shutdown {owners[0]}"
        )
    if (reason := without_driver(pf)) is not None:
        raise HostError(f"{name_of(pf)} {reason}", hint=f"virsh nodedev-reattach {libvirt_name(pf.address)}")
    if pf.generation == "mlx4":
        raise HostError(
            f"{name_of(pf)} is driven by mlx4_core, whose number of VFs is an option of the module and cannot change "
            f"while it is loaded; it has {len(pf.virtual_functions)}, {wanted} are wanted",
            hint=f"put `{mlx4_options(pf, wanted)}` into /etc/modprobe.d/mlx4_core.conf and reboot; to reload the "
            "module instead takes the host its own InfiniBand (IPoIB, LNet, NFS over RDMA)",
        )


def mlx4_options(pf: PciFunction, wanted: int) -> str:
    """The line for /etc/modprobe.d. `probe_vf=0`: the host takes none itself; ports: 1 InfiniBand, 2 Ethernet."""
    kinds = [1 if port.link_layer == "infiniband" else 2 for port in sorted(pf.ports, key=lambda port: port.number)]
    ports = ",".join(map(str, kinds)) or "1,1"
    return f"options mlx4_core num_vfs={wanted} probe_vf=0 port_type_array={ports}"


def libvirt_name(address: PciAddress) -> str:
    """A node device's name: `pci_0000_41_00_0`."""
    return f"pci_{address.domain:04x}_{address.bus:02x}_{address.slot:02x}_{address.function}"


def _firmware(pf: PciFunction, wanted: int) -> str:
    if pf.generation == "other":
        return "look for SR-IOV in the BIOS and in the device's own set-up" if not pf.total_vfs else ""
    kind = "1" if any(port.link_layer == "infiniband" for port in pf.ports) else "2"
    more = f" LINK_TYPE_P1={kind}" if pf.generation == "mlx5" and pf.ports else ""
    return (
        f"mstconfig -d {pf.address} set SRIOV_EN=1 NUM_OF_VFS={max(wanted, 1)}{more}, then switch the host off and on"
    )


def _free(held: tuple[Holder, ...]) -> str:
    stray = next((holder for holder in held if "by way of vfio" in holder.who), None)
    if stray is not None:
        return f"if nothing uses it any more: virsh nodedev-reattach {libvirt_name(stray.vf)}"
    return "take those beds down, or shut those domains down and remove the device from them"
