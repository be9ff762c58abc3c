"""From pools to addresses: each wish gets its function, the first nodes the first ones."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from vmlab.placement.devices import Pool, planned_address
from vmlab.placement.groups import natural
from vmlab.placement.refusal import Functions, Want
from vmlab.placement.request import DeviceWish, NodePlacement, NodeRequest, PlacedDevice
from vmlab.placement.spots import Spot
from vmlab.values.pci import PciAddress

Vfs = Mapping[tuple[str, PciAddress], int]
"""How many virtual functions a physical one of a host must have."""


class _Served(NamedTuple):
    """A wish and what serves it: the function of this number in the slot of the pool."""

    wish: DeviceWish
    pool: int
    slot: int
    number: int


def attach(
    requests: Sequence[NodeRequest],
    nodes: Mapping[str, NodePlacement],
    spots: Mapping[str, Spot],
    pools: Sequence[Pool],
    functions: Mapping[str, Functions],
) -> tuple[dict[str, NodePlacement], Vfs]:
    """The nodes with their functions; and how many virtual functions must be made."""
    served: dict[str, list[_Served]] = {}
    used: dict[tuple[int, int], int] = {}
    for request in sorted(requests, key=lambda r: natural(r.name)):
        served[request.name] = _serve(request, spots[request.name], used)
    vfs = {
        (pool.host, pool.parent): count
        for (index, _), count in sorted(used.items())
        if (pool := pools[index]).parent is not None and count > len(pool.existing) and len(pool.slots) == 1
    }
    attached = {}
    for name, wishes in served.items():
        node = nodes[name]
        devices = [_device(one, pools[one.pool], node, functions[node.host], vfs) for one in wishes]
        attached[name] = replace(node, devices=tuple(_with_groups(devices, functions[node.host])))
    return attached, vfs


def _serve(request: NodeRequest, spot: Spot, used: dict[tuple[int, int], int]) -> list[_Served]:
    """Number the functions that a node takes; `used` counts those that are gone, by pool and slot."""
    numbers: dict[tuple[int, int, int], int] = {}
    left = list(spot.devices)
    served = []
    for wish in sorted(request.devices, key=lambda w: (w.fabric, w.index)):
        taken = next(t for t in left if t.want == Want.of(wish))
        left.remove(taken)
        slot, piece = (taken.pool, taken.slot), (taken.pool, taken.slot, taken.piece)
        if piece not in numbers:
            numbers[piece] = used.get(slot, 0)
            used[slot] = numbers[piece] + 1
        served.append(_Served(wish, *slot, numbers[piece]))
    return served


def _device(served: _Served, pool: Pool, node: NodePlacement, functions: Functions, vfs: Vfs) -> PlacedDevice:
    inventory = functions.inventory
    cell = pool.slots[served.slot].cell
    cells = [placed.host_cell for placed in node.cells]
    near = [placed.host_cell for placed in node.cells if placed.vcpus]
    parent = None if pool.parent is None else inventory.functions[pool.parent]
    planned = parent is not None and (pool.host, parent.address) in vfs
    if parent is not None and planned:
        address = planned_address(parent, served.number)
    else:
        address = pool.slots[served.slot].addresses[served.number]
    order = () if parent is None else parent.virtual_functions
    return PlacedDevice(
        fabric=served.wish.fabric,
        index=served.wish.index,
        address=address,
        function=served.wish.function,
        host_cell=cell,
        iommu_group=None if planned else inventory.functions[address].iommu_group,
        remote=any(c.id == cell for c in inventory.cells) and None not in cells and cell not in near,
        guest_cell=cells.index(cell) if cell in cells else 0,
        physical_function=pool.parent,
        vf_number=served.number if planned else order.index(address) if order else None,
        planned=planned,
    )


def _with_groups(devices: Sequence[PlacedDevice], functions: Functions) -> list[PlacedDevice]:
    """What comes along because of its IOMMU group, told once: with the first function of the group."""
    told = {device.address for device in devices}
    result = []
    for device in devices:
        function = functions.inventory.functions.get(device.address)
        members = () if function is None or device.planned else functions.members(function)
        group = tuple(member.address for member in members if member.address not in told)
        told |= set(group)
        result.append(replace(device, group=group))
    return result
