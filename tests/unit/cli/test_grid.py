"""Tables as text: what is put together here looks as Rich makes it."""

import io
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from vmlab.report.grid import Cell, Grid

words = st.text(string.ascii_letters + string.digits + " []:/-_.", max_size=12).map(str.strip)
cells = words | st.builds(Cell, words, st.sampled_from(["green", "red", "dim", ""]))
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    grid = Grid(*draw(st.lists(words.filter(bool), min_size=1, max_size=4)))
    if draw(st.booleans()):
        grid.add_column("RIGHT", right=True)
    for row in draw(st.lists(st.lists(cells, min_size=len(grid.columns), max_size=len(grid.columns)), max_size=4)):
        grid.add_row(*row)
    return grid


def by_rich(grid: Grid, width: int = 500, **settings: bool) -> list[str]:
    to = io.StringIO()
    Console(file=to, width=width, highlight=False, markup=False, emoji=False, **settings).print(grid)  # type: ignore[arg-type]
    return [line.rstrip() for line in to.getvalue().splitlines()]


@given(grids())
def test_plain_tables_are_as_rich_makes_them(grid: Grid) -> None:
    text = grid.text(None, coloured=False)
    assert text is not None
    assert text.splitlines() == by_rich(grid)


@given(grids())
def test_colours_change_nothing_else(grid: Grid) -> None:
    text = grid.text(None, coloured=True)
    assert text is not None
    assert ESCAPES.sub("", text).splitlines() == by_rich(grid)


def test_headings_and_cells_have_their_colours() -> None:
    grid = Grid("NODE", "STATE")
    grid.add_row("oss1", Cell("running", "green"))
    assert grid.text(80, coloured=True) == "\x1b[1mNODE\x1b[0m  \x1b[1mSTATE\x1b[0m\noss1  \x1b[32mrunning\x1b[0m\n"


@pytest.mark.parametrize("cell", ["ä", "漢", "two\nlines", "\x1b[2J", "\t"])
def test_what_is_not_one_column_a_character_is_for_rich(cell: str) -> None:
    grid = Grid("A")
    grid.add_row(cell)
    assert grid.text(None, coloured=False) is None


def test_what_is_too_wide_and_what_has_many_colours_is_for_rich() -> None:
    grid = Grid("A", "B")
    grid.add_row("x" * 10, "y" * 10)
    assert grid.text(22, coloured=False) is not None
    assert grid.text(21, coloured=False) is None
    grid.add_row("a", Text("b", "red"))
    assert grid.text(None, coloured=False) is not None
    assert grid.text(None, coloured=True) is None
