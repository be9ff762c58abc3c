"""Locks in a folder that all users of a host share, one of whom means harm."""

import contextlib
import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from other_users import ALICE, MALLORY, as_user, needs_root

from vmlab.errors import BusyError, HostError
from vmlab.report.errors import tell
from vmlab.runtime.lock import held, holder

CONTENT = "only root reads this"


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """In place of /run/lock: everybody may write there, and it is sticky."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o1777)
    monkeypatch.setenv("VMLAB_LOCK_DIR", str(folder))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def secret(shared: Path) -> Path:
    path = shared / "secret"
    path.write_text(CONTENT)
    path.chmod(0o600)
    return path


def take(name: str = "bed") -> str:
    with held(name, what="the bed"):
        return "held"


def test_a_shared_lock_is_had_by_many_and_the_last_one_removes_it(shared: Path) -> None:
    lock = shared / "vmlab" / "bed.lock"
    with held("bed", what="the bed", shared=True):
        with held("bed", what="the bed", shared=True):
            with pytest.raises(BusyError, match=r"the bed is in use by .* \(pid \d+\)"):
                take()
            first = lock.stat().st_ino
        with pytest.raises(BusyError, match="the bed is in use by another vmlab"):
            take()
        assert lock.stat().st_ino == first
    assert not lock.exists()
    with held("bed", what="the bed"), pytest.raises(BusyError), held("bed", what="the bed", shared=True):
        pass
    assert not lock.exists()


def mode(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):o}"


def plant(shared: Path, kind: str, secret: Path) -> None:
    lock = shared / "vmlab" / "bed.lock"
    lock.parent.mkdir()
    lock.parent.chmod(0o1777)
    if kind == "symbolic link":
        lock.symlink_to(secret)
    elif kind == "dangling link":
        lock.symlink_to(shared / "made")
    elif kind == "hard link":
        os.link(secret, lock)
    elif kind == "FIFO":
        os.mkfifo(lock)
    else:
        lock.mkdir()


@pytest.mark.parametrize("kind", ["symbolic link", "dangling link", "hard link", "FIFO", "folder"])
def test_what_lies_in_place_of_a_lock_is_refused_and_left(shared: Path, secret: Path, kind: str) -> None:
    plant(shared, kind, secret)
    with pytest.raises(HostError, match=r"cannot open the lock .*bed\.lock: ") as refused, held("bed", what="the bed"):
        pass
    assert refused.value.status == 4
    assert refused.value.hint.startswith("ls -l")
    assert secret.read_text() == CONTENT
    assert mode(secret) == "600"
    assert not (shared / "made").exists()


def test_link_in_place_of_the_lock_folder_is_refused(shared: Path) -> None:
    (shared / "private").mkdir(mode=0o700)
    (shared / "vmlab").symlink_to("private")
    with pytest.raises(HostError, match="cannot use the lock folder"):
        take()
    assert mode(shared / "private") == "700"
    assert not list((shared / "private").iterdir())


def test_lock_folder_is_made_sticky(shared: Path) -> None:
    take()
    assert mode(shared / "vmlab") == "1777"


def test_lock_folder_of_an_older_vmlab_is_made_sticky(shared: Path) -> None:
    (shared / "vmlab").mkdir()
    (shared / "vmlab").chmod(0o777)
    take()
    assert mode(shared / "vmlab") == "1777"


def test_lock_folder_that_only_its_owner_writes_to_stays_as_it_is(shared: Path) -> None:
    (shared / "vmlab").mkdir(mode=0o700)
    take()
    assert mode(shared / "vmlab") == "700"


def test_nothing_is_left_of_a_lock(shared: Path) -> None:
    take()
    assert not list((shared / "vmlab").iterdir())


@pytest.mark.usefixtures("shared")
def test_holder_is_named() -> None:
    with held("bed", what="the bed"):
        with pytest.raises(BusyError, match=rf"the bed is in use by .* \(pid {os.getpid()}\) with `") as busy:
            take()
        assert busy.value.hint == f"wait for it, or: kill {os.getpid()}"


@pytest.mark.usefixtures("shared")
def test_who_only_asks_for_the_holder_is_not_in_the_way() -> None:
    assert holder("bed") == ""
    with held("bed", what="the bed"):
        assert Path(sys.argv[0]).name in holder("bed")
    assert holder("bed") == ""


@pytest.mark.parametrize("kind", ["symbolic link", "dangling link", "hard link", "FIFO", "folder"])
def test_what_lies_in_place_of_a_lock_has_no_holder(shared: Path, secret: Path, kind: str) -> None:
    secret.write_text(json.dumps({"pid": os.getpid(), "command": "vmlab down bed"}))
    plant(shared, kind, secret)
    assert holder("bed") == ""


@pytest.mark.parametrize(
    "owner",
    [
        "[" * 4000,
        "[1]",
        '{"user": 1, "pid": 2, "command": [], "since": null}',
        '{"user": "x", "pid": "1; rm -rf /", "command": "c", "since": "s"}',
        '{"user": "x", "pid": 1, "command": "c", "since": "s"}',
        '{"user": "x", "pid": ' + "9" * 5000 + ', "command": "c", "since": "s"}',
        "\x00\ud800",
    ],
)
def test_what_a_lock_says_of_its_owner_is_not_believed_blindly(shared: Path, owner: str) -> None:
    with held("bed", what="the bed"):
        (shared / "vmlab/bed.lock").write_bytes(owner.encode(errors="surrogatepass"))
        with pytest.raises(BusyError, match="in use by another vmlab") as busy:
            take()
        assert holder("bed") == ""
    assert "kill" not in busy.value.hint


def test_owner_with_control_characters_says_one_line(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = {"user": "x\nhint: reboot", "pid": 4711, "command": "\x1b[2J[red]", "since": "now\r\n"}
    with held("bed", what="the bed"):
        (shared / "vmlab/bed.lock").write_text(json.dumps(said))
        with pytest.raises(BusyError) as busy:
            take()
    tell(busy.value, sys.stderr)
    assert capsys.readouterr().err.splitlines() == [
        r"vmlab: the bed is in use by x hint: reboot (pid 4711) with `\x1b[2J[red]` since now",
        "hint: wait for it, or: kill 4711",
    ]


@pytest.mark.parametrize("name", ["../up", "a/b", "x" * 300])
def test_name_of_a_lock_stays_in_its_folder(shared: Path, name: str) -> None:
    with held(name, what="the bed"):
        (file,) = (shared / "vmlab").iterdir()
        with pytest.raises(BusyError):
            take(name)
    assert not file.exists()
    assert [path.name for path in shared.iterdir()] == ["vmlab"]


@needs_root
@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("first", [0, ALICE])
def test_two_users_exclude_each_other(first: int) -> None:
    """Whoever was first, and made the folder."""
    if first:
        as_user(first, take)
    with held("bed", what="the bed"):
        assert "in use by root" in as_user(ALICE, busy)
    assert as_user(ALICE, take) == "held"
    assert as_user(MALLORY, take) == "held"
    assert take() == "held"


def busy() -> str:
    with pytest.raises(BusyError) as error:
        take()
    return error.value.message


@needs_root
@pytest.mark.parametrize(("leaver", "taker"), [(ALICE, 0), (0, ALICE), (ALICE, MALLORY)])
@pytest.mark.parametrize("left", [0o666, 0o644])
def test_lock_that_another_user_left_is_taken(shared: Path, leaver: int, taker: int, left: int) -> None:
    def leave() -> None:
        with held("bed", what="the bed"):
            (shared / "vmlab/bed.lock").chmod(left)
            os._exit(0)

    def take_and_look() -> str:
        with held("bed", what="the bed"):
            assert busy()
        return "held"

    take("other")
    as_user(leaver, leave)
    assert (shared / "vmlab/bed.lock").exists()
    assert as_user(taker, take_and_look) == "held"


@needs_root
def test_root_takes_a_lock_folder_over_that_another_user_made(shared: Path) -> None:
    """Else its owner could remove what root holds."""
    as_user(MALLORY, lambda: (shared / "vmlab").mkdir(mode=0o700))

    def remove() -> None:
        (shared / "vmlab/bed.lock").unlink()

    with held("bed", what="the bed"):
        assert mode(shared / "vmlab") == "1777"
        with contextlib.suppress(AssertionError):
            as_user(MALLORY, remove)
        assert (shared / "vmlab/bed.lock").exists()


@needs_root
def test_users_are_told_of_a_lock_folder_that_is_not_sticky(shared: Path) -> None:
    (shared / "vmlab").mkdir()
    (shared / "vmlab").chmod(0o777)

    def refused() -> str:
        with pytest.raises(HostError) as error:
            take()
        return error.value.hint

    assert as_user(ALICE, refused) == f"sudo chmod 1777 {shared}/vmlab"
