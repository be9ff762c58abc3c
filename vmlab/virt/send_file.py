"""Files of the image store brought to another machine's: once, as they lie, gone on with after a cut, and checked."""

import hashlib
from functools import lru_cache
from pathlib import Path

from vmlab.errors import HostError
from vmlab.runtime.talk import Talk
from vmlab.runtime.wait import Deadline
from vmlab.shell import script
from vmlab.virt.connection import Host
from vmlab.virt.machine import Machine, machine_of
from vmlab.virt.pool import IMAGES, pool_path

_RECEIVE = script(__file__, "receive_file.sh")
_ANSWER_S = 600.0  # another vmlab may be sending it
_CHECK_S = 3600.0
_CHUNK = 1 << 20
_THERE = "there"


def missing(host: Host, names: tuple[str, ...]) -> list[str]:
    """Those of the files that the image store of another machine lacks. Raises HostError if it is not reached."""
    folder = host.call(lambda connection: pool_path(connection, IMAGES))
    ask = 'cd "$1" && shift && for file; do [ -e "$file" ] || echo "$file"; done'
    asked = machine_of(host).run(("sh", "-c", ask, "vmlab", folder, *names), deadline_s=60)
    if not asked.ok:
        raise HostError(f"{host.name}: {asked.last_line}", hint=machine_of(host).try_it)
    return asked.stdout.split()


def send(host: Host, file: Path) -> None:
    """Bring a file to the image store of another machine, where its name is its contents': what is there stays.

    Raises HostError if it does not arrive whole.
    """
    folder = host.call(lambda connection: pool_path(connection, IMAGES))
    machine, digest = machine_of(host), _digest(file, file.stat().st_mtime_ns)
    for _ in range(2):  # what was cut off may be of another file
        if _sent(machine, folder, file, digest):
            return
    raise HostError(f"{file.name} does not arrive on {host.name} as it was sent", hint=f"df -h {folder}, on that host")


def _sent(machine: Machine, folder: str, file: Path, digest: str) -> bool:
    with Talk(machine.argv(("sh", "-c", _RECEIVE, "vmlab", folder, file.name, digest))) as talk:
        said = talk.line(Deadline.after(_ANSWER_S))
        if said == _THERE:
            return True
        if said is not None and said.isdecimal():
            with file.open("rb") as source:
                source.seek(int(said))
                while (data := source.read(_CHUNK)) and talk.tell(data):
                    pass
            talk.told_all()
            said = talk.line(Deadline.after(_CHECK_S))
            if said is not None:
                return said == _THERE
        why = talk.complaint or "the connection was lost"
    raise HostError(
        f"{file.name} does not get to {machine.name}: {why}",
        hint="`vmlab up` again goes on from there; space: df -h, on that host",
    )


@lru_cache(maxsize=16)
def _digest(file: Path, _mtime_ns: int) -> str:
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
