"""results reference, compare, trend: what figures are worth."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vmlab.cli import complete
from vmlab.cli.options import Form, Output, option
from vmlab.cli.selecting import (
    Beds,
    Last,
    Run,
    Since,
    Tags,
    Until,
    Where,
    Workloads,
    chosen,
    named_or_latest,
    selection,
)

if TYPE_CHECKING:
    from vmlab.records.run import RunRecord

_PERCENT = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,6})?) ?%")
_UNBOUNDED = "none"


def add_to(results: typer.Typer) -> None:
    """Let `results` have the commands of this file."""
    results.command("reference")(reference)
    results.command("compare")(compare)
    results.command("trend")(trend)


def reference(
    run: Annotated[
        str,
        option("--from", metavar="RUN", help="A run's ID; absent: the latest.", autocompletion=complete.runs),
    ] = "",
    to: Annotated[Path | None, option("--to", "-o", help="File to write, which must not exist; absent: print.")] = None,
    lower: Annotated[str, option("--lower", metavar="PERCENT", help="How far below is well; or none.")] = "5%",
    upper: Annotated[str, option("--upper", metavar="PERCENT", help="How far above is well; or none.")] = "5%",
) -> None:
    """Write a run's figures as references, to edit and commit.

    \b
    Examples:
      vmlab results reference --from 20260801T020000Z-ha-rdma -o refs.yaml
      vmlab results reference --lower 10% --upper none
    """
    from vmlab.judgement.written import written

    record = named_or_latest(run)
    below, above = _fraction("--lower", lower), _fraction("--upper", upper)
    text = written(record, lower=None if below is None else -below, upper=above)
    if to is None:
        typer.echo(text, nl=False)
    else:
        _write(to, text)


def _fraction(name: str, percent: str) -> float | None:
    """Read `5%`, or `none`. Raises UsageError."""
    from vmlab.errors import UsageError

    if percent == _UNBOUNDED:
        return None
    found = _PERCENT.fullmatch(percent)
    most = 100 if name == "--lower" else 10_000
    if found is None or float(found[1]) > most:
        raise UsageError(f"{name} {percent!r:.40} is no bound (expected a form such as 5%, up to {most}%, or none)")
    return round(float(found[1]) / 100, 8)


def _write(to: Path, text: str) -> None:
    """Write a new file: one that is there may have been edited."""
    from vmlab.errors import HostError, UsageError

    try:
        with to.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise UsageError(f"{to} is there already, and may have been edited", hint="name another file") from error
    except OSError as error:
        raise HostError(f"{to}: {error.strerror}") from error


def compare(
    run: Run,
    later: Annotated[
        str,
        typer.Argument(metavar="[LATER]", help="The run that is compared with it.", autocompletion=complete.runs),
    ] = "",
    last: Annotated[
        int | None,
        option("--last", metavar="N", min=1, max=1000, help="Instead: compare RUN with the last N such runs before."),
    ] = None,
    output: Output = Form.TABLE,
) -> None:
    """Compare two runs, or one with those before it.

    Each figure by a Mann-Whitney U test of its trials, two-sided, at 5%: 4 on each side are enough to tell. Such runs
    are those of the same bed, workload and options. Ends with 8 if a figure is worse.

    \b
    Examples:
      vmlab results compare 20260801T020000Z-ha-rdma 20260802T020000Z-ha-rdma
      vmlab results compare 20260802T020000Z-ha-rdma --last 5
    """
    from vmlab.errors import ReferenceMissed, UsageError, together
    from vmlab.judgement import comparison
    from vmlab.report.judgement import comparison_table
    from vmlab.report.plain import dumped
    from vmlab.report.tables import show
    from vmlab.store.runs import read, runs_dir

    if bool(later) == (last is not None):
        raise UsageError("compare takes two runs, or one and --last N", hint="vmlab results list")
    after = read(runs_dir(), later or run)
    before = (read(runs_dir(), run),) if last is None else comparison.earlier(_like(after), after, last)
    if not before:
        raise UsageError(f"no run before {run} measured the same and came to its end", hint="vmlab results list")
    found = comparison.compare(before, after)
    if output is Form.JSON:
        typer.echo(dumped(found))
    else:
        show(comparison_table(found))
    if not found.figures:
        raise UsageError("they have no figure in common", hint="vmlab results show RUN")
    if worse := [ReferenceMissed(str(one)) for one in found.of(comparison.WORSE)]:
        raise together(worse, f"{len(worse)} of {len(found.figures)} figures are worse")


def trend(
    metric: Annotated[str, typer.Argument(metavar="METRIC", help="A metric's name: `vmlab workloads` lists them.")],
    bed: Beds = None,
    workload: Workloads = None,
    since: Since = None,
    until: Until = None,
    where: Where = None,
    tag: Tags = None,
    last: Last = None,
    output: Output = Form.TABLE,
) -> None:
    """Show a metric over runs, and where it changed for good.

    \b
    Examples:
      vmlab results trend bandwidth --bed ha --workload ior --where operation=write
      vmlab results trend bandwidth --since 14d -o json
    """
    from vmlab.errors import UsageError
    from vmlab.judgement import trend as judgement
    from vmlab.records.selection import parse_where
    from vmlab.report.judgement import trend_table
    from vmlab.report.plain import dumped
    from vmlab.report.tables import show

    labels = dict(map(parse_where, where or ()))
    runs = list(chosen((), selection(bed, workload, since, until, where, tag, last)))
    found = judgement.trend(runs, metric, labels)
    if not found:
        raise UsageError(f"no run has a figure {metric!r:.60} of that kind", hint="vmlab results list")
    if output is Form.JSON:
        typer.echo(dumped({"test": judgement.TEST, "series": found}))
    else:
        show(trend_table(found))


def _like(run: "RunRecord") -> "list[RunRecord]":
    """The runs of the same bed and workload."""
    from vmlab.records.selection import Selection
    from vmlab.values.identity import asked_bed

    return list(chosen((), Selection(beds=frozenset({asked_bed(run.bed)}), workloads=frozenset({run.workload}))))
