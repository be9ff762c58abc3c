"""The first look into a dump: its log, and its threads by a stand-in of crash."""

from pathlib import Path

import pytest
from dumped_memory import RING, TOLD, ring

from vmlab.errors import HostError
from vmlab.lab.beds.triage import log_of, stacks_of

STAND_IN = """#!/bin/sh
[ "$1 $2 $3" = "--no_scroll -s -i" ] && cat "$4" >"$(dirname "$0")/asked"
case $5 in */wrong/*) echo "crash: $5 and $6 do not match!" >&2; exit 1;; esac
echo 'PID: 1  TASK: ffff888001aa8000  CPU: 0    COMMAND: "init"'
echo ' #0 [ffffc90000013e00] schedule at ffffffff81d0b1a5'
"""


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    path = tmp_path / "memory.elf"
    path.write_bytes(ring([b"Kernel panic - not syncing"]).dump(TOLD | RING | {"OSRELEASE": "6.0-test"}))
    return path


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only ones but the system's own."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/bin")
    return folder


def test_the_log_is_read_and_what_keeps_it_from_that_is_told(dump: Path) -> None:
    assert log_of(dump) == "[    0.000000] Kernel panic - not syncing"
    dump.write_bytes(ring([b"one"]).dump({}))
    with pytest.raises(HostError, match="it has no VMCOREINFO: the guest had not loaded qemu_fw_cfg"):
        log_of(dump)
    dump.write_bytes(b"")
    with pytest.raises(HostError, match="empty"):
        log_of(dump)
    dump.unlink()
    with pytest.raises(HostError, match=r"memory\.elf: No such file"):
        log_of(dump)


def test_threads_need_symbols_and_crash(dump: Path, tmp_path: Path, programs: Path) -> None:
    with pytest.raises(HostError, match=r"no vmlinux .* of kernel 6\.0-test .* linux-image-6\.0-test-dbg"):
        stacks_of(dump, None)
    (tmp_path / "vmlinux").touch()
    with pytest.raises(HostError, match="crash is not installed here"):
        stacks_of(dump, tmp_path / "bzImage")
    crash = programs / "crash"
    crash.write_text(STAND_IN)
    crash.chmod(0o755)
    assert "PID: 1" in stacks_of(dump, tmp_path / "bzImage")
    assert (programs / "asked").read_text() == "sys\nbt\nforeach bt\nquit\n"
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong/vmlinux").touch()
    with pytest.raises(HostError, match="do not match!"):
        stacks_of(dump, tmp_path / "wrong/bzImage")
