"""Which charts figures get. It is told by their labels: what varies, what is a number, what is a size.

A label that is a number becomes x: of several the one that leaves the fewest lines, a number of nodes before others.
What else varies tells lines apart, and plots where there would be too many lines. Two that are numbers make a map
besides. Without a number there are bars.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from vmlab.metrics import BARE, HOST, ON, VM, Metric
from vmlab.report.benchmark.figures import PLACES, Figure, Labels, labels_of, number, place
from vmlab.report.benchmark.layout import MOST_BARS, layout, parts, shared
from vmlab.report.benchmark.published import Series
from vmlab.report.plots.chart import Axis, Bar, Bars, Chart, Form, HeatMap, Kind, Limit, Line, Lines, Point

_TIMES = {"ns", "us", "ms", "s", "min"}
_COUNTED = {
    "nodes",
    "n",
    "tasks",
    "processes",
    "threads",
    "jobs",
    "clients",
    "servers",
    "streams",
    "concurrency",
    "depth",
}
_WIDE = 16  # so many times the first: powers of two
_KINDS: Mapping[str, Kind] = {VM: "ours", HOST: "native", BARE: "bare"}


@dataclass(frozen=True, slots=True)
class Drawn:
    """A chart, and what it is of: the metric, the label that is x ("" if there is none), what is the same in all of it.

    `scales`: x is a number of workers, so that the curve is one of scaling.
    """

    chart: Chart
    metric: Metric
    x: str = ""
    scales: bool = False
    notes: tuple[str, ...] = ()


def compared(found: Sequence[Figure]) -> tuple[Metric, ...]:
    """The metrics that get charts: of each group and unit the first."""
    first: dict[tuple[str, str], Metric] = {}
    for figure in found:
        first.setdefault((figure.metric.group, str(figure.metric.unit)), figure.metric)
    return tuple(first.values())


def charts(
    found: Sequence[Figure],
    metric: Metric,
    *,
    limits: Mapping[str, Limit | None] | None = None,
    published: Sequence[Series] = (),
) -> Iterator[Drawn]:
    """All charts of one metric of one workload. `limits` are the runs'; beds with different ones have a plot each."""
    ours = [figure for figure in found if figure.metric == metric]
    if not ours:
        return
    others = of_metric(published, metric)
    labels, known = labels_of(ours), limits or {}
    chosen = layout(ours, labels, known)
    for part in parts(ours, chosen.plots):
        title = titled(spoken(metric), labels, shared(part, chosen.plots))
        limit = common_limit(part, known)
        beside = [one for one in others if one.beside(constant(part))]
        if chosen.x is None:
            yield from _bars(part, labels, chosen.lines, title, other=(limit, beside))
        else:
            over = [one for one in beside if one.x == chosen.x]
            yield curves(part, labels, chosen.x, chosen.lines, title, other=(limit, over))
            yield from _maps(part, labels, chosen.x, chosen.lines, title)


def common_limit(part: Sequence[Figure], limits: Mapping[str, Limit | None]) -> Limit | None:
    """That of all their runs, if it is one."""
    own = {limits.get(figure.record.id) for figure in part}
    return own.pop() if len(own) == 1 else None


def of_metric(published: Sequence[Series], metric: Metric) -> list[Series]:
    """Those that can be drawn beside it."""
    return [one for one in published if one.metric == metric.name and one.factor(str(metric.unit)) is not None]


def constant(found: Sequence[Figure]) -> dict[str, str]:
    """The labels that all of them share."""
    values = labels_of(found).values
    return {key: some[0] for key, some in values.items() if len(some) == 1}


def titled(name: str, labels: Labels, same: Mapping[str, str]) -> str:
    """What a chart is of, and what tells it from others."""
    told = labels.phrase(same, tuple(same))
    return name + (f": {told}" if told else "")


def spoken(metric: Metric) -> str:
    """Its name in words."""
    return metric.name.replace("_", " ")


