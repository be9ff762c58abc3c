"""What Rich prints: tables that have to be folded, several parts, cells of many colours."""

import sys
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.text import Text

from vmlab.report.grid import Grid
from vmlab.report.narrow import fit
from vmlab.values.printable import printable

_UNLIMITED = 10_000
AS_IT_IS: "dict[str, Any]" = {"highlight": False, "markup": False, "emoji": False}
"""A cell may be called [red] or :smile:."""


class Printable:
    """What the cells say steers no terminal."""

    def __init__(self, renderable: RenderableType) -> None:
        self._renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._renderable, options):
            yield Segment(printable(segment.text), segment.style, segment.control)


def print_richly(renderable: RenderableType, *, terminal: bool, coloured: bool) -> None:
    """Print on standard output; as wide as it needs where that is no terminal, and without columns in a narrow one."""
    renderable = _tables(renderable)
    if terminal:
        console = Console(no_color=not coloured, **AS_IT_IS)
        lost = fit(renderable, console)
        console.print(Printable(renderable))
        if lost:
            console.print(Text(f"in a wider window, or a pipe: {', '.join(lost)}", "dim"))
        return
    console = Console(width=_UNLIMITED, no_color=True, force_terminal=False, **AS_IT_IS)
    with console.capture() as captured:
        console.print(Printable(renderable))
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().split("\n")[:-1]))


def _tables(renderable: RenderableType) -> RenderableType:
    """The same, of Rich's own tables, from which columns can be taken."""
    if isinstance(renderable, Group):
        return Group(*map(_tables, renderable.renderables))
    return renderable.__rich__() if isinstance(renderable, Grid) else renderable
