"""What other machines do for us in a shell: locks that are held there, files that arrive there.

A shell here stands in for the one that ssh starts there; everything else is as it is.
"""

import contextlib
import fcntl
import json
import os
import platform
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typing_extensions import override

from vmlab.errors import BusyError, HostError
from vmlab.lab.ground import bed
from vmlab.lab.ground.hosts import Hosts
from vmlab.runtime import lock
from vmlab.runtime.wait import Deadline, until
from vmlab.values.ssh_uri import SshUri
from vmlab.virt import held_there as held_module
from vmlab.virt import send_file
from vmlab.virt.connection import Host
from vmlab.virt.machine import Machine

THERE = Machine("there", ("sh", "-c"))
HOST: Any = SimpleNamespace(name="there", local=False, simulated=False, ssh=None)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lock folder there, which is that of a vmlab on that machine."""
    path = tmp_path / "vmlab"
    monkeypatch.setattr(held_module, "_FOLDER", str(path))
    monkeypatch.setattr(held_module, "machine_of", lambda _: THERE)
    monkeypatch.setenv("VMLAB_LOCK_DIR", str(tmp_path))
    return path


def test_a_lock_there_is_one_with_that_of_a_vmlab_there(folder: Path) -> None:
    with held_module.held_there(HOST, "qemu-system.ha", what="the bed ha"):
        file = folder / "qemu-system.ha.lock"
        assert json.loads(file.read_text())["pid"] == os.getpid()
        with (
            pytest.raises(BusyError, match=rf"the bed ha is in use by .* \(pid {os.getpid()} on "),
            lock.held("qemu-system.ha", what="the bed ha"),
        ):
            pass
    assert until(lambda: not file.exists(), Deadline.after(60))
    with (
        lock.held("qemu-system.ha", what="the bed ha"),
        pytest.raises(BusyError, match=rf"the bed ha is in use by .* \(pid {os.getpid()}\)"),
        held_module.held_there(HOST, "qemu-system.ha", what="the bed ha"),
    ):
        pass
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("uris", "uuids", "told"),
    [
        (("qemu+ssh://root@kvm2/system", "qemu+tls://kvm2/system"), ("u", "u"), "by-0 and by-1 are one host, kvm2: "),
        (("qemu:///system", "qemu+ssh://localhost/system"), ("u", "u"), "by-0 and by-1 are one host, kvm2: "),
        (("qemu+ssh://kvm2/system", "qemu+ssh://kvm3/system"), ("u", "of another machine of the same name"), ""),
        (("qemu:///system", "qemu:///session"), ("u", "u"), ""),
        (("test:///one.xml", "test:///two.xml"), ("", ""), ""),
    ],
)
def test_two_ways_to_one_libvirt_are_told(uris: tuple[str, str], uuids: tuple[str, str], told: str) -> None:
    asked = {f"by-{number}": Told(f"by-{number}", *words) for number, words in enumerate(zip(uris, uuids, strict=True))}
    with pytest.raises(HostError, match=told) if told else contextlib.nullcontext():
        assert len(bed._in_order(Hosts(asked))) == 2


class Told(Host):
    """A host whose libvirt says this of itself, and no more."""

    def __init__(self, name: str, uri: str, uuid: str) -> None:
        self.name, self.uri = name, uri
        self.uuid = uuid

    @override
    def call(self, action: Callable[[Any], Any], *, deadline_s: float = 0) -> Any:
        capabilities = f"<capabilities><host><uuid>{self.uuid}</uuid></host></capabilities>"
        return action(SimpleNamespace(getHostname=lambda: "kvm2", getCapabilities=lambda: capabilities))


def test_who_waits_gets_it(folder: Path) -> None:
    over = threading.Event()
    with contextlib.ExitStack() as first:
        first.enter_context(held_module.held_there(HOST, "x", what="x"))
        timer = threading.Timer(0.5, lambda: (first.close(), over.set()))
        timer.start()
        with held_module.held_there(HOST, "x", what="x", wait_s=60):
            assert over.wait(60)
        timer.join()
    assert until(lambda: not list(folder.iterdir()), Deadline.after(60))


def test_several_share_one_there(folder: Path) -> None:
    with held_module.held_there(HOST, "images", what="images", shared=True):
        with held_module.held_there(HOST, "images", what="images", shared=True):
            pass
        assert (folder / "images.lock").exists()
        with pytest.raises(BusyError), held_module.held_there(HOST, "images", what="images"):
            pass
    assert until(lambda: not list(folder.iterdir()), Deadline.after(60))


def of_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Two hosts, whose ways wait until both are begun: one after the other they would wait for ever.

    Their locks are told apart by libvirt's path, as both shells are this machine's.
    """
    both = " && ".join(f"[ -e {tmp_path}/begun.{name} ]" for name in ("kvm1", "kvm2"))
    way = f'touch {tmp_path}/begun.$0; until {both}; do sleep 0.1; done; eval "$1"'
    monkeypatch.setattr(held_module, "machine_of", lambda host: Machine(host.name, ("sh", "-c", way, host.name)))
    paths = {"kvm1": "system", "kvm2": "session"}
    return [
        SimpleNamespace(name=name, uri=f"qemu+ssh://root@{name}/{path}", local=False, simulated=False, ssh=None)
        for name, path in paths.items()
    ]


