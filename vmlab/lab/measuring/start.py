"""One start for the commands of many guests: each is there and waits, then one word lets all of them go.

The word comes by the command's own ssh, into a shell that has nothing left to do but to become the command. What is
measured of the start is when that shell said, here, that it goes: how far apart they were, and the way back.
"""

import contextlib
import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import IO, Self

from vmlab.runtime.wait import Deadline, now
from vmlab.shell import script
from vmlab.steps import Command

OF_A_WORD = 2
"""Files that are open for each command that waits: the ends of the pipe by which its word comes."""

_LOOK_EVERY_S = 0.1
_HERE, _GO, _GONE = "vmlab: here", "go", "vmlab: gone"
_WAIT = script(__file__, "await_word.sh")


class CommonStart:
    """Of so many commands, which are known by their places in a sequence."""

    def __init__(self, number: int) -> None:
        self._pipes: list[tuple[IO[bytes], IO[bytes]]] = []
        self._changed = threading.Condition()
        self._here: set[int] = set()
        self._gone: dict[int, float] = {}
        with contextlib.ExitStack() as opened:
            for _ in range(number):
                ends = os.pipe()
                self._pipes.append((os.fdopen(ends[0], "rb", 0), os.fdopen(ends[1], "wb", 0)))
                opened.callback(self._close)
            opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def waiting(self, argv: Command) -> Command:
        """A command that says that it is there, waits for the word on its standard input, and becomes `argv`."""
        return ("sh", "-c", _WAIT, "vmlab", _HERE, _GO, _GONE, *argv)

    def word(self, place: int) -> IO[bytes]:
        """From where the command reads the word."""
        return self._pipes[place][0]

    def hear(self, place: int) -> Callable[[str], None]:
        """What gets the lines that the command prints."""

        def line(text: str) -> None:
            with self._changed:
                if text == _HERE:
                    self._here.add(place)
                elif text == _GONE:
                    self._gone.setdefault(place, now())
                else:
                    return
                self._changed.notify_all()

        return line

    def gather(self, deadline: Deadline, hopeless: Callable[[], bool]) -> list[int]:
        """Wait until all are there, or `hopeless`; the places of those that are not."""
        with self._changed:
            while len(self._here) < len(self._pipes) and not deadline.passed and not hopeless():
                self._changed.wait(min(_LOOK_EVERY_S, deadline.left_s))
            return [place for place in range(len(self._pipes)) if place not in self._here]

    def give(self) -> None:
        """Let all go."""
        for _, end in self._pipes:
            with contextlib.suppress(BrokenPipeError):
                end.write(f"{_GO}\n".encode())

    def began(self, place: int) -> float | None:
        """When it went, of `runtime.wait.now`; None if it did not."""
        return self._gone.get(place)

    def late_s(self, place: int) -> float:
        """So long after the first."""
        return self._gone[place] - min(self._gone.values()) if place in self._gone else 0.0

    def call_off(self) -> None:
        """Who waits, or comes only now, gives up; those that went go on."""
        for _, end in self._pipes:
            end.close()

    def _close(self) -> None:
        self.call_off()
        for end, _ in self._pipes:
            end.close()


def own(stdout: str) -> str:
    """What the command itself printed."""
    _, _, rest = stdout.partition(f"{_GONE}\n")
    return rest
