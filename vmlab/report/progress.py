"""What is going on, as it goes on: a live line per node on a terminal, else one plain line per event."""

import contextlib
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vmlab.lab.ground.progress import Progress
from vmlab.report.errors import coloured
from vmlab.runtime.wait import now
from vmlab.values.printable import printable

_ENDS = ("ready", "started", "gone", "done")
_PER_SECOND = 8
_ROOM = 4  # lines of the terminal that are left to messages and to the summary


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


class Lines:
    """One live line per node: its stage, how long it has been in it, how long it took in all."""

    def __init__(self, console: Console, nodes: Sequence[str]) -> None:
        self._console = console
        self._begin = now()
        self._lock = threading.Lock()
        self._stages: dict[str, tuple[str, float]] = dict.fromkeys(nodes, ("waiting", self._begin))

    def stage(self, node: str, stage: str) -> None:
        """See Progress."""
        with self._lock:
            self._stages[node] = (printable(stage), now())

    def say(self, line: str) -> None:
        """See Progress."""
        self._console.print(Text(printable(line)), soft_wrap=True)

    def warn(self, line: str) -> None:
        """See Progress."""
        self._console.print(Text(printable(f"warning: {line}"), "yellow"), soft_wrap=True)

    def __rich__(self) -> Group:
        with self._lock:
            stages = dict(self._stages)
        open_ = {name: entry for name, entry in stages.items() if entry[0] not in _ENDS}
        room = max(1, self._console.height - _ROOM)
        shown = stages if len(stages) <= room else dict(list(open_.items())[:room])
        table = Table.grid(padding=(0, 2))
        for name, (stage, since) in shown.items():
            over = stage in _ENDS
            style = "green" if over else "dim" if stage == "waiting" else "cyan"
            seconds = (since if over else now()) - self._begin
            here = "" if over or stage == "waiting" else f"{now() - since:5.1f} s"
            mark = Text("●" if over else "○", style)
            table.add_row(mark, Text(printable(name)), Text(stage, style), here, f"{seconds:5.1f} s")
        if len(stages) == len(shown):
            return Group(table)
        hidden = len(open_) - len(shown)
        summary = f"{len(stages) - len(open_)} of {len(stages)} nodes are done"
        return Group(table, Text(summary + (f", {hidden} more are not" if hidden else ""), "bold"))


@contextlib.contextmanager
def shown(nodes: Sequence[str] = ()) -> Iterator[Progress]:
    """Progress on standard error for the `with` block; live if that is a terminal."""
    if not sys.stderr.isatty():
        yield Plain(sys.stderr)
        return
    console = Console(stderr=True, no_color=not coloured(sys.stderr))
    lines = Lines(console, nodes)
    if not console.is_terminal or console.is_dumb_terminal:
        yield Plain(sys.stderr)
        return
    with Live(lines, console=console, refresh_per_second=_PER_SECOND):
        yield lines
