"""A command with which we talk over its standard input and output; it hears of our end, however we end."""

import contextlib
import select
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from types import TracebackType
from typing import IO, Self

from vmlab.errors import HostError
from vmlab.runtime.distribution import install_hint
from vmlab.runtime.log import log
from vmlab.runtime.wait import Deadline

_CHUNK = 65536
_END_S = 10.0


class Talk:
    """Such a command, from its start to `end`. Its input is closed when this process ends, by SIGKILL too."""

    def __init__(self, argv: Sequence[str]) -> None:
        """Raises HostError if the program is not installed."""
        log.debug("$ %s", shlex.join(argv))
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 (`end` closes it)
        self._heard = b""
        try:
            self._process = subprocess.Popen(
                tuple(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._complaints,
                start_new_session=True,  # Ctrl-C is ours: what is held is let go of when the work has ended
                bufsize=0,
            )
        except FileNotFoundError as error:
            self._complaints.close()
            raise HostError(f"`{argv[0]}` is not installed", hint=install_hint(argv[0])) from error
        self._input: IO[bytes] = self._process.stdin  # type: ignore[assignment]  # both are pipes
        self._output: IO[bytes] = self._process.stdout  # type: ignore[assignment]

    def line(self, deadline: Deadline) -> str | None:
        """The next line that it says, without its newline; None when it ends first, or says none in time."""
        while b"\n" not in self._heard:
            if not select.select((self._output,), (), (), deadline.left_s)[0]:
                return None
            data = self._output.read(_CHUNK)
            if not data:
                return None
            self._heard += data
        said, _, self._heard = self._heard.partition(b"\n")
        return said.decode(errors="replace")

    def data(self, size: int, deadline: Deadline) -> bytes:
        """The next so many bytes, fewer where it ends first. Raises TimeoutError when they do not come in time."""
        while len(self._heard) < size:
            if not select.select((self._output,), (), (), deadline.left_s)[0]:
                raise TimeoutError
            more = self._output.read(_CHUNK)
            if not more:
                break
            self._heard += more
        told, self._heard = self._heard[:size], self._heard[size:]
        return told

    def tell(self, data: bytes) -> bool:
        """Say something to it; False if it hears no more."""
        try:
            left = memoryview(data)
            while left:
                left = left[self._input.write(left) or 0 :]
        except (BrokenPipeError, ValueError):
            return False
        return True

    def told_all(self) -> None:
        """Nothing more is said to it."""
        with contextlib.suppress(OSError):
            self._input.close()

    @property
    def complaint(self) -> str:
        """The last line of its standard error, "" if it has said nothing."""
        self._complaints.seek(0)
        lines = self._complaints.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def end(self) -> int:
        """Say that it may end, and see to it; its status."""
        self.told_all()
        try:
            status = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._output.close()
        self._complaints.close()
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
