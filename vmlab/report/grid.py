"""Tables. What fits is put together here, because Rich takes longer to import than most commands take otherwise."""

from itertools import zip_longest
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_GAP = 2
_CODES = {"green": "32", "yellow": "33", "red": "31", "dim": "2", "bold": "1"}


class Cell(str):
    """A cell in a colour, or "dim" or "bold"."""

    style: str
    __slots__ = ("style",)

    def __new__(cls, text: str, style: str) -> Self:
        """The text stays what it is."""
        cell = super().__new__(cls, text)
        cell.style = style
        return cell


class Grid:
    """A table of the one style that all have. Cells of many colours are Rich's."""

    def __init__(self, *columns: str) -> None:
        self.columns: list[tuple[str, bool]] = [(heading, False) for heading in columns]
        self._rows: list[tuple[str | Text, ...]] = []

    @property
    def rows(self) -> int:
        """How many there are, beside the headings."""
        return len(self._rows)

    def add_column(self, heading: str, *, right: bool = False) -> None:
        """One more, its cells to the left or to the right."""
        self.columns.append((heading, right))

    def add_row(self, *cells: "str | Text") -> None:
        """One more; cells that are left out are empty."""
        self._rows.append(cells)

    def text(self, width: int | None, *, coloured: bool) -> str | None:
        """The whole, if it is no wider than `width` and plain: else it is for Rich, which folds and counts columns."""
        headings = tuple(Cell(heading, "bold") for heading, _ in self.columns)
        rows = [headings, *self._rows]
        if not all(_plain(cell, coloured) for row in rows for cell in row):
            return None
        widths = [max(len(cell) for cell in column) for column in zip_longest(*rows, fillvalue="")]
        if width is not None and sum(widths) + _GAP * (len(widths) - 1) > width:
            return None
        return "".join(f"{self._line(row, widths, coloured)}\n" for row in rows)

    def _line(self, cells: "tuple[str | Text, ...]", widths: list[int], coloured: bool) -> str:
        parts = []
        for cell, width, (_, right) in zip(cells, widths, self.columns, strict=False):
            text, room = str(cell), " " * (width - len(cell))
            code = _CODES.get(getattr(cell, "style", "")) if coloured else None
            painted = f"\x1b[{code}m{text}\x1b[0m" if code and text else text
            parts.append(room + painted if right else painted + room)
        return (" " * _GAP).join(parts).rstrip()

    def __rich__(self) -> "Table":
        from rich.table import Table  # noqa: PLC0415  slow to import
        from rich.text import Text  # noqa: PLC0415

        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0))
        for heading, right in self.columns:
            table.add_column(heading, overflow="fold", justify="right" if right else "left")
        for row in self._rows:
            table.add_row(*(Text(cell, cell.style) if isinstance(cell, Cell) else cell for cell in row))
        return table


def _plain(cell: "str | Text", coloured: bool) -> bool:
    """Each of its characters takes one column, and its style, if that is to be seen, is one of ours."""
    text = str(cell)
    return text.isascii() and text.isprintable() and (isinstance(cell, str) or not coloured)
