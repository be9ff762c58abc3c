"""Where gdb finds a kernel's symbols."""

import struct
from pathlib import Path

from vmlab.lab.beds.debug import _version, candidates


def test_symbols_lie_in_the_tree_beside_the_kernel_or_where_packages_put_them() -> None:
    built = candidates(Path("/home/u/linux/arch/x86/boot/bzImage"), "6.6.1+")
    assert list(map(str, built)) == [
        "/home/u/linux/arch/x86/boot/bzImage.vmlinux",
        "/home/u/linux/arch/x86/boot/vmlinux",
        "/home/u/linux/vmlinux",
        "/home/u/linux/arch/x86/boot/vmlinux-6.6.1+",
        "/usr/lib/debug/boot/vmlinux-6.6.1+",
        "/usr/lib/debug/lib/modules/6.6.1+/vmlinux",
    ]
    assert list(map(str, candidates(None, "6.1.0-1-amd64"))) == [
        "/usr/lib/debug/boot/vmlinux-6.1.0-1-amd64",
        "/usr/lib/debug/lib/modules/6.1.0-1-amd64/vmlinux",
    ]
    assert list(map(str, candidates(Path("/store/demo-1.vmlinuz"), ""))) == ["/store/demo-1.vmlinux", "/store/vmlinux"]


def test_a_kernel_says_its_version(tmp_path: Path) -> None:
    image = bytearray(8192)
    image[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", image, 0x20E, 0x1000)
    words = b"6.1.0-44-amd64 (debian-kernel@lists.debian.org) #1 SMP\0"
    image[0x1200 : 0x1200 + len(words)] = words
    path = tmp_path / "bzImage"
    path.write_bytes(image)
    assert _version(str(path)) == "6.1.0-44-amd64"
    path.write_bytes(b"\x7fELF" + bytes(8192))
    assert _version(str(path)) == ""
    assert _version(str(tmp_path / "absent")) == ""
    assert _version("") == ""
