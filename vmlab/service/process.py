"""The process of a bed's service: one at a time, known by a lock that the kernel frees when it dies.

The lock lies in the bed's own folder, where nobody else writes, and tells the process, its version and what it does.
"""

import contextlib
import fcntl
import hashlib
import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from vmlab import __version__
from vmlab.errors import BusyError
from vmlab.runtime.files import open_regular
from vmlab.runtime.wait import Deadline, until

LOG = "power.log"
_LOCK = "power.lock"
_ENDS_S, _LOOKS_S = 10.0, 1.0
_MOST = 100


@contextlib.contextmanager
def claimed(folder: Path, what: str = "") -> Iterator[None]:
    """Be the service for the `with` block; `what` it does is one word. Raises BusyError if there is one."""
    descriptor = open_regular(folder / _LOCK, os.O_RDWR | os.O_CREAT)
    try:
        # Whoever looks whether there is one has the lock for a moment.
        if not until(lambda: _locked(descriptor), Deadline.after(_LOOKS_S), every_s=0.05):
            raise BusyError("another process is the bed's power service already")
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {_told(what)}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def alive(folder: Path, what: str = "") -> bool:
    """A service of this version that does `what` is there."""
    found = _holder(folder)
    return found is not None and found[1] == _told(what)


def digest(words: Iterable[str]) -> str:
    """One word for what a service does."""
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]


def begin(folder: Path, argv: Sequence[str]) -> None:
    """Start it, apart from us: it stays when we are gone. A second one ends by itself."""
    from vmlab.runtime.process import begin_apart  # noqa: PLC0415  who only looks does not pay for it

    begin_apart(argv, output=folder / LOG)


def end(folder: Path) -> None:
    """Return when there is none any more."""
    found = _holder(folder)
    if found is None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(found[0], number)
        if until(lambda: _holder(folder) is None, Deadline.after(_ENDS_S), every_s=0.05):
            return


def _holder(folder: Path) -> tuple[int, str] | None:
    """The process that is the service, and what it said of itself; None if there is none, or it has only begun."""
    try:
        descriptor = open_regular(folder / _LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        if _locked(descriptor):
            return None
        number, _, version = os.pread(descriptor, _MOST, 0).decode(errors="replace").strip().partition(" ")
    finally:
        os.close(descriptor)
    return (int(number), version) if number.isdecimal() and int(number) > 1 else None


def _told(what: str) -> str:
    return f"{__version__} {what}".rstrip()


def _locked(descriptor: int) -> bool:
    """It is locked now, until it is closed."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
