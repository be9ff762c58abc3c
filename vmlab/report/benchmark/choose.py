"""Which charts figures get. It is told by their labels: what varies, what is a number, what is a size.

A label that is a number becomes x: of several the one that leaves the fewest lines, a number of nodes before others.
What else varies tells lines apart, and plots where there would be too many lines. Two that are numbers make a map
besides. Without a number there are bars.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise

from vmlab.metrics import BARE, HOST, ON, VM, Metric
from vmlab.report.benchmark.figures import BED, PLACES, Figure, Labels, labels_of, number
from vmlab.report.benchmark.published import Series
from vmlab.report.plots.chart import Axis, Bar, Bars, Chart, Form, HeatMap, Kind, Limit, Line, Lines, Point

_LINES = 6
_BARS = 24
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
    others = [one for one in published if one.metric == metric.name and one.factor(str(metric.unit)) is not None]
    labels = labels_of(ours)
    x = _x(ours, labels)
    rest = [key for key in labels.varying if key not in (x, ON)]
    if x is not None:
        rest = [key for key in rest if not _told_by(key, x, ours, labels)]
    rest = _needed(rest, ours)
    known = limits or {}
    apart = (BED,) if BED in rest and len({known.get(figure.record.id) for figure in ours}) > 1 else ()
    facets = apart + _facets(ours, [key for key in rest if key not in apart], apart)
    for part in _parts(ours, facets):
        own = {known.get(figure.record.id) for figure in part}
        limit = own.pop() if len(own) == 1 else None
        same = {key: part[0].labels[key] for key in facets if key in part[0].labels}
        title = _title(metric, labels, same)
        beside = [one for one in others if one.beside(_constant(part))]
        keys = [key for key in rest if key not in facets]
        if x is None:
            yield from _bars(part, labels, keys, title, other=(limit, beside))
        else:
            yield _lines(part, labels, x, keys, title, other=(limit, [one for one in beside if one.x == x]))
            yield from _maps(part, labels, x, keys, title)


def _x(found: Sequence[Figure], labels: Labels) -> str | None:
    ranks = []
    for key in labels.varying:
        if key not in labels.numbers or key == ON:
            continue
        rest = [k for k in labels.varying if k not in (key, ON) and not _told_by(k, key, found, labels)]
        lines: dict[tuple[str, ...], set[float]] = {}
        for figure in found:
            if key in figure.labels:
                line = tuple(figure.labels.get(k, "") for k in rest)
                lines.setdefault(line, set()).add(labels.numbers[key][figure.labels[key]])
        alone = sum(len(xs) == 1 for xs in lines.values())
        if alone < len(lines):
            nodes = key == "nodes" or key in labels.counts
            ranks.append(
                (2 * alone > len(lines), len(lines) > _LINES, not nodes, len(lines), -len(labels.values[key]), key)
            )
    return min(ranks)[-1] if ranks else None


def _told_by(key: str, x: str, found: Sequence[Figure], labels: Labels) -> bool:
    """Who knows x knows this label, too, as the number of tasks where each node has one."""
    seen: dict[float, set[str]] = {}
    for figure in found:
        if x in figure.labels:
            seen.setdefault(labels.numbers[x][figure.labels[x]], set()).add(figure.labels.get(key, ""))
    return all(len(values) == 1 for values in seen.values())


def _needed(rest: Sequence[str], found: Sequence[Figure]) -> list[str]:
    """Without the labels that another one tells as well, as that of the depth where each size has its own."""
    kept = list(rest)
    for key in reversed(rest):
        values = {figure.labels.get(key, "") for figure in found}
        for other in kept:
            pairs = {(figure.labels.get(other, ""), figure.labels.get(key, "")) for figure in found}
            if other != key and len(pairs) == len({one for one, _ in pairs}) and len(values) <= len(pairs):
                kept.remove(key)
                break
    return kept


def _facets(found: Sequence[Figure], rest: Sequence[str], apart: Sequence[str]) -> tuple[str, ...]:
    """The fewest labels, and of these those with the fewest values, that leave few enough lines in each plot."""
    for count in range(len(rest) + 1):
        fits = []
        for some in combinations(rest, count):
            lines: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
            for figure in found:
                plot = tuple(figure.labels.get(key, "") for key in (*apart, *some))
                lines.setdefault(plot, set()).add(tuple(figure.labels.get(key, "") for key in rest if key not in some))
            if max(map(len, lines.values())) <= _LINES:
                fits.append((len(lines), some))
        if fits:
            return min(fits)[1]
    return tuple(rest)


def _parts(found: Sequence[Figure], facets: Sequence[str]) -> list[list[Figure]]:
    parts: dict[tuple[str, ...], list[Figure]] = {}
    for figure in found:
        parts.setdefault(tuple(figure.labels.get(key, "") for key in facets), []).append(figure)
    return list(parts.values())


def _constant(found: Sequence[Figure]) -> dict[str, str]:
    values = labels_of(found).values
    return {key: some[0] for key, some in values.items() if len(some) == 1}


def _title(metric: Metric, labels: Labels, same: Mapping[str, str]) -> str:
    told = labels.phrase(same, tuple(same))
    return spoken(metric) + (f": {told}" if told else "")


def spoken(metric: Metric) -> str:
    """Its name in words."""
    return metric.name.replace("_", " ")


def point(figure: Figure, x: float = 0.0) -> Point:
    """The median, and the trials' least and most."""
    one = figure.summary
    return Point(x, one.median, one.minimum, one.maximum, bool(figure.reasons))


def _lines(
    found: Sequence[Figure],
    labels: Labels,
    x: str,
    keys: Sequence[str],
    title: str,
    *,
    other: tuple[Limit | None, Sequence[Series]],
) -> Drawn:
    limit, beside = other
    grouped: dict[tuple[tuple[str, ...], str], list[Figure]] = {}
    for figure in found:
        if x in figure.labels:
            name = tuple(figure.labels.get(key, "") for key in keys)
            grouped.setdefault((name, figure.labels.get(ON, VM)), []).append(figure)
    colours = {name: place for place, name in enumerate(dict.fromkeys(name for name, _ in grouped))}
    places = len({where for _, where in grouped}) > 1
    lines = []
    for (name, where), some in sorted(grouped.items(), key=lambda item: colours[item[0][0]]):
        points = sorted((point(figure, labels.numbers[x][figure.labels[x]]) for figure in some), key=lambda p: p.x)
        kind = _KINDS.get(where, "ours")
        said = labels.phrase(some[0].labels, keys) or (PLACES[VM] if places else spoken(some[0].metric))
        said = said if kind == "ours" else ""
        lines.append(Line(said, points, kind, colours[name]))
    metric = found[0].metric
    lines += [_published(one, str(metric.unit), len(colours) + place) for place, one in enumerate(beside)]
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
    for part in _parts(ours, rest):
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
    note = (f"The first {_BARS} of {len(drawn)}; the others are in the table.",) if len(drawn) > _BARS else ()
    lines = [Line("", [bar.at for bar in bars])]
    chart = Bars(
        title, Axis(spoken(metric), str(metric.unit)), drawn[:_BARS], limit if _matters(limit, lines) else None
    )
    yield Drawn(chart, metric, notes=_notes(found, lines) + note)


def _bar(figure: Figure, *, places: bool) -> Bar:
    where = figure.labels.get(ON, VM)
    return Bar(PLACES.get(where, where) if places else "", replace(point(figure), x=0.0), _KINDS.get(where, "ours"))
