"""The log: every command, libvirt action and traceback of one vmlab process, in a file that errors can point to."""

import contextlib
import io
import logging
import os
from collections.abc import Callable
from pathlib import Path

from vmlab.errors import HostError
from vmlab.runtime.files import open_regular, own_state_dir, state_dir
from vmlab.values.printable import printable

_NAME = "vmlab.log"

log = logging.getLogger("vmlab")
log.setLevel(logging.WARNING)
log.addHandler(logging.NullHandler())
log.propagate = False


_FULL = 4_000_000  # bytes: the next command begins a new file
_OLDER = 2


class _File(logging.FileHandler):
    """What guests say is written so that it steers no terminal that shows the log."""

    def _open(self) -> io.TextIOWrapper:
        descriptor = open_regular(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        return os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace")

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def log_path() -> str:
    """Where the log is, or will be."""
    try:
        return str(state_dir() / _NAME)
    except HostError:
        return f"{_NAME} in VMLAB_STATE_DIR"


def open_log() -> str:
    """Write the log to `vmlab.log` in the state folder from now on; its path, or "" if it cannot be written.

    Where this process wrote it before it does not any more. Raises HostError if others could put something else into
    its place.
    """
    try:
        path = own_state_dir() / _NAME
        _make_room(path)
        handler = _File(path)
    except OSError:
        return ""
    handler.setFormatter(logging.Formatter(f"%(asctime)s {os.getpid()} %(threadName)s %(message)s"))
    for before in [other for other in log.handlers if isinstance(other, _File)]:
        log.removeHandler(before)
        before.close()
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    # No line says where in the code it comes from, or by which process's name: the logging HOWTO's "Optimization".
    logging._srcfile = None  # noqa: SLF001
    logging.logProcesses = logging.logMultiprocessing = False
    return str(path)


def _make_room(path: Path) -> None:
    """A full log becomes `vmlab.log.1`. Only here: several commands may write to one file, and none takes it away."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat(follow_symlinks=False).st_size < _FULL:
            return
        for number in range(_OLDER, 0, -1):
            newer = path.with_name(f"{path.name}.{number - 1}") if number > 1 else path
            if newer.exists():
                newer.replace(path.with_name(f"{path.name}.{number}"))


def open_lasting_log(path: Path) -> None:
    """Write the log of a process that lasts there from now on, without details; when it is full it begins anew.

    What was before is kept in `NAME.1`. Raises OSError.
    """
    from logging.handlers import RotatingFileHandler  # noqa: PLC0415  slow to import

    class _Lasting(RotatingFileHandler):
        def format(self, record: logging.LogRecord) -> str:
            return printable(super().format(record))

    handler = _Lasting(path, maxBytes=_FULL // 4, backupCount=1, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(threadName)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)


class _Told(logging.Handler):
    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell
        self._told: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if record.levelno == logging.WARNING and line not in self._told:
            self._told.add(line)
            self._tell(line)


def tell_warnings(tell: Callable[[str], None]) -> None:
    """From now on, and instead of who was told before: each warning of the log once, however often it is looked at."""
    for handler in [handler for handler in log.handlers if isinstance(handler, _Told)]:
        log.removeHandler(handler)
    log.addHandler(_Told(tell))
