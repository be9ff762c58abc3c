"""A host's CPUs as boxes, and which nodes' virtual CPUs may run on each."""

from textwrap import wrap
from typing import TYPE_CHECKING, Any

from vmlab.report.plots.chart import Seat, Seats
from vmlab.report.plots.look import INK, MUTED, WIDTH_IN, colour
from vmlab.values.cpuset import cpu_list

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_IN_ROW = 16
_ROW_IN = 0.4
_LINE_IN = 0.19
_HEADING = 0.6  # rows
_NUMBERS = 4
_CHARACTERS = 62


def draw_seats(figure: "Figure", chart: Seats) -> None:
    """In a box its CPU's number and the numbers of its nodes, which are told below."""
    axes = figure.subplots()
    y = 0.0
    for cell, cpus in chart.cells or (("", range(chart.count)),):
        if cell:
            axes.text(0.05, y + 0.3, f"cell {cell}", fontsize=9, color=MUTED, va="center", ha="left")
            y += _HEADING
        for place, cpu in enumerate(cpus):
            _box(axes, chart, cpu, (place % _IN_ROW, y + place // _IN_ROW))
        y += -(-len(cpus) // _IN_ROW)
    y += 0.35
    for number, seat in enumerate(chart.seats, 1):
        axes.text(0.05, y, str(number), fontsize=9, color=INK, va="center", ha="left")
        for line in _said(seat):
            axes.text(0.75, y, line, fontsize=9, color=INK, va="center", ha="left")
            y += _LINE_IN / _ROW_IN
    height = y
    axes.set(xlim=(0, _IN_ROW), ylim=(height, 0))
    axes.set_axis_off()
    axes.set_title("\n".join(wrap(chart.title, 56)))
    figure.set_size_inches(WIDTH_IN, 0.4 + _ROW_IN * height)


def _box(axes: "Axes", chart: Seats, cpu: int, at: tuple[float, float]) -> None:
    from matplotlib.patches import Rectangle  # noqa: PLC0415  slow to import

    x, y = at
    on = [(number, seat) for number, seat in enumerate(chart.seats, 1) if cpu in seat.cpus]
    pinned = [number for number, seat in on if seat.pinned]
    tint = colour(pinned[0] - 1) if pinned else MUTED
    width = 1.8 if pinned else 0.7
    axes.add_patch(Rectangle((x + 0.05, y + 0.06), 0.9, 0.88, facecolor="none", edgecolor=tint, linewidth=width))
    if pinned:
        axes.add_patch(Rectangle((x + 0.05, y + 0.06), 0.9, 0.88, facecolor=tint, alpha=0.22, linewidth=0))
    axes.text(x + 0.12, y + 0.3, str(cpu), fontsize=6.5, color=INK, va="center", ha="left")
    told: dict[str, Any] = {"fontsize": 8, "fontweight": "bold" if pinned else "normal"}
    numbers = _numbers([number for number, _ in on])
    axes.text(x + 0.5, y + 0.66, numbers, color=INK, va="center", ha="center", **told)


def _said(seat: Seat) -> list[str]:
    how = "pinned to" if seat.pinned else "floats over"
    remote = f", {100 * seat.remote:.3g} % of its memory in another cell" if seat.remote else ""
    return wrap(f"{seat.node} {how} {cpu_list(seat.cpus)}{remote}", _CHARACTERS, break_on_hyphens=False)


def _numbers(on: list[int]) -> str:
    return " ".join(map(str, on)) if len(on) < _NUMBERS else f"{on[0]} +{len(on) - 1}"
