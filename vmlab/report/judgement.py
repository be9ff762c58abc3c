"""What figures are worth, as tables for people."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from vmlab.judgement.labels import told
from vmlab.judgement.numbers import number
from vmlab.judgement.verdicts import BETTER, MISSED, NO_FIGURE, OK, OTHER_HOST
from vmlab.records.run import RunVerdict
from vmlab.report.grid import Cell, Grid

_STYLES = {OK: "green", MISSED: "red", BETTER: "yellow", NO_FIGURE: "red"}


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
