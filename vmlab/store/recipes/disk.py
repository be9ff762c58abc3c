"""The first sectors of a disk that a BIOS starts: partition table and GRUB, laid out without GRUB's installer. Pure."""

import struct

SECTOR = 512
START = 1 << 20  # of the only partition, in bytes; GRUB's core image lives before it
_LARGEST = (1 << 32) - 1


def head(boot: bytes, core: bytes) -> bytes:
    """What stands before the partition: `boot` is GRUB's boot.img, `core` what `grub-mkimage -O i386-pc` made.

    boot.img loads the sector after itself, and that one the rest of core.img: no block list has to be patched.
    The partition reaches to the end of what an MBR can say. Linux ends it where the disk ends, so that a larger clone
    needs no new partition table; only the file system has to grow.
    """
    if len(core) > START - SECTOR:
        raise ValueError(f"GRUB's core image has {len(core)} bytes")
    first = START // SECTOR
    entry = struct.pack("<B3sB3sII", 0x80, b"\x20\x21\x00", 0x83, b"\xfe\xff\xff", first, _LARGEST - first)
    return boot[:440].ljust(440, b"\0") + b"vmla\0\0" + entry.ljust(64, b"\0") + b"\x55\xaa" + core
