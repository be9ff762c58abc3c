"""Virtual functions of a host: what there is and who has it, more of them, none of them."""

from dataclasses import dataclass

from vmlab.inventory.guids import guids_of
from vmlab.inventory.model import HostInventory, PciFunction
from vmlab.inventory.users import users
from vmlab.inventory.vfs import VfPlan, find_function, physical_functions, plan_vfs
from vmlab.lab.ground.bed import leasing
from vmlab.lab.ground.hosts import only
from vmlab.lab.ground.progress import Progress
from vmlab.runtime.wait import Deadline
from vmlab.values.pci import PciAddress
from vmlab.virt import sriov
from vmlab.virt.borrowed import Notes
from vmlab.virt.connection import Host
from vmlab.virt.inventory import inventory as inventory_of
from vmlab.virt.machine import machine_of
from vmlab.virt.sysfs import sysfs_of

_MAKE_S = 180.0  # operators in the field wait two minutes for the links of many VFs
_LIST_S = 60.0


@dataclass(frozen=True, slots=True)
class VfLine:
    """A virtual function. `users` are domains, the host, or others, in words.

    `ids` are its MAC addresses or port GUIDs, as far as the host sees them; of an HCA's VF else those that it gets.
    """

    number: int
    address: PciAddress
    driver: str | None
    iommu_group: int | None
    interfaces: tuple[str, ...]
    ids: tuple[str, ...]
    users: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PfLine:
    """A physical function. `vfs` are in the order of their numbers, of which it can have `total`."""

    address: PciAddress
    product: str
    driver: str | None
    generation: str
    cell: int | None
    interfaces: tuple[str, ...]
    link_layers: tuple[str, ...]
    total: int
    users: tuple[str, ...]
    vfs: tuple[VfLine, ...]


def show(inventory: HostInventory, name: str | None) -> list[PfLine]:
    """The function of this address or name, or all that can have VFs. Raises UsageError for one that is not there."""
    wanted = physical_functions(inventory) if name is None else (find_function(inventory, name),)
    return [_line(inventory, function) for function in wanted]


def create(host: Host, name: str, number: int, progress: Progress) -> tuple[PfLine, bool]:
    """Let a function have `number` VFs, each with its GUIDs where it is an HCA: the function now, and if it changed.

    Raises HostError where they cannot be made, or where others would be taken away from somebody.
    """
    with leasing(only(host)):
        inventory = inventory_of(host)
        pf = find_function(inventory, name)
        plan = plan_vfs(inventory, pf.address, number)
        make(host, inventory, plan, progress)
        inventory = inventory_of(host) if plan.writes else inventory
        return _line(inventory, inventory.functions[pf.address]), bool(plan.writes)


def make(host: Host, inventory: HostInventory, plan: VfPlan, progress: Progress) -> tuple[PciAddress, ...]:
    """Do what `plan` says: the VFs by their number, which libvirt knows then and which have their GUIDs.

    To be called while the host's leases are held since `inventory` was taken.
    """
    if not plan.writes:
        return inventory.functions[plan.pf].virtual_functions
    sysfs, machine = sysfs_of(host), machine_of(host)
    progress.say(f"{plan.pf}: {plan.wanted} VFs")
    made = sriov.create(sysfs, plan, Deadline.after(_MAKE_S), notes=Notes.of(machine))
    for vf, address in enumerate(made):
        if guids := guids_of(inventory.functions[plan.pf], vf):
            sriov.set_guids(sysfs, machine, sriov.Vf(plan.pf, vf, address), guids)
    sriov.await_listed(host, made, Deadline.after(_LIST_S))
    return made


def losses(host: Host, name: str) -> tuple[PciFunction, list[str]]:
    """The function, and what would go with its VFs, one line each. Raises HostError naming whoever has one of them."""
    inventory = inventory_of(host)
    pf = find_function(inventory, name)
    plan_vfs(inventory, pf.address, 0)
    return pf, [
        f"VF {vf.number} {vf.address}" + (f", on the host {' '.join(vf.interfaces)}" if vf.interfaces else "")
        for vf in _line(inventory, pf).vfs
    ]


def release(host: Host, name: str) -> tuple[PciAddress, int]:
    """Destroy a function's VFs: the function, and how many there were. Raises HostError naming whoever has one."""
    with leasing(only(host)):
        inventory = inventory_of(host)
        plan = plan_vfs(inventory, find_function(inventory, name).address, 0)
        sriov.release(sysfs_of(host), machine_of(host), plan, Deadline.after(_MAKE_S))
        return plan.pf, plan.now


def _line(inventory: HostInventory, pf: PciFunction) -> PfLine:
    return PfLine(
        address=pf.address,
        product=" ".join(filter(None, (pf.vendor_name, pf.product_name))) or f"{pf.vendor:04x}:{pf.product:04x}",
        driver=pf.driver,
        generation=pf.generation,
        cell=pf.cell,
        interfaces=_interfaces(pf),
        link_layers=tuple(dict.fromkeys(port.link_layer for port in pf.ports)),
        total=pf.total_vfs,
        users=users(inventory, pf.address),
        vfs=tuple(_vf(inventory, pf, number) for number in range(len(pf.virtual_functions))),
    )


def _vf(inventory: HostInventory, pf: PciFunction, number: int) -> VfLine:
    address = pf.virtual_functions[number]
    function = inventory.functions.get(address)
    shown = () if function is None else tuple(filter(None, (port.guid or port.mac for port in function.ports)))
    planned = tuple(str(guids.port) for guids in guids_of(pf, number).values())
    return VfLine(
        number=number,
        address=address,
        driver=function.driver if function is not None else None,
        iommu_group=function.iommu_group if function is not None else None,
        interfaces=_interfaces(function) if function is not None else (),
        ids=shown or planned,
        users=users(inventory, address),
    )


def _interfaces(function: PciFunction) -> tuple[str, ...]:
    names = (name for port in function.ports for name in (port.rdma, port.interface) if name)
    return tuple(dict.fromkeys(names))
