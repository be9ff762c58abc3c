"""results: what was measured."""

from typing import TYPE_CHECKING, Annotated

import typer

from vmlab.cli import complete, reporting
from vmlab.cli.commands import Group
from vmlab.cli.options import Form, Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vmlab.errors import VmlabError

results = typer.Typer(
    cls=Group, no_args_is_help=True, rich_markup_mode=None, help="What was measured: list, show, report."
)
results.command("report")(reporting.report)


@results.command("list")
def list_(output: Output = Form.TABLE) -> None:
    """List the runs, oldest first.

    \b
    Example:
      vmlab results list
    """
    from vmlab.lab.measuring.run import runs_dir
    from vmlab.records.run import to_json
    from vmlab.report.plain import dumped
    from vmlab.report.tables import show
    from vmlab.report.workloads import runs_table
    from vmlab.store.runs import readable

    records, damaged = readable(runs_dir())
    _warn(damaged)
    if output is Form.JSON:
        left_out = ("commands", "nodes", "samples", "summaries", "measured", "topology", "hosts")
        typer.echo(dumped([{k: v for k, v in to_json(r).items() if k not in left_out} for r in records]))
    elif records:
        show(runs_table(records))
    else:
        typer.echo("no runs: vmlab run BED WORKLOAD", err=True)


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
    from vmlab.errors import UsageError
    from vmlab.lab.measuring.run import runs_dir
    from vmlab.records.run import to_json
    from vmlab.report.plain import dumped
    from vmlab.report.run import run_table
    from vmlab.report.tables import show
    from vmlab.store.runs import latest, read

    record, damaged = (read(runs_dir(), run), ()) if run else latest(runs_dir())
    _warn(damaged)
    if record is None:
        raise UsageError("there are no runs yet", hint="vmlab run BED WORKLOAD")
    if output is Form.JSON:
        typer.echo(dumped(to_json(record)))
    else:
        show(run_table(record))


def _warn(damaged: "Sequence[VmlabError]") -> None:
    for error in damaged:
        typer.echo(f"vmlab: warning: skipped: {error.message}", err=True)
