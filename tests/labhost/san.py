"""A disk on two paths, as an array has it: a SCSI target of the kernel (LIO), to which they are two initiators."""

TARGET = r"""
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
NO_TARGET = r"""
cd /sys/kernel/config/target || exit 0
for group in loopback/naa.*/tpgt_1; do
    rm -f "$group/lun/lun_0/port"
    rmdir "$group/lun/lun_0" "$group" "${group%/*}"
done
rmdir core/fileio_0/t-pr
rm -f /var/tmp/t-pr.img
"""
# Two initiators of one disk, by SG_IO (SPC-4: PERSISTENT RESERVE OUT; RESERVE is for writes only, type 1).
RESERVE = r"""
import ctypes, fcntl, glob, mmap, os, struct
REGISTER, RESERVE = 6, 1  # REGISTER AND IGNORE EXISTING KEY

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
# The first commands after power on are answered by that (UNIT ATTENTION). RESERVE is refused to whom nobody registered.
for _ in range(3):
    send(one, REGISTER, 0, 1)
    send(other, REGISTER, 0, 2)
print(send(one, RESERVE, 1, 0), send(other, RESERVE, 2, 0))
print(write(one), "|", write(other))
"""
CONFLICT = 0x18  # SCSI's status RESERVATION CONFLICT
