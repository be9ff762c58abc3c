"""The one door into a guest: the OpenSSH client, with keys that vmlab made and none of the user's configuration.

`Door` is what it has in common with that into a machine which is no guest (`external`).
"""

import contextlib
import math
import random
import shlex
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self

from vmlab.guest.child import Background, Watch, no_watch, stream
from vmlab.guest.control import ControlPlace
from vmlab.guest.keys import KNOWN_HOSTS, host_alias, identity
from vmlab.guest.trouble import SshTrouble, Unreachable
from vmlab.runtime.process import Result, run
from vmlab.runtime.wait import Deadline, sleep, until

_FAILED = 255  # ssh's own status: no connection, or none any more
_OWN = "vmlab: the command itself ended with 255"
# The shell that sshd starts stays, so that a command's 255 is told from ssh's own, and that one that a signal ended has
# a status (128 and the signal), where ssh would say 255. What the shell itself says of that is nobody's output.
_BEGIN = "{ "
_TOLD = f" 2>&3 3>&-; ended=$?; }} 3>&2 2>/dev/null; [ $ended != {_FAILED} ] || echo '{_OWN}' >&2; exit $ended"

# sshd takes ten sessions of a connection (MaxSessions).
_SESSIONS = 8
_FOR_A_SESSION_S = 1.0
# Nobody logged in yet when these are said, and nothing ran: sshd had too many who were about to (MaxStartups), or the
# connection's master too many sessions. Whoever comes again later is let in.
_REFUSALS = ("kex_exchange_identification", "banner exchange", "ession open refused by peer", "session request failed")
_REFUSED_S = 30.0
_AGAIN_S = (0.05, 1.5)
_TRY_S = 1.0  # what a try takes on a busy machine: one with less time would end by that, and not by the refusal
_OF_THE_MASTER = 4  # tries over the shared connection, before a command gets one of its own
_OPEN = "vmlab: open"
_HANDSHAKE_S = 900.0
_BANNER = "SSH-2.0-"
_THROUGH_S = 20.0  # two handshakes, one of them with a guest that may be emulated
_LONGEST_S = 7 * 86400.0  # of a command without an end of its own
# ssh itself says when a shared connection is open, by a command of this machine: a session that did, and held it open,
# would cost an emulated guest a tenth of its log-in. The user's shell, which runs that, may be one that runs nothing.
_HOLD = {"PermitLocalCommand": "yes", "LocalCommand": f"echo '{_OPEN}'"}
_WITH_A_SHELL = ("env", "SHELL=/bin/sh")

_OPTIONS = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "GlobalKnownHostsFile": "none",
    "UpdateHostKeys": "no",
    "CheckHostIP": "no",
    "IdentitiesOnly": "yes",
    "IdentityAgent": "none",
    "PreferredAuthentications": "publickey",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "ConnectTimeout": "15",
    # A guest whose virtual CPUs all compute under TCG may be silent for a while.
    "ServerAliveInterval": "10",
    "ServerAliveCountMax": "6",
    "LogLevel": "ERROR",
    # What costs a guest under TCG least (libcrypto's P-256: OpenSSH's own curve25519 takes 80 ms) and is fast with AES
    # instructions (GCM). A guest that refuses these finds all the others behind them.
    "KexAlgorithms": "^ecdh-sha2-nistp256,curve25519-sha256,curve25519-sha256@libssh.org",
    "Ciphers": "^aes128-gcm@openssh.com",
    # Not its certificate, whose signature sshd checks at each log-in: a fifth of all that it computes for one.
    "HostKeyAlgorithms": "^ssh-ed25519",
}
# Not for those who export: what they forward is their business.
_OURS = {"ClearAllForwardings": "yes"}


OnLine = Callable[[str], None]
"""Gets each line of a command's standard output as it comes, without its newline; what it raises ends the command."""


def no_line(line: str) -> None:
    """Nobody listens."""
    del line


class RunsCommands(Protocol):
    """What most need of a `Guest`: one that is connected already."""

    def run(
        self,
        argv: Sequence[str],
        *,
        deadline_s: float,
        as_root: bool = False,
        stdin: "str | IO[bytes]" = "",
        on_line: OnLine = no_line,
    ) -> Result:
        """As `Guest.run`; raises GuestError when the guest cannot be reached."""


