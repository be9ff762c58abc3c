"""Tables in narrow windows."""

import io

import pytest
from rich.console import Console, Group

from vmlab.report.grid import Grid
from vmlab.report.narrow import fit

HEADERS = ("NODE", "ROLE", "STATE", "STAGE", "CPUS", "MEMORY", "HOST CPUS", "ADDRESSES", "DISKS")
CELLS = ("client1", "client", "running", "cloud-init", "2", "1024MiB", "4-5", "mgmt 10.77.0.11  ib0 10.77.1.11", "root")


def drawn(width: int, *, cells: tuple[str, ...] = CELLS) -> tuple[list[str], list[str]]:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    grid = Grid(*HEADERS)
    grid.add_row(*cells)
    table = grid.__rich__()
    lost = fit(Group(table), console)
    console.print(table)
    return lost, console.file.getvalue().splitlines()  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_columns_go_before_words_break(width: int) -> None:
    lost, lines = drawn(width)
    assert all(len(line.rstrip()) <= width for line in lines)
    words = {word for line in lines for word in line.split()}
    left = len(HEADERS) - len(lost)
    assert lost == list(HEADERS[left:])
    assert words == {word for text in (*HEADERS[:left], *CELLS[:left]) for word in text.split()}


def test_a_wide_window_has_all_on_a_line_each_and_a_narrow_one_the_first_columns() -> None:
    assert (drawn(200)[0], len(drawn(200)[1])) == ([], 2)
    assert drawn(60)[0] == ["ADDRESSES", "DISKS"]
    assert drawn(5)[0] == list(HEADERS[1:])
