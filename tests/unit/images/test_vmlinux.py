"""vmlinux out of a debug package, made here by dpkg-deb."""

import subprocess
from pathlib import Path

import pytest

from vmlab.errors import HostError, UsageError
from vmlab.lab.beds.debug import candidates
from vmlab.store import images
from vmlab.store.images import Files, Manifest
from vmlab.store.vmlinux import check_debug_package, take_vmlinux

RELEASE = "6.12.1+deb13-amd64"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    boot = root / "usr/lib/debug/boot"
    boot.mkdir(parents=True)
    (boot / f"vmlinux-{RELEASE}").write_bytes(b"\x7fELF" + bytes(1 << 20))
    (boot / "later").write_bytes(bytes(1 << 20))
    (root / "DEBIAN").mkdir()
    (root / "DEBIAN/control").write_text(
        f"Package: linux-image-{RELEASE}-dbg\nVersion: 1\nArchitecture: amd64\nMaintainer: t <t@example.org>\n"
        "Description: made for a test\n"
    )
    file = tmp_path / "debug.deb"
    subprocess.check_call(["dpkg-deb", "--root-owner-group", "-b", root, file], stdout=subprocess.DEVNULL)
    return file


def test_only_vmlinux_is_taken(package: Path, tmp_path: Path) -> None:
    check_debug_package(package)
    take_vmlinux(package, RELEASE, tmp_path / "vmlinux")
    assert (tmp_path / "vmlinux").read_bytes() == b"\x7fELF" + bytes(1 << 20)


def test_another_kernel_s_is_refused_by_name(package: Path, tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"there is no vmlinux of kernel 6\.1\.0 in debug\.deb"):
        take_vmlinux(package, "6.1.0", tmp_path / "vmlinux")
    assert not (tmp_path / "vmlinux").exists()


def test_what_is_no_package_is_told_before_anything_is_built(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not there"):
        check_debug_package(tmp_path / "debug.deb")
    with pytest.raises(UsageError, match=r"is no \.deb or \.rpm file"):
        check_debug_package(tmp_path)


def test_it_lies_with_the_image_where_a_look_at_memory_finds_it_and_goes_with_it(tmp_path: Path, disk: Path) -> None:
    store, source = tmp_path / "store", disk.parent
    for name in ("kernel", "vmlinux"):
        (source / name).write_text(name)
    files = Files(disk=disk.name, kernel="kernel", vmlinux="vmlinux")
    kept = images.add(store, Manifest(name="tools", kernel=RELEASE, files=files), source)
    assert kept.files.kernel is not None
    (first, *_) = candidates(store / kept.files.kernel, RELEASE)
    assert first.read_text() == "vmlinux"
    assert images.unused(store, {}) == []
    images.remove(store, "tools", {})
    assert list(store.iterdir()) == []
