"""Figures as people publish them: a row for each bed, set of nodes or number, a column for what was measured of it."""

from collections.abc import Sequence
from typing import TypeAlias

from vmlab.metrics import ON, Metric
from vmlab.report.benchmark.choose import spoken
from vmlab.report.benchmark.figures import Figure, Labels
from vmlab.report.benchmark.tables import Marks
from vmlab.report.pages.parts import Cell, Column, Table
from vmlab.report.plots.numbers import figure as written

_COLUMNS = range(2, 9)
_ROWS = range(2, 41)
_Place: TypeAlias = tuple[str, tuple[Metric, tuple[tuple[str, str], ...]]]


def by_rows(found: Sequence[Figure], labels: Labels) -> Table | None:
    """None where no label has a figure in each cell, or guests stand beside what is none: that has its own tables."""
    if ON in labels.varying:
        return None
    fits = []
    for key in labels.varying:
        places = _places(found, labels, key)
        rows, columns = {row for row, _ in places}, {column for _, column in places}
        full = len(rows) * len(columns) == len(found) == len(set(places))
        if full and len(rows) in _ROWS and len(columns) in _COLUMNS:
            fits.append((key not in labels.sets, len(columns), key))
    if not fits:
        return None
    key = min(fits)[-1]
    names = ", ".join(dict.fromkeys(spoken(figure.metric) for figure in found))
    return rows_of(f"{names[:1].upper()}{names[1:]} by {key}", found, labels, key)


def rows_of(caption: str, found: Sequence[Figure], labels: Labels, key: str) -> Table:
    """Medians by this label, numbers in their order. A cell is empty where nothing was measured."""
    numbers = labels.numbers.get(key, {})
    ranked = sorted(found, key=lambda figure: numbers.get(figure.labels.get(key, ""), 0))
    places, marks = _places(ranked, labels, key), Marks()
    columns = list(dict.fromkeys(column for _, column in _places(found, labels, key)))
    several = len({metric for metric, _ in columns}) > 1
    heads = [Column(key, number=key in labels.numbers and key not in labels.counts)]
    for metric, rest in columns:
        told = labels.phrase(dict(rest), [name for name, _ in rest])
        name = ", ".join(filter(None, (spoken(metric) if several or not told else "", told)))
        heads.append(Column(f"{name} [{metric.unit}]", number=True))
    cells: dict[str, list[Cell]] = {}
    for (row, column), figure in zip(places, ranked, strict=True):
        of_row = cells.setdefault(row, [Cell("")] * len(columns))
        of_row[columns.index(column)] = Cell(written(figure.summary.median), marks.of(figure.reasons))
    return Table(caption, heads, [[Cell(labels.text(key, row)), *some] for row, some in cells.items()], marks.notes)


def _places(found: Sequence[Figure], labels: Labels, key: str) -> list[_Place]:
    """The row and the column of each figure, which are told apart by what else varies in a row."""
    apart = [name for name in labels.varying if name != key and _varies(name, found, key)]
    return [
        (
            figure.labels.get(key, ""),
            (figure.metric, tuple((name, figure.labels[name]) for name in apart if name in figure.labels)),
        )
        for figure in found
    ]


def _varies(name: str, found: Sequence[Figure], key: str) -> bool:
    seen: dict[str, str] = {}
    return any(
        seen.setdefault(figure.labels.get(key, ""), value := figure.labels.get(name, "")) != value for figure in found
    )
