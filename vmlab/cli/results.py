"""results: what was measured: listed, shown, given to other programs, named, thrown away."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vmlab.cli import complete, judging, reporting
from vmlab.cli.commands import Group
from vmlab.cli.options import Form, Output, Yes, option
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
    names,
    selection,
    warn,
    write_file,
)

if TYPE_CHECKING:
    from vmlab.store.about import About

results = typer.Typer(
    cls=Group, no_args_is_help=True, rich_markup_mode=None, help="What was measured, and what it is worth."
)
judging.add_to(results)
results.command("report")(reporting.report)

_Runs = Annotated[
    list[str] | None,
    typer.Argument(metavar="[RUN...]", help="Runs' IDs; absent: all that are selected.", autocompletion=complete.runs),
]


class Format(StrEnum):
    """How figures are written."""

    CSV = "csv"
    JSON_LINES = "jsonl"
    PARQUET = "parquet"


@results.command("list")
def list_(
    bed: Beds = None,
    workload: Workloads = None,
    since: Since = None,
    until: Until = None,
    where: Where = None,
    tag: Tags = None,
    last: Last = None,
    output: Output = Form.TABLE,
) -> None:
    """List the runs, oldest first.

    \b
    Examples:
      vmlab results list --bed ha --since 14d
      vmlab results list --workload ior --where size=1MiB --last 10
    """
    from vmlab.report.plain import dumped
    from vmlab.report.tables import show
    from vmlab.report.workloads import runs_table
    from vmlab.store.index import opened
    from vmlab.store.runs import runs_dir

    wanted = selection(bed, workload, since, until, where, tag, last)
    with opened(runs_dir()) as index:
        found = [entry.told for entry in index.select(wanted)]
        warn(index.damaged())
    if output is Form.JSON:
        typer.echo(dumped(found))
    elif found:
        show(runs_table(found))
    else:
        typer.echo("no such runs: vmlab results list" if wanted.narrow else "no runs: vmlab run BED WORKLOAD", err=True)


@results.command("show")
def show_(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run's ID; absent: the latest.", autocompletion=complete.runs)
    ] = "",
    output: Output = Form.TABLE,
) -> None:
    """Show one run's figures.

    \b
    Example:
      vmlab results show 20260801T020000Z-ha-rdma
    """
    from vmlab.records.run import to_json
    from vmlab.report.plain import dumped
    from vmlab.report.run import run_table
    from vmlab.report.tables import show

    record = named_or_latest(run)
    if output is Form.JSON:
        typer.echo(dumped(to_json(record)))
    else:
        show(run_table(record))


@results.command()
def export(
    runs: _Runs = None,
    bed: Beds = None,
    workload: Workloads = None,
    since: Since = None,
    until: Until = None,
    where: Where = None,
    tag: Tags = None,
    last: Last = None,
    form: Annotated[Format, option("--format", help="csv, jsonl (an object a line) or parquet.")] = Format.CSV,
    file: Annotated[Path | None, option("--file", metavar="FILE", help="Absent: standard output.")] = None,
) -> None:
    """Write figures for other programs, a row for each.

    \b
    Examples:
      vmlab results export --bed ha --since 30d > ha.csv
      vmlab results export --format parquet --file runs.parquet
    """
    import io

    from vmlab.errors import UsageError
    from vmlab.report.rows import write_csv, write_json_lines, write_parquet
    from vmlab.runtime.files import write_atomically

    found = list(chosen(runs or (), selection(bed, workload, since, until, where, tag, last)))
    if form is Format.PARQUET:
        if file is None:
            raise UsageError("parquet is no text for a terminal", hint="--format parquet --file FILE")
        write_file(file, lambda path: write_parquet(found, path))
        return
    text = io.StringIO()
    (write_csv if form is Format.CSV else write_json_lines)(found, text)
    if file is None:
        typer.echo(text.getvalue(), nl=False)
    else:
        write_file(file, lambda path: write_atomically(path, text.getvalue()))


@results.command()
def tag(
    run: Run,
    tags: Annotated[list[str], typer.Argument(metavar="TAG...", help="Words, as for a release.")],
    remove: Annotated[bool, option("--remove", help="Take the tags away.")] = False,
    output: Output = Form.TABLE,
) -> None:
    """Give a run tags, by which it is found again.

    \b
    Example:
      vmlab results tag 20260801T020000Z-ha-rdma baseline lustre-2.15.5
    """
    from vmlab.store import about
    from vmlab.store.runs import folder_of, runs_dir

    said = about.tag(folder_of(runs_dir(), run), tags, remove=remove)
    if output is Form.JSON:
        _print_about(run, said)
    else:
        typer.echo(f"{run}: {', '.join(said.tags) or 'no tags'}", err=True)


def _print_about(run: str, said: "About") -> None:
    from vmlab.report.plain import dumped

    typer.echo(dumped({"run": run, "tags": said.tags, "note": said.note}))


@results.command()
def note(
    run: Run,
    text: Annotated[str, typer.Argument(metavar="TEXT", help='In place of an earlier one; "" for none.')],
    output: Output = Form.TABLE,
) -> None:
    """Write a note to a run.

    \b
    Example:
      vmlab results note 20260801T020000Z-ha-rdma "the switch was replaced before"
    """
    from vmlab.store import about
    from vmlab.store.runs import folder_of, runs_dir

    said = about.note(folder_of(runs_dir(), run), text)
    if output is Form.JSON:
        _print_about(run, said)


@results.command()
def rm(
    runs: _Runs = None,
    bed: Beds = None,
    workload: Workloads = None,
    since: Since = None,
    until: Until = None,
    where: Where = None,
    tag: Tags = None,
    last: Last = None,
    yes: Yes = False,
    output: Output = Form.TABLE,
) -> None:
    """Throw runs away, with all that they printed. Lists them and asks.

    \b
    Example:
      vmlab results rm --bed test --until 90d
    """
    from vmlab.cli.target import agreed
    from vmlab.errors import UsageError
    from vmlab.store.runs import remove, runs_dir

    wanted = selection(bed, workload, since, until, where, tag, last)
    if not runs and not wanted.narrow:
        raise UsageError("which runs?", hint="vmlab results rm RUN..., or a selection such as --until 90d")
    doomed = names(runs or (), wanted)
    if not doomed:
        typer.echo("no such runs", err=True)
    elif not yes:
        number = f"{len(doomed)} run{'s' * (len(doomed) != 1)}"
        agreed(f"throw away {number}?", doomed, yes=False, again="vmlab results rm ... -y")
    for run in doomed:
        remove(runs_dir(), run)
    if output is Form.JSON:
        from vmlab.report.plain import dumped

        typer.echo(dumped({"removed": doomed}))