class Door(ABC):
    """A machine by way of ssh. Threads may share one for `run`, `stream` and `copy`."""

    def __init__(self, node: str, user: str, sockets: Path) -> None:
        """`sockets` is a folder of our own, for those of shared connections.

        `watch` looks after waits that have no watch of their own; `look` is asked when ssh failed, for a better reason.
        """
        self.node = node
        self.user = user
        self._sockets = sockets
        self.watch: Watch = no_watch
        self.look: Watch = no_watch
        self._master: Background | None = None
        self._control: ControlPlace | None = None
        self._sessions = threading.BoundedSemaphore(_SESSIONS)

    def connect(self, deadline: Deadline, *, watch: Watch | None = None) -> None:
        """Open a connection that `run`, `stream` and `copy` then share, or nothing if it is open.

        It lives until `close`, or until this process ends in whatever way. One attempt, but whom sshd turns away
        because it has too many at the door comes again. Raises Unreachable, and what `watch` raises.
        """
        if self.connected:
            return
        watch = watch or self.watch
        patience = deadline.capped(_REFUSED_S)
        for pause_s in _pauses():
            try:
                self._connect(deadline, watch)
            except Unreachable as error:
                if not _turned_away(error.message) or patience.left_s <= pause_s + _TRY_S:
                    raise
            else:
                return
            watch()
            sleep(pause_s)

    def _connect(self, deadline: Deadline, watch: Watch) -> None:
        self.close()
        try:
            self._control = ControlPlace(self._sockets)
            # The deadline says how long a handshake may take: under TCG, with other guests booting, that is long.
            more = {**_HOLD, "ControlMaster": "yes", "ConnectTimeout": str(_whole_s(deadline, _HANDSHAKE_S) or 1)}
            options = self._options("-p", self._control.socket, more)
            self._master = Background(
                (*_WITH_A_SHELL, "ssh", *options, "-N", "--", self._destination), self._control.file
            )
            self._await_open(self._master, deadline, watch)
        except BaseException:
            self.close()
            raise

    def _await_open(self, master: Background, deadline: Deadline, watch: Watch) -> None:
        if not master.says(_OPEN, deadline, watch):
            self.look()
            complaint = master.complaints()
            trouble = SshTrouble.of(complaint) or (SshTrouble.SILENT if deadline.passed else SshTrouble.LOST)
            raise self._unreachable(trouble, complaint)

    @property
    def connected(self) -> bool:
        """A shared connection is open."""
        return self._master is not None and self._master.alive

    def close(self) -> None:
        """End the shared connection; commands that still run over it fail."""
        if self._master is not None:
            self._master.end()
            self._master = None
        if self._control is not None:
            self._control.remove()
            self._control = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(
        self,
        argv: Sequence[str],
        *,
        deadline_s: float,
        as_root: bool = False,
        stdin: "str | IO[bytes]" = "",
        on_line: OnLine = no_line,
    ) -> Result:
        """Run a command in the guest, over the shared connection if it is open.

        `stdin` is what it reads, or an open file; one that has not been read is there for whoever is let in.

        The result is the command's, whatever its status: 128 and the signal if one ended it. Raises Unreachable if ssh
        itself failed; where sshd takes no more at once the command waits. It is ended at the deadline, in the guest
        too, even if we are killed before.
        """
        return self.stream(argv, deadline=Deadline.after(deadline_s), stdin=stdin, as_root=as_root, on_line=on_line)

    def stream(
        self,
        argv: Sequence[str],
        *,
        deadline: Deadline,
        on_line: OnLine = no_line,
        stdin: "str | IO[bytes]" = "",
        as_root: bool = False,
        watch: Watch | None = None,
    ) -> Result:
        """Like `run`, handing over each line of output as it comes; what `on_line` or `watch` raises ends it."""

        def attempt(control: str) -> Result:
            # Without a terminal nothing tells a program in the guest that we are gone: `timeout` bounds its life.
            bounded = ("timeout", "-k", "5", str(_whole_s(deadline, _LONGEST_S) + 1), *argv)
            remote = self._as_root(bounded) if as_root and self.user != "root" else bounded
            options = self._options("-p", control)
            command = ("ssh", *options, "-T", "--", self._destination, f"{_BEGIN}{shlex.join(remote)}{_TOLD}")
            return stream(command, deadline=deadline, stdin=stdin, on_line=on_line, watch=watch or self.watch)

        result = self._admitted(attempt, deadline, watch or self.watch)
        if result.status == _FAILED and result.stderr.endswith(f"{_OWN}\n"):
            return replace(result, stderr=result.stderr.removesuffix(f"{_OWN}\n"))
        return self._judged(result, certain=True)

    def _admitted(self, attempt: Callable[[str], Result], deadline: Deadline, watch: Watch) -> Result:
        """What came of it when it was let in, or at last was not."""
        patience = deadline.capped(_REFUSED_S)
        for tries, pause_s in enumerate(_pauses()):
            with self._session(deadline, alone=tries >= _OF_THE_MASTER) as control:
                result = attempt(control)
            refused = not result.ok and not result.timed_out and not result.stdout and _turned_away(result.stderr)
            # At the end it is the refusal that is told, not that one more try had no time left.
            if not refused or patience.left_s <= pause_s + _TRY_S:
                break
            watch()
            sleep(pause_s)
        return result

    @contextlib.contextmanager
    def _session(self, deadline: Deadline, *, alone: bool) -> Iterator[str]:
        """The control socket of a connection that has room for one more, "none" for one of its own.

        Who only waited could wait for ever: what holds the others may run as long as the one that waits.
        """
        shared = "none" if alone else self._shared
        if shared == "none" or not self._sessions.acquire(timeout=min(_FOR_A_SESSION_S, deadline.left_s)):
            yield "none"
            return
        try:
            yield shared
        finally:
            self._sessions.release()

    def copy(
        self,
        sources: Sequence[str],
        destination: str,
        *,
        to_guest: bool,
        recursive: bool = False,
        deadline_s: float = 3600.0,
    ) -> Result:
        """Copy with scp, over the shared connection if it is open; paths in the guest may be patterns.

        Raises Unreachable; scp's other failures are in the result.
        """
        deadline = Deadline.after(deadline_s)

        def attempt(control: str) -> Result:
            argv = self._copy_argv(sources, destination, to_guest=to_guest, recursive=recursive, control=control)
            return stream(argv, deadline=deadline, watch=self.watch)

        return self._judged(self._admitted(attempt, deadline, self.watch))

    def argv(self, command: Sequence[str] = (), *, tty: bool = False) -> tuple[str, ...]:
        """An ssh command that works by itself, for execution in our place or for pasting; a login shell by default."""
        terminal = ("-t",) if tty else ("-T",) if command else ()
        remote = (shlex.join(command),) if command else ()
        return ("ssh", *self._options("-p", "none"), *terminal, "--", self._destination, *remote)

    @property
    @abstractmethod
    def _destination(self) -> str:
        """As ssh and scp are told it."""

    @abstractmethod
    def _options(self, port: str, control: str, more: dict[str, str] | None = None) -> tuple[str, ...]:
        """Of ssh, or of scp; `port` is its option for that, `control` the socket of the shared connection or "none"."""

    @abstractmethod
    def _unreachable(self, trouble: SshTrouble, said: str) -> Unreachable:
        """What is told, with the next thing to type."""

    def _as_root(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        return ("sudo", "-n", "--", *argv)

    @property
    def _shared(self) -> str:
        return self._control.socket if self._control is not None and self.connected else "none"

    def _copy_argv(
        self, sources: Sequence[str], destination: str, *, to_guest: bool, recursive: bool, control: str
    ) -> tuple[str, ...]:
        remote = f"{self._destination}:"
        if to_guest:
            paths = (*map(_local, sources), remote + destination)
        else:
            paths = (*(remote + source for source in sources), _local(destination))
        return ("scp", *self._options("-P", control), *(("-r",) if recursive else ()), "--", *paths)

    def _judged(self, result: Result, *, certain: bool = False) -> Result:
        """The result, unless its status is ssh's own, which is `certain` of a command that did not say otherwise."""
        if result.status != _FAILED or result.timed_out:
            return result
        # The program's words come first, ssh's last. Over a shared connection ssh says nothing when that breaks;
        # but then the connection's own process ends, too, within moments.
        said = "\n".join(result.stderr.strip().splitlines()[-2:])
        trouble = None if self.connected else SshTrouble.of(said)
        if trouble is None and self._master is not None and until(lambda: not self.connected, Deadline.after(0.3)):
            trouble = SshTrouble.of(self._master.complaints()) or SshTrouble.LOST
        if trouble is None and certain:
            trouble = SshTrouble.of(said) or SshTrouble.LOST
        if trouble is not None:
            self.look()
            raise self._unreachable(trouble, said)
        return result


class Guest(Door):
    """A guest by way of ssh."""

    def __init__(
        self,
        bed: str,
        node: str,
        address: IPv4Address,
        user: str,
        keys_folder: Path,
        *,
        port: int = 22,
        through: str = "",
    ) -> None:
        """`keys_folder` is where `BedKeys.write` put the keys.

        `through` is ssh's ProxyCommand by way of the guest's host, "" where this machine is in its network.
        """
        super().__init__(node, user, keys_folder)
        self.bed = bed
        self.address = address
        self.keys_folder = keys_folder
        self.port = port
        self.through = through

    def listens(self, timeout_s: float) -> bool:
        """Something listens at the port; costs the guest less than `answers`. A port forwarder always listens."""
        if self.through:
            return self.answers(timeout_s)
        try:
            socket.create_connection((str(self.address), self.port), timeout=timeout_s).close()
        except OSError:
            return False
        return True

    def reached(self, timeout_s: float) -> bool:
        """The guest has its address: it answers there, be it with a refusal."""
        if self.through:
            asked = self._asked(timeout_s)
            return asked.stdout.startswith(_BANNER) or "refused" in asked.stderr
        try:
            socket.create_connection((str(self.address), self.port), timeout=timeout_s).close()
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
        return True

    def answers(self, timeout_s: float) -> bool:
        """Something that speaks ssh listens: its banner is read, no key is exchanged.

        Not for going on asking once it answered: sshd since OpenSSH 9.8 shuts out who often connects without a login.
        """
        if self.through:
            return self._asked(timeout_s).stdout.startswith(_BANNER)
        try:
            with socket.create_connection((str(self.address), self.port), timeout=timeout_s) as connection:
                return connection.recv(8, socket.MSG_WAITALL) == _BANNER.encode()
        except OSError:
            return False

    def _asked(self, timeout_s: float) -> Result:
        """What its host says to who goes through it, and the guest behind it; our own end of input ends both."""
        way = self.through.replace("%h", str(self.address)).replace("%p", str(self.port)).replace("%%", "%")
        return run(("sh", "-c", way), deadline_s=max(timeout_s, _THROUGH_S))

    def exported_options(self) -> dict[str, str]:
        """ssh options by which somebody else reaches this guest as we do, in the form of `ssh_config`."""
        return {**self._own_options(), **_OPTIONS}

    def _own_options(self) -> dict[str, str]:
        return {
            "IdentityFile": _quoted(identity(self.keys_folder)),
            "UserKnownHostsFile": _quoted(self.keys_folder / KNOWN_HOSTS),
            "HostKeyAlias": host_alias(self.bed, self.node),
            **({"ProxyCommand": self.through} if self.through else {}),
        }

    @property
    def _destination(self) -> str:
        return f"{self.user}@{self.address}"

    def _options(self, port: str, control: str, more: dict[str, str] | None = None) -> tuple[str, ...]:
        options = as_arguments({**_OPTIONS, **_OURS, **self._own_options()}, control, more)
        return ("-F", "none", port, str(self.port), *options)

    def _unreachable(self, trouble: SshTrouble, said: str) -> Unreachable:
        return Unreachable.guest(
            trouble,
            bed=self.bed,
            node=self.node,
            address=self.address,
            port=self.port,
            user=self.user,
            folder=self.keys_folder,
            detail=trouble.detail(said),
        )


def as_arguments(options: dict[str, str], control: str, more: dict[str, str] | None) -> Iterator[str]:
    """Options of an ssh that uses the connection of the socket `control`, or that makes it, as `more` says then."""
    # Over a shared connection or not at all: where its master refuses ssh would make another by itself.
    only = {"ProxyCommand": "false"} if control != "none" and not more else {}
    return (f"-o{name}={value}" for name, value in {**options, "ControlPath": control, **only, **(more or {})}.items())


def _turned_away(said: str) -> bool:
    return any(sign in said for sign in _REFUSALS)


def _pauses() -> Iterator[float]:
    """Longer and longer, and never the same for all who wait."""
    pause_s, longest_s = _AGAIN_S
    while True:
        yield pause_s * (0.5 + random.random())  # noqa: S311 - no secret
        pause_s = min(longest_s, pause_s * 2)


def _whole_s(deadline: Deadline, longest_s: float) -> int:
    return math.ceil(min(deadline.left_s, longest_s))


def _quoted(path: Path) -> str:
    """A path as the value of an ssh option that takes a list of them and expands %-tokens."""
    text = str(path).replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _local(path: str) -> str:
    """A path that scp takes for a local one, though it may hold a colon."""
    return path if path.startswith(("/", "./", "../")) else f"./{path}"
