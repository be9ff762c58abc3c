"""What changes while one looks at it, on a terminal: a line per node, or the rows of `status`."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vmlab.report.errors import coloured
from vmlab.report.richly import AS_IT_IS, Printable
from vmlab.report.tables import node_table
from vmlab.runtime.wait import now
from vmlab.values.printable import printable

if TYPE_CHECKING:
    from vmlab.lab.beds.status import NodeStatus

_ENDS = ("ready", "started", "gone", "done")
_PER_SECOND = 8
_ROOM = 4  # lines of the terminal that are left to messages and to the summary


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
def following(nodes: Sequence[str]) -> Iterator[Lines | None]:
    """Live lines on standard error for the `with` block; None if that terminal cannot show any."""
    console = Console(stderr=True, no_color=not coloured(sys.stderr))
    lines = Lines(console, nodes)
    if not console.is_terminal or console.is_dumb_terminal:
        yield None
        return
    with Live(lines, console=console, refresh_per_second=_PER_SECOND):
        yield lines


class _Rows:
    """The rows of `status`, of which some wait for their guests."""

    def __init__(self, nodes: "Sequence[NodeStatus]") -> None:
        self.nodes = {node.name: node for node in nodes}

    def tell(self, node: "NodeStatus") -> None:
        self.nodes[node.name] = node

    def __rich__(self) -> Printable:
        return Printable(node_table(list(self.nodes.values())))


@contextlib.contextmanager
def filling(nodes: "Sequence[NodeStatus]") -> "Iterator[Callable[[NodeStatus], None]]":
    """Rows on standard output for the `with` block, completed by what the function is told; gone afterwards."""
    console = Console(no_color=not coloured(sys.stdout), **AS_IT_IS)
    if console.is_dumb_terminal:
        yield lambda _: None
        return
    rows = _Rows(nodes)
    with Live(rows, console=console, refresh_per_second=_PER_SECOND, transient=True):
        yield rows.tell
