"""The place of an ssh control socket: private to one process and one guest, and nothing is left of it in the end."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from vmlab.errors import HostError

_PREFIX = "mux."


class ControlFolder:
    """A folder inside the bed's, locked (flock) as long as its owner lives.

    Two vmlabs at one bed do not take each other's sockets. What a killed vmlab left is removed by the next that
    connects to any guest of the bed, and with the bed's folder by `down`.
    """

    def __init__(self, parent: Path) -> None:
        """Raises HostError if `parent` is not there or cannot be written."""
        try:
            with _locked(parent):
                _sweep(parent)
                self._folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}.", dir=parent))
                self._descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
                fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        except OSError as error:
            raise HostError(f"{parent}: {error.strerror}", hint=f"ls -ld {parent}") from error

    @property
    def socket(self) -> str:
        """The socket's path by way of our descriptor: a folder's own path may exceed the 107 bytes of `sun_path`."""
        return f"/proc/{os.getpid()}/fd/{self._descriptor}/s"

    def remove(self) -> None:
        """Give it up."""
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._descriptor)


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
    """Remove the folders of the dead. Our own process's are skipped unlooked: two hundred guests make many."""
    for folder in parent.glob(f"{_PREFIX}*"):
        if folder.name.startswith(f"{_PREFIX}{os.getpid()}."):
            continue
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)