def point(figure: Figure, x: float = 0.0) -> Point:
    """The median, and the trials' least and most."""
    one = figure.summary
    return Point(x, one.median, one.minimum, one.maximum, bool(figure.reasons))


def curves(
    found: Sequence[Figure],
    labels: Labels,
    x: str,
    keys: Sequence[str],
    title: str,
    *,
    other: tuple[Limit | None, Sequence[Series]],
) -> Drawn:
    """Lines over x, told apart by `keys` and by where they were measured; `other`: a limit, and what is published."""
    limit, beside = other
    mixed = any(figure.labels.get(ON, VM) not in _KINDS for figure in found)  # groups of machines of several kinds
    keys = (*keys, ON) if mixed else keys
    grouped: dict[tuple[tuple[str, ...], str], list[Figure]] = {}
    for figure in found:
        if x in figure.labels:
            name = tuple(figure.labels.get(key, "") for key in keys)
            grouped.setdefault((name, figure.labels.get(ON, VM)), []).append(figure)
    colours = {name: n for n, name in enumerate(dict.fromkeys(name for name, _ in grouped))}
    places = len({where for _, where in grouped}) > 1
    lines = []
    for (name, where), some in sorted(grouped.items(), key=lambda item: colours[item[0][0]]):
        points = sorted((point(figure, labels.numbers[x][figure.labels[x]]) for figure in some), key=lambda p: p.x)
        kind = _KINDS.get(where, "ours")
        said = labels.phrase(some[0].labels, keys) or (PLACES[VM] if places else spoken(some[0].metric))
        said = said if mixed or kind == "ours" else ""
        lines.append(Line(said, points, kind, colours[name]))
    metric = found[0].metric
    lines += [_published(one, str(metric.unit), len(colours) + n) for n, one in enumerate(beside)]
    xs = sorted({p.x for line in lines for p in line.points})
    scales = metric.better == "higher" and x not in labels.sizes and (x in _COUNTED or x in labels.counts)
    across = _across(x, xs, labels)
    low = min((p.y for line in lines for p in line.points), default=0)
    up = Axis(
        spoken(metric),
        str(metric.unit),
        "log10" if metric.unit in _TIMES and across.scale == "log2" and low > 0 else "linear",
    )
    drawn = Lines(title, across, up, lines, limit if _matters(limit, lines) else None)
    return Drawn(drawn, metric, x, scales, _notes(found, lines))


def _across(x: str, xs: Sequence[float], labels: Labels) -> Axis:
    if x in labels.sizes:
        return Axis(x, "", "log2" if xs and xs[0] > 0 else "linear", "size")
    form: Form = "count" if all(value == int(value) for value in xs) else "number"
    wide = len(xs) > 2 and xs[0] > 0 and xs[-1] / xs[0] >= _WIDE  # noqa: PLR2004 (two are no row)
    doubling = wide and all(later / earlier >= 1.5 for earlier, later in pairwise(xs))  # noqa: PLR2004
    name = {"nodes": "number of nodes", "second": "time"}.get(x, x)
    return Axis(name, "s" if x == "second" else "", "log2" if doubling else "linear", form)


def _matters(limit: Limit | None, lines: Sequence[Line]) -> bool:
    """One that is very far above all that was measured would only make it small."""
    top = max((p.high for line in lines for p in line.points), default=0)
    return limit is not None and limit.value < 10 * top


def _published(one: Series, unit: str, colour: int) -> Line:
    factor = one.factor(unit) or 1.0
    xs = [(number(x), y * factor) for x, y in one.points.items()]
    points = sorted((Point(x, y, y, y) for x, y in xs if x is not None), key=lambda p: p.x)
    return Line(f"published: {one.name} ({one.source})", points, "published", colour)


