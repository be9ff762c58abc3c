"""Sockets and memory of another machine, brought to this one: over a real sshd on loopback, which is that machine."""

import contextlib
import getpass
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sshd import Sshd

from vmlab.errors import HostError
from vmlab.guest.control import ControlPlace
from vmlab.guest.keys import IDENTITY, BedKeys
from vmlab.runtime.wait import Deadline, until
from vmlab.virt import dump_there as dumps
from vmlab.virt.brought import brought, leading
from vmlab.virt.machine import Machine, over_ssh

MEMORY = "ha.oss1.dump.memory"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    keys = BedKeys.fresh(tmp_path / "keys")
    keys.write(["there"])
    server = Sshd(tmp_path / "sshd", keys, "there")
    server.start()
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{server.port} {keys.host_key('there').public}\n")
    options = ("-F", "none", "-p", str(server.port), "-i", str(keys.folder / IDENTITY))
    yield over_ssh(f"{getpass.getuser()}@127.0.0.1", *options, "-o", f"UserKnownHostsFile={known}")
    server.stop()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[str]:
    """Ours, below a folder whose path is longer than a socket's may be, with all that ssh would take for its own."""
    folder = tmp_path / ("a: long%h folder" * 8)
    folder.mkdir(parents=True)
    place = ControlPlace(folder)
    yield place.socket
    place.remove()


def listening(path: Path) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(1)
    server.settimeout(30)
    return server


def test_a_socket_there_is_one_here_and_ends_with_the_block(machine: Machine, tmp_path: Path, place: str) -> None:
    with listening(tmp_path / "with: 50%h") as there:
        with brought(machine, str(tmp_path / "with: 50%h"), place):
            for said in (b"one", b"two"):
                with socket.socket(socket.AF_UNIX) as near:
                    near.connect(place)
                    far, _ = there.accept()
                    with far:
                        near.sendall(said)
                        assert far.recv(10) == said
                        far.sendall(b"heard")
                        assert near.recv(10) == b"heard"
            assert Path(place).stat().st_mode & 0o777 == 0o600
        with pytest.raises(OSError, match=r"refused|No such file"), socket.socket(socket.AF_UNIX) as near:
            near.connect(place)


