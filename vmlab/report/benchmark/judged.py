"""What references say of the runs' figures, as it was when they were measured."""

from collections.abc import Iterator, Mapping, Sequence

from vmlab.judgement.labels import told
from vmlab.judgement.verdicts import BETTER, MISSED, NO_FIGURE, OK, OTHER_HOST
from vmlab.records.run import RunRecord, RunVerdict
from vmlab.report.pages.parts import Cell, Column, Level, Notice, Table
from vmlab.report.plots.numbers import figure as written

_SAID: Mapping[str, tuple[str, Level]] = {
    MISSED: ("missed its reference", "failure"),
    NO_FIGURE: ("not measured, though there is a reference", "failure"),
    BETTER: ("better than its reference, which is old", "note"),
}


def phrase(one: RunVerdict) -> str:
    """The figure and what is said of it."""
    return f"{one.metric}{f' {told(one.labels)}' if one.labels else ''}: {one.why}"


def notices(record: RunRecord) -> Iterator[Notice]:
    """Of each figure that is not as it should be; of references for other hosts that they judged nothing."""
    for verdict, (said, level) in _SAID.items():
        for one in (one for one in record.verdicts if one.verdict == verdict):
            yield Notice(f"{said}: {phrase(one)}", level)
    if record.verdicts and all(one.verdict == OTHER_HOST for one in record.verdicts):
        yield Notice("All references are for other hosts: nothing was judged.")


def of_verdicts(records: Sequence[RunRecord]) -> Table | None:
    """Each figure beside its bounds, those that missed first; without references for other hosts."""
    ranks = {MISSED: 0, NO_FIGURE: 1, BETTER: 2, OK: 3}
    found = [(one, record) for record in records for one in record.verdicts if one.verdict in ranks]
    if not found:
        return None
    several = len({record.id for _, record in found}) > 1
    numbers = [Column(heading, number=True) for heading in ("figure", "lower", "reference", "upper")]
    head = [Column("run")] if several else []
    columns = [*head, Column("verdict"), Column("metric"), Column("labels"), *numbers, Column("unit"), Column("by")]
    rows = []
    for one, record in sorted(found, key=lambda pair: ranks[pair[0].verdict]):
        figures = (Cell(written(value)) for value in (one.value, one.lower, one.reference, one.upper))
        name = (Cell(one.verdict, strong=one.verdict != OK), Cell(one.metric), Cell(told(one.labels)))
        by = Cell(f"{one.file}:{one.line}")
        rows.append([*([Cell(record.id)] if several else []), *name, *figures, Cell(one.unit), by])
    return Table("Judged by references", columns, rows)
