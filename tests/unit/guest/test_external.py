"""The door into a machine that is no guest: a real sshd, and a user's own configuration, keys and known hosts."""

import getpass
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from other_users import needs_root
from sshd import Sshd, UsersSsh

from vmlab.errors import GuestError
from vmlab.guest.external import External, NoRoot
from vmlab.guest.keys import BedKeys
from vmlab.guest.trouble import SshTrouble, Unreachable
from vmlab.runtime.wait import Deadline, until

USER = getpass.getuser()


@pytest.fixture
def user(tmp_path: Path, keys: BedKeys, monkeypatch: pytest.MonkeyPatch) -> UsersSsh:
    return UsersSsh(tmp_path / "users", keys, monkeypatch)


@pytest.fixture
def machine(tmp_path: Path, sshd: Sshd, user: UsersSsh) -> Iterator[External]:
    """One that the user has logged in to before."""
    user.know(sshd.port, sshd.keys.host_key(sshd.node).public)
    with door(tmp_path, sshd) as found:
        yield found


def door(tmp_path: Path, sshd: Sshd) -> External:
    sockets = tmp_path / "sockets"
    sockets.mkdir(exist_ok=True)
    return External("cn1", USER, "127.0.0.1", sshd.port, sockets)


def refused(machine: External, trouble: SshTrouble) -> Unreachable:
    """The same whether a connection is opened first or not."""
    with pytest.raises(Unreachable) as one:
        machine.connect(Deadline.after(20))
    with pytest.raises(Unreachable) as two:
        machine.run(["true"], deadline_s=20)
    assert (one.value.trouble, one.value.message, one.value.hint) == (trouble, two.value.message, two.value.hint)
    assert "\n" not in one.value.message + one.value.hint
    return one.value


@pytest.mark.parametrize("shared", [False, True])
def test_a_machine_whose_key_is_known_takes_commands_and_files(machine: External, tmp_path: Path, shared: bool) -> None:
    if shared:
        machine.connect(Deadline.after(20))
    result = machine.run(["sh", "-c", "cat; echo two >&2; exit 3"], deadline_s=20, stdin="one\n")
    assert (result.status, result.stdout, result.stderr) == (3, "one\n", "two\n")
    assert machine.run(["sh", "-c", "exit 255"], deadline_s=20).status == 255
    (tmp_path / "file").write_text("here")
    assert machine.copy([str(tmp_path / "file")], str(tmp_path / "there"), to_guest=True).ok
    assert machine.copy([str(tmp_path / "there")], str(tmp_path / "back"), to_guest=False).ok
    assert (tmp_path / "back").read_text() == "here"
    said = subprocess.run(machine.argv(["echo", "a  b"]), capture_output=True, text=True, check=True).stdout
    assert said == "a  b\n"


def test_the_users_configuration_says_who_and_where(tmp_path: Path, sshd: Sshd, user: UsersSsh) -> None:
    user.configure(
        *("Host cn1", f"  HostName 127.0.0.1\n  Port {sshd.port}\n  User {USER}", "Host *"),
        *("  ControlMaster auto", f"  ControlPath {tmp_path}/mine-%C", "  ControlPersist yes", "  RemoteCommand false"),
    )
    user.know(sshd.port, sshd.keys.host_key(sshd.node).public)
    sockets = tmp_path / "sockets"
    sockets.mkdir()
    with External("cn1", "", "cn1", None, sockets) as machine:
        machine.connect(Deadline.after(20))
        assert machine.run(["echo", "hi"], deadline_s=20).stdout == "hi\n"
        assert len(list(sockets.iterdir())) == 1
    assert list(sockets.iterdir()) == []
    assert list(tmp_path.glob("mine-*")) == []
    assert until(lambda: not sshd.connections(), Deadline.after(10))


def test_a_machine_that_nobody_has_logged_in_to_is_not_trusted(tmp_path: Path, sshd: Sshd, user: UsersSsh) -> None:
    error = refused(door(tmp_path, sshd), SshTrouble.HOST_KEY)
    assert error.message == f"there is no host key of 127.0.0.1 in {user.known}"
    by_hand = f"ssh -p {sshd.port} {USER}@127.0.0.1"
    assert error.hint == f"log in once by hand, and compare the key: {by_hand}"
    assert not user.known.exists()


