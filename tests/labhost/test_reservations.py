"""Persistent reservations: disks of the host that are passed to a node, kept by a SCSI target as an array keeps them.

The target is the kernel's own (LIO), with one disk on two paths: to it, they are two initiators.
"""

from collections.abc import Iterator

import pytest

from .conftest import MINUTES, Lab

BED = "t-pr"
_TARGET = r"""
modprobe -a target_core_mod target_core_file tcm_loop sd_mod
mountpoint -q /sys/kernel/config || mount -t configfs configfs /sys/kernel/config
disk=/sys/kernel/config/target/core/fileio_0/t-pr
mkdir -p "$disk"
truncate -s 64M /var/tmp/t-pr.img
echo fd_dev_name=/var/tmp/t-pr.img,fd_dev_size=67108864 > "$disk/control"
echo 1 > "$disk/enable"
for path in 1 2; do
    group=/sys/kernel/config/target/loopback/naa.500140500000000$path/tpgt_1
    mkdir -p "$group"
    echo naa.600140500000000$path > "$group/nexus"
    mkdir -p "$group/lun/lun_0"
    ln -s "$disk" "$group/lun/lun_0/port"
done
udevadm settle
lsblk --scsi --noheadings --output PATH,VENDOR | grep LIO-ORG | cut -d ' ' -f 1
"""
_NO_TARGET = r"""
cd /sys/kernel/config/target || exit 0
for group in loopback/naa.*/tpgt_1; do
    rm -f "$group/lun/lun_0/port"
    rmdir "$group/lun/lun_0" "$group" "${group%/*}"
done
rmdir core/fileio_0/t-pr
rm -f /var/tmp/t-pr.img
"""
# Two initiators of one disk, by SG_IO (SPC-4: PERSISTENT RESERVE OUT; RESERVE is for writes only, type 1).
_RESERVE = r"""
import ctypes, fcntl, glob, mmap, os, struct
REGISTER, RESERVE = 0, 1

def send(disk, action, key, new_key):
    data = ctypes.create_string_buffer(struct.pack(">QQ8x", key, new_key), 24)
    sense = ctypes.create_string_buffer(32)
    command = ctypes.create_string_buffer(bytes([0x5f, action, action and 1, 0, 0, 0, 0, 0, 24, 0]), 10)
    address = ctypes.addressof
    # struct sg_io_hdr of <scsi/sg.h>
    header = bytearray(struct.pack(
        "iiBBHIPPPIIiPBBBBHHiII0P", ord("S"), -2, 10, 32, 0, 24, address(data), address(command), address(sense),
        10000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ))
    fcntl.ioctl(disk, 0x2285, header)
    return header[64]

def write(disk):
    try:
        os.pwrite(disk, mmap.mmap(-1, 4096), 0)
        return "written"
    except OSError as error:
        return os.strerror(error.errno)

paths = sorted(glob.glob("/dev/disk/by-path/*scsi-0:0:[01]:0"))
one, other = (os.open(path, os.O_RDWR | os.O_DIRECT) for path in paths)
print(send(one, REGISTER, 0, 1), send(other, REGISTER, 0, 2), send(one, RESERVE, 1, 0), send(other, RESERVE, 2, 0))
print(write(one), "|", write(other))
"""
_CONFLICT = 0x18  # SCSI's status RESERVATION CONFLICT


@pytest.fixture
def paths(lab: Lab) -> Iterator[list[str]]:
    """The host's two disks, which are paths to one."""
    yield lab.sh(_TARGET).split()
    lab.sh(_NO_TARGET)


def test_reservations_hold_between_two_paths_of_the_host(lab: Lab, paths: list[str]) -> None:
    disks = ", ".join(
        f"{{name: {name}, device: {path}, kind: scsi, reservations: true}}"
        for name, path in zip(("one", "other"), paths, strict=True)
    )
    bed = lab.put(
        "/root/pr.yaml",
        f"name: {BED}\nhosts: {{local: {{reserve: {{cpus: 0, memory: 0B}}}}}}\n"
        f"nodes: {{node1: {{role: build, memory: 512MiB, disks: [{disks}]}}}}\n",
    )
    lab.vmlab("up", bed, deadline_s=15 * MINUTES)
    try:
        told = lab.vmlab("ssh", BED, "node1", "--", "python3", "-c", _RESERVE).splitlines()
        assert told == [f"0 0 0 {_CONFLICT}", "written | Invalid exchange"]
    finally:
        lab.vmlab("down", BED, "--yes")
    assert lab.sh("pgrep -x qemu-pr-helper || true") == ""


def test_a_disk_that_the_host_uses_is_not_passed(lab: Lab, paths: list[str]) -> None:
    lab.sh(f"mkfs.ext4 -q {paths[0]}; mkdir -p /mnt/t-pr; mount {paths[0]} /mnt/t-pr")
    try:
        disk = f"{{name: one, device: {paths[0]}, kind: scsi}}"
        bed = lab.put("/root/pr.yaml", f"name: {BED}\nnodes: {{node1: {{role: build, disks: [{disk}]}}}}\n")
        lab.vmlab("up", bed, status=4)
        assert "is mounted at /mnt/t-pr" in lab.complaints
    finally:
        lab.sh("umount /mnt/t-pr")
