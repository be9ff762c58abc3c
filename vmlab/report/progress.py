"""What is going on, as it goes on: a live line per node on a terminal, else one plain line per event."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TextIO

from vmlab.lab.ground.progress import Progress
from vmlab.runtime.wait import now
from vmlab.values.printable import printable

if TYPE_CHECKING:
    from vmlab.lab.beds.status import NodeStatus


class Plain:
    """One line per event, with the seconds since the beginning."""

    def __init__(self, to: TextIO) -> None:
        self._to = to
        self._begin = now()
        self._lock = threading.Lock()

    def stage(self, node: str, stage: str) -> None:
        """See Progress."""
        self._print(f"[{now() - self._begin:6.1f} s] {node}: {stage}")

    def say(self, line: str) -> None:
        """See Progress."""
        self._print(f"[{now() - self._begin:6.1f} s] {line}")

    def warn(self, line: str) -> None:
        """See Progress."""
        self._print(f"vmlab: warning: {line}")

    def _print(self, line: str) -> None:
        with self._lock:
            print(printable(line), file=self._to, flush=True)


@contextlib.contextmanager
def shown(nodes: Sequence[str] = ()) -> Iterator[Progress]:
    """Progress on standard error for the `with` block; live if that is a terminal."""
    if not sys.stderr.isatty():
        yield Plain(sys.stderr)
        return
    from vmlab.report.live import following  # noqa: PLC0415  slow to import

    with following(nodes) as progress:
        yield progress or Plain(sys.stderr)


@contextlib.contextmanager
def filled(nodes: "Sequence[NodeStatus]", *, live: bool) -> "Iterator[Callable[[NodeStatus], None]]":
    """A function for the `with` block that is told of nodes whose guests were asked.

    With `live`, if standard output is a terminal, all nodes are there meanwhile, and gone afterwards.
    """
    if not live or not sys.stdout.isatty():
        yield lambda _: None
        return
    from vmlab.report.live import filling  # noqa: PLC0415  slow to import

    with filling(nodes) as tell:
        yield tell
