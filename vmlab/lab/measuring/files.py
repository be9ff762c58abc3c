"""Files of a measurement in its guests: put there before a task runs, and brought back when it is over.

They lie in a folder of the measurement's own, in one of the run's own (`lab.ground.leftovers`), which only root enters.
Contents travel as base64: any shell reads that, and it comes back as it was.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence

from vmlab.errors import WorkloadError
from vmlab.guest.ssh import RunsCommands
from vmlab.lab.ground.leftovers import FOLDERS
from vmlab.runtime.process import Result
from vmlab.shell import script
from vmlab.steps import Command
from vmlab.values.size import Bytes

LARGEST = Bytes(64 << 20)
"""Of a file that is brought back: all of them are held in memory here."""

_COPY_S = 600.0

_MAKE = script(__file__, "make_folder.sh")
_PUT = 'umask 077; base64 -d >"$1/$2"'
_BRING = script(__file__, "bring_files.sh")


class Folder:
    """One measurement's folder, at the same place on each node.

    `shared`: all nodes are on one machine, and each has a folder of its own there.
    """

    def __init__(self, run: str, measurement: str, *, shared: bool = False) -> None:
        name = hashlib.sha256(measurement.encode()).hexdigest()[:12]
        self._path = f"{FOLDERS}/{run}/{name}"
        self._shared = shared

    def path(self, node: str) -> str:
        """Where it is on a node."""
        return f"{self._path}.{node}" if self._shared else self._path

    def inside(self, node: str, argv: Command) -> Command:
        """The same command, run in the folder."""
        return ("sh", "-c", 'cd "$1" && shift && exec "$@"', "vmlab", self.path(node), *argv)

    def make(self, guest: RunsCommands, node: str) -> None:
        """Have it on a node. Raises GuestError, WorkloadError."""
        made = _as_root(guest, _MAKE, FOLDERS, self.path(node))
        if not made.ok:
            raise WorkloadError(f"{node}: no folder for files of the run: {made.last_line}")

    def put(self, guest: RunsCommands, node: str, files: Mapping[str, str | bytes]) -> None:
        """Write files on a node. Raises GuestError, WorkloadError."""
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            written = _as_root(guest, _PUT, self.path(node), name, stdin=f"{base64.b64encode(data).decode()}\n")
            if not written.ok:
                raise WorkloadError(f"{name} cannot be put on {node}: {written.last_line}")

    def bring(self, guest: RunsCommands, node: str, patterns: Sequence[str]) -> dict[str, bytes]:
        """The files that fit, by their names; what is not there is absent. Raises GuestError, WorkloadError."""
        said = _as_root(guest, _BRING, self.path(node), str(int(LARGEST)), *patterns)
        if not said.ok:
            raise WorkloadError(f"{node}: files cannot be brought (each may have {LARGEST}): {said.last_line}")
        try:
            return _read(said.stdout)
        except (ValueError, binascii.Error) as error:
            raise WorkloadError(f"{node}: files came back damaged: {error}") from None


def _as_root(guest: RunsCommands, script: str, *words: str, stdin: str = "") -> Result:
    return guest.run(("sh", "-c", script, "vmlab", *words), deadline_s=_COPY_S, as_root=True, stdin=stdin)


def _read(text: str) -> dict[str, bytes]:
    """Name, lines of base64, a full stop; again and again."""
    found: dict[str, bytes] = {}
    name, lines = "", list[str]()
    for line in text.splitlines():
        if not name:
            name = line
        elif line != ".":
            lines.append(line)
        else:
            found[name] = base64.b64decode("".join(lines), validate=True)
            name, lines = "", []
    if name:
        raise ValueError(f"{name} is cut off")
    return found
