"""Two metrics in one chart, where they complement each other over one x: bandwidth of large transfers, rate of small.

They do where no figure of the one has the labels of a figure of the other: each says what the other cannot. Where they
meet, as a rate and a bandwidth of the same transfers, one follows from the other, and each has a chart of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations

from vmlab.metrics import ON, Metric
from vmlab.report.benchmark.choose import Drawn, common_limit, constant, curves, of_metric, spoken, titled
from vmlab.report.benchmark.figures import Figure, Labels, labels_of
from vmlab.report.benchmark.layout import MOST_LINES, Layout, layout, parts, shared
from vmlab.report.benchmark.published import Series
from vmlab.report.plots.chart import Limit, Lines, Mixed

_COLUMNS = 4
"""In one place, or they are too thin to be seen."""
_PLACES = range(3, 17)

Limits = Mapping[str, Limit | None]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two metrics that are drawn in one chart: the one as lines, with its limit, the other as columns."""

    lines: Metric
    columns: Metric


@dataclass(frozen=True, slots=True)
class Together:
    """Such a chart, the figures that it is of, and their labels."""

    drawn: Drawn
    figures: Sequence[Figure]
    labels: Labels


def paired(found: Sequence[Figure], metrics: Sequence[Metric], limits: Mapping[Metric, Limits]) -> tuple[Pair, ...]:
    """The pairs among these metrics, none in two of them. What has a limit makes the lines, else what comes first."""
    pairs: list[Pair] = []
    ranked = sorted(metrics, key=lambda metric: not any(limits.get(metric, {}).values()))
    for one, other in permutations(ranked, 2):
        taken = {metric for pair in pairs for metric in (pair.lines, pair.columns)}
        if taken.isdisjoint((one, other)) and together(found, Pair(one, other), limits):
            pairs.append(Pair(one, other))
    return tuple(pairs)


def together(
    found: Sequence[Figure], pair: Pair, limits: Mapping[Metric, Limits], published: Sequence[Series] = ()
) -> tuple[Together, ...]:
    """The charts of both metrics; none where they do not belong into one."""
    ours, others = ([figure for figure in found if figure.metric == metric] for metric in (pair.lines, pair.columns))
    if not (ours and others and _complementary(pair, ours, others)):
        return ()
    known = limits.get(pair.lines, {})
    one, other = (layout(some, labels_of(some), known) for some in (ours, others))
    if one.x is None or one.x != other.x or not _side_by_side(one, ours, others):
        return ()
    return tuple(_made(pair, (one, other), [*ours, *others], known, published))


def _complementary(pair: Pair, ours: Sequence[Figure], others: Sequence[Figure]) -> bool:
    if pair.lines.unit == pair.columns.unit or pair.lines.better != pair.columns.better:
        return False
    met, meeting = ({frozenset(figure.labels.items()) for figure in some} for some in (ours, others))
    return met.isdisjoint(meeting)


def _side_by_side(one: Layout, ours: Sequence[Figure], others: Sequence[Figure]) -> bool:
    """The same x in the same plots, and room for all columns."""
    x, labels = one.x or "", labels_of([*ours, *others])
    if x not in labels.numbers or any(x not in figure.labels for figure in (*ours, *others)):
        return False
    plots = []
    for some, most in ((ours, MOST_LINES), (others, _COLUMNS)):
        by_plot = {tuple(sorted(shared(part, one.plots).items())): part for part in parts(some, one.plots)}
        if any(_series(part, labels, x) > most for part in by_plot.values()):
            return False
        plots.append({plot: {labels.numbers[x][f.labels[x]] for f in part} for plot, part in by_plot.items()})
    return plots[0] == plots[1] and all(len(xs) in _PLACES for xs in plots[0].values())


def _series(part: Sequence[Figure], labels: Labels, x: str) -> int:
    """How many figures stand at one x."""
    at: dict[float, int] = {}
    for figure in part:
        number = labels.numbers[x][figure.labels[x]]
        at[number] = at.get(number, 0) + 1
    return max(at.values())


def _made(
    pair: Pair, layouts: tuple[Layout, Layout], found: Sequence[Figure], limits: Limits, published: Sequence[Series]
) -> Iterator[Together]:
    labels = labels_of(found)
    x, plots = layouts[0].x or "", layouts[0].plots
    told = {key for one in layouts for key in one.lines} | {key for key in labels.varying if _tells(key, found)}
    keys = [key for key in labels.varying if key in told - {x, ON, *plots}]
    for part in parts(found, plots):
        ours, others = ([one for one in part if one.metric == metric] for metric in (pair.lines, pair.columns))
        drawn = [_of_one(some, labels, x, keys, published) for some in (ours, others)]
        left, right = (one.chart for one in drawn)
        if isinstance(left, Lines) and isinstance(right, Lines):
            title = titled(f"{spoken(pair.lines)} and {spoken(pair.columns)}", labels, shared(part, plots))
            first = 1 + max(line.colour for line in left.lines if line.kind != "published")
            columns = replace(right, lines=[replace(line, colour=line.colour + first) for line in right.lines])
            chart = Mixed(title, replace(left, limit=common_limit(ours, limits)), columns)
            notes = tuple(dict.fromkeys(note for one in drawn for note in one.notes))
            yield Together(replace(drawn[0], chart=chart, notes=notes), part, labels)


def _tells(key: str, found: Sequence[Figure]) -> bool:
    """It has one value in the figures of each metric, and not the same: what the metrics are of."""
    values: dict[Metric, set[str]] = {}
    for figure in found:
        values.setdefault(figure.metric, set()).add(figure.labels.get(key, ""))
    return all(len(some) == 1 for some in values.values()) and len(set.union(*values.values())) > 1


def _of_one(own: Sequence[Figure], labels: Labels, x: str, keys: Sequence[str], published: Sequence[Series]) -> Drawn:
    same, unit = constant(own), str(own[0].metric.unit)
    beside = [one for one in of_metric(published, own[0].metric) if one.x == x and one.beside(same)]
    drawn = curves(own, labels, x, keys, "", other=(None, beside))
    if not isinstance(drawn.chart, Lines):
        return drawn
    # Of which axis they are is told by the unit.
    lines = [replace(line, name=f"{line.name} [{unit}]" if line.name else "") for line in drawn.chart.lines]
    return replace(drawn, chart=replace(drawn.chart, lines=lines))
