"""The parts of `host check` that decide something."""

import os
import pwd
from pathlib import Path

import pytest

from vmlab.virt import check


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


def test_each_missing_program_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check.shutil, "which", lambda *_, **__: None)
    found = {finding.what: finding for finding in check._programs()}
    assert found["qemu-img"].verdict == "no"
    assert found["qemu-img"].hint == "apt-get install qemu-utils"
    assert found["dot"].verdict == "warning"


def test_a_host_without_libvirt_is_one_finding_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "why_no_kvm", lambda **_: None)
    first, second, *_ = check.check("qemu+unix:///system?socket=/nowhere/at/all")
    assert (first.what, first.verdict) == ("libvirt", "no")
    assert first.hint
    assert (second.what, second.verdict) == ("KVM", "ok")
