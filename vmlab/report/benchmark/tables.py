"""The figures as tables: of each group of metrics, of guests beside the host, of pinned beside floating, of scaling."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from vmlab.judgement.scaling import Scaling, Step, scaling
from vmlab.metrics import BARE, HOST, ON, VM, Metric
from vmlab.records.beside import beside_host, together
from vmlab.records.run import RunRecord
from vmlab.report.benchmark.choose import Drawn, spoken
from vmlab.report.benchmark.figures import FLOATING, PINNED, PINNING, Figure, Labels, labels_of, number, relabelled
from vmlab.report.benchmark.published import Series
from vmlab.report.benchmark.reasons import nodes_of
from vmlab.report.pages.parts import Cell, Column, Table
from vmlab.report.plots.chart import Line, Lines
from vmlab.report.plots.numbers import figure as written
from vmlab.report.plots.numbers import size

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Marks:
    """The letters of a table's notes, in the order in which they are used."""

    def __init__(self) -> None:
        self._letters: dict[str, str] = {}

    def of(self, reasons: Sequence[str]) -> tuple[str, ...]:
        """The letters for these reasons."""
        for reason in reasons:
            number = len(self._letters)
            again = number // len(_LETTERS)
            self._letters.setdefault(reason, _LETTERS[number % len(_LETTERS)] + (str(again) if again else ""))
        return tuple(self._letters[reason] for reason in reasons)

    @property
    def notes(self) -> tuple[tuple[str, str], ...]:
        """What the letters mean."""
        return tuple((letter, reason) for reason, letter in self._letters.items())


@dataclass(frozen=True, slots=True)
class Beside:
    """Two medians that differ in one label alone. `differs`: by more than either varies; None: nobody knows."""

    metric: Metric
    labels: Mapping[str, str]
    one: float
    other: float
    differs: bool | None
    reasons: tuple[str, ...] = ()

    @property
    def percent(self) -> float | None:
        """The one in per cent of the other."""
        return 100 * self.one / self.other if self.other else None


def of_group(found: Sequence[Figure], group: str) -> Table:
    """All figures of a group, a row for each. What is the same in all of them is in the caption."""
    ours = [figure for figure in found if figure.metric.group == group]
    labels, marks = labels_of(ours), Marks()
    keys = labels.varying
    several = any(figure.summary.trials > 1 for figure in ours)
    metrics = len({figure.metric for figure in ours}) > 1
    columns = [*_headings(labels, keys), *([Column("metric")] if metrics else [])]
    columns += [
        Column(text, number=True) for text in (("median", "least", "most", "spread") if several else ("figure",))
    ]
    columns.append(Column("unit"))
    rows = []
    for figure in chain.from_iterable(together(ours, ON)):  # the host's behind the guests'
        one = figure.summary
        values = [Cell(written(one.median), marks.of(figure.reasons), strong=several)]
        if several:
            values += [Cell(written(one.minimum)), Cell(written(one.maximum)), Cell(_share(one.spread, one.median))]
        name = [Cell(spoken(figure.metric))] if metrics else []
        rows.append([*_cells(labels, keys, figure.labels), *name, *values, Cell(str(figure.metric.unit))])
    same = {key: values[0] for key, values in labels.values.items() if len(values) == 1}
    told = labels.phrase(same, tuple(same))
    title = group if metrics else spoken(ours[0].metric)
    return Table(title + (f" ({told})" if told else ""), columns, rows, marks.notes)


def beside_the_host(records: Sequence[RunRecord], found: Sequence[Figure]) -> tuple[Beside, ...]:
    """All figures that there are of guests and of the host itself."""
    known = {(f.record.id, f.metric, frozenset(f.labels.items())): f.reasons for f in found}
    pairs = []
    for record, samples in relabelled(records):
        for both in beside_host(samples):
            labels = frozenset({**both.labels, ON: VM}.items())
            why = known.get((record.id, both.metric, labels), ())
            pairs.append(Beside(both.metric, both.labels, both.vm, both.host, both.differs, why))
    return tuple(pairs)


def beside_bare(found: Sequence[Figure]) -> tuple[Beside, ...]:
    """All figures that there are of guests and of machines that are none. Where they are not as many, it is told."""
    ours = [figure for figure in found if ON in figure.labels]
    return tuple(_pair(one, other, ON, tuple(_unequal(one))) for one, other in _both(ours, ON, VM, BARE))


def beside_floating(found: Sequence[Figure]) -> tuple[Beside, ...]:
    """All figures that there are of pinned nodes and of floating ones; of guests alone."""
    ours = [figure for figure in found if PINNING in figure.labels and figure.labels.get(ON, VM) != HOST]
    return tuple(_pair(one, other, PINNING) for one, other in _both(ours, PINNING, PINNED, FLOATING))


def _both(found: Sequence[Figure], label: str, one: str, other: str) -> Iterator[tuple[Figure, Figure]]:
    for some in together(found, label):
        by_value = {figure.labels[label]: figure for figure in some}
        if one in by_value and other in by_value:
            yield by_value[one], by_value[other]


def _unequal(figure: Figure) -> Iterator[str]:
    """The sets of nodes among its labels in which there are not as many guests as others."""
    where = {node.name: node.where for node in figure.record.nodes}
    for value in figure.labels.values():
        kinds = Counter(where[name] for name in nodes_of(value) if name in where)
        if kinds[VM] and kinds[BARE] and kinds[VM] != kinds[BARE]:
            yield f"{kinds[VM]} guests beside {kinds[BARE]} bare machines"


