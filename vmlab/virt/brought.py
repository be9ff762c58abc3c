"""A socket of another machine as one of this, by ssh: only who may open it there reaches it, and it ends with us."""

import contextlib
import shlex
from collections.abc import Iterator

from vmlab.errors import HostError
from vmlab.runtime.talk import Talk
from vmlab.runtime.wait import Deadline
from vmlab.shell import script
from vmlab.virt.machine import Machine

_WAIT = script(__file__, "socket_there.sh")
_ANSWER_S = 60.0
# A connection of its own: one that is shared would keep the socket when we are gone.
_OPTIONS = (
    *("-S", "none", "-o", "ExitOnForwardFailure=yes"),
    *("-o", "StreamLocalBindUnlink=yes", "-o", "StreamLocalBindMask=0177"),
)


def leading(machine: Machine, path: str, here: str) -> tuple[str, ...]:
    """The argv of an ssh, but for its command, by which `here` leads to the socket `path` of that machine."""
    program, *rest = machine.ssh
    return program, *_OPTIONS, "-L", f"{_quoted(here)}:{_quoted(path)}", *rest


@contextlib.contextmanager
def brought(machine: Machine, path: str, here: str) -> Iterator[None]:
    """For the `with` block `here`, at most 107 bytes, leads to the socket `path` of that machine.

    Raises HostError if the user whom ssh logs in there may not open it, or sshd lets nobody through.
    """
    # Without sudo: sshd opens it as who has logged in.
    with Talk((*leading(machine, path, here), shlex.join(("sh", "-c", _WAIT, "vmlab", path)))) as talk:
        said = talk.line(Deadline.after(_ANSWER_S))
        if said != "ready":
            why = said or talk.complaint or f"no answer in {_ANSWER_S:.0f} s"
            hint = "root may: uri: qemu+ssh://root@HOST/system" if said else machine.try_it
            raise HostError(f"{machine.name} does not lead to {path}: {why}", hint=hint)
        yield


def _quoted(path: str) -> str:
    """As ssh_config(5) has LocalForward: colons part, and percent signs begin tokens."""
    return path.replace("\\", "\\\\").replace(":", "\\:").replace("%", "%%")
