"""What another machine has for beds, and its files of images, asked of this one: the scripts are what goes by ssh."""

import fcntl
import platform
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vmlab.values.ssh_uri import SshUri
from vmlab.virt.check_elsewhere import machine_there
from vmlab.virt.image_files import image_files, remove_image_files

NAMES = ("demo-0123456789ab.qcow2", ".demo-0123456789ab.initrd.partial", "own-0123456789ab.vmlinuz")


def host(folder: Path) -> Any:
    """A double: a host that is this machine, whose store is that folder."""
    return SimpleNamespace(local=True, simulated=False, name="there", ssh=None, call=lambda _: str(folder))


def verdicts() -> dict[str, str]:
    return {finding.what: finding.verdict for finding in machine_there(host(Path()))}


def test_what_is_there_is_found() -> None:
    found = verdicts()
    assert list(found)[:2] == ["shell", "ip"]
    assert {found[what] for what in ("ip", "bridge", "flock", "sha256sum")} == {"ok"}


def test_what_lacks_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in ("sh", "id"):
        (tmp_path / program).symlink_to(str(shutil.which(program)))
    monkeypatch.setenv("PATH", str(tmp_path))
    found = {finding.what: finding for finding in machine_there(host(tmp_path))}
    assert (found["flock"].verdict, found["flock"].hint) == ("no", "install util-linux, there")
    assert found["qemu-nbd"].verdict == "warning"


def test_a_shell_of_another_machine_is_told() -> None:
    far = host(Path(platform.node()))  # a double of libvirt: all that it says is that
    far.ssh = SshUri.of_one("root@kvm2")
    assert machine_there(far)[0].verdict == "ok"
    far.call = lambda _: "kvm2"
    found = machine_there(far)[0]
    assert (found.what, found.verdict, found.hint) == ("shell", "no", "`ssh` of that host in the topology file")
    assert found.found == f"libvirt is on the machine kvm2, and ssh leads to {platform.node()}"


def test_a_shell_that_is_nobody_s_is_no_root_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "id"
    program.write_text("#!/bin/sh\necho 1000\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert verdicts()["shell"] == "no"


def test_files_of_images_are_told_from_others_and_from_a_store_of_its_own(tmp_path: Path) -> None:
    for name in (*NAMES, "own.json", "foreign.qcow2"):
        (tmp_path / name).write_bytes(b"x" * 8192)
    (tmp_path / "link-0123456789ab.qcow2").symlink_to("/etc/hostname")
    found = {file.name: file for file in image_files(host(tmp_path))}
    assert set(found) == set(NAMES)
    assert [found[name].own for name in NAMES] == [False, False, True]
    assert {found[name].stem for name in NAMES[:2]} == {"demo-0123456789ab"}
    assert all(file.size >= 8192 for file in found.values())
    assert image_files(host(tmp_path / "none")) == []


def test_what_somebody_sends_is_not_removed(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).write_bytes(b"")
    with (tmp_path / NAMES[1]).open("ab") as sending:
        fcntl.flock(sending, fcntl.LOCK_EX)
        gone = remove_image_files(host(tmp_path), [*NAMES[:2], "none-0123456789ab.qcow2"])
    assert gone == [NAMES[0]]
    assert {path.name for path in tmp_path.iterdir()} == set(NAMES[1:])
    assert remove_image_files(host(tmp_path), [NAMES[1]]) == [NAMES[1]]