def _notes(found: Sequence[Figure], lines: Sequence[Line]) -> tuple[str, ...]:
    notes = []
    if any(p.high > p.low for line in lines for p in line.points):
        notes.append("Bars or bands at the points go from the least to the most of the trials; points are medians.")
    if why := dict.fromkeys(reason for figure in found for reason in figure.reasons):
        notes.append("Hollow, or marked in the table: " + "; ".join(why) + ".")
    return tuple(notes)


def _maps(found: Sequence[Figure], labels: Labels, x: str, keys: Sequence[str], title: str) -> Iterator[Drawn]:
    """One for each value of what else varies, where a second number varies; guests' figures only."""
    others = [key for key in keys if key in labels.numbers and len({f.labels.get(key) for f in found}) > 2]  # noqa: PLR2004
    if not others:
        return
    y = max(others, key=lambda key: len(labels.values[key]))
    rest = [key for key in keys if key != y]
    ours = [figure for figure in found if figure.labels.get(ON, VM) == VM and x in figure.labels and y in figure.labels]
    for part in parts(ours, rest):
        xs, ys = (sorted({labels.numbers[key][figure.labels[key]] for figure in part}) for key in (x, y))
        at = {(labels.numbers[x][f.labels[x]], labels.numbers[y][f.labels[y]]): f.summary.median for f in part}
        if len(xs) > 2 and len(ys) > 2:  # noqa: PLR2004 (two lines say as much)
            columns, rows = ([_number(labels, key, v) for v in some] for key, some in ((x, xs), (y, ys)))
            metric = part[0].metric
            told = labels.phrase(part[0].labels, rest)
            over = f"{title}{', ' if told and ': ' in title else ': ' if told else ''}{told}, over {x} and {y}"
            cells = [[at.get((column, row)) for column in xs] for row in ys]
            yield Drawn(HeatMap(over, x, y, columns, rows, cells, str(metric.unit)), metric, x)


def _number(labels: Labels, key: str, value: float) -> str:
    text = next(text for text, as_number in labels.numbers[key].items() if as_number == value)
    return labels.text(key, text) if key not in labels.counts else f"{value:g}"


def _bars(
    found: Sequence[Figure],
    labels: Labels,
    keys: Sequence[str],
    title: str,
    *,
    other: tuple[Limit | None, Sequence[Series]],
) -> Iterator[Drawn]:
    limit, beside = other
    groups: dict[tuple[str, ...], list[Figure]] = {}
    for figure in found:
        groups.setdefault(tuple(figure.labels.get(key, "") for key in keys), []).append(figure)
    metric = found[0].metric
    drawn: list[tuple[str, tuple[Bar, ...]]] = []
    places = len({figure.labels.get(ON) for figure in found}) > 1
    for some in groups.values():
        bars = [_bar(figure, places=places) for figure in some]
        drawn.append((labels.phrase(some[0].labels, keys), tuple(bars)))
    for one in beside:
        factor = one.factor(str(metric.unit)) or 1.0
        for value in one.points.values() if not one.x else ():
            at = Point(0, value * factor, value * factor, value * factor)
            drawn.append((f"published: {one.name} ({one.source})", (Bar("published", at, "published"),)))
    bars = [bar for _, some in drawn for bar in some]
    if len(bars) < 2:  # noqa: PLR2004 (one bar is a number)
        return
    note = (f"The first {MOST_BARS} of {len(drawn)}; the others are in the table.",) if len(drawn) > MOST_BARS else ()
    lines = [Line("", [bar.at for bar in bars])]
    chart = Bars(
        title, Axis(spoken(metric), str(metric.unit)), drawn[:MOST_BARS], limit if _matters(limit, lines) else None
    )
    yield Drawn(chart, metric, notes=_notes(found, lines) + note)


def _bar(figure: Figure, *, places: bool) -> Bar:
    where = figure.labels.get(ON, VM)
    kind, colour = _KINDS.get(where, "ours"), 0 if where in _KINDS else 1
    return Bar(place(where) if places else "", replace(point(figure), x=0.0), kind, colour)