def test_another_key_than_the_known_one(tmp_path: Path, sshd: Sshd, user: UsersSsh) -> None:
    user.know(sshd.port, sshd.keys.host_key("mds1").public)
    before = user.known.read_text()
    error = refused(door(tmp_path, sshd), SshTrouble.HOST_KEY)
    assert error.message == f"what answers as 127.0.0.1 does not have the host key that is in {user.known}"
    assert error.hint.startswith(f"ssh -p {sshd.port} {USER}@127.0.0.1 names the line")
    assert user.known.read_text() == before


@needs_root
def test_under_sudo_it_is_said_whose_files_count(
    tmp_path: Path, sshd: Sshd, user: UsersSsh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "alice")
    error = refused(door(tmp_path, sshd), SshTrouble.HOST_KEY)
    assert error.message.endswith(f"in {user.known} (under sudo root's ssh counts, not alice's)")
    assert f": sudo ssh -p {sshd.port} " in error.hint


def test_a_login_that_is_refused(sshd: Sshd, machine: External) -> None:
    (sshd.folder / "authorized").write_text("")
    error = refused(machine, SshTrouble.LOGIN)
    assert error.message == f"cn1 does not let {USER} in without a question"
    assert "must ask nothing: ssh-add" in error.hint


def test_nothing_listens(sshd: Sshd, machine: External) -> None:
    sshd.stop()
    error = refused(machine, SshTrouble.REFUSED)
    assert error.message == f"nothing listens at 127.0.0.1 port {sshd.port}"
    assert error.hint == f"ssh -p {sshd.port} {USER}@127.0.0.1"


@pytest.mark.usefixtures("user")
def test_a_name_that_nobody_knows(tmp_path: Path) -> None:
    error = refused(External("cn1", "", "cn1.invalid", None, tmp_path), SshTrouble.NO_NAME)
    assert (error.message, error.hint) == ("no machine is called cn1.invalid here", "getent hosts cn1.invalid")


def test_an_unreadable_configuration_is_told_in_ssh_s_words(tmp_path: Path, user: UsersSsh) -> None:
    user.configure("Nonsense yes")
    error = refused(External("cn1", "", "127.0.0.1", None, tmp_path), SshTrouble.LOST)
    assert "configuration option" in error.message


@pytest.fixture
def programs(tmp_path: Path, sshd: Sshd, machine: External) -> Path:
    """A folder of programs that are found first on the machine, where `id` says that nobody is root."""
    folder = tmp_path / "programs"
    folder.mkdir()
    write(folder / "id", "echo 1000")
    sshd.stop()
    sshd.config.write_text(sshd.config.read_text().replace("SetEnv ", f"SetEnv PATH={folder}:/usr/bin:/bin "))
    sshd.start()
    machine.user = ""  # who it is then is known there
    return folder


def write(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_who_is_not_root_becomes_it_by_sudo(programs: Path, machine: External) -> None:
    write(programs / "sudo", 'shift; [ "$1" != -- ] || shift; AS=root exec "$@"')
    result = machine.run(["sh", "-c", 'echo "$AS"; cat; exit 4'], deadline_s=20, as_root=True, stdin="in")
    assert (result.status, result.stdout) == (4, "root\nin")
    assert machine.run(["sh", "-c", 'echo "$AS"'], deadline_s=20).stdout == "\n"


def test_a_sudo_that_asks_for_a_password_is_told(programs: Path, machine: External) -> None:
    write(programs / "sudo", "echo 'sudo: a password is required' >&2; exit 1")
    with pytest.raises(NoRoot, match=r"cn1: \w+ may not become root there: sudo: a password is required") as caught:
        machine.run(["true"], deadline_s=20, as_root=True)
    assert isinstance(caught.value, GuestError)
    assert "NOPASSWD" in caught.value.hint
    assert machine.run(["true"], deadline_s=20).ok


def test_root_needs_no_sudo(machine: External) -> None:
    if os.geteuid() == 0:
        machine.user = ""  # it is asked there
        assert machine.run(["id", "-u"], deadline_s=20, as_root=True).stdout == "0\n"
