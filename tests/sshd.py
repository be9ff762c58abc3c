"""A real sshd on loopback, and the ssh of a user whose files are a test's."""

import contextlib
import os
import shlex
import shutil
import socket
import subprocess
import threading
import weakref
from pathlib import Path

import pytest

from vmlab.guest.keys import IDENTITY, BedKeys

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"


class Sshd:
    """An OpenSSH server of our own on an unprivileged port of `address`, with the host key of node `oss1`.

    `inside` is put before its command: what brings it into another network namespace.
    """

    def __init__(
        self,
        folder: Path,
        keys: BedKeys,
        node: str = "oss1",
        more: str = "",
        *,
        address: str = "127.0.0.1",
        inside: tuple[str, ...] = (),
    ) -> None:
        self.folder = folder
        self.inside = inside
        self.keys = keys
        self.node = node
        # Nobody else gets the port, before it begins and after it has ended: sshd may bind what is bound so.
        reserved = socket.socket()
        weakref.finalize(self, reserved.close)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        self.port: int = reserved.getsockname()[1]
        folder.mkdir(mode=0o700)
        (folder / "tmp").mkdir()
        for name, content in (("host", keys.host_key(node).private), ("authorized", keys.public_key + "\n")):
            (folder / name).touch(mode=0o600)
            (folder / name).write_text(content)
        self.config = folder / "sshd_config"
        self.config.write_text(
            f"Port {self.port}\nListenAddress {address}\nHostKey {folder / 'host'}\nPidFile {folder / 'pid'}\n"
            f"AuthorizedKeysFile {folder / 'authorized'}\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nSubsystem sftp internal-sftp\nPermitRootLogin yes\n"
            # Nobody's ~/.bashrc: one that waits for something (pyenv's does) would be the tests' weather.
            f"SetEnv TMPDIR={folder / 'tmp'} HOME={folder / 'tmp'}\n{more}\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd's, as its service makes it
        log = self.folder / "log"
        log.touch()
        before = log.read_text().count("Server listening")
        with log.open("ab") as file:
            self._process = subprocess.Popen([*self.inside, SSHD, "-D", "-e", "-f", self.config], stderr=file)
        for _ in range(500):
            if log.read_text().count("Server listening") > before:
                return
            assert self._process.poll() is None, log.read_text()
            threading.Event().wait(0.02)
        pytest.fail("sshd does not listen")

    def connections(self) -> list[int]:
        """The processes that serve a connection: from OpenSSH 9.8 on (Debian 13) two, one the other's child."""
        assert self._process is not None
        found = [self._process.pid]
        for pid in found:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return found[1:]

    def stop(self) -> None:
        if self._process is not None:
            for pid in self.connections():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)
            self._process.kill()
            self._process.wait()
            self._process = None


class UsersSsh:
    """What a user has in ~/.ssh, in a folder: ssh finds its own by the user's entry in passwd, whatever HOME says."""

    def __init__(self, folder: Path, keys: BedKeys, monkeypatch: pytest.MonkeyPatch) -> None:
        folder.mkdir()
        self.known = folder / "known_hosts"
        self._config = folder / "config"
        self._mine = (
            "Match all",
            f"IdentityFile {_quoted(keys.folder / IDENTITY)}",
            f"UserKnownHostsFile {_quoted(self.known)}",
            "GlobalKnownHostsFile none",
            "IdentityAgent none",
        )
        self.configure()
        for name in ("ssh", "scp"):
            program = folder / name
            real = shutil.which(name)
            program.write_text(f'#!/bin/sh\nexec {real} -F {shlex.quote(str(self._config))} "$@"\n')
            program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        monkeypatch.delenv("SUDO_USER", raising=False)

    def configure(self, *lines: str) -> None:
        """What the user's configuration says, before what all tests need."""
        self._config.write_text("\n".join([*lines, *self._mine, ""]))

    def know(self, port: int, public: str, address: str = "127.0.0.1") -> None:
        """Have a host key."""
        with self.known.open("a") as file:
            file.write(f"[{address}]:{port} {public}\n")


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("%", "%%") + '"'
