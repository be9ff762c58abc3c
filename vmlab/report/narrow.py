"""Tables on narrow terminals: columns go, from the right, before words break."""

from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.table import Column, Table

_GAP = 2
_ANY = 10_000


def fit(renderable: RenderableType, console: Console) -> list[str]:
    """Make the tables in it fit the console; the headers of the columns that they lost, left to right.

    What is left is as wide as its words need, and what room there is then goes to the columns from the left.
    """
    if isinstance(renderable, Group):
        return [header for part in renderable.renderables for header in fit(part, console)]
    if not isinstance(renderable, Table):
        return []
    sizes = [_size(column, console) for column in renderable.columns]
    shown = len(sizes)
    while shown > 1 and _width([size.minimum for size in sizes[:shown]]) > console.width:
        shown -= 1
    lost = [str(column.header) for column in renderable.columns[shown:]]
    del renderable.columns[shown:]
    spare = max(0, console.width - _width([size.minimum for size in sizes[:shown]]))
    for column, size in zip(renderable.columns, sizes, strict=False):
        more = min(spare, size.maximum - size.minimum)
        column.width = size.minimum + more
        spare -= more
    return lost


def _size(column: Column, console: Console) -> Measurement:
    """The longest word, and the longest line."""
    wide = console.options.update(width=_ANY)
    sizes = [Measurement.get(console, wide, cell) for cell in (column.header, *column.cells)]
    return Measurement(max(size.minimum for size in sizes), max(size.maximum for size in sizes))


def _width(columns: list[int]) -> int:
    return sum(columns) + _GAP * (len(columns) - 1)
