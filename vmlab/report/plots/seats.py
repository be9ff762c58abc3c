"""A host's CPUs as boxes, and which nodes' virtual CPUs may run on each."""

from textwrap import wrap
from typing import TYPE_CHECKING

from vmlab.report.plots.chart import Seat, Seats
from vmlab.report.plots.look import INK, MUTED, WIDTH_IN, colour
from vmlab.values.cpuset import cpu_list

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_IN_ROW = 16
_ROW_IN = 0.4
_LINE_IN = 0.19
_NUMBERS = 4
_CHARACTERS = 62


def draw_seats(figure: "Figure", chart: Seats) -> None:
    """In a box its CPU's number and the numbers of its nodes, which are told below."""
    from matplotlib.patches import Rectangle  # noqa: PLC0415  slow to import

    axes = figure.subplots()
    lines = [part for number, seat in enumerate(chart.seats, 1) for part in _said(number, seat)]
    rows = -(-chart.count // _IN_ROW)
    for cpu in range(chart.count):
        x, y = cpu % _IN_ROW, cpu // _IN_ROW
        on = [(number, seat) for number, seat in enumerate(chart.seats, 1) if cpu in seat.cpus]
        pinned = [number for number, seat in on if seat.pinned]
        tint = colour(pinned[0] - 1) if pinned else MUTED
        axes.add_patch(
            Rectangle(
                (x + 0.05, y + 0.06), 0.9, 0.88, facecolor="none", edgecolor=tint, linewidth=1.8 if pinned else 0.7
            )
        )
        if pinned:
            axes.add_patch(Rectangle((x + 0.05, y + 0.06), 0.9, 0.88, facecolor=tint, alpha=0.22, linewidth=0))
        axes.text(x + 0.12, y + 0.3, str(cpu), fontsize=6.5, color=INK, va="center", ha="left")
        axes.text(
            x + 0.5,
            y + 0.66,
            _numbers([number for number, _ in on]),
            fontsize=8,
            color=INK,
            va="center",
            ha="center",
            fontweight="bold" if pinned else "normal",
        )
    for place, line in enumerate(lines):
        axes.text(0.05, rows + 0.35 + place * _LINE_IN / _ROW_IN, line, fontsize=9, color=INK, va="center", ha="left")
    height = rows + (len(lines) + 0.5) * _LINE_IN / _ROW_IN
    axes.set(xlim=(0, _IN_ROW), ylim=(height, 0))
    axes.set_axis_off()
    axes.set_title("\n".join(wrap(chart.title, 56)))
    figure.set_size_inches(WIDTH_IN, 0.4 + _ROW_IN * height)


def _said(number: int, seat: Seat) -> list[str]:
    how = "pinned to" if seat.pinned else "floats over"
    return wrap(f"{number}  {seat.node} {how} {cpu_list(seat.cpus)}", _CHARACTERS, subsequent_indent="    ")


def _numbers(on: list[int]) -> str:
    return " ".join(map(str, on)) if len(on) < _NUMBERS else f"{on[0]} +{len(on) - 1}"
