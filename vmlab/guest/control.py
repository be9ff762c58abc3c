"""The places of ssh control sockets: private to one process, and nothing is left of them in the end."""

import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from vmlab.errors import HostError

_PREFIX = "mux."


class _Folder:
    """A folder inside the bed's, locked (flock) as long as its owner lives; one for all guests of the bed.

    Two vmlabs at one bed do not take each other's sockets. What a killed vmlab left is removed by the next that
    connects to any guest of the bed, and with the bed's folder by `down`.
    """

    def __init__(self, parent: Path) -> None:
        with _locked(parent):
            _sweep(parent)
            self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}.", dir=parent))
            self.descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self.descriptor, fcntl.LOCK_EX)
        self.numbers = count()
        self.users = 0

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.descriptor)


_folders: dict[Path, _Folder] = {}
_guard = threading.Lock()


class ControlPlace:
    """A place for one guest's socket, and for a file beside it. It costs no descriptor of its own."""

    def __init__(self, parent: Path) -> None:
        """Raises HostError if `parent` is not there or cannot be written."""
        self._parent = parent
        with _guard:
            try:
                folder = _folders[parent] if parent in _folders else _folders.setdefault(parent, _Folder(parent))
            except OSError as error:
                raise HostError(f"{parent}: {error.strerror}", hint=f"ls -ld {parent}") from error
            folder.users += 1
        self._folder = folder
        self._name = f"s{next(folder.numbers)}"

    @property
    def socket(self) -> str:
        """The socket's path by way of our descriptor: a folder's own path may exceed the 107 bytes of `sun_path`."""
        return f"/proc/{os.getpid()}/fd/{self._folder.descriptor}/{self._name}"

    @property
    def file(self) -> Path:
        """A file that is nobody else's."""
        return self._folder.path / f"{self._name}.said"

    def remove(self) -> None:
        """Give it up; with the last the folder goes."""
        for path in (self.file, self._folder.path / self._name):
            with contextlib.suppress(OSError):
                path.unlink()
        with _guard:
            self._folder.users -= 1
            if not self._folder.users:
                del _folders[self._parent]
                self._folder.remove()


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Sweeping and making exclude each other: a folder is not swept before it is locked."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sweep(parent: Path) -> None:
    """Remove the folders of the dead."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)
