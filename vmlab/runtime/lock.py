"""Locks are `flock`: the kernel frees them when their owner dies. A lock tells who holds it and since when.

The folder is shared by all users of the host, and like /tmp it is sticky: nobody removes or replaces what another has
made. So a file that somebody else left is locked as it lies. What lies there otherwise, a link or a FIFO, is refused;
and what a file says of its owner is what another user wrote, no more.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shlex
import stat
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vmlab.errors import BusyError, HostError
from vmlab.runtime.files import open_regular, owner_name
from vmlab.runtime.wait import Deadline, sleep

_SHARED = 0o1777
_TOLD = 1000  # characters of a command line
_PIDS = 1 << 22  # PID_MAX_LIMIT
_LONGEST = 200  # bytes of a name; the kernel takes 255


# /run/lock is world-writable on all distributions that we know, so that beds of one host exclude each other
# whoever runs vmlab; it does not survive a reboot, and neither does any lock.
def _folder() -> Path:
    return Path(os.environ.get("VMLAB_LOCK_DIR", "/run/lock")) / "vmlab"


@contextlib.contextmanager
def held(name: str, *, what: str, wait_s: float = 0.0, shared: bool = False) -> Iterator[None]:
    """Hold the lock `name` for the `with` block; the file is gone afterwards if it is ours.

    Any number of vmlabs may have it `shared`, and nobody else meanwhile.

    Raises BusyError after `wait_s` seconds, naming the owner: user, process, command line, since when. Raises HostError
    if what lies there is no lock of vmlab's.
    """
    path = _folder()
    try:
        folder = _open_folder(path)
    except OSError as error:
        hint = f"ls -ld {_quoted(path)}"
        raise HostError(f"cannot use the lock folder {path}: {error.strerror}", hint=hint) from error
    try:
        file = file_name(name)
        descriptor = _acquire(path, folder, file, what, Deadline.after(wait_s), shared=shared)
        try:
            _tell(descriptor, owner())
            yield
        finally:
            _tell(descriptor, b"")
            # Removed while it is still held: whoever opened the old file finds out in `_acquire` and opens anew.
            if not shared or _locked(descriptor, folder, file, fcntl.LOCK_EX):
                with contextlib.suppress(OSError):
                    os.unlink(file, dir_fd=folder)
            os.close(descriptor)
    finally:
        os.close(folder)


def _open_folder(path: Path) -> int:
    """The folder, made if it is absent; all that follows goes through this descriptor, whatever becomes of the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = False
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o755)
        made = True
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _make_safe(path, descriptor, made=made)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _make_safe(path: Path, folder: int, *, made: bool) -> None:
    found = os.fstat(folder)
    sticky = found.st_mode & stat.S_ISVTX or not found.st_mode & stat.S_IWOTH
    if os.geteuid() == 0 and found.st_uid != 0:
        # Its owner could remove root's locks in it, sticky or not.
        os.fchown(folder, 0, 0)
        os.fchmod(folder, _SHARED)
    elif made or (not sticky and found.st_uid == os.geteuid()):
        os.fchmod(folder, _SHARED)
    elif not sticky:
        raise HostError(
            f"the lock folder {path} is not safe: everybody may remove locks of others from it",
            hint=f"sudo chmod {_SHARED:o} {_quoted(path)}",
        )


def file_name(name: str) -> str:
    """Of a lock in its folder."""
    if len(os.fsencode(name)) > _LONGEST:
        name = f"{name[:32]}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}"
    return f"{name.replace('/', '-')}.lock"


def _acquire(path: Path, folder: int, file: str, what: str, deadline: Deadline, *, shared: bool) -> int:
    while True:
        try:
            descriptor = _open(folder, file)
        except OSError as error:
            hint = f"ls -l {_quoted(path / file)}, and remove it if no vmlab runs"
            raise HostError(f"cannot open the lock {path / file}: {error.strerror}", hint=hint) from error
        held_ = _locked(descriptor, folder, file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        if held_:
            return descriptor
        owner = os.pread(descriptor, 8 * _TOLD, 0)
        os.close(descriptor)
        if held_ is False and deadline.passed:
            raise busy(what, owner)
        if held_ is False:
            sleep(0.05)


def _locked(descriptor: int, folder: int, file: str, how: int) -> bool | None:
    """The file that lies there is locked; False if somebody else has it, None if it is not the one any more."""
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    with contextlib.suppress(FileNotFoundError):
        if os.fstat(descriptor).st_ino == os.stat(file, dir_fd=folder, follow_symlinks=False).st_ino:
            return True
    return None


def _open(folder: int, file: str) -> int:
    """What lies there, else a new file.

    In this order: with O_CREAT the kernel refuses another user's file in a sticky folder, even to root
    (fs.protected_regular). One that we may only read can be locked all the same.
    """
    while True:
        with contextlib.suppress(FileNotFoundError):
            try:
                return open_regular(file, os.O_RDWR, dir_fd=folder)
            except PermissionError:
                return open_regular(file, os.O_RDONLY, dir_fd=folder)
        with contextlib.suppress(FileExistsError):
            descriptor = open_regular(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=folder)
            os.fchmod(descriptor, 0o666)
            return descriptor


def owner(*, machine: str = "") -> bytes:
    """What we say of ourselves, as JSON; `machine` is ours, for a lock on another one."""
    told = {
        "user": owner_name(os.geteuid()),
        "pid": os.getpid(),
        "command": " ".join(Path(a).name if i == 0 else a for i, a in enumerate(sys.argv))[:_TOLD],
        "since": datetime.now(UTC).astimezone().isoformat(timespec="seconds"),
    }
    told |= {"machine": machine} if machine else {}
    return json.dumps(told, ensure_ascii=False).encode(errors="backslashreplace")


def holder(name: str) -> str:
    """The command line of whoever has the lock, as he says it; "" for nobody. Nothing is locked."""
    try:
        with os.fdopen(open_regular(_folder() / file_name(name), os.O_RDONLY), "rb") as file:
            told = _word(file.read(8 * _TOLD), "command")
    except OSError:
        return ""
    # Who was killed left his word.
    return told["command"] if told is not None and Path(f"/proc/{told['pid']}").exists() else ""


def _tell(descriptor: int, owner: bytes) -> None:
    with contextlib.suppress(OSError):  # a full disk: the lock holds, and does not say whose it is
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, owner, 0)


def busy(what: str, owner: bytes) -> BusyError:
    """The error that names who has it, from what he said of himself."""
    by, hint = "another vmlab", "try again in a moment"
    told = _word(owner, "user", "command", "since")
    if told is not None:
        pid, (user, command, since) = told["pid"], (" ".join(told[t].split()) for t in ("user", "command", "since"))
        at = f" on {told['machine']}" if told["machine"] else ""
        by = f"{user} (pid {pid}{at}) with `{command}` since {since}"
        hint = f"wait for it, or{at}: kill {pid}"
    return BusyError(f"{what} is in use by {by}", hint=hint)


def _word(owner: bytes, *texts: str) -> dict[str, Any] | None:
    """What somebody said of himself: pid, these texts, machine ("": this one); None if no vmlab could have said it."""
    with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
        told: dict[str, Any] = json.loads(owner)
        pid = told["pid"]
        if isinstance(pid, int) and 1 < pid < _PIDS and all(isinstance(told[text], str) for text in texts):
            return told | {"machine": str(told.get("machine", ""))[:_TOLD]}
    return None


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
