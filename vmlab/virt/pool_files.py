"""Whole files of a bed, by commands of its host: libvirt copies volumes, but not as they lie.

A copy shares the original's blocks where the file system can do that (XFS, Btrfs), and has its holes where it cannot.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from vmlab.errors import HostError
from vmlab.plan.snapshots import Room
from vmlab.runtime.process import Result
from vmlab.shell import script
from vmlab.values import identity
from vmlab.virt.connection import Host
from vmlab.virt.machine import Machine, machine_of
from vmlab.virt.pool import BEDS, pool_path
from vmlab.virt.shared_folder import folders

_ASK_S = 60.0
_COPY_S = 4 * 3600.0

_ROOM = script(__file__, "pool_room.sh")
_PUT_BACK = script(__file__, "put_back.sh")
_WRITE = script(__file__, "write_told.sh")


@dataclass(frozen=True, slots=True)
class PoolFiles:
    """The folder of the beds' pool on a host. All raise HostError with what the command said.

    `shared` are the bed's folders on storage that hosts share, by file system, on the host that made them.
    """

    machine: Machine
    folder: str
    shared: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, host: Host, bed: str) -> "PoolFiles":
        """Of a bed on a host. Raises HostError where we may not write there, and on libvirt's test driver."""
        if host.simulated:
            raise HostError("libvirt's test driver has no files behind its volumes")
        folder, shared = host.call(lambda connection: (pool_path(connection, BEDS), [*folders(connection, bed)]))
        if host.local and not os.access(folder, os.W_OK | os.X_OK):
            raise HostError(f"{folder} can only be written to by its owner", hint="sudo vmlab")
        return cls(machine_of(host), folder, {found.filesystem: found.path for _, found in shared})

    def path(self, name: str) -> str:
        """Where a file lies."""
        return f"{self.place(name)}/{name}"

    def place(self, name: str) -> str:
        """The folder that a file lies in: what is of a target may be on storage that hosts share."""
        return self.shared.get(identity.filesystem_of(name) or "", self.folder)

    def room(self, bed: str, files: Sequence[str], *, place: str = "") -> Room:
        """What is free there, else in the pool, and what these files take, wherever they are."""
        trial = identity.reverting_disk(bed, identity.root_volume(bed, "a"))
        copied = identity.reverting_disk(bed, identity.root_volume(bed, "b"))
        paths = map(self.path, files)
        told = self._run(("sh", "-c", _ROOM, "vmlab", place or self.folder, trial, copied, *paths), _ASK_S).stdout
        free, shares, *lines = told.splitlines()
        taken = (line.split() for line in lines)
        sizes = {name: int(blocks) * int(size) for name, (blocks, size) in zip(files, taken, strict=True)}
        return Room(int(free), shares == "yes", sizes, place or "vmlab's pool")

    def needed(self, bed: str, copies: Mapping[str, str]) -> Iterator[tuple[Room, int]]:
        """Of the pool first, then of each other folder that files are copied to: its room, and the bytes that it takes.

        `copies` are new names by those that there are.
        """
        for place in dict.fromkeys((self.folder, *map(self.place, copies.values()))):
            files = [file for file, to in copies.items() if self.place(to) == place]
            room = self.room(bed, files, place="" if place == self.folder else place)
            yield room, room.copied(files, away=[file for file in files if self.place(file) != place])

    def copy(self, source: str, to: str) -> None:
        """Copy a file that nobody writes to, as it lies."""
        how = ("--reflink=auto", "--sparse=always", "--preserve=mode")
        self._run(("cp", *how, "--", self.path(source), self.path(to)), _COPY_S)

    def flush(self, names: Iterable[str]) -> None:
        """Return when these files are on the disk."""
        self._run(("sync", "--", *map(self.path, names)), _COPY_S)

    def put_back(self, places: Mapping[str, str]) -> None:
        """Each file takes the place of another; one that is not there any more has done so before."""
        pairs = chain.from_iterable((self.path(ready), self.path(place)) for ready, place in places.items())
        self._run(("sh", "-c", _PUT_BACK, "vmlab", *pairs), _ASK_S)

    def write(self, name: str, text: str) -> None:
        """Make a file, or another of what it is: whole, or not at all."""
        self._run(("sh", "-c", _WRITE, "vmlab", self.path(name)), _ASK_S, stdin=text)

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; one that is not there is fine."""
        self._run(("rm", "-f", "--", *map(self.path, names)), _ASK_S)

    def _run(self, argv: tuple[str, ...], deadline_s: float, stdin: str | None = None) -> Result:
        done = self.machine.run(argv, deadline_s=deadline_s, stdin=stdin)
        if not done.ok:
            why = f"no end after {deadline_s:.0f} s" if done.timed_out else done.last_line
            raise HostError(f"{self.machine.name}: {why}", hint=f"df -h {self.folder}; vmlab gc")
        return done
