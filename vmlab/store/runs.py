"""Runs on disk: one folder each, complete or not there.

Output goes to `runs/ID.partial/` while a run lasts; `run.json` is written last, then the folder becomes `runs/ID`. An
ID starts with its time, so that a listing is in order. The folder of a run that goes on is locked (`flock`), and the
kernel ends a lock with its process: a partial folder without a lock is what a killed run left.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from vmlab.errors import HostError, UsageError, WorkloadError
from vmlab.records.run import RunRecord, from_json, to_json
from vmlab.runtime.files import state_dir, write_atomically

RECORD = "run.json"
PARTIAL = ".partial"
# Given up when the record is written: on a disk that is full by then it still finds its place.
_RESERVE = "reserve"
_RESERVED = 1 << 20
_LONGEST = 200


def runs_dir() -> Path:
    """Where runs are recorded."""
    return state_dir() / "runs"


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run that goes on. `id` is final."""

    id: str
    folder: Path

    def keep(self, name: str, stdout: str, stderr: str) -> tuple[str, str]:
        """Write what a command printed to `NAME.out` and `NAME.err`; the names of the files."""
        safe = _safe(name)
        texts = {f"{safe}.out": stdout, f"{safe}.err": stderr}
        for file, text in texts.items():
            self._write(file, text.encode(errors="replace"))
        return f"{safe}.out", f"{safe}.err"

    def keep_file(self, name: str, content: bytes) -> str:
        """Write what came from a guest; the name of the file."""
        safe = _safe(name)
        self._write(safe, content)
        return safe

    def called(self, name: str) -> str:
        """The same as the name of a file or folder of the run."""
        return _safe(name)

    def _write(self, name: str, content: bytes) -> None:
        with (self.folder / name).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def note(self, record: RunRecord) -> None:
        """Write what there is until now, for who goes on with it if we are killed."""
        write_atomically(self.folder / RECORD, json.dumps(to_json(record), indent=1) + "\n")

    def finish(self, record: RunRecord) -> Path:
        """Make the run complete; its final folder."""
        (self.folder / _RESERVE).unlink(missing_ok=True)
        self.note(record)
        final = self.folder.with_name(self.id)
        self.folder.rename(final)
        _sync(final.parent)
        return final


def _safe(name: str) -> str:
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".") or "_"
    if len(safe) <= _LONGEST:
        return safe
    # Nodes whose numbers make no ranges; the kernel takes 255.
    return f"{safe[:100]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}-{safe[-50:]}"


@contextlib.contextmanager
def open_again(runs_dir: Path, run: str) -> Iterator[OpenRun]:
    """Go on with a run that was broken off or killed, under its ID.

    Raises HostError if somebody else does so already, or if its folder cannot be used.
    """
    final, folder = runs_dir / run, runs_dir / (run + PARTIAL)
    try:
        if final.exists():
            final.rename(folder)
        descriptor = _lock(folder)
    except OSError as error:
        raise HostError(f"cannot go on with the run {run}: {error.strerror}") from error
    if descriptor is None:
        raise HostError(f"the run {run} goes on already")
    try:
        _reserve(folder / _RESERVE)
        yield OpenRun(run, folder)
    finally:
        (folder / _RESERVE).unlink(missing_ok=True)
        os.close(descriptor)


def cut_off(runs_dir: Path) -> Iterator[RunRecord]:
    """The records of runs that were broken off or killed, newest first; of those that were killed as they last were."""
    folders = [*incomplete(runs_dir), *(runs_dir / run for run in complete(runs_dir))]
    for folder in sorted(folders, key=run_of, reverse=True):
        with contextlib.suppress(OSError, ValueError, RecursionError):
            record = from_json(json.loads((folder / RECORD).read_text(encoding="utf-8")))
            if record.incomplete:
                yield record


