"""Where gdb finds a kernel's symbols."""

import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from vmlab.lab.beds.debug import Session, _version, booted, candidates
from vmlab.lab.ground.hosts import Hosts
from vmlab.values.libvirt_uri import Way
from vmlab.virt.pool import IMAGES, folder

NEAR: Any = SimpleNamespace(name="near", uri="qemu:///system", local=True, simulated=False)
WAY = Way("qemu+ssh://root@kvm2/system")
FAR: Any = SimpleNamespace(name="far", uri=WAY.uri, way=WAY, ssh=None, local=False, simulated=False)


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


def test_the_line_to_paste_leads_to_the_guest_s_own_host() -> None:
    near = Session(NEAR, "ha.oss1", "/run/s.gdb", Path("/k/vmlinux"), may=True, place=Path("/state"))
    assert near.line == "gdb /k/vmlinux -ex 'target remote /run/s.gdb'"
    far = Session(FAR, "ha.oss1", "/run/s.gdb", None, may=True, place=Path("/state"))
    lead, _, rest = far.line.partition(" && ")
    assert lead.startswith("ssh -f -S none ")
    assert lead.endswith(
        " -L ./ha.oss1.gdb:/run/s.gdb -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=10"
        " -T -- root@kvm2 sleep 10"
    )
    assert rest == "gdb -ex 'target remote ./ha.oss1.gdb'; rm -f ./ha.oss1.gdb"


def test_an_image_s_kernel_on_another_machine_has_its_symbols_in_the_store_here() -> None:
    def domain(host: str, kernel: str, users: str = "") -> Any:
        return SimpleNamespace(
            host=host,
            facts=SimpleNamespace(metadata=SimpleNamespace(kernel=users), details=SimpleNamespace(kernel=kernel)),
        )

    hosts = Hosts({"far": FAR}, first="far")
    there = "/srv/images/demo-0123456789ab.vmlinuz"
    assert booted(hosts, domain("far", there)) == folder(IMAGES) / "demo-0123456789ab.vmlinuz"
    assert booted(hosts, domain("far", "/srv/beds/ha._kernel-0", "/home/u/bzImage")) == Path("/home/u/bzImage")
    assert booted(hosts, domain("far", "")) is None
    assert booted(Hosts({"near": NEAR}, first="near"), domain("near", there)) == Path(there)
