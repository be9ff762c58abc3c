"""The machine that a libvirt runs on, for what libvirt does not do: commands, here or by way of ssh."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from vmlab.errors import HostError
from vmlab.runtime.process import Result, run
from vmlab.shell import script
from vmlab.virt.connection import Host
from vmlab.virt.elsewhere import no_shell

_SSH_FAILED = 255  # ssh's own status

# The user's own configuration says the rest, as it does for libvirt's qemu+ssh.
_OPTIONS = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=10")

_AS_ROOT = script(__file__, "as_root.sh")


@dataclass(frozen=True, slots=True)
class Machine:
    """Where commands run. `ssh` is the argv that reaches it, empty for this machine; `name` is for messages."""

    name: str = "this machine"
    ssh: tuple[str, ...] = ()

    @property
    def local(self) -> bool:
        """It is this machine."""
        return not self.ssh

    def run(self, argv: Sequence[str], *, deadline_s: float, stdin: str | None = None) -> Result:
        """Run a command to its end, on another machine as root if sudo allows it; its status is returned, never raised.

        Raises HostError when the machine cannot be reached or the program is not installed.
        """
        if self.local:
            return run(argv, deadline_s=deadline_s, stdin=stdin, env={"LC_ALL": "C"})
        result = run(self.argv(argv), deadline_s=deadline_s, stdin=stdin)
        if result.status == _SSH_FAILED or result.timed_out:
            cause = f"no answer in {deadline_s:g} s" if result.timed_out else result.last_line
            raise HostError(f"{self.name} is not reached over ssh: {cause}", hint=self.try_it)
        return result

    def argv(self, argv: Sequence[str]) -> tuple[str, ...]:
        """What runs a command there, as `run` does, whoever starts it."""
        if self.local:
            return tuple(argv)
        # ssh joins its arguments to one text for the remote shell, so they are quoted; the script is constant.
        return (*self.ssh, shlex.join(("sh", "-c", _AS_ROOT, "vmlab", *argv)))

    @property
    def try_it(self) -> str:
        """What to type to see whether it is reached."""
        return shlex.join((*self.ssh, "true"))

    @property
    def through(self) -> str:
        """ssh's ProxyCommand for what is reached from there, "" for what this machine reaches itself."""
        if self.local:
            return ""
        *options, end, destination = self.ssh
        told = shlex.join(options).replace("%", "%%")
        return f"{told} -W %h:%p {end} {shlex.quote(destination).replace('%', '%%')}"


def over_ssh(destination: str, *options: str) -> Machine:
    """The machine that `ssh [options] destination` reaches without being asked anything."""
    return Machine(destination, ("ssh", *_OPTIONS, *options, "-T", "--", destination))


def machine_of(host: Host) -> Machine:
    """The machine whose libvirt this is.

    Raises HostError where no shell is known, as of a bare qemu+tls:// or of libvirt's test driver.
    """
    if host.local:
        return Machine()
    if not host.way.has_shell:
        raise no_shell(host.uri)
    if (ssh := host.ssh) is not None:
        return _at(ssh.user, ssh.hosts[0], ssh.port)
    parts = urlsplit(host.uri)
    keys = parse_qs(parts.query).get("keyfile", ())
    return _at(parts.username, str(parts.hostname), parts.port, *(word for key in keys for word in ("-i", key)))


def _at(user: str | None, host: str, port: int | None, *options: str) -> Machine:
    to = ("-p", str(port)) if port else ()
    return over_ssh(f"{user}@{host}" if user else host, *to, *options)