def test_what_leads_nowhere_is_said(machine: Machine, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    for name in ("file", "none"):
        with (
            pytest.raises(HostError, match=rf"does not lead to .*/{name}: no socket is there, or its folder is closed"),
            brought(machine, str(tmp_path / name), place),
        ):
            pass
    wrong = Machine("wrong", ("ssh", "-F", "none", "-oBatchMode=yes", "-p", "1", "-T", "--", "127.0.0.1"))
    with pytest.raises(HostError, match=r"wrong does not lead to .*refused"), brought(wrong, "/x", place):
        pass


HOLDS = """
import sys, time
from vmlab.virt.brought import brought
from vmlab.virt.machine import Machine
with brought(Machine("there", tuple(sys.argv[3:])), sys.argv[1], sys.argv[2]):
    print("here", flush=True)
    time.sleep(600)
"""


def leads(near: str) -> bool:
    """An ssh is there that makes it lead somewhere. (A connection that nobody accepts would keep it.)"""
    lines = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines.append(process.read_bytes().decode(errors="replace"))
    return any(f"{near}:" in line for line in lines)


def test_after_a_kill_nothing_leads_there(machine: Machine, tmp_path: Path) -> None:
    near = tmp_path / "near"
    argv = (sys.executable, "-c", HOLDS, str(tmp_path / "far"), str(near), *machine.ssh)
    with listening(tmp_path / "far"), subprocess.Popen(argv, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"here\n"
        os.kill(holder.pid, signal.SIGKILL)

        assert until(lambda: not leads(str(near)), Deadline.after(60))
        # What it left in the file system keeps nobody from leading there again.
        with brought(machine, str(tmp_path / "far"), str(near)), socket.socket(socket.AF_UNIX) as again:
            again.connect(str(near))


def test_a_line_to_paste_leads_there(machine: Machine, tmp_path: Path) -> None:
    with listening(tmp_path / "far") as there:
        lead = leading(machine, str(tmp_path / "far"), f"{tmp_path}/near")
        subprocess.run((lead[0], "-f", *lead[1:], "sleep", "10"), check=True, stdout=subprocess.DEVNULL)
        with socket.socket(socket.AF_UNIX) as near:
            near.connect(f"{tmp_path}/near")
            far, _ = there.accept()
            far.close()


@pytest.fixture
def host(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A libvirt there, of which only the pool's folder is asked."""
    (tmp_path / "pool").mkdir()
    monkeypatch.setattr(dumps, "machine_of", lambda _: machine)
    return SimpleNamespace(name="there", call=lambda _: str(tmp_path / "pool"))


def test_memory_comes_whole_with_holes_and_leaves_nothing_there(host: Any, tmp_path: Path) -> None:
    memory = os.urandom(300_000) + bytes(9 << 20) + os.urandom(5) + bytes(3 << 20)

    def write(path: str) -> None:
        assert dumps.unheld(host, [MEMORY, "ha.oss2.dump.memory"]) == []
        with pytest.raises(HostError, match=r"another vmlab has ha\.oss1\.dump\.memory on there"):
            dumps.dump_there(host, MEMORY, tmp_path / "second", lambda _: None, room=1, write_s=60)
        Path(path).write_bytes(memory)
        assert Path(path).stat().st_mode & 0o077 == 0

    dumps.dump_there(host, MEMORY, tmp_path / "here", write, room=1 << 20, write_s=60)
    assert (tmp_path / "here").read_bytes() == memory
    assert (tmp_path / "here").stat().st_blocks * 512 < 1 << 20
    assert until(lambda: not list((tmp_path / "pool").iterdir()), Deadline.after(60))


def test_without_room_there_nothing_is_written(host: Any, tmp_path: Path) -> None:
    def write(_: str) -> None:
        pytest.fail("it was written")

    with pytest.raises(HostError, match=r"MiB do not fit into .*/pool of there"):
        dumps.dump_there(host, MEMORY, tmp_path / "here", write, room=1 << 60, write_s=60)
    assert until(lambda: not list((tmp_path / "pool").iterdir()), Deadline.after(60))
    (tmp_path / "pool").rmdir()
    with pytest.raises(HostError, match=r"there has no place for its memory: .*/pool is not there"):
        dumps.dump_there(host, MEMORY, tmp_path / "here", write, room=1, write_s=60)
    assert not (tmp_path / "here").exists()


def test_what_fails_there_leaves_nothing_there(host: Any, tmp_path: Path) -> None:
    def write(path: str) -> None:
        Path(path).write_bytes(b"half")
        raise HostError("QEMU is gone")

    with pytest.raises(HostError, match="QEMU is gone"):
        dumps.dump_there(host, MEMORY, tmp_path / "here", write, room=1, write_s=60)
    assert until(lambda: not list((tmp_path / "pool").iterdir()), Deadline.after(60))


DUMPS = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from vmlab.virt import dump_there as dumps
from vmlab.virt.machine import Machine
pool, *ssh = sys.argv[1:]
dumps.machine_of = lambda _: Machine("there", tuple(ssh))
def write(path):
    Path(path).write_bytes(bytes(1000))
    print("written", flush=True)
    time.sleep(600)
host = SimpleNamespace(name="there", call=lambda _: pool)
dumps.dump_there(host, "ha.oss1.dump.memory", Path(pool, "../here"), write, room=1, write_s=600)
"""


def test_after_a_kill_nothing_stays_there(host: Any, machine: Machine, tmp_path: Path) -> None:
    del host
    argv = (sys.executable, "-c", DUMPS, str(tmp_path / "pool"), *machine.ssh)
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == b"written\n"
        assert (tmp_path / "pool" / MEMORY).exists()
        os.kill(killed.pid, signal.SIGKILL)
    assert until(lambda: not list((tmp_path / "pool").iterdir()), Deadline.after(60))


def test_what_whoever_held_it_left_is_told(host: Any, tmp_path: Path) -> None:
    (tmp_path / "pool" / MEMORY).write_bytes(b"left")
    assert dumps.unheld(host, [MEMORY]) == [MEMORY]
    held = threading.Event()

    def write(path: str) -> None:
        held.set()
        Path(path).write_bytes(b"new")

    dumps.dump_there(host, MEMORY, tmp_path / "here", write, room=1, write_s=60)
    assert held.is_set()
    assert (tmp_path / "here").read_bytes() == b"new"
