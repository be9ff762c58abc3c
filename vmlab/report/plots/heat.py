"""Figures over two labels, as a map."""

from collections.abc import Callable, Sequence
from math import nan
from textwrap import fill
from typing import TYPE_CHECKING

from vmlab.report.plots.chart import HeatMap
from vmlab.report.plots.look import MUTED, WIDTH_IN
from vmlab.report.plots.numbers import cell, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WRITTEN = 150
_COLUMNS = 12
_LONG = 5


def draw_heat(figure: "Figure", chart: HeatMap) -> None:
    """Cells with their figures in them, as long as there are few; hatched where nothing was measured."""
    from matplotlib import colormaps  # noqa: PLC0415  slow to import

    axes = figure.subplots()
    mesh = axes.pcolormesh(
        [[nan if v is None else v for v in row] for row in chart.cells], cmap=colormaps["cividis"], edgecolors="none"
    )
    axes.patch.set(hatch="///", edgecolor=MUTED)
    axes.grid(visible=False)
    known = [value for row in chart.cells for value in row if value is not None]
    least, most = min(known), max(known)
    few = len(chart.rows) * len(chart.columns) <= _WRITTEN and len(chart.columns) <= _COLUMNS
    for y, row in enumerate(chart.cells if few else ()):
        for x, value in enumerate(row):
            if value is not None:
                dark = most > least and (value - least) / (most - least) < 0.5  # noqa: PLR2004 (cividis' middle)
                axes.text(
                    x + 0.5,
                    y + 0.5,
                    cell(value),
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="#ffffff" if dark else "#000000",
                )
    _named(axes.set_xticks, chart.columns, rotated=max(map(len, chart.columns)) * len(chart.columns) > 50)  # noqa: PLR2004
    _named(axes.set_yticks, chart.rows, rotated=False)
    axes.set_xlabel(chart.x)
    axes.set_ylabel(chart.y)
    axes.set_title(fill(chart.title, 56))
    bar = figure.colorbar(mesh, ax=axes, label=chart.unit, format=lambda value, _place=None: short(value))
    bar.outline.set_visible(False)
    longest = max(map(len, chart.columns)) if len(chart.columns) * max(map(len, chart.columns)) > 50 else 0  # noqa: PLR2004
    figure.set_size_inches(
        WIDTH_IN, 1.3 + 0.3 * max(4, min(len(chart.rows), 20)) + 0.05 * longest + len(chart.title) // 56 * 0.2
    )


def _named(set_ticks: Callable[..., object], names: Sequence[str], *, rotated: bool) -> None:
    step = -(-len(names) // 20)
    form = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if rotated else {}
    set_ticks([place + 0.5 for place in range(0, len(names), step)], [name[:40] for name in names[::step]], **form)
