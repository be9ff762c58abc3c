"""Options that select runs, and the runs that they select."""

from typing import TYPE_CHECKING, Annotated

import typer

from vmlab.cli import complete
from vmlab.cli.options import option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from vmlab.errors import VmlabError
    from vmlab.records.run import RunRecord
    from vmlab.records.selection import Selection

Beds = Annotated[str | None, option("--bed", metavar="BEDS", help="Of these beds: a name, or a set as ha[1-3].")]
Workloads = Annotated[str | None, option("--workload", metavar="NAMES", help="Of these workloads, with commas.")]
Since = Annotated[str | None, option("--since", metavar="TIME", help="Begun since: 36h, 14d, 2w, 6m, or a date.")]
Until = Annotated[str | None, option("--until", metavar="TIME", help="Begun before.")]
Where = Annotated[
    list[str] | None,
    option(
        "--where",
        metavar="LABEL=VALUE",
        help="With a label, an option or a version: size=1MiB, lustre=2.15.5. May be repeated.",
    ),
]
Tags = Annotated[list[str] | None, option("--tag", metavar="TAG", help="With this tag. May be repeated.")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's ID.", autocompletion=complete.runs)]
Last = Annotated[int | None, option("--last", metavar="N", min=1, help="The newest N of those.")]


def selection(
    bed: str | None,
    workload: str | None,
    since: str | None,
    until: str | None,
    where: list[str] | None,
    tag: list[str] | None,
    last: int | None,
) -> "Selection":
    """What the options above mean. Raises UsageError."""
    from datetime import UTC, datetime

    from vmlab.errors import UsageError
    from vmlab.records.selection import Selection, parse_moment, parse_where
    from vmlab.values.nodeset import expand

    now = datetime.now(UTC)
    try:
        beds = frozenset(expand(bed)) if bed else frozenset[str]()
    except ValueError as error:
        raise UsageError(f"--bed: {error}", hint="--bed 'ha[1-3]'") from None
    return Selection(
        beds=beds,
        workloads=frozenset(filter(None, (workload or "").split(","))),
        since=parse_moment(since, now) if since else None,
        until=parse_moment(until, now) if until else None,
        where=dict(map(parse_where, where or ())),
        tags=frozenset(tag or ()),
        last=last,
    )


def names(runs: "Sequence[str]", wanted: "Selection") -> list[str]:
    """The IDs of the named runs, or of those that are selected; what cannot be read is told. Raises UsageError."""
    from vmlab.store.index import opened
    from vmlab.store.runs import folder_of, runs_dir

    if runs:
        return [folder_of(runs_dir(), run).name for run in dict.fromkeys(runs)]
    with opened(runs_dir()) as index:
        warn(index.damaged())
        return [entry.id for entry in index.select(wanted)]


def chosen(runs: "Sequence[str]", wanted: "Selection") -> "Iterator[RunRecord]":
    """The named runs, or those that are selected, of which those that cannot be read are told and left out."""
    from vmlab.errors import WorkloadError
    from vmlab.store.runs import read, runs_dir

    for run in names(runs, wanted):
        try:
            yield read(runs_dir(), run)
        except WorkloadError as error:
            if runs:
                raise
            warn([error])


def named_or_latest(run: str) -> "RunRecord":
    """The run of this ID, or with "" the latest that can be read; newer ones are told. Raises UsageError."""
    from vmlab.errors import UsageError
    from vmlab.store.runs import latest, read, runs_dir

    record, damaged = (read(runs_dir(), run), ()) if run else latest(runs_dir())
    warn(damaged)
    if record is None:
        raise UsageError("there are no runs yet", hint="vmlab run BED WORKLOAD")
    return record


def warn(damaged: "Sequence[VmlabError]") -> None:
    """Tell what cannot be read."""
    for error in damaged:
        typer.echo(f"vmlab: warning: skipped: {error.message}", err=True)


def write_file(path: "Path", write: "Callable[[Path], object]") -> None:
    """Have `write` write a file of the user's. Raises HostError where it cannot be."""
    from vmlab.errors import HostError

    try:
        write(path)
    except OSError as error:
        raise HostError(f"{path} cannot be written: {error.strerror}") from error
