"""submit: beds and nights as jobs of Slurm."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vmlab.cli import complete
from vmlab.cli.options import Accel, Acceleration, Form, Name, Output, Settings, option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vmlab.farm.sbatch import Given
    from vmlab.lab.farm.submit import Job

_OWN = "-"


def submit(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="Topology file, or a night's (`vmlab nightly`); - is a topology on standard input.",
            autocompletion=complete.topologies,
        ),
    ],
    sbatch: Annotated[
        list[str] | None, typer.Argument(metavar="[-- OPTION...]", help="Further options for sbatch, as it takes them.")
    ] = None,
    name: Name = None,
    settings: Settings = None,
    accel: Acceleration = Accel.AUTO,
    partition: Annotated[str | None, option("--partition", help="Slurm's; absent: its default.")] = None,
    time: Annotated[
        str | None, option("--time", metavar="TIME", help="The job's limit, as sbatch takes it: 90 (minutes), 8:00:00.")
    ] = None,
    account: Annotated[str | None, option("--account", help="Whom Slurm charges; absent: your default.")] = None,
    dry_run: Annotated[bool, option("--dry-run", help="Only show command and script.")] = False,
    output: Output = Form.TABLE,
) -> None:
    """Have Slurm bring a bed up where there is room.

    The job brings it up on the hosts of its allocation, runs the file's workloads, takes it down; without workloads the
    bed is there until the job ends. A night is a job for each entry, and one that makes a page of all. It asks for the
    CPUs and memory of the guests, and for the GRES hca, hca_vf, nic, nic_vf by the fabrics' `attach`: docs/farm.md.

    \b
    Examples:
      vmlab submit ha-topology.yaml --time 1:00:00
      vmlab submit night.yaml --partition lab -- --qos=low --exclude=kvm3
      vmlab submit ha-topology.yaml --dry-run
    """
    from vmlab.farm.sbatch import Given
    from vmlab.lab.farm.submit import refuse_without_slurm

    given = Given(partition, time, account, _options(sbatch or []))
    said = "" if accel is Accel.AUTO else str(accel)
    night = _night(file)
    if not dry_run:
        refuse_without_slurm()
    if night:
        jobs = _of_night(file, name, settings, given, said, dry_run=dry_run)
    else:
        jobs = _of_bed(file, name, settings or [], given, said, dry_run=dry_run)
    _tell(jobs, output, dry_run=dry_run)


def _options(words: "list[str]") -> tuple[str, ...]:
    from vmlab.errors import UsageError

    if words and not words[0].startswith(_OWN):
        raise UsageError(
            f"{words[0]!r:.60} is no option of sbatch, and one file is submitted",
            hint="vmlab submit FILE -- --qos=low",
        )
    return tuple(words)


def _night(file: str) -> bool:
    """It is a night's: what it has are entries. Whatever else is wrong with it is told by who reads it."""
    import contextlib

    from vmlab.errors import TopologyError, UsageError
    from vmlab.topology.loader import text_of
    from vmlab.topology.tree import Mapping, Unreadable, parse

    with contextlib.suppress(TopologyError, UsageError, Unreadable):
        if file != _OWN and Path(file).is_file():
            tree = parse(text_of(Path(file)), lambda *_: None)
            return isinstance(tree, Mapping) and "entries" in tree.entries
    return False


def _of_bed(
    file: str, name: str | None, settings: list[str], given: "Given", accel: str, *, dry_run: bool
) -> "Sequence[Job]":
    import sys

    from vmlab import workloads
    from vmlab.cli.target import find
    from vmlab.lab.farm import submit as farm
    from vmlab.topology import loads
    from vmlab.topology.loader import text_from, text_of

    for line in workloads.warnings():
        typer.echo(f"vmlab: warning: {line}", err=True)
    path = Path("<stdin>") if file == _OWN else find(file)
    text = text_from(sys.stdin.buffer, str(path)) if file == _OWN else text_of(path)
    topology = loads(text, str(path), name=name, workloads=workloads.options_by_name(), settings=settings)
    content = farm.content_of(text, settings, path.absolute().parent) | {"name": topology.name}
    job = farm.of_bed(topology, content, given, accel=accel)
    return [job if dry_run else farm.submit(job)]


def _of_night(
    file: str, name: str | None, settings: list[str] | None, given: "Given", accel: str, *, dry_run: bool
) -> "Sequence[Job]":
    from vmlab.cli.nightly import load
    from vmlab.errors import UsageError
    from vmlab.lab.farm import submit as farm

    if name is not None or settings:
        raise UsageError("--name and --set are for topologies", hint=f"entries of {file} have `name` and `set`")
    night = load(file)
    parts = farm.of_night(night, given, accel=accel)
    if dry_run:
        return parts
    done: list[Job] = []
    for part in parts:
        done.append(_handed(part, done))
    return [*done, _handed(farm.joining(night, done, given), done)]


def _handed(job: "Job", before: "Sequence[Job]") -> "Job":
    """Of a night all jobs are taken, or it is said which are."""
    from vmlab.errors import HostError
    from vmlab.lab.farm.submit import submit as hand_over

    try:
        return hand_over(job)
    except HostError as error:
        if not before:
            raise
        there = " ".join(one.id for one in before)
        raise HostError(f"{error.message}; of this night these are queued: {there}", hint=f"scancel {there}") from error


def _tell(jobs: "Sequence[Job]", output: Form, *, dry_run: bool) -> None:
    import shlex

    from vmlab.report.plain import dumped

    if output is Form.JSON:
        told: list[dict[str, Any]] = [
            {"job": job.id or None, "name": job.name, "command": job.argv, "script": job.text} for job in jobs
        ]
        typer.echo(dumped(told))
    elif dry_run:
        for job in jobs:
            typer.echo(shlex.join(job.argv))
        typer.echo(jobs[0].text, nl=False)
    else:
        for job in jobs:
            typer.echo(f"{job.id}  {job.name}")
