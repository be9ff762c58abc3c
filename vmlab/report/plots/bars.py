"""Bars that lie, each group below its name: names may be long."""

from textwrap import wrap
from typing import TYPE_CHECKING

from vmlab.report.plots.chart import Bar, Bars
from vmlab.report.plots.curves import legend, shown
from vmlab.report.plots.look import INK, LIMIT, REFERENCE, WIDTH_IN, colour
from vmlab.report.plots.numbers import figure as written
from vmlab.report.plots.numbers import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW_IN = 0.21
_CHARACTERS = 60
_INSET = 0.008  # of the axis: beside its line
_HATCHES = {"ours": "", "native": "////", "bare": "....", "published": "\\\\\\\\"}


def draw_bars(figure: "Figure", chart: Bars) -> None:
    """Each bar has its figure behind its end."""
    axes = figure.subplots()
    top = max((bar.at.high for _, bars in chart.groups for bar in bars), default=0.0)
    top = max(top, chart.limit.value if chart.limit else 0.0) or 1.0
    row, named = 0.0, set()
    for name, bars in chart.groups:
        for text in wrap(name, _CHARACTERS, break_on_hyphens=False):
            row += 1
            axes.text(_INSET * top, row, text, va="center", ha="left", fontsize=9, color=INK)
        for bar in bars:
            row += 1
            _bar(axes, bar, row, top, label="_" if bar.name in named else shown(bar.name))
            named.add(bar.name)
        row += 0.6
    if chart.limit is not None:
        axes.axvline(chart.limit.value, color=LIMIT, linestyle=(0, (8, 3, 1, 3)), linewidth=1.4, label=chart.limit.name)
    axes.set_ylim(row + 0.4, 0.2)
    axes.set_xlim(0, top * 1.18)
    axes.set_yticks([])
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_formatter(lambda value, _: short(value, top))
    axes.locator_params(axis="x", nbins=6)
    axes.set_xlabel(chart.y.label)
    axes.set_title("\n".join(wrap(chart.title, 56)))
    rows = legend(figure, axes)
    figure.set_size_inches(WIDTH_IN, 0.95 + _ROW_IN * (row + rows + len(chart.title) // 56))


def _bar(axes: "Axes", bar: Bar, row: float, top: float, *, label: str) -> None:
    tint = REFERENCE if bar.kind == "published" else colour(bar.colour)
    filled = bar.kind == "ours" and not bar.at.doubtful
    axes.barh(
        row,
        bar.at.y,
        height=0.78,
        color=tint if filled else "none",
        edgecolor=tint,
        hatch=_HATCHES[bar.kind],
        label=label,
    )
    if bar.at.high > bar.at.low:
        reach = [[bar.at.y - bar.at.low], [bar.at.high - bar.at.y]]
        axes.errorbar(bar.at.y, row, xerr=reach, fmt="none", ecolor=INK, elinewidth=1, capsize=3)
    axes.text(bar.at.high + 0.012 * top, row, written(bar.at.y), va="center", ha="left", fontsize=9, color=INK)
