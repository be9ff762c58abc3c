"""What vmlab writes, in folders where somebody else may have been before."""

import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from other_users import ALICE, MALLORY, as_user, needs_root

from vmlab.errors import HostError
from vmlab.runtime.files import exposed, open_regular, own_state_dir, state_dir, write_atomically
from vmlab.runtime.log import log, open_log


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder like /tmp, in which the state folder is to lie."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o1777)
    monkeypatch.setenv("VMLAB_STATE_DIR", str(folder / "state"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def logging_ends() -> Iterator[None]:
    handlers = list(log.handlers)
    yield
    for handler in [handler for handler in log.handlers if handler not in handlers]:
        log.removeHandler(handler)
        handler.close()
    log.setLevel(logging.WARNING)


def refusal() -> str:
    with pytest.raises(HostError) as error:
        own_state_dir()
    return error.value.message


def test_state_folder_is_its_owners_alone(public: Path) -> None:
    assert own_state_dir() == public / "state"
    assert stat.S_IMODE((public / "state").stat().st_mode) == 0o700


def test_state_folder_that_everybody_writes_to_is_refused(public: Path) -> None:
    for mode in (0o777, 0o1777):
        (public / "state").mkdir(exist_ok=True)
        (public / "state").chmod(mode)
        assert f"others may write to {public}/state" in refusal()


def test_state_folder_whose_path_others_can_change_is_refused(public: Path) -> None:
    public.chmod(0o777)
    assert f"others may write to {public}" in refusal()


@needs_root
def test_state_folder_that_another_user_made_is_refused_even_to_root(public: Path) -> None:
    as_user(MALLORY, (public / "state").mkdir)
    assert "belongs to uid" in refusal()
    assert "belongs to uid" in as_user(ALICE, refusal)


@needs_root
def test_state_folder_in_another_users_folder_is_refused(public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_user(MALLORY, (public / "home").mkdir)
    monkeypatch.setenv("VMLAB_STATE_DIR", str(public / "home/state"))
    assert f"{public}/home belongs to" in refusal()
    assert not list((public / "home").iterdir())


@needs_root
def test_state_folder_by_way_of_another_users_link_is_refused(public: Path) -> None:
    (public / "of-root").mkdir(mode=0o700)
    as_user(MALLORY, lambda: (public / "state").symlink_to("of-root"))
    assert "is a link of uid" in refusal()


@needs_root
def test_each_user_has_a_state_folder(public: Path) -> None:
    assert as_user(ALICE, own_state_dir) == str(public / "state")


@pytest.mark.usefixtures("logging_ends")
@pytest.mark.parametrize("kind", ["link", "FIFO", "hard link"])
def test_log_is_not_written_through_what_lies_in_its_place(public: Path, kind: str) -> None:
    other = public / "other"
    other.write_text("content")
    path = own_state_dir() / "vmlab.log"
    if kind == "link":
        path.symlink_to(other)
    elif kind == "hard link":
        os.link(other, path)
    else:
        os.mkfifo(path)
    assert not open_log()
    assert other.read_text() == "content"


@pytest.mark.usefixtures("public", "logging_ends")
def test_log_steers_no_terminal_and_takes_any_text(capfd: pytest.CaptureFixture[str]) -> None:
    path = Path(open_log())
    words = {"msg": "\x1b[2J one\r\n\ttwo \udcff \x00", "levelno": logging.DEBUG}
    log.handlers[-1].handle(logging.makeLogRecord(words))  # not by way of pytest's own handler
    line = path.read_text().splitlines()
    assert line[0].endswith(r"\x1b[2J one\r")
    assert line[1] == "\ttwo \\udcff \\x00"
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("public", "logging_ends")
def test_a_line_is_in_the_log_once_however_often_it_was_opened() -> None:
    path = Path([open_log(), open_log(), open_log()][-1])
    log.debug("a line of its own")
    assert path.read_text().count("a line of its own") == 1


def test_home_of_a_user_without_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError

    monkeypatch.delenv("VMLAB_STATE_DIR", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: ALICE)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(HostError, match="has no home folder") as error:
        state_dir()
    assert error.value.hint == "VMLAB_STATE_DIR=DIR"


def test_written_file_replaces_a_link_and_not_what_it_leads_to(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("content")
    (tmp_path / "file").symlink_to(other)
    write_atomically(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "new"
    assert not (tmp_path / "file").is_symlink()
    assert other.read_text() == "content"
    assert len(list(tmp_path.iterdir())) == 2


def test_temporary_file_of_a_write_cannot_be_foreseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = []

    def seen(path: Path, flags: int, mode: int) -> int:
        names.append(path.name)
        assert flags & os.O_EXCL
        return open_regular(path, flags, mode)

    monkeypatch.setattr("vmlab.runtime.files.open_regular", seen)
    for _ in range(2):
        write_atomically(tmp_path / "file", "x")
    assert len(set(names)) == 2


@needs_root
def test_what_others_may_change_is_exposed(public: Path) -> None:
    (public / "ours").touch(mode=0o644)
    assert not exposed(public / "ours")
    as_user(MALLORY, (public / "theirs").touch)
    assert "theirs belongs to" in exposed(public / "theirs")
    (public / "ours").chmod(0o666)
    assert "others may write to" in exposed(public / "ours")
    (public / "loop").symlink_to("loop")
    assert not exposed(public / "loop")


@pytest.mark.usefixtures("public", "logging_ends")
def test_a_full_log_makes_way_and_the_oldest_goes() -> None:
    path = Path(open_log())
    for age, name in enumerate(("vmlab.log", "vmlab.log.1", "vmlab.log.2")):
        with path.with_name(name).open("w") as file:
            file.write(f"{age}\n")
            file.truncate(4_000_000)
    open_log()
    assert path.stat().st_size == 0
    assert path.with_name("vmlab.log.1").read_bytes()[:2] == b"0\n"
    assert path.with_name("vmlab.log.2").read_bytes()[:2] == b"1\n"
    assert sorted(found.name for found in path.parent.glob("vmlab.log*")) == [path.name, "vmlab.log.1", "vmlab.log.2"]
