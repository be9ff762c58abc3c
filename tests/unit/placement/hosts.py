"""Builders of hosts and requests."""

from collections.abc import Sequence
from typing import Any

from vmlab.inventory.model import Cell, Claim, Cpu, HostInventory, PagePool, PciFunction, Port
from vmlab.placement.request import DeviceWish, HostSpace, NodeRequest
from vmlab.topology.bed import Numa, Reserve
from vmlab.values.pci import PciAddress
from vmlab.values.size import Bytes

GIB = 1 << 20
STRICT, PREFERRED, UNBOUND = Numa(), Numa("preferred"), Numa("none")


def address(text: str) -> PciAddress:
    return PciAddress.parse(f"0000:{text}")


def cells(
    count: int, cores: int, gib: float, *, threads: int = 1, huge: dict[int, int] | None = None
) -> tuple[Cell, ...]:
    """CPUs numbered as Linux does: first the first threads of all cores. `huge`: page size in KiB to number."""
    found = []
    for cell in range(count):
        cpus = []
        for core in range(cores):
            siblings = frozenset(cell * cores + core + thread * count * cores for thread in range(threads))
            cpus += [Cpu(cpu, cell, 0, core, siblings) for cpu in sorted(siblings)]
        pools = {size: PagePool(size, total) for size, total in (huge or {}).items()}
        found.append(Cell(cell, int(gib * GIB), tuple(cpus), huge=pools))
    return tuple(found)


def hca(
    where: str,
    cell: int | None = 0,
    *,
    vfs: int = 0,
    total: int = 0,
    ports: int = 1,
    group: int | None = None,
    **facts: Any,
) -> list[PciFunction]:
    """A ConnectX with its existing VFs, which follow right behind it, each function in a group of its own."""
    pf = address(where)
    links = tuple(Port(n + 1, "infiniband", rdma=f"mlx_{where}") for n in range(ports))
    first = group if group is not None else 100 + pf.bus * 256 + pf.slot * 8 + pf.function
    known: dict[str, Any] = {"vendor": 0x15B3, "product": 0x1003, "product_name": "MT27500 Family [ConnectX-3]"}
    known |= {"driver": "mlx4_core", "class_code": 0x028000} | facts
    children = [
        PciAddress(pf.domain, pf.bus, pf.slot + (pf.function + n) // 8, (pf.function + n) % 8)
        for n in range(1, vfs + 1)
    ]
    virtual = {**known, "product": 0x1004, "driver": None}
    return [
        PciFunction(
            pf,
            cell=cell,
            iommu_group=first,
            virtual_functions=tuple(children),
            total_vfs=total or vfs,
            ports=links,
            **known,
        ),
        *(
            PciFunction(a, cell=cell, iommu_group=10_000 + first * 100 + n, physical_function=pf, **virtual)
            for n, a in enumerate(children)
        ),
    ]


def mlx5(where: str, cell: int | None = 0, **facts: Any) -> list[PciFunction]:
    known = {
        "driver": "mlx5_core",
        "product": 0x1017,
        "class_code": 0x020700,
        "product_name": "MT27800 Family [ConnectX-5]",
    }
    return hca(where, cell, **known | facts)


def nic(where: str, cell: int | None = 0, **facts: Any) -> list[PciFunction]:
    """A 10GbE port."""
    known: dict[str, Any] = {
        "vendor": 0x8086,
        "product": 0x10FB,
        "product_name": "82599ES 10-Gigabit",
        "driver": "ixgbe",
    }
    port = Port(1, "ethernet", interface=f"enp{where[:2]}")
    number = address(where).bus * 256 + address(where).function
    known |= {"iommu_group": number, "ports": (port,)} | facts
    return [PciFunction(address(where), 0x020000, cell=cell, **known)]


def host(
    found: tuple[Cell, ...],
    functions: Sequence[PciFunction] = (),
    *,
    name: str = "local",
    claims: Sequence[Claim] = (),
    cpus: int = 0,
    gib: int = 0,
    **facts: Any,
) -> HostSpace:
    inventory = HostInventory(name, "x86_64", found, {f.address: f for f in functions}, tuple(claims), **facts)
    return HostSpace(inventory, Reserve(cpus, Bytes(gib << 30)))


def wish(
    fabric: str = "ib0", index: int = 0, function: str = "vf", kind: str = "infiniband", **facts: Any
) -> DeviceWish:
    return DeviceWish(fabric, index, kind, function, **facts)  # type: ignore[arg-type]


def node(name: str, cpus: int = 1, gib: float = 1, numa: Numa = STRICT, **facts: Any) -> NodeRequest:
    return NodeRequest(name, cpus, int(gib * GIB), numa, **facts)
