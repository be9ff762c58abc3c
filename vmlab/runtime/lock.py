"""Locks are `flock`: the kernel frees them when their owner dies. A lock tells who holds it and since when."""

import contextlib
import fcntl
import getpass
import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from vmlab.errors import BusyError, HostError
from vmlab.runtime.wait import Deadline, sleep


# /run/lock is world-writable on all distributions that we know, so that beds of one host exclude each other
# whoever runs vmlab; it does not survive a reboot, and neither does any lock.
def _folder() -> Path:
    return Path(os.environ.get("VMLAB_LOCK_DIR", "/run/lock")) / "vmlab"



@contextlib.contextmanager
def held(name: str, *, what: str, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the lock `name` for the `with` block; the file is gone afterwards.

    Raises BusyError after `wait_s` seconds, naming the owner: user, process, command line, since when.
    """
    path = _folder() / f"{name}.lock"
    descriptor = _acquire(path, what, Deadline.after(wait_s))
    try:
        owner = {
            "user": getpass.getuser(),
            "pid": os.getpid(),
            "command": " ".join(Path(a).name if i == 0 else a for i, a in enumerate(sys.argv)),
            "since": datetime.now(UTC).astimezone().isoformat(timespec="seconds"),
        }
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(owner).encode(), 0)
        yield
    finally:
        # Unlink while still holding it: whoever opened the old file finds out in `_acquire` and opens anew.
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _acquire(path: Path, what: str, deadline: Deadline) -> int:
    while True:
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(descriptor, 4096, 0)
            os.close(descriptor)
            if deadline.passed:
                raise _busy(what, owner) from None
            sleep(0.05)
            continue
        with contextlib.suppress(FileNotFoundError):
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.parent.chmod(0o777)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise HostError(f"cannot open the lock {path}: {error.strerror}", hint=f"ls -ld {path.parent}") from error
    with contextlib.suppress(PermissionError):
        os.fchmod(descriptor, 0o666)
    return descriptor


def _busy(what: str, owner: bytes) -> BusyError:
    try:
        told = json.loads(owner)
        by = f"{told['user']} (pid {told['pid']}) with `{told['command']}` since {told['since']}"
        hint = f"wait for it, or: kill {told['pid']}"
    except (ValueError, KeyError, TypeError):
        by, hint = "another vmlab", "try again in a moment"
    return BusyError(f"{what} is in use by {by}", hint=hint)