def _pair(one: Figure, other: Figure, label: str, why: tuple[str, ...] = ()) -> Beside:
    labels = {key: value for key, value in one.labels.items() if key != label}
    reasons = tuple(dict.fromkeys(one.reasons + other.reasons + why))
    differs = one.summary.apart(other.summary)
    return Beside(one.metric, labels, one.summary.median, other.summary.median, differs, reasons)


def of_pairs(caption: str, pairs: Sequence[Beside], names: tuple[str, str], labels: Labels) -> Table:
    """Both figures of each, and what the one is of the other."""
    marks = Marks()
    keys = [key for key in dict.fromkeys(key for pair in pairs for key in pair.labels) if key in labels.varying]
    keys = [key for key in keys if len({pair.labels.get(key) for pair in pairs}) > 1]
    metrics = len({pair.metric for pair in pairs}) > 1
    columns = [*_headings(labels, keys), *([Column("metric")] if metrics else [])]
    columns += [Column(names[0], number=True), Column(names[1], number=True), Column("unit")]
    columns += [Column(f"{names[0]} in % of {names[1]}", number=True), Column("difference")]
    rows = []
    order = list(dict.fromkeys(pair.metric for pair in pairs))
    for pair in sorted(pairs, key=lambda pair: order.index(pair.metric)):
        name = [Cell(spoken(pair.metric))] if metrics else []
        values = [
            Cell(written(pair.one), marks.of(pair.reasons)),
            Cell(written(pair.other)),
            Cell(str(pair.metric.unit)),
        ]
        share = "-" if pair.percent is None else f"{written(pair.percent)} %"
        rows.append(
            [*_cells(labels, keys, pair.labels), *name, *values, Cell(share, strong=True), Cell(_verdict(pair))]
        )
    whole = caption if metrics else f"{caption}: {spoken(pairs[0].metric)}"
    return Table(whole, columns, rows, marks.notes)


def of_scaling(drawn: Sequence[Drawn]) -> Table | None:
    """Of each of our curves over a number of workers: how far it grows, how much, and to what."""
    rows = []
    limits = any(isinstance(one.chart, Lines) and one.chart.limit is not None for one in drawn)
    for one in drawn:
        if one.scales and isinstance(one.chart, Lines):
            rows += [row for line in one.chart.lines if (row := _scaling_row(one, one.chart, line, limits=limits))]
    if not rows:
        return None
    headings = ("gain below the spread after", "gain for each one more", "most", "most with", "most in % of native")
    columns = [Column("curve"), *(Column(text, number=True) for text in headings)]
    columns += [Column("most in % of the limit", number=True)] if limits else []
    return Table("Scaling", columns, rows)


def _scaling_row(one: Drawn, chart: Lines, line: Line, *, limits: bool) -> list[Cell] | None:
    if line.kind != "ours":
        return None
    native = {
        point.x: point.y
        for other in chart.lines
        if other.kind == "native" and other.colour == line.colour
        for point in other.points
    }
    found = scaling([Step(p.x, p.y, p.high - p.low) for p in line.points], native)
    if found is None:
        return None
    unit = str(one.metric.unit)
    name = chart.title if line.name == chart.title else f"{chart.title}: {line.name}"
    cells = [
        Cell(name),
        Cell("not reached" if found.knee is None else f"{found.knee:g} {one.x}"),
        Cell("-" if found.slope is None else f"{written(found.slope)} {unit}"),
        Cell(f"{written(found.maximum)} {unit}", strong=True),
        Cell(f"{found.at:g} {one.x}"),
        Cell(_of_native(found, one.x)),
    ]
    share = 100 * found.maximum / chart.limit.value if chart.limit is not None else None
    return [*cells, Cell("-" if share is None else f"{written(share)} %")] if limits else cells


def _of_native(found: Scaling, x: str) -> str:
    if found.of_native is None:
        return "-"
    where = "" if found.native_at == found.at else f" (native with {found.native_at:g} {x})"
    return f"{written(found.of_native)} %{where}"


def of_published(published: Sequence[Series], found: Sequence[Figure], labels: Labels) -> Table | None:
    """What others published of the metrics that are here, and who they are."""
    names = {figure.metric.name for figure in found}
    rows = [
        [
            Cell(one.name),
            Cell(one.metric),
            Cell(", ".join(f"{key} {value}" for key, value in one.labels.items())),
            Cell(f"{one.x} {_text(labels, one.x, x)}".strip()),
            Cell(written(value)),
            Cell(one.unit),
            Cell(one.source),
        ]
        for one in published
        if one.metric in names
        for x, value in one.points.items()
    ]
    heads = [Column("name"), Column("metric"), Column("of"), Column("at"), Column("figure", number=True)]
    columns = [*heads, Column("unit"), Column("source")]
    return Table("Published by others, not measured here", columns, rows) if rows else None


def _text(labels: Labels, key: str, value: str) -> str:
    at = number(value)
    return size(at) if key in labels.sizes and at is not None else value


def _verdict(pair: Beside) -> str:
    if pair.differs is None:
        return "one trial: not known"
    return "more than the spread" if pair.differs else "less than the spread"


def _headings(labels: Labels, keys: Sequence[str]) -> Iterator[Column]:
    for key in keys:
        yield Column("where" if key == ON else key, number=key in labels.numbers and key not in labels.counts)


def _cells(labels: Labels, keys: Sequence[str], of: Mapping[str, str]) -> list[Cell]:
    return [Cell(labels.text(key, of[key]) if key in of else "") for key in keys]


def _share(part: float, whole: float) -> str:
    return f"{written(100 * part / abs(whole))} %" if whole else "-"
