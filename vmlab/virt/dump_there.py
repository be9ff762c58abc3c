"""The memory of a guest of another machine: written there by libvirt, brought here, and nothing of it stays there.

The place is held by a process at the far end of an ssh connection, which ends with us. What it leaves when it is killed
itself nobody has locked: `unheld` tells.
"""

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

from vmlab.errors import HostError
from vmlab.runtime.talk import Talk
from vmlab.runtime.wait import Deadline
from vmlab.shell import script
from vmlab.virt.connection import Host
from vmlab.virt.machine import machine_of
from vmlab.virt.pool import BEDS, pool_path

_HOLD = script(__file__, "dump_there.sh")
_UNHELD = 'cd -- "$1" && shift && for file; do [ ! -e "$file" ] || flock -n "$file" echo "$file"; done; exit 0'
_ANSWER_S = 60.0
_CHUNK_S = 120.0  # a line that is this long silent is dead
_BLOCK = 64 << 10


def dump_there(host: Host, name: str, to: Path, write: Callable[[str], None], *, room: int, write_s: float) -> None:
    """Have `write` make a file of a host's pool, by its path there, within `write_s`; bring it to `to`, with holes.

    Raises HostError if there are fewer than `room` bytes, somebody else is at it, or not all of it arrives.
    """
    folder, machine = host.call(lambda connection: pool_path(connection, BEDS)), machine_of(host)
    lasts = f"{write_s + _ANSWER_S:.0f}"
    with Talk(machine.argv(("sh", "-c", _HOLD, "vmlab", folder, name, lasts))) as talk:
        said = talk.line(Deadline.after(_ANSWER_S)) or ""
        if said == "busy":
            raise HostError(f"another vmlab has {name} on {host.name} at this moment", hint="try again in a moment")
        if not said.isdecimal():
            why = said.removeprefix("no ") or talk.complaint or "no answer"
            raise HostError(f"{host.name} has no place for its memory: {why}", hint=machine.try_it)
        if int(said) < room:
            raise HostError(f"{room >> 20} MiB do not fit into {folder} of {host.name}, {int(said) >> 20} MiB free")
        write(f"{folder}/{name}")
        talk.tell(b"send\n")
        size = talk.line(Deadline.after(_ANSWER_S)) or ""
        came = _received(talk, to, int(size)) if size.isdecimal() else 0
        if size != str(came):
            why = talk.complaint or "the connection was lost"
            raise HostError(f"of {size or 'its'} bytes of memory {came} came from {host.name}: {why}")


def unheld(host: Host, names: Iterable[str]) -> list[str]:
    """Those of such files on a host that nobody is at. Raises HostError if it is not reached."""
    folder = host.call(lambda connection: pool_path(connection, BEDS))
    asked = machine_of(host).run(("sh", "-c", _UNHELD, "vmlab", folder, *names), deadline_s=_ANSWER_S)
    return asked.stdout.split()


def _received(talk: Talk, to: Path, size: int) -> int:
    """How many bytes of so many came; where they are zeros the file has holes."""
    came = 0
    try:
        with to.open("xb") as file, contextlib.suppress(TimeoutError):
            while came < size and (data := talk.data(min(_BLOCK, size - came), Deadline.after(_CHUNK_S))):
                if data.count(0) < len(data):
                    file.seek(came)
                    file.write(data)
                came += len(data)
            file.truncate(came)
    except OSError as error:
        raise HostError(f"{to}: {error.strerror}", hint=f"df -h {to.parent}") from error
    return came
