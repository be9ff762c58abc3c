"""What is written to a host's sysfs for the length of a command, and put back by the next one if that was killed.

A note of it lies on the host that it is about, in /run, which goes with the boot as what sysfs holds does. It is there
before sysfs is changed, and until that is as it was. Whoever puts back holds the host's leases: nobody is at work then.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from vmlab.errors import HostError
from vmlab.runtime.log import log
from vmlab.shell import script
from vmlab.values.pci import PATTERN

if TYPE_CHECKING:
    from vmlab.virt.machine import Machine
    from vmlab.virt.sysfs import Sysfs

_NAME = "vmlab-borrowed"
_DEADLINE_S = 20.0
# Nothing else is ever written back, whatever a note says: files, and what each may have held. The group names the note.
_KINDS = (
    (re.compile(rf"bus/pci/devices/({PATTERN})/sriov_drivers_autoprobe"), re.compile("[01]")),
    (re.compile(r"kernel/mm/(ksm/run)"), re.compile("0")),
    (re.compile(r"kernel/mm/(ksm/pages_to_scan)"), re.compile("[0-9]{1,9}")),
)

_NOTE = script(__file__, "write_note.sh")
_READ = script(__file__, "read_notes.sh")


def _folder() -> Path:
    """Where those of this machine are: beside its locks, should these lie elsewhere."""
    return Path(os.environ.get("VMLAB_LOCK_DIR", "/run")) / _NAME


def possible_here() -> bool:
    """There may be notes on this machine."""
    return _folder().is_dir()


@dataclass(frozen=True, slots=True)
class Notes:
    """Where the notes of a host are."""

    machine: "Machine"
    folder: PurePosixPath

    @classmethod
    def of(cls, machine: "Machine") -> "Notes":
        """A host's."""
        return cls(machine, PurePosixPath(_folder() if machine.local else f"/run/{_NAME}"))

    @property
    def possible(self) -> bool:
        """There may be some: on this machine that costs nothing to know."""
        return not self.machine.local or possible_here()

    @property
    def there(self) -> bool:
        """There are some, or have been. Raises HostError where that cannot be seen."""
        return self.machine.run(("test", "-d", str(self.folder)), deadline_s=_DEADLINE_S).ok


@contextlib.contextmanager
def borrowed(sysfs: "Sysfs", notes: Notes, path: str, value: str) -> Iterator[None]:
    """Let a file of sysfs have another value for the `with` block. Raises HostError where it cannot be noted down."""
    before = sysfs.read(path) or ""
    name = _name(path, before)
    if name is None:
        raise ValueError(f"{path}, which has {before!r:.20}, is none of those that are put back")
    if before == value:
        yield
        return
    _run(notes, _NOTE, name, f"{path} {before}")
    try:
        sysfs.write(path, value)
        yield
    finally:
        sysfs.write(path, before)
        _forget(notes, name)


def put_back(sysfs: "Sysfs", notes: Notes) -> tuple[str, ...]:
    """Give the files of a command that was killed their values again: which files those were."""
    done = []
    for line in _run(notes, _READ).splitlines():
        path, _, before = line.partition(" ")
        name = _name(path, before)
        if name is None:
            log.warning("a note of vmlab's on %s is not understood: %.200r", notes.machine.name, line)
            continue
        if sysfs.read(path) not in (None, before):
            sysfs.write(path, before)
            done.append(path)
        _forget(notes, name)
    return tuple(done)


def _name(path: str, before: str) -> str | None:
    """Of the note of a file that had that value; None for a file or a value that is not put back."""
    for file, values in _KINDS:
        if (match := file.fullmatch(path)) and values.fullmatch(before):
            return match[1].replace("/", "-")
    return None


def _forget(notes: Notes, name: str) -> None:
    _run(notes, 'rm -f -- "$1/$2" && { rmdir -- "$1" 2>/dev/null || :; }', name)


def _run(notes: Notes, script: str, *values: str) -> str:
    done = notes.machine.run(("sh", "-c", script, "vmlab", str(notes.folder), *values), deadline_s=_DEADLINE_S)
    if not done.ok:
        raise HostError(
            f"{notes.machine.name}: cannot note down in {notes.folder} what is changed for a moment: {done.last_line}",
            hint="it takes root: sudo vmlab",
        )
    return done.stdout
