"""Where vmlab keeps its few files, and how they are opened and written: through no link, whole or not at all."""

import contextlib
import errno
import os
import stat
from pathlib import Path

from vmlab.errors import HostError

# A FIFO would be waited for, and a terminal would become ours.
_AS_IT_LIES = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def state_dir() -> Path:
    """`VMLAB_STATE_DIR`, else /var/lib/vmlab for root and ~/.local/share/vmlab for others.

    It holds each bed's ssh secret (`hosts/HOST/beds/BED/`), finished runs (`runs/`) and the log. What exists is asked
    from libvirt, never from here.
    """
    if set_by_user := os.environ.get("VMLAB_STATE_DIR"):
        return Path(set_by_user)
    if os.geteuid() == 0:
        return Path("/var/lib/vmlab")
    try:
        return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "vmlab"
    except RuntimeError:
        raise HostError(f"{owner_name(os.geteuid())} has no home folder", hint="VMLAB_STATE_DIR=DIR") from None


def own_state_dir() -> Path:
    """The state folder, made if it is absent. Raises OSError if it cannot be.

    Raises HostError if anybody but root and us may put files into it, or put another folder in its place: secrets
    are kept in it, and root writes there.
    """
    folder = state_dir()
    _check(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check(folder)
    return folder


def _check(folder: Path) -> None:
    if complaint := exposed(folder):
        hint = "VMLAB_STATE_DIR=DIR, with a folder of your own"
        raise HostError(f"the state folder {folder} is not safe: {complaint}", hint=hint)


def exposed(path: Path) -> str:
    """How somebody else than root and we could change what lies at `path`, or put something in its place; else ""."""
    real = Path(os.path.realpath(path))
    for part in dict.fromkeys((path, *path.absolute().parents, real, *real.parents)):
        with contextlib.suppress(FileNotFoundError):
            if complaint := _unsafe(part, last=part == real):
                return complaint
    return ""


def _unsafe(path: Path, *, last: bool) -> str:
    found = path.lstat()
    if found.st_uid not in {0, os.geteuid()}:
        what = "is a link of" if stat.S_ISLNK(found.st_mode) else "belongs to"
        return f"{path} {what} {owner_name(found.st_uid)}"
    if stat.S_ISLNK(found.st_mode):
        return ""
    # A user's own groups are the user's affair; that of root's folder is not root's.
    of_group = os.geteuid() == 0 and found.st_gid != 0 and found.st_mode & stat.S_IWGRP
    # In a sticky folder nobody replaces what another has made; what is not there yet, anybody makes.
    if (of_group or found.st_mode & stat.S_IWOTH) and (last or not found.st_mode & stat.S_ISVTX):
        return f"others may write to {path}"
    return ""


def open_regular(path: str | Path, flags: int, mode: int = 0o600, *, dir_fd: int | None = None) -> int:
    """A descriptor of a file that lies just there. Nothing is created through a link, and nothing is waited for.

    Raises OSError for a link, a file with a second name, and all that is no regular file.
    """
    try:
        descriptor = os.open(path, flags | _AS_IT_LIES, mode, dir_fd=dir_fd)
    except OSError as error:
        told = {errno.ELOOP: "it is a symbolic link", errno.ENXIO: "it is no regular file"}
        if error.errno in told:
            raise OSError(error.errno, told[error.errno], str(path)) from error
        raise
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_nlink <= 1:
        return descriptor
    os.close(descriptor)
    what = "it has a second name (a hard link)" if stat.S_ISREG(found.st_mode) else "it is no regular file"
    raise OSError(errno.EINVAL, what, str(path))


def write_atomically(path: Path, content: str | bytes, *, mode: int = 0o644) -> None:
    """Replace `path` by a complete file of this content (temporary file, fsync, rename)."""
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    import secrets  # noqa: PLC0415 - few commands write

    temporary = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}")
    descriptor = open_regular(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def owner_name(uid: int) -> str:
    """The user's name, or `uid 4711` where there is none."""
    import pwd  # noqa: PLC0415 - few commands need it

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
