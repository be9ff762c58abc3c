"""Curves before columns over the same x: two axes with as many steps, so that one grid is that of both."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import ceil, floor, log2, log10
from textwrap import fill
from typing import TYPE_CHECKING, Any

from vmlab.report.plots.chart import Axis, Line, Mixed, Point
from vmlab.report.plots.curves import draw_line, legend_of, shown, written
from vmlab.report.plots.look import INK, LIMIT, PLOT_IN, REFERENCE, WIDTH_IN, colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STEPS = 5
_ROW_IN = 0.2
_NICE = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)
_FILLED = 0.8  # of the room between two x
_AIR = 1.04
_SOLID = 0.45  # opaque: lines are seen before it
_LABEL, _TITLE = 34, 56  # characters
_HATCHES = {"ours": "", "native": "////", "bare": "....", "published": "\\\\\\\\"}


def draw_mixed(figure: "Figure", chart: Mixed) -> None:
    """Axes to the left for the lines, to the right for the columns; the legend of both below."""
    right = figure.subplots()
    left = right.twinx()
    series = [*chart.lines.lines, *chart.columns.lines]
    xs = sorted({point.x for line in series for point in line.points})
    places = {x: log2(x) if chart.lines.x.scale == "log2" else x for x in xs}
    _columns(right, chart.columns.lines, places)
    for line in chart.lines.lines:
        moved = [Point(places[p.x], p.y, p.low, p.high, p.doubtful) for p in line.points]
        draw_line(left, Line(line.name, moved, line.kind, line.colour), len(chart.lines.lines))
    if (limit := chart.lines.limit) is not None:
        left.axhline(limit.value, color=LIMIT, linestyle=(0, (8, 3, 1, 3)), linewidth=1.4, label=limit.name)
    steps = _upwards(left, chart.lines.y, max(_top(chart.lines.lines), limit.value * _AIR if limit else 0))
    _upwards(right, chart.columns.y, _top(chart.columns.lines), steps)
    left.yaxis.tick_left()
    right.yaxis.tick_right()
    left.yaxis.set_label_position("left")
    right.yaxis.set_label_position("right")
    left.grid(visible=False)  # it would lie on the columns
    right.grid(visible=False, axis="x")
    right.spines["right"].set_visible(True)
    right.set_xlabel(chart.lines.x.label)
    right.set_xticks(list(places.values()), [written(chart.lines.x)(x, None) for x in xs])
    right.set_title(fill(chart.title, _TITLE))
    handles, names = (a + b for a, b in zip(*(axes.get_legend_handles_labels() for axes in (left, right)), strict=True))
    rows = legend_of(figure, handles, names)
    figure.set_size_inches(WIDTH_IN, PLOT_IN + _ROW_IN * (rows + len(chart.title) // _TITLE))


def _columns(axes: "Axes", lines: Sequence[Line], places: Mapping[float, float]) -> None:
    at = sorted(places.values())
    room = min((later - earlier for earlier, later in pairwise(at)), default=1.0) * _FILLED
    width = room / max(1, len(lines))
    for number, line in enumerate(lines):
        tint = REFERENCE if line.kind == "published" else colour(line.colour)
        xs = [places[point.x] - room / 2 + width * (number + 0.5) for point in line.points]
        ys = [point.y for point in line.points]
        form: dict[str, Any] = {"edgecolor": tint, "linewidth": 0.8, "hatch": _HATCHES[line.kind]}
        fills = [(tint, _SOLID) if line.kind == "ours" and not point.doubtful else "none" for point in line.points]
        axes.bar(xs, ys, width * 0.9, color=fills, label=shown(line.name), **form)
        if any(point.high > point.low for point in line.points):
            reach = [[p.y - p.low for p in line.points], [p.high - p.y for p in line.points]]
            axes.errorbar(xs, ys, yerr=reach, fmt="none", ecolor=INK, elinewidth=0.8, capsize=1.5)


def _top(lines: Sequence[Line]) -> float:
    return max((point.high for line in lines for point in line.points), default=0) * _AIR


def _upwards(axes: "Axes", y: Axis, top: float, steps: int = 0) -> int:
    """From 0 in steps that are easily read: so many of them, or about five."""
    top = top or 1.0
    step = _nice(top / (steps or _STEPS))
    many = steps or ceil(top / step)
    axes.set_ylim(0, many * step)
    axes.set_yticks([number * step for number in range(many + 1)])
    axes.set_ylabel(fill(y.label, _LABEL))
    axes.yaxis.set_major_formatter(written(y, many * step))
    return many


def _nice(value: float) -> float:
    """The next one that is as large or larger."""
    power = 10.0 ** floor(log10(value))
    return next(nice * power for nice in _NICE if nice * power >= value * 0.999999)