def test_ways_are_made_at_once_and_locks_taken_in_order(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = of_two(tmp_path, monkeypatch)
    with bed._held(hosts, "wide", lambda host: f"wide on {host.name}"):
        files = [folder / "qemu-system.wide.lock", folder / "qemu-session.wide.lock"]
        taken = [file.stat().st_mtime_ns for file in files]
        assert taken == sorted(taken)
    assert until(lambda: not list(folder.iterdir()), Deadline.after(60))
    for number, name in enumerate(("qemu-system", "qemu-session"), 1):
        with (
            lock.held(f"{name}.wide", what="x"),
            pytest.raises(BusyError, match=f"wide on kvm{number} is in use by"),
            bed._held(hosts, "wide", lambda host: f"wide on {host.name}"),
        ):
            pass
        assert until(lambda: not list(folder.iterdir()), Deadline.after(60))


def test_where_one_is_not_reached_no_lock_stays(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = of_two(tmp_path, monkeypatch)
    ways = {"kvm1": THERE, "kvm2": Machine("kvm2", ("sh", "-c", "echo no way >&2; exit 255"))}
    monkeypatch.setattr(held_module, "machine_of", lambda host: ways[host.name])
    with (
        pytest.raises(HostError, match="wide on kvm2 cannot be held on kvm2: no way"),
        bed._held(hosts, "wide", lambda host: f"wide on {host.name}"),
    ):
        pass
    assert until(lambda: not list(folder.iterdir()), Deadline.after(60))


def test_a_shell_of_another_machine_than_libvirt_s_holds_nothing(folder: Path) -> None:
    """Where ssh is a way of its own."""
    called: list[str] = [platform.node()]
    far: Any = SimpleNamespace(
        name="there", local=False, simulated=False, ssh=SshUri.of_one("root@there"), call=lambda _: called[-1]
    )
    with held_module.held_there(far, "x", what="x"):
        assert (folder / "x.lock").exists()
    assert until(lambda: not list(folder.iterdir()), Deadline.after(60))
    for other in ("kvm7", f"{platform.node()}-2", platform.node()[:-1]):
        called.append(other)
        why = f"x cannot be held on there: libvirt is on the machine {other}, and ssh leads to {platform.node()}"
        with pytest.raises(HostError, match=why), held_module.held_there(far, "x", what="x"):
            pass
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("kind", ["link", "pipe", "hard link"])
def test_what_is_no_lock_is_refused_and_left(folder: Path, tmp_path: Path, kind: str) -> None:
    folder.mkdir()
    other, file = tmp_path / "other", folder / "x.lock"
    other.write_text("precious")
    if kind == "link":
        file.symlink_to(other)
    elif kind == "pipe":
        os.mkfifo(file)
    else:
        file.hardlink_to(other)
    with (
        pytest.raises(HostError, match=r"x cannot be held on there: .*x\.lock is"),
        held_module.held_there(HOST, "x", what="x"),
    ):
        pass
    assert other.read_text() == "precious"
    assert file.is_symlink() or file.exists()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The image store there."""
    path = tmp_path / "store"
    path.mkdir()
    monkeypatch.setattr(send_file, "machine_of", lambda _: THERE)
    monkeypatch.setattr(HOST, "call", lambda _: str(path), raising=False)
    return path


def image(tmp_path: Path) -> Path:
    """Half of it is a hole."""
    file = tmp_path / "demo-0123456789ab.qcow2"
    with file.open("wb") as to:
        to.write(os.urandom(3 << 20))
        to.truncate(9 << 20)
        to.seek(8 << 20)
        to.write(os.urandom(100))
    return file


def test_a_file_arrives_as_it_is_and_its_holes_are_holes(store: Path, tmp_path: Path) -> None:
    file = image(tmp_path)
    assert send_file.missing(HOST, (file.name,)) == [file.name]
    send_file.send(HOST, file)
    assert send_file.missing(HOST, (file.name,)) == []
    there = store / file.name
    assert there.read_bytes() == file.read_bytes()
    assert there.stat().st_blocks * 512 < 6 << 20
    assert there.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in store.iterdir()] == [file.name]
    before = there.stat()
    send_file.send(HOST, file)
    assert there.stat().st_mtime_ns == before.st_mtime_ns


def test_what_was_cut_off_goes_on_and_what_is_wrong_is_not_kept(store: Path, tmp_path: Path) -> None:
    file = image(tmp_path)
    part = store / f".{file.name}.partial"
    part.write_bytes(file.read_bytes()[: 2 << 20])
    sent: list[int] = []
    tell = send_file.Talk.tell

    def counted(talk: send_file.Talk, data: bytes) -> bool:
        sent.append(len(data))
        return tell(talk, data)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(send_file.Talk, "tell", counted)
        send_file.send(HOST, file)
    assert sum(sent) == file.stat().st_size - (2 << 20)
    assert (store / file.name).read_bytes() == file.read_bytes()
    (store / file.name).unlink()
    part.write_bytes(b"x" * (2 << 20))
    send_file.send(HOST, file)
    assert (store / file.name).read_bytes() == file.read_bytes()
    assert not part.exists()


def test_two_who_send_at_once_send_it_once(store: Path, tmp_path: Path) -> None:
    file = image(tmp_path)
    part = store / f".{file.name}.partial"
    part.touch()
    with part.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        sender = threading.Thread(target=send_file.send, args=(HOST, file))
        sender.start()
        # The other one is ready meanwhile.
        (store / file.name).write_bytes(file.read_bytes())
        inode = (store / file.name).stat().st_ino
    sender.join()
    assert (store / file.name).stat().st_ino == inode
    assert not part.exists()
