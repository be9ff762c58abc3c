"""Nights on disk: one folder each, with a journal that is written while the night goes on.

A night is over when its folder has `night.json`; it may still be marked as broken off there. A folder without one is of
a night that goes on, or was killed.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any

from vmlab.errors import HostError
from vmlab.records.night import Event, NightRecord, from_json, to_json
from vmlab.runtime.files import state_dir, write_atomically

RECORD, JOURNAL = "night.json", "journal.jsonl"


def nights_dir() -> Path:
    """Where nights are recorded."""
    return state_dir() / "nights"


@dataclass(frozen=True, slots=True)
class OpenNight:
    """A night that goes on."""

    id: str
    folder: Path
    _lock: Lock

    def note(self, event: str, **more: Any) -> None:
        """Put an event into the journal; when this returns it is on the disk."""
        line = json.dumps({"at": _now(), "event": event, **more}, separators=(",", ":")) + "\n"
        with self._lock, (self.folder / JOURNAL).open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def finish(self, record: NightRecord) -> None:
        """Write the record."""
        write_atomically(self.folder / RECORD, json.dumps(to_json(record), indent=1) + "\n")


def new_night(folder: Path, name: str, at: datetime) -> OpenNight:
    """Begin one, in a folder of its own. Raises HostError if that cannot be made."""
    stem = f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{name}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number in count(1):
            night = stem if number == 1 else f"{stem}-{number}"
            with contextlib.suppress(FileExistsError):
                (folder / night).mkdir()
                return OpenNight(night, folder / night, Lock())
    except OSError as error:
        raise HostError(f"cannot make a folder for the night in {folder}: {error.strerror}") from error
    raise AssertionError


def unfinished(folder: Path, name: str) -> OpenNight | None:
    """The latest night of this name, if it was broken off or killed. The caller holds the lock of the name."""
    for path in reversed(_folders(folder, name)):
        if not (path / JOURNAL).is_file():
            continue
        found = read_night(path)
        if found is not None and not found.incomplete:
            return None
        _mend(path / JOURNAL)
        return OpenNight(path.name, path, Lock())
    return None


def _mend(journal: Path) -> None:
    """Take away the half of a line at the end that was being written when we were killed."""
    data = journal.read_bytes()
    if data and not data.endswith(b"\n"):
        with journal.open("r+b") as file:
            file.truncate(data.rfind(b"\n") + 1)


def events(folder: Path) -> Iterator[Event]:
    """The journal, line by line. Raises HostError if it cannot be read, ValueError for a line that is no event."""
    try:
        with (folder / JOURNAL).open(encoding="utf-8") as file:
            for line in file:
                if line.endswith("\n"):  # the last may have been cut off with us
                    found = json.loads(line)
                    if not isinstance(found, Mapping):
                        raise ValueError(f"no event: {line:.80}")
                    yield found
    except OSError as error:
        raise HostError(f"{folder / JOURNAL}: {error.strerror}") from error


def before(folder: Path, name: str, night: str, most: int) -> tuple[NightRecord, ...]:
    """The nights of this name before that one which were not broken off, oldest first; of what is damaged, nothing."""
    found: list[NightRecord] = []
    for path in reversed(_folders(folder, name)):
        if len(found) == most:
            break
        record = read_night(path) if path.name < night else None
        if record is not None and not record.incomplete:
            found.append(record)
    return tuple(reversed(found))


def latest(folder: Path, name: str) -> tuple[Path | None, NightRecord | None]:
    """The folder and the record of the latest night of this name, as far as there are such."""
    for path in reversed(_folders(folder, name)):
        if (path / JOURNAL).is_file():
            return path, read_night(path)
    return None, None


def read_night(folder: Path) -> NightRecord | None:
    """None if it has no record that can be read."""
    try:
        return from_json(json.loads((folder / RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return None


def _folders(folder: Path, name: str) -> list[Path]:
    """By their time. A name may be the end of another: the time has no `-`."""
    found = ((path, path.name.partition("-")[2]) for path in folder.glob(f"*-{name}*"))
    return sorted(path for path, rest in found if rest == name or _numbered(rest, name))


def _numbered(rest: str, name: str) -> bool:
    return rest.startswith(f"{name}-") and rest.removeprefix(f"{name}-").isdecimal()


def _now() -> str:
    return datetime.now(UTC).astimezone().isoformat(timespec="milliseconds")
