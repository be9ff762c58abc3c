"""The door into a machine that is no guest: the OpenSSH client as its user has set it up.

The user's configuration, keys, agent and known hosts count. What is not known yet is not trusted: the user logs in once
by hand, and compares the key.
"""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from vmlab.errors import GuestError
from vmlab.guest.child import Watch
from vmlab.guest.ssh import Door, OnLine, as_arguments, no_line
from vmlab.guest.trouble import SshTrouble, Unreachable
from vmlab.runtime.process import Result, run
from vmlab.runtime.wait import Deadline

_OPTIONS = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "UpdateHostKeys": "no",
    "ConnectTimeout": "15",
    "ServerAliveInterval": "10",
    "ServerAliveCountMax": "6",
    "LogLevel": "ERROR",
    # What a user has set for logins by hand would take our connections away, or add to them.
    "ControlMaster": "no",
    "ControlPersist": "no",
    "ClearAllForwardings": "yes",
    "RemoteCommand": "none",
    "PermitLocalCommand": "no",
}
_NO_ROOT = "vmlab: no root"
# Who logs in may stand in the user's configuration only: whether that is root is asked there.
_ROOT = f"""
[ "$(id -u)" = 0 ] && exec "$@"
sudo -n true || {{ echo '{_NO_ROOT}' >&2; exit 126; }}
exec sudo -n -- "$@"
"""
_ASK_S = 10.0

# What is told, and what helps: `command` is how the user logs in by hand, `whose` who the user is under sudo.
_TOLD = {
    SshTrouble.KEY_FILE: ("ssh cannot use one of the private keys for {node}", "{command}"),
    SshTrouble.LOGIN: (
        "{node} does not let {user} in without a question{whose}",
        "{command} must ask nothing: ssh-add, or ssh-copy-id",
    ),
    SshTrouble.REFUSED: ("nothing listens at {host} port {port}", "{command}"),
    SshTrouble.NO_ROUTE: ("no way to {host}", "ping {host}"),
    SshTrouble.NO_NAME: ("no machine is called {host} here", "getent hosts {host}"),
    SshTrouble.SILENT: ("{host} does not answer", "ping {host}"),
    SshTrouble.CLOSED: ("{node} closed the ssh connection", "{command}"),
    SshTrouble.LOST: ("ssh to {node} ended", "{command}"),
}
_UNKNOWN = ("there is no host key of {host} in {known}{whose}", "log in once by hand, and compare the key: {command}")
_CHANGED = (
    "what answers as {host} does not have the host key that is in {known}{whose}",
    "{command} names the line; whether the key was changed its administrator knows",
)


class NoRoot(GuestError):
    """Whoever logs in may not become root without a password."""


class External(Door):
    """A machine that is no guest. `user` "" and `port` None are whatever ssh's configuration says."""

    def __init__(self, node: str, user: str, host: str, port: int | None, sockets: Path) -> None:
        """`sockets` as for Door."""
        super().__init__(node, user, sockets)
        self.host = host
        self.port = port

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
        """See Door; raises NoRoot where `sudo -n` is refused."""
        result = super().stream(argv, deadline=deadline, on_line=on_line, stdin=stdin, as_root=as_root, watch=watch)
        said, marked, _ = result.stderr.partition(f"{_NO_ROOT}\n")
        if not as_root or not marked:
            return result
        why = "".join(said.strip().splitlines()[-1:])
        raise NoRoot(
            f"{self.node}: {self._configured().get('user', 'the user')} may not become root there: {why}",
            node=self.node,
            stage="ssh",
            hint=f"NOPASSWD in its sudoers, or external: ssh://root@{self.host}",
        )

    @property
    def _destination(self) -> str:
        return f"{self.user}@{self.host}" if self.user else self.host

    def _options(self, port: str, control: str, more: dict[str, str] | None = None) -> tuple[str, ...]:
        return (*self._port(port), *as_arguments(_OPTIONS, control, more))

    def _port(self, option: str = "-p") -> tuple[str, ...]:
        return () if self.port is None else (option, str(self.port))

    def _as_root(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        return ("sh", "-c", _ROOT, "vmlab", *argv)

    def _unreachable(self, trouble: SshTrouble, said: str) -> Unreachable:
        cause, hint = self._words(trouble, said)
        asked = self._configured()
        by_hand = shlex.join((*(("sudo",) if _sudoer() else ()), "ssh", *self._port(), self._destination))
        words = {
            "node": self.node,
            "command": by_hand,
            "user": asked.get("user", "the user"),
            "host": asked.get("hostname", self.host),
            "port": asked.get("port", "22"),
            "known": asked.get("userknownhostsfile", "~/.ssh/known_hosts").partition(" ")[0],
            "whose": f" (under sudo root's ssh counts, not {_sudoer()}'s)" if _sudoer() else "",
        }
        detail = trouble.detail(said)
        message = cause.format(**words) + (f": {detail}" if detail else "")
        return Unreachable(trouble, message, node=self.node, hint=hint.format(**words))

    @staticmethod
    def _words(trouble: SshTrouble, said: str) -> tuple[str, str]:
        if trouble is SshTrouble.HOST_KEY:
            return _UNKNOWN if "host key is known" in said else _CHANGED
        return _TOLD[trouble]

    def _configured(self) -> dict[str, str]:
        """What ssh itself makes of its configuration for this machine; empty if it does not say."""
        asked = run(("ssh", "-G", "-T", *self._port(), "--", self._destination), deadline_s=_ASK_S)
        return {name: value for name, _, value in (line.partition(" ") for line in reversed(asked.stdout.splitlines()))}


def _sudoer() -> str:
    """Who became root by sudo to start this; "" if nobody did."""
    return os.environ.get("SUDO_USER", "") if os.geteuid() == 0 else ""
