"""The parts of `host check` that decide something."""

import os
import platform
import pwd
from pathlib import Path

import pytest

from vmlab.lab.hosts import check as lab
from vmlab.runtime import distribution
from vmlab.store.images import Files, Manifest
from vmlab.values.distribution import Distribution
from vmlab.values.libvirt_uri import Way
from vmlab.virt import accel, check, check_machine
from vmlab.virt.connection import Host


def user(uid: int, gid: int = 65_534) -> pwd.struct_passwd:
    return pwd.struct_passwd(("libvirt-qemu", "x", uid, gid, "", "/", "/bin/false"))


@pytest.mark.parametrize(
    ("mode", "other", "group", "owner"),
    [(0o711, True, True, True), (0o700, False, False, True), (0o750, False, True, True), (0o070, False, True, False)],
)
def test_who_may_enter_a_folder(tmp_path: Path, mode: int, other: bool, group: bool, owner: bool) -> None:
    folder = tmp_path / "pool"
    folder.mkdir()
    folder.chmod(mode)
    try:
        assert check._may_pass(folder, user(64_055)) is other
        assert check._may_pass(folder, user(64_055, os.getgid())) is group
        if os.getuid():
            assert check._may_pass(folder, user(os.getuid())) is owner
    finally:
        folder.chmod(0o700)


def test_versions_are_written_as_people_do() -> None:
    assert check._version(9_000_000) == "9.0.0"
    assert check._version(7_002_022) == "7.2.22"


@pytest.mark.parametrize(
    ("family", "hint"),
    [
        ("debian", "apt-get install qemu-utils"),
        ("rhel", "dnf install qemu-img"),
        ("suse", "zypper install qemu-tools"),
        ("", "install qemu-utils"),
    ],
)
def test_each_missing_program_names_its_package(monkeypatch: pytest.MonkeyPatch, family: str, hint: str) -> None:
    monkeypatch.setattr(check.shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(distribution, "here", lambda: Distribution("x", family))
    found = {finding.what: finding for finding in check_machine.programs()}
    assert found["qemu-img"].verdict == "no"
    assert found["qemu-img"].hint == hint
    assert found["dot"].verdict == "warning"


def test_a_host_without_libvirt_is_one_finding_more() -> None:
    first, second, *_ = check.check(Way("qemu+unix:///system?socket=/nowhere/at/all"), lambda _: None, str)
    assert (first.what, first.verdict) == ("libvirt", "no")
    assert first.hint
    assert (second.what, second.verdict, second.found) == (
        "KVM",
        "warning",
        "not tried: only libvirt knows which QEMU guests have",
    )


# A QEMU that says what it was started with, runs the guest of a few instructions, and hangs with a kernel.
_QEMU = """#!/bin/sh
echo "$@" >> "$0.log"
case "$*" in
*-bios*) exit 33 ;;
*-kernel*) exec sleep 60 ;;
esac
"""


@pytest.fixture
def qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program, under RHEL's name and not on PATH; its log tells how it was started."""
    program = tmp_path / "qemu-kvm"
    program.write_text(_QEMU)
    program.chmod(0o755)
    monkeypatch.setenv("VMLAB_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(accel, "DEVICE", tmp_path)
    monkeypatch.setattr(accel, "_KERNEL_S", 0.5)
    return program


def started(qemu: Path) -> list[str]:
    log = Path(f"{qemu}.log")
    return log.read_text().splitlines() if log.exists() else []


def test_a_kernel_that_hangs_is_told_as_it_is_by_plan(qemu: Path, tmp_path: Path) -> None:
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        assert started(qemu) == [], "announced before it begins"

    found = check._kvm(str(qemu), check.Kernel("demo", tmp_path / "vmlinuz"), say)
    assert (found.what, found.verdict, found.found) == ("KVM", "warning", "a guest hangs in it")
    assert said == ["trying whether KVM runs a guest, for 20.5 s at most"]
    assert [f"-kernel {tmp_path}/vmlinuz" in line for line in started(qemu)] == [False, True]


def test_plan_keeps_the_answer_and_announces_nothing_then(qemu: Path, tmp_path: Path) -> None:
    said: list[str] = []
    for _ in range(2):
        assert accel.why_no_kvm(str(qemu), tmp_path / "vmlinuz", say=said.append) == "a guest hangs in it"
    assert len(said) == 1
    assert len(started(qemu)) == 2


def test_without_a_kernel_it_says_what_it_did_not_try(qemu: Path) -> None:
    found = check._kvm(str(qemu), None, str)
    assert (found.verdict, found.found) == (
        "ok",
        "a guest of a few instructions runs under it; no image has a kernel to try",
    )
    assert "vmlab image build demo" in found.hint


def test_a_machine_of_another_architecture_runs_none(qemu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert accel.why_no_kvm(str(qemu), None, say=str) == "this machine is aarch64, and its guests are x86_64"
    assert started(qemu) == []


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VMLAB_POOL_DIR", str(tmp_path))
    folder = tmp_path / "images"
    folder.mkdir()
    return folder


def image(store: Path, name: str, kernel: str | None) -> None:
    files = Files(disk=f"{name}.qcow2", kernel=kernel)
    (store / f"{name}.json").write_text(Manifest(name=name, files=files).model_dump_json(by_alias=True))
    if kernel is not None:
        (store / kernel).touch()


def test_the_kernel_is_that_of_the_image_which_beds_have_by_default(store: Path) -> None:
    host = Host("test:///default")
    try:
        assert lab.kernel(host) is None
        (store / "broken.json").write_text("{")
        image(store, "alma", None)
        assert lab.kernel(host) is None
        image(store, "build", "build.vmlinuz")
        assert lab.kernel(host) == check.Kernel("build", store / "build.vmlinuz")
        image(store, "demo", "demo.vmlinuz")
        assert lab.kernel(host) == check.Kernel("demo", store / "demo.vmlinuz")
        (store / "demo.vmlinuz").unlink()
        assert lab.kernel(host) == check.Kernel("build", store / "build.vmlinuz")
    finally:
        host.close()
