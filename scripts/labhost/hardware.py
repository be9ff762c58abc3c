"""The lab host's hardware as QEMU's arguments.

Two NUMA cells of two cores with two threads each. Below each cell's own root bus (pxb-pcie) an igb with SR-IOV, both
plugged into one switch; below cell 0 also an nvme with SR-IOV; below cell 1 an nvme with a disk, and two e1000 behind a
bridge without ACS, which so share an IOMMU group. `-cpu max` has SVM: KVM works inside, emulated, and nested guests are
ordinary KVM domains.
"""

from collections.abc import Iterator
from pathlib import Path

CELL_GIB = 3
"""Of each cell, where nobody asks for more: what the tests' guests take."""

# romfile= everywhere: nothing boots from these cards, and their ROMs take the firmware seconds.
_CELL_0 = (
    "pxb-pcie,id=cell0,bus=pcie.0,addr=8,bus_nr=32,numa_node=0",
    "pcie-root-port,id=port10,bus=cell0,addr=0,chassis=10,slot=10",
    "pcie-root-port,id=port11,bus=cell0,addr=1,chassis=11,slot=11",
    "igb,bus=port10,netdev=fabric0,mac=52:54:00:10:00:00,romfile=",
)
_CELL_1 = (
    "pxb-pcie,id=cell1,bus=pcie.0,addr=9,bus_nr=96,numa_node=1",
    "pcie-root-port,id=port20,bus=cell1,addr=0,chassis=20,slot=20",
    "pcie-root-port,id=port21,bus=cell1,addr=1,chassis=21,slot=21",
    "pcie-root-port,id=port22,bus=cell1,addr=2,chassis=22,slot=22",
    "igb,bus=port20,netdev=fabric1,mac=52:54:00:11:00:00,romfile=",
    "pcie-pci-bridge,id=shared,bus=port21",
    "e1000,bus=shared,addr=1,mac=52:54:00:12:00:00,romfile=",
    "e1000,bus=shared,addr=2,mac=52:54:00:12:00:01,romfile=",
)

_SRIOV = {"sriov_max_vfs": 4, "sriov_vq_flexible": 8, "sriov_vi_flexible": 4, "max_ioqpairs": 26}
_SCRATCH_BYTES = 256 << 20


def plugged(run: Path) -> tuple[tuple[str, dict[str, object]], ...]:
    """What is plugged in once the machine runs, as monitor commands: QEMU can store no machine that has an nvme.

    SR-IOV needs a subsystem, and QEMU plugs no namespace into one: so one controller has VFs, the other a disk.
    """
    disk = run / "scratch"
    with disk.open("wb") as file:
        file.truncate(_SCRATCH_BYTES)
    vfs = {"id": "nvme0", "bus": "port11", "serial": "vfs", "subsys": "subsystem", **_SRIOV}
    return (
        ("device_add", {"driver": "nvme", **vfs}),
        ("blockdev-add", {"driver": "file", "node-name": "scratch", "filename": str(disk), "discard": "unmap"}),
        ("device_add", {"driver": "nvme", "id": "nvme1", "bus": "port22", "serial": "disk", "drive": "scratch"}),
    )


def arguments(image: Path, run: Path, port: int, kernel_parameters: str, cell_gib: int) -> list[str]:
    """All of them. `run` is the folder of this run's files, `port` is on this machine's loopback and leads to sshd.

    `cell_gib` is the memory of each cell.
    """
    told: list[str] = ["-name", "lab-host,process=lab-host", "-nodefaults", "-no-user-config", "-display", "none"]
    told += ["-machine", "q35,hpet=off,vmport=off,i8042=off", "-cpu", "max,la57=off"]
    told += ["-accel", "tcg,thread=multi,tb-size=1024", "-smp", "8,sockets=2,cores=2,threads=2"]
    told += ["-m", f"{2 * cell_gib}G", *_cells(cell_gib)]
    told += ["-kernel", str(image / "vmlinux"), "-initrd", str(image / "initrd")]
    told += ["-append", _cmdline(kernel_parameters)]
    told += ["-chardev", f"file,id=console,path={run / 'console'}", "-serial", "chardev:console"]
    told += ["-qmp", f"unix:{run / 'monitor'},server=on,wait=off"]
    # eim: x2APIC, whose registers are MSRs. While PCI functions change hands QEMU's memory map changes, and now and
    # then a CPU's write to its APIC's page got lost: its timer never fired again, and the host hung. MSRs have no page.
    told += ["-device", "intel-iommu,intremap=on,caching-mode=on,device-iotlb=on,eim=on"]
    told += ["-netdev", f"user,id=mgmt,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"]
    told += ["-netdev", "hubport,id=fabric0,hubid=0", "-netdev", "hubport,id=fabric1,hubid=0"]
    told += ["-device", "virtio-net-pci,addr=2,netdev=mgmt,mac=52:54:00:00:00:01,romfile="]
    for number, name in enumerate(("root", "images"), start=3):
        told += ["-drive", f"if=none,id={name},file={run / name}.qcow2,format=qcow2,cache=unsafe,discard=unmap"]
        told += ["-device", f"virtio-blk-pci,addr={number},drive={name}"]
    told += ["-device", "virtio-rng-pci,addr=5", "-device", "nvme-subsys,id=subsystem"]
    for device in (*_CELL_0, *_CELL_1):
        told += ["-device", device]
    return told


def _cells(gib: int) -> Iterator[str]:
    for cell in (0, 1):
        yield from ("-object", f"memory-backend-ram,id=memory{cell},size={gib}G")
        yield from ("-numa", f"node,nodeid={cell},cpus={4 * cell}-{4 * cell + 3},memdev=memory{cell}")
    yield from ("-numa", "dist,src=0,dst=1,val=21")


def _cmdline(kernel_parameters: str) -> str:
    # Without IOMMU passthrough the host's own drivers use the vIOMMU, as on a host that was set up with care.
    return (
        "root=/dev/vda rw console=ttyS0 loglevel=5 SYSTEMD_COLORS=0 intel_iommu=on iommu=nopt mitigations=off "
        "norandmaps init_on_alloc=0 lsm=capability audit=0 preempt=none cryptomgr.notests" + kernel_parameters
    )
