"""Build recorded hosts, as `virsh capabilities` and `virsh nodedev-dumpxml` print them.

`python tests/recorded_hosts.py` writes tests/hosts/NAME again. The forms are those of a real (emulated) host:
tests/hosts/lab-host, which is not made here. Its capabilities and 0000:21:00.0 and 0000:21:10.0 are verbatim from
libvirt 11.3; its other functions are filled in from what was noted of them: driver, IOMMU group and cell.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lxml import etree
from lxml.builder import E

from vmlab.values.cpuset import cpu_list
from vmlab.values.pci import PciAddress

FOLDER = Path(__file__).parent / "hosts"
GIB_KIB = 1 << 20


@dataclass(frozen=True)
class HostCell:
    """So many cores of so many threads each; CPUs are numbered as Linux does on x86: first one thread of every core."""

    cores: int
    memory_gib: int
    socket: int = 0
    die: int = 0
    huge_2m: int = 0


@dataclass(frozen=True)
class Device:
    """A function. `vfs` of `total_vfs` exist; `macs` or `guids` are those of its ports."""

    address: str
    product: tuple[int, int, str]
    driver: str
    cell: int
    class_code: int = 0x020000
    vf_product: tuple[int, int, str] = (0, 0, "")
    vf_driver: str | None = None
    vfs: int = 0
    total_vfs: int = 0
    vf_offset: int = 1
    vf_stride: int = 1
    macs: tuple[str, ...] = ()
    guids: tuple[str, ...] = ()
    interfaces: tuple[str, ...] = ()
    group_with: str | None = None
    used_by: str | None = None


@dataclass(frozen=True)
class HostPlan:
    """A whole host."""

    cells: Sequence[HostCell]
    devices: Sequence[Device]
    threads: int = 1
    distances: Mapping[tuple[int, int], int] = field(default_factory=dict)
    facts: bool = False


VENDORS = {0x15B3: "Mellanox Technologies", 0x8086: "Intel Corporation", 0x144D: "Samsung Electronics Co Ltd"}
CX2 = (0x15B3, 0x673C, "MT26428 [ConnectX VPI PCIe 2.0 5GT/s - IB QDR / 10GigE]")
CX3 = (0x15B3, 0x1003, "MT27500 Family [ConnectX-3]")
CX3_VF = (0x15B3, 0x1004, "MT27500/MT27520 Family [ConnectX-3/ConnectX-3 Pro Virtual Function]")
CX5 = (0x15B3, 0x1017, "MT27800 Family [ConnectX-5]")
CX5_VF = (0x15B3, 0x1018, "MT27800 Family [ConnectX-5 Virtual Function]")
CX6 = (0x15B3, 0x101B, "MT28908 Family [ConnectX-6]")
CX6_VF = (0x15B3, 0x101C, "MT28908 Family [ConnectX-6 Virtual Function]")
X520 = (0x8086, 0x10FB, "82599ES 10-Gigabit SFI/SFP+ Network Connection")
X520_VF = (0x8086, 0x10ED, "82599 Ethernet Controller Virtual Function")
I350 = (0x8086, 0x1521, "I350 Gigabit Network Connection")
ROOT_PORT = (0x8086, 0x3408, "5520/5500/X58 I/O Hub PCI Express Root Port 1")
NVME = (0x144D, 0xA808, "NVMe SSD Controller SM981/PM981/PM983")


def guid(number: int, port: int = 1) -> str:
    return f"0002:c903:00{number >> 8 & 0xFF:02x}:{number & 0xFF:02x}{port:02x}"


def cx3(address: str, cell: int = 0, *, vfs: int = 0) -> Device:
    number = PciAddress.parse(address).bus
    return Device(
        address,
        CX3,
        "mlx4_core",
        cell,
        class_code=0x028000,
        vf_product=CX3_VF,
        vfs=vfs,
        total_vfs=16,
        guids=(guid(number),),
        interfaces=("ib0",),
    )


_ROUTE = "the default route, over eno1"


def management(address: str, cell: int = 0) -> Device:
    return Device(address, I350, "igb", cell, macs=("52:54:00:00:00:01",), interfaces=("eno1",), used_by=_ROUTE)


def cx2(address: str, cell: int, interface: str) -> Device:
    number = PciAddress.parse(address).bus
    return Device(address, CX2, "mlx4_core", cell, class_code=0x0C0600, guids=(guid(number),), interfaces=(interface,))


def cx6(address: str, cell: int, interface: str, *, vfs: int = 0) -> Device:
    number = PciAddress.parse(address).bus
    return Device(
        address,
        CX6,
        "mlx5_core",
        cell,
        class_code=0x020700,
        vf_product=CX6_VF,
        vf_driver="mlx5_core",
        vfs=vfs,
        total_vfs=16,
        guids=(guid(number),),
        interfaces=(interface,),
    )


HOSTS: dict[str, HostPlan] = {
    # A file transfer agent's host, as one socket and as two: 12 cores, 48 GiB, one ConnectX-3.
    "fta-1s": HostPlan([HostCell(12, 48)], [management("0000:01:00.0"), cx3("0000:04:00.0", vfs=12)]),
    "fta-2s": HostPlan(
        [HostCell(6, 24, socket=0), HostCell(6, 24, socket=1)],
        [management("0000:01:00.0"), cx3("0000:04:00.0", vfs=12)],
    ),
    # The least on which a bed is tried: no HCA, no KVM.
    "two-cores": HostPlan([HostCell(2, 8)], [management("0000:01:00.0")]),
    # Two X5670 and four QDR HCAs, two on each of its I/O hubs.
    "oss-x5670": HostPlan(
        [HostCell(6, 24, socket=0), HostCell(6, 24, socket=1)],
        [
            management("0000:01:00.0"),
            cx2("0000:05:00.0", 0, "ib0"),
            cx2("0000:06:00.0", 0, "ib1"),
            cx2("0000:85:00.0", 1, "ib2"),
            cx2("0000:86:00.0", 1, "ib3"),
        ],
    ),
    # Two EPYCs with four cells each (NPS4); HCAs on four of the eight.
    "nps4": HostPlan(
        [HostCell(8, 64, socket=cell // 4, huge_2m=4096) for cell in range(8)],
        [
            management("0000:c1:00.0", 0),
            cx6("0000:21:00.0", 1, "ib0", vfs=8),
            cx6("0000:61:00.0", 2, "ib1"),
            cx6("0000:a1:00.0", 5, "ib2"),
            cx6("0000:e1:00.0", 6, "ib3"),
        ],
        threads=2,
        distances={(a, b): 32 if a // 4 != b // 4 else 12 for a in range(8) for b in range(8) if a != b},
        facts=True,
    ),
    # One card, two ports: on ConnectX-5 each is a function, on ConnectX-3 both are one.
    "dual-port": HostPlan(
        [HostCell(8, 64, socket=0), HostCell(8, 64, socket=1)],
        [
            management("0000:01:00.0"),
            Device(
                "0000:41:00.0",
                CX5,
                "mlx5_core",
                0,
                class_code=0x020700,
                vf_product=CX5_VF,
                total_vfs=8,
                vf_offset=2,
                guids=(guid(0x41),),
                interfaces=("ib0",),
            ),
            Device(
                "0000:41:00.1",
                CX5,
                "mlx5_core",
                0,
                class_code=0x020700,
                vf_product=CX5_VF,
                total_vfs=8,
                vf_offset=9,
                guids=(guid(0x41, 2),),
                interfaces=("ib1",),
            ),
            Device(
                "0000:81:00.0",
                CX3,
                "mlx4_core",
                1,
                class_code=0x028000,
                guids=(guid(0x81), guid(0x81, 2)),
                interfaces=("ib2", "ib3"),
            ),
        ],
        threads=2,
        facts=True,
    ),
    # No ACS above them: the HCA of cell 0 and the NVMe beside it are in one IOMMU group.
    "shared-group": HostPlan(
        [HostCell(6, 32, socket=0), HostCell(6, 32, socket=1)],
        [
            management("0000:01:00.0"),
            Device("0000:42:00.0", NVME, "nvme", 0, class_code=0x010802),
            Device(
                "0000:41:00.0",
                CX3,
                "mlx4_core",
                0,
                class_code=0x028000,
                guids=(guid(0x41),),
                interfaces=("ib0",),
                group_with="0000:42:00.0",
            ),
        ],
    ),
    # InfiniBand and 10-Gigabit Ethernet: enough functions for two hops of routers.
    "mixed": HostPlan(
        [HostCell(8, 48, socket=0), HostCell(8, 48, socket=1)],
        [
            management("0000:01:00.0"),
            cx2("0000:05:00.0", 0, "ib0"),
            cx2("0000:06:00.0", 0, "ib1"),
            cx2("0000:85:00.0", 1, "ib2"),
            cx2("0000:86:00.0", 1, "ib3"),
            *(
                Device(
                    f"0000:{bus:02x}:00.{function}",
                    X520,
                    "ixgbe",
                    cell,
                    vf_product=X520_VF,
                    vf_driver="ixgbevf",
                    total_vfs=63,
                    vf_offset=128,
                    vf_stride=2,
                    macs=(f"90:e2:ba:00:{bus:02x}:0{function}",),
                    interfaces=(f"ens{cell + 1}f{function}",),
                    used_by="the file system mounted at /home, over br0, bond0 and ens1f0"
                    if (cell, function) == (0, 0)
                    else None,
                )
                for cell, bus in ((0, 0x07), (1, 0x87))
                for function in (0, 1)
            ),
        ],
        facts=True,
    ),
}


def record(plan: HostPlan) -> dict[str, str]:
    """The texts of a host, by file name."""
    files = {"capabilities.xml": _text(_capabilities(plan))}
    groups = _Groups()
    for element in _root_ports(plan, groups):
        files[f"nodedev/{element.findtext('name')}.xml"] = _text(element)
    by_address = {device.address: device for device in plan.devices}
    numbers = {d.address: groups.next() for d in plan.devices if d.group_with is None}
    for device in plan.devices:
        numbers.setdefault(device.address, numbers.get(device.group_with or "", 0))
    for device in plan.devices:
        members = sorted(a for a in by_address if numbers[a] == numbers[device.address])
        for element in (_physical(device, numbers[device.address], members), *_virtual(device, groups), *_nets(device)):
            files[f"nodedev/{element.findtext('name')}.xml"] = _text(element)
    if plan.facts:
        facts = {"devices": {device.address: _facts(device) for device in plan.devices if _facts(device)}}
        files["facts.json"] = json.dumps(facts, indent=2) + "\n"
    return files


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


class _Groups:
    def __init__(self) -> None:
        self._last = -1

    def next(self) -> int:
        self._last += 1
        return self._last


def _text(element: etree._Element) -> str:
    etree.indent(element)
    return etree.tostring(element, encoding="unicode") + "\n"


def _capabilities(plan: HostPlan) -> etree._Element:
    cores = sum(cell.cores for cell in plan.cells)
    cells = E.cells(num=str(len(plan.cells)))
    first = 0
    for number, cell in enumerate(plan.cells):
        memory, sizes = cell.memory_gib * GIB_KIB, {2048: cell.huge_2m, 1048576: 0}
        pages = {4: (memory - sum(size * count for size, count in sizes.items())) // 4, **sizes}
        threads = [
            [core + thread * cores for thread in range(plan.threads)] for core in range(first, first + cell.cores)
        ]
        first_of_socket = sum(c.cores for c in plan.cells[:number] if c.socket == cell.socket)
        cpus = E.cpus(num=str(cell.cores * plan.threads))
        listed = sorted((cpu, core, ids) for core, ids in enumerate(threads, first_of_socket) for cpu in ids)
        for cpu, core, ids in listed:
            cpus.append(
                E.cpu(
                    id=str(cpu),
                    socket_id=str(cell.socket),
                    die_id=str(cell.die),
                    core_id=str(core),
                    siblings=cpu_list(ids),
                )
            )
        distances = (
            E.sibling(id=str(other), value=str(plan.distances.get((number, other), 10 if other == number else 21)))
            for other in range(len(plan.cells))
        )
        cells.append(
            E.cell(
                E.memory(str(memory), unit="KiB"),
                *(E.pages(str(count), unit="KiB", size=str(size)) for size, count in pages.items()),
                E.distances(*distances),
                cpus,
                id=str(number),
            )
        )
        first += cell.cores
    return E.capabilities(
        E.host(
            E.uuid("00000000-0000-0000-0000-000000000000"),
            E.cpu(E.arch("x86_64"), *(E.pages(unit="KiB", size=str(size)) for size in (4, 2048, 1048576))),
            E.iommu(support="yes"),
            E.topology(cells),
        )
    )


def _pci(
    address: PciAddress, ids: tuple[int, int, str], class_code: int, cell: int, group: tuple[int, Sequence[str]]
) -> etree._Element:
    vendor, product, name = ids
    return E.capability(
        E("class", f"0x{class_code:06x}"),
        E.domain(str(address.domain)),
        E.bus(str(address.bus)),
        E.slot(str(address.slot)),
        E.function(str(address.function)),
        E.product(name, id=f"0x{product:04x}"),
        E.vendor(VENDORS[vendor], id=f"0x{vendor:04x}"),
        E.iommuGroup(*(_address(PciAddress.parse(member)) for member in group[1]), number=str(group[0])),
        E.numa(node=str(cell)),
        type="pci",
    )


def _device(address: PciAddress, parent: str, driver: str | None, pci: etree._Element) -> etree._Element:
    device = E.device(E.name(_name(address)), E.path(f"/sys/devices/pci0000:00/{address}"), E.parent(parent))
    if driver is not None:
        device.append(E.driver(E.name(driver)))
    device.append(pci)
    return device


def _name(address: PciAddress) -> str:
    return "pci_" + str(address).replace(":", "_").replace(".", "_")


def _address(address: PciAddress) -> etree._Element:
    return E.address(
        domain=f"0x{address.domain:04x}",
        bus=f"0x{address.bus:02x}",
        slot=f"0x{address.slot:02x}",
        function=f"0x{address.function}",
    )


def _root_ports(plan: HostPlan, groups: _Groups) -> list[etree._Element]:
    """One for each bus, in a group of its own."""
    ports = []
    for number, bus in enumerate(sorted({PciAddress.parse(device.address).bus for device in plan.devices})):
        cell = next(device.cell for device in plan.devices if PciAddress.parse(device.address).bus == bus)
        address = PciAddress(0, 0, number + 1, 0)
        pci = _pci(address, ROOT_PORT, 0x060400, cell, (groups.next(), [str(address)]))
        pci.insert(7, E.capability(type="pci-bridge"))
        ports.append(_device(address, "computer", "pcieport", pci))
    return ports


def _physical(device: Device, group: int, members: Sequence[str]) -> etree._Element:
    address = PciAddress.parse(device.address)
    pci = _pci(address, device.product, device.class_code, device.cell, (group, members))
    if device.total_vfs:
        addresses = (_address(vf) for vf in virtual_addresses(device))
        pci.insert(7, E.capability(*addresses, type="virt_functions", maxCount=str(device.total_vfs)))
    return _device(address, "computer", device.driver, pci)


def virtual_addresses(device: Device) -> list[PciAddress]:
    pf = PciAddress.parse(device.address)
    first = (pf.bus << 8 | pf.slot << 3 | pf.function) + device.vf_offset
    routing_ids = (first + number * device.vf_stride for number in range(device.vfs))
    return [PciAddress(pf.domain, at >> 8, at >> 3 & 0x1F, at & 7) for at in routing_ids]


def _virtual(device: Device, groups: _Groups) -> list[etree._Element]:
    found = []
    for address in virtual_addresses(device):
        pci = _pci(address, device.vf_product, device.class_code, device.cell, (groups.next(), [str(address)]))
        pci.insert(7, E.capability(_address(PciAddress.parse(device.address)), type="phys_function"))
        found.append(_device(address, "computer", device.vf_driver, pci))
    return found


def _nets(device: Device) -> list[etree._Element]:
    ipoib = tuple(f"80:00:02:08:fe:80:00:00:00:00:00:00:{_colons(text)}" for text in device.guids)
    return [
        E.device(
            E.name(f"net_{interface}_{address.replace(':', '_')}"),
            E.path(f"/sys/devices/pci0000:00/{device.address}/net/{interface}"),
            E.parent(_name(PciAddress.parse(device.address))),
            E.capability(
                E.interface(interface),
                E.address(address),
                E.link(state="up"),
                *((E.capability(type="80203"),) if device.macs else ()),
                type="net",
            ),
        )
        for interface, address in zip(device.interfaces, device.macs + ipoib, strict=True)
    ]


def _colons(text: str) -> str:
    digits = text.replace(":", "")
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))


def _facts(device: Device) -> dict[str, object]:
    facts: dict[str, object] = {}
    if device.total_vfs:
        facts |= {"total_vfs": device.total_vfs, "sriov_offset": device.vf_offset, "sriov_stride": device.vf_stride}
    if device.guids:
        bus = PciAddress.parse(device.address)
        facts["ports"] = [
            {
                "number": number,
                "link_layer": "infiniband",
                "interface": interface,
                "rdma": f"{device.driver.removesuffix('_core')}_{bus.bus >> 5}{bus.function}",
                "guid": text,
                "state": "ACTIVE",
                "sm_lid": 1,
            }
            for number, (interface, text) in enumerate(zip(device.interfaces, device.guids, strict=True), 1)
        ]
    if device.used_by:
        facts["used_by"] = device.used_by
    return facts


if __name__ == "__main__":
    for name, plan in HOSTS.items():
        write(FOLDER / name, record(plan))
