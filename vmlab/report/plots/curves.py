"""Curves: lines with their spreads, ours and others', and panels of them over time."""

from collections.abc import Callable, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

from vmlab.report.plots.chart import Axis, Kind, Line, Lines, Panels, Point
from vmlab.report.plots.look import DASHES, GRID, LIMIT, PLOT_IN, REFERENCE, WIDTH_IN, colour, marker
from vmlab.report.plots.numbers import short, size

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MANY = 40  # points; more have no room for markers
_TICKS = 7
_LEGEND_ROW_IN = 0.2
_LEGEND_CHARACTERS = 54
_PANEL_IN = 1.25
_TOLD: dict[Kind, str] = {"native": "the same on the host", "bare": "the same on bare machines"}


def draw_lines(figure: "Figure", chart: Lines) -> None:
    """One plot, with its legend below it."""
    axes = figure.subplots()
    for line in chart.lines:
        draw_line(axes, line, len(chart.lines))
    for kind, name in _of_kinds(chart.lines):
        axes.plot([], [], color=REFERENCE, linestyle=DASHES[kind], marker="o", markerfacecolor="none", label=name)
    if chart.limit is not None:
        axes.axhline(chart.limit.value, color=LIMIT, linestyle=(0, (8, 3, 1, 3)), linewidth=1.4, label=chart.limit.name)
    _axes(axes, chart)
    axes.set_title(fill(chart.title, 56))
    rows = legend(figure, axes)
    figure.set_size_inches(
        WIDTH_IN, PLOT_IN + _LEGEND_ROW_IN * (rows + chart.title.count("\n") + len(chart.title) // 56)
    )


def draw_panels(figure: "Figure", chart: Panels) -> None:
    """Panels below each other over one time, each with its unit; the legend of all at the end."""
    found = figure.subplots(len(chart.panels), sharex=True, squeeze=False)[:, 0]
    for place, (axes, panel) in enumerate(zip(found, chart.panels, strict=True)):
        for start, end in chart.spans:
            axes.axvspan(start, end, facecolor=GRID, alpha=0.55, linewidth=0)
        for line in panel.lines:
            axes.plot(
                [point.x for point in line.points],
                [point.y for point in line.points],
                color=colour(line.colour),
                linestyle=_dashes(line.colour),
                linewidth=1.3,
                label=shown(line.name),
            )
        _axes(axes, panel)
        axes.set_ylabel("")
        axes.set_title(panel.y.label, fontsize=9, fontweight="normal")
        if place + 1 < len(chart.panels):
            axes.set_xlabel("")
    if chart.title:
        figure.suptitle(fill(chart.title, 56), x=0.01, ha="left", fontsize=11, fontweight="bold")
    rows = legend(figure, found[0])
    figure.set_size_inches(WIDTH_IN, 0.7 + _PANEL_IN * len(chart.panels) + _LEGEND_ROW_IN * rows)


def legend(figure: "Figure", axes: "Axes") -> int:
    """Below the plot, in as many columns as the names leave room for; how many lines that are. One line needs none."""
    return legend_of(figure, *axes.get_legend_handles_labels())


def legend_of(figure: "Figure", handles: Sequence[Any], labels: Sequence[str]) -> int:
    """The same of what was drawn in several axes."""
    if len(labels) < 2:  # noqa: PLR2004 (the title says what it is)
        return 0
    columns = max(1, min(3, _LEGEND_CHARACTERS // (max(map(len, labels)) + 5)))
    wrapped = [fill(label, _LEGEND_CHARACTERS, break_on_hyphens=False) for label in labels]
    figure.legend(list(handles), wrapped, loc="outside lower left", ncols=columns, handlelength=2.6)
    return -(-sum(label.count("\n") + 1 for label in wrapped) // columns)


def shown(name: str) -> str:
    """As a legend takes it: to matplotlib what begins with an underscore is hidden, and so is what has no name."""
    return f" {name}" if name.startswith("_") else name or "_"


def _of_kinds(lines: Sequence[Line]) -> list[tuple[Kind, str]]:
    """What is said once of all lines without a name that have ours' colours."""
    kinds = dict.fromkeys(line.kind for line in lines if not line.name and line.kind in _TOLD)
    return [(kind, _TOLD[kind]) for kind in kinds]


def draw_line(axes: "Axes", line: Line, of: int) -> None:
    """One of so many."""
    tint = REFERENCE if line.kind == "published" else colour(line.colour)
    xs, ys = [point.x for point in line.points], [point.y for point in line.points]
    many = len(xs) > _MANY
    form: dict[str, Any] = {"color": tint, "linestyle": DASHES[line.kind], "linewidth": 1.2 if many else 1.6}
    sign = marker(line.colour)
    hollow = line.kind != "ours"
    axes.plot(
        xs,
        ys,
        **form,
        label=shown(line.name),
        marker="" if many else sign,
        markersize=5,
        markerfacecolor="none" if hollow else tint,
        markevery=[not (point.doubtful and not hollow) for point in line.points] if not many else None,
    )
    _spread(axes, line.points, tint, band=many or of * len(xs) > 4 * _MANY)
    doubtful = [point for point in line.points if point.doubtful and not hollow]
    if doubtful and not many:
        at = [point.x for point in doubtful], [point.y for point in doubtful]
        axes.plot(*at, linestyle="none", marker=sign, markersize=5, color=tint, markerfacecolor="none", label="_")


def _spread(axes: "Axes", points: Sequence[Point], tint: str, *, band: bool) -> None:
    if not any(point.high > point.low for point in points):
        return
    xs, ys = [point.x for point in points], [point.y for point in points]
    low, high = [point.low for point in points], [point.high for point in points]
    if band:
        axes.fill_between(xs, low, high, color=tint, alpha=0.18, linewidth=0)
        return
    reach = [y - v for y, v in zip(ys, low, strict=True)], [v - y for y, v in zip(ys, high, strict=True)]
    axes.errorbar(xs, ys, yerr=reach, fmt="none", ecolor=tint, elinewidth=1, capsize=3)


def _dashes(number: int) -> str:
    return ("solid", "dashed", "dotted", "dashdot")[number // 4 % 4]


def _axes(axes: "Axes", chart: Lines) -> None:
    xs = sorted({point.x for line in chart.lines for point in line.points})
    _scale(axes.set_xscale, chart.x)
    _scale(axes.set_yscale, chart.y)
    axes.set_xlabel(fill(chart.x.label, 60))
    axes.set_ylabel(chart.y.label if len(chart.y.label) <= 34 else fill(chart.y.label, 34))  # noqa: PLR2004 (its height)
    _ticks(axes, chart.x, xs)
    top = max((point.high for line in chart.lines for point in line.points), default=0)
    top = max(top, chart.limit.value if chart.limit else 0)
    axes.yaxis.set_major_formatter(written(chart.y, top))
    axes.yaxis.set_minor_formatter("")
    if chart.y.scale == "linear":
        axes.set_ylim(0, top * 1.08 or 1)


def _scale(set_scale: Callable[..., None], axis: Axis) -> None:
    base = {"log2": 2, "log10": 10}.get(axis.scale)
    if base is None:
        set_scale("linear")
    else:
        set_scale("log", base=base)


def _ticks(axes: "Axes", axis: Axis, xs: Sequence[float]) -> None:
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415  slow to import

    axes.xaxis.set_minor_formatter("")
    if axis.form == "size" or axis.scale == "log2" or (axis.form == "count" and len(xs) <= 12):  # noqa: PLR2004 (their room)
        step = -(-len(xs) // (_TICKS if axis.form == "size" else 12))
        axes.set_xticks(xs[::step] if xs else [])
        axes.minorticks_off()
    elif axis.scale == "linear":
        axes.xaxis.set_major_locator(MaxNLocator(_TICKS, integer=axis.form == "count"))
    axes.xaxis.set_major_formatter(written(axis))
    if len(xs) == 1 and axis.scale == "linear":
        axes.set_xlim(xs[0] - 1, xs[0] + 1)


def written(axis: Axis, top: float = 0.0) -> Callable[[float, float | None], str]:
    """How numbers stand at this axis, which goes up to `top`, in the form in which matplotlib asks."""

    def write(value: float, place: float | None = None) -> str:
        del place
        return size(value) if axis.form == "size" else short(value, top)

    return write
