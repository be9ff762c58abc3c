"""Hosts as values: an igb and a shared group as the emulated lab host has them, HCAs as sriov.md tells of them."""

from dataclasses import replace

from vmlab.inventory.model import Cell, Claim, HostInventory, PciFunction, Port
from vmlab.values.pci import PciAddress

IGB = PciAddress.parse("0000:21:00.0")
IGB_VFS = tuple(PciAddress.parse(f"0000:21:10.{n}") for n in (0, 2, 4, 6))
CX5 = PciAddress.parse("0000:41:00.0")
CX3 = PciAddress.parse("0000:05:00.0")
NVME = PciAddress.parse("0000:22:00.0")
TWINS = (PciAddress.parse("0000:63:01.0"), PciAddress.parse("0000:63:02.0"))
GUID = "0002:c903:0028:f3a1"


def hosts(*claims: Claim, igb_vfs: int = 0) -> HostInventory:
    vfs = IGB_VFS[:igb_vfs]
    functions = [
        PciFunction(
            IGB, 0x020000, 0x8086, 0x10C9, driver="igb", cell=0, iommu_group=13, virtual_functions=vfs, total_vfs=7,
            ports=(Port(1, "ethernet", interface="ens10", mac="52:54:00:10:00:00"),),
        ),
        *(
            PciFunction(vf, 0x020000, 0x8086, 0x10CA, driver="igbvf", iommu_group=15 + n, physical_function=IGB)
            for n, vf in enumerate(vfs)
        ),
        PciFunction(
            CX5, 0x020700, 0x15B3, 0x1017, driver="mlx5_core", iommu_group=20, total_vfs=8,
            ports=(Port(1, "infiniband", interface="ib0", rdma="mlx5_0", guid=GUID),),
        ),
        PciFunction(
            CX3, 0x0C0600, 0x15B3, 0x1003, driver="mlx4_core", iommu_group=21, total_vfs=63,
            ports=(
                Port(1, "infiniband", interface="ib1", rdma="mlx4_0", guid="0002:c903:00aa:0001"),
                Port(2, "ethernet", interface="ens7", rdma="mlx4_0", mac="00:02:c9:aa:00:02"),
            ),
        ),
        PciFunction(NVME, 0x010802, 0x1B36, 0x0010, driver="nvme", iommu_group=14),
        *(PciFunction(twin, 0x020000, 0x8086, 0x100E, driver="e1000", iommu_group=10) for twin in TWINS),
    ]  # fmt: skip
    return HostInventory("lab", "x86_64", (Cell(0, 1 << 20, ()),), {f.address: f for f in functions}, claims)


def changed(inventory: HostInventory, address: PciAddress, **how: object) -> HostInventory:
    function = replace(inventory.functions[address], **how)
    return replace(inventory, functions={**inventory.functions, address: function})


def claim(domain: str, *devices: PciAddress, running: bool = True, bed: str | None = None) -> Claim:
    return Claim(domain, bed, bed and domain, running, devices=frozenset(devices))