@contextlib.contextmanager
def open_run(runs_dir: Path, *, at: datetime, bed: str, workload: str) -> Iterator[OpenRun]:
    """Begin a run in a folder of its own. Left without `finish`, the folder stays as it is, unless it is empty.

    Raises HostError if the folder cannot be made.
    """
    stem = f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{bed}-{workload}"
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
        name, descriptor = _claim(runs_dir, stem)
    except OSError as error:
        raise HostError(f"cannot make a folder for the run in {runs_dir}: {error.strerror}") from error
    folder = runs_dir / (name + PARTIAL)
    try:
        _reserve(folder / _RESERVE)
        yield OpenRun(name, folder)
    finally:
        with contextlib.suppress(OSError):
            (folder / _RESERVE).unlink(missing_ok=True)
            folder.rmdir()
        os.close(descriptor)


def _reserve(path: Path) -> None:
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, _RESERVED)


def _claim(runs_dir: Path, stem: str) -> tuple[str, int]:
    for number in count(1):
        name = stem if number == 1 else f"{stem}-{number}"
        folder = runs_dir / (name + PARTIAL)
        if (runs_dir / name).exists():
            continue
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            descriptor = _lock(folder)
            if descriptor is not None:
                return name, descriptor
    raise AssertionError


def _lock(folder: Path) -> int | None:
    """Lock a folder; None if another process holds it, or removed it in that moment, or if it is none (a link)."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if folder.stat().st_ino == os.fstat(descriptor).st_ino:
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def complete(runs_dir: Path) -> tuple[str, ...]:
    """The IDs of all complete runs, oldest first."""
    return tuple(sorted(path.parent.name for path in runs_dir.glob(f"*/{RECORD}") if path.parent.suffix != PARTIAL))


def folder_of(runs_dir: Path, run: str) -> Path:
    """Of a complete run. Raises UsageError if there is none of that ID."""
    folder = runs_dir / run
    if folder.parent != runs_dir or folder.name == ".." or folder.suffix == PARTIAL or not (folder / RECORD).is_file():
        from vmlab.topology.wording import quote  # noqa: PLC0415  slow to import

        raise UsageError(f"there is no run {quote(run)}", hint="vmlab results list")
    return folder


def read(runs_dir: Path, run: str) -> RunRecord:
    """One complete run. Raises UsageError if there is none of that ID, WorkloadError if its record is damaged."""
    path = folder_of(runs_dir, run) / RECORD
    try:
        return from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        why = " ".join(str(error).split())[:_LONGEST]
        raise WorkloadError(f"{path} cannot be read: {why}", hint=f"ls -l {path.parent}") from error


def latest(runs_dir: Path) -> tuple[RunRecord | None, tuple[WorkloadError, ...]]:
    """The newest run that can be read, None if there is none; and what is wrong with those that are newer."""
    damaged: list[WorkloadError] = []
    for run in reversed(complete(runs_dir)):
        try:
            return read(runs_dir, run), tuple(damaged)
        except WorkloadError as error:
            damaged.append(error)
    return None, tuple(damaged)


def incomplete(runs_dir: Path) -> tuple[Path, ...]:
    """The folders that killed runs left, oldest first; those of runs that go on are not among them."""
    return tuple(sorted(folder for folder in runs_dir.glob(f"*{PARTIAL}") if _abandoned(folder)))


def run_of(folder: Path) -> str:
    """The ID of the run that has this folder, be it complete or not."""
    return folder.name.removesuffix(PARTIAL)


def _abandoned(folder: Path) -> bool:
    descriptor = _lock(folder)
    if descriptor is None:
        return False
    os.close(descriptor)
    return True


def remove(runs_dir: Path, run: str) -> None:
    """A complete run, folder and all: it is no run any more before its files go. Raises UsageError, HostError."""
    folder = folder_of(runs_dir, run)
    going = folder.with_name(folder.name + PARTIAL)
    try:
        folder.rename(going)
        shutil.rmtree(going)
    except OSError as error:
        raise HostError(f"{error.filename or folder}: {error.strerror}", hint=f"ls -ld {folder}") from error


def remove_incomplete(folder: Path) -> bool:
    """Remove what a killed run left; False if there is none, or if a run goes on in it."""
    descriptor = _lock(folder) if folder.suffix == PARTIAL else None
    if descriptor is None:
        return False
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise HostError(f"cannot remove {folder}: {error.strerror}") from error
    finally:
        os.close(descriptor)
    return True
