"""What figures are worth, as tables for people."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from vmlab.judgement import comparison
from vmlab.judgement.comparison import LEVEL, Comparison, Side
from vmlab.judgement.expectations import Expectation
from vmlab.judgement.labels import told
from vmlab.judgement.numbers import number, percent
from vmlab.judgement.trend import FEWEST, TEST, Change, Series
from vmlab.judgement.verdicts import BETTER, MISSED, NO_FIGURE, OK, OTHER_HOST
from vmlab.records.run import RunVerdict
from vmlab.report.grid import Cell, Grid

_STYLES = {OK: "green", MISSED: "red", BETTER: "yellow", NO_FIGURE: "red"}
_CHANGES = {comparison.WORSE: "red", comparison.BETTER: "green", comparison.TOO_FEW: "yellow"}


def verdicts_table(verdicts: Sequence[RunVerdict]) -> RenderableType:
    """What references say: a line for each figure, and one for all references that are for other hosts."""
    judged = [one for one in verdicts if one.verdict != OTHER_HOST]
    parts: list[RenderableType] = [Text("judged by references", "bold")]
    if judged:
        parts.append(_table(judged))
    if elsewhere := [one for one in verdicts if one.verdict == OTHER_HOST]:
        parts.append(Text(f"{len(elsewhere)} for other hosts: {elsewhere[0].why}"))
    if not judged:
        parts.append(Text("nothing was judged: there is no reference for these figures", "yellow"))
    return Group(*parts)


def comparison_table(found: Comparison) -> RenderableType:
    """What changed from the runs before to the one after; below what else differs, and figures of one side only."""
    of = f"{len(found.before)} runs from {found.before[0]} to " if len(found.before) > 1 else ""
    parts: list[RenderableType] = [Text(f"{of}{found.before[-1]}, then {found.after}", "bold")]
    if found.figures:
        parts.append(_compared(found))
    tested = sum(one.p is not None for one in found.figures)
    chance = f"; of {tested} figures up to {LEVEL * tested:.0f} may differ by chance" if LEVEL * tested >= 1 else ""
    parts.append(Text(f"{found.test}{chance}"))
    parts += [Text(f"differs: {line}", "yellow") for line in found.unlike]
    parts += [Text(f"only before: {line}", "yellow") for line in found.only_before]
    parts += [Text(f"only after: {line}", "yellow") for line in found.only_after]
    return Group(*parts)


def expected_table(some: Sequence[Expectation]) -> Grid:
    """`vmlab expected list`."""
    table = Grid("SUITE", "TEST", "TICKET", "FLAKY", "WHERE", "REASON", "LINE")
    for one in some:
        where = ", ".join(f"{name}={value}" for name, value in one.where.items())
        flaky = "-" if one.flaky is None else f"{100 * one.flaky:.3g} %"
        table.add_row(one.suite, one.test, one.ticket, flaky, where or "everywhere", one.reason or "-", str(one.line))
    return table


def _compared(found: Comparison) -> Grid:
    table = Grid("VERDICT", "METRIC", "LABELS")
    for heading in ("BEFORE", "SPREAD", "AFTER", "SPREAD", "DIFFERENCE", "P", "TRIALS"):
        table.add_column(heading, right=True)
    table.add_column("UNIT")
    for one in found.figures:
        table.add_row(
            Cell(one.verdict, _CHANGES.get(one.verdict, "")),
            one.metric,
            told(one.labels),
            *(cell for side in (one.before, one.after) for cell in (number(side.median), _spread(side))),
            "-" if one.difference is None else percent(one.difference),
            "-" if one.p is None else f"{one.p:.2g}",
            f"{one.before.trials}, {one.after.trials}",
            one.unit,
        )
    return table


def _spread(side: Side) -> str:
    return "-" if side.spread is None or side.trials == 1 else percent(side.spread).lstrip("+")


def trend_table(found: Sequence[Series]) -> RenderableType:
    """Each figure over its runs, those marked from which on it is another."""
    parts: list[RenderableType] = []
    for series in found:
        emulated = "" if series.accel == "kvm" else f" ({series.accel})"
        soft = ", soft-RoCE" if series.soft else ""
        title = f"{series.bed}: {series.workload} {series.metric} {told(series.labels)}".rstrip()
        parts += [Text(f"{title}{emulated}{soft}, {series.unit}, {series.better} is better", "bold"), _runs(series)]
        if not series.enough:
            runs = "1 run is" if len(series.points) == 1 else f"{len(series.points)} runs are"
            parts.append(Text(f"{runs} too few to look for changes: {FEWEST} are needed", "yellow"))
    parts.append(Text(f"changes: {TEST}"))
    return Group(*parts)


def _runs(series: Series) -> Grid:
    changes = {change.run: change for change in series.changes}
    table = Grid("RUN")
    for heading in ("MEDIAN", "SPREAD", "TRIALS", "LEVEL"):
        table.add_column(heading, right=True)
    table.add_column("CHANGE")
    for point in series.points:
        change = changes.get(point.run)
        said = "" if change is None else Cell(_change(change), _CHANGES.get(change.verdict, ""))
        spread = number(point.spread) if point.trials > 1 else "-"
        table.add_row(point.run, number(point.value), spread, str(point.trials), number(point.level), said)
    return table


def _change(change: Change) -> str:
    by = "" if change.difference is None else f" {percent(change.difference)}"
    return "; ".join((f"{change.verdict}{by}", *change.unlike))


def _table(verdicts: Sequence[RunVerdict]) -> Grid:
    table = Grid("VERDICT", "METRIC", "LABELS")
    for heading in ("FIGURE", "LOWER", "REFERENCE", "UPPER"):
        table.add_column(heading, right=True)
    table.add_column("UNIT")
    table.add_column("BY")
    for one in verdicts:
        figures = (_figure(value) for value in (one.value, one.lower, one.reference, one.upper))
        said = Cell(one.verdict, _STYLES.get(one.verdict, ""))
        table.add_row(said, one.metric, told(one.labels), *figures, one.unit, f"{one.file}:{one.line}")
    return table


def _figure(value: float | None) -> str:
    return "-" if value is None else number(value)
