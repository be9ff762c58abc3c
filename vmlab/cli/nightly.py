"""nightly: a night of tests on many beds."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vmlab.cli.options import Accel, Acceleration, Form, Output, option

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vmlab.nights.night import Night
    from vmlab.records.night import NightRecord


def nightly(
    file: Annotated[str, typer.Argument(metavar="NIGHT.yaml", help="What is to be done: `vmlab schema --night`.")],
    resume: Annotated[
        bool, option("--resume", help="Go on with the latest night of this file that was cut off.")
    ] = False,
    dry_run: Annotated[bool, option("--dry-run", help="Check the file, and only show which beds it means.")] = False,
    accel: Acceleration = Accel.AUTO,
    to: Annotated[
        Path | None,
        option("--to", metavar="DIR", help="Page, JUnit XML and summary go there, too, for who collects results."),
    ] = None,
    entry: Annotated[
        str | None, option("--entry", metavar="ENTRY", help="Only this entry, as --dry-run calls it.")
    ] = None,
    name: Annotated[
        str | None, option("--as", metavar="NAME", help="The night's name, instead of the file's; its beds begin so.")
    ] = None,
    join: Annotated[
        str | None,
        option("--join", metavar="JOBS", help="Only make one night of what these jobs of `vmlab submit` did: 12,13."),
    ] = None,
    output: Output = Form.TABLE,
) -> None:
    """Bring beds up, run their steps, keep evidence, judge.

    Entries run side by side as far as the hosts hold their memory. What fails leaves evidence; what the lab broke is
    tried once more. Ends with 8 if something failed that nobody expected, else with 7 if the lab failed. When it is
    broken off, or killed, nothing that was measured is lost: --resume.

    \b
    Examples:
      vmlab nightly night.yaml --dry-run
      vmlab nightly night.yaml
      vmlab nightly night.yaml --resume
    """
    from vmlab.judgement.expectations import load as load_expected
    from vmlab.lab.nightly.foretold import foretold, in_lines
    from vmlab.lab.nightly.night import Places, night_of, rooms, told
    from vmlab.report.night.files import written
    from vmlab.store.nights import nights_dir
    from vmlab.store.runs import runs_dir
    from vmlab.workloads import workloads as all_workloads

    night = load(file, name)
    if entry is not None:
        night = _only(night, entry)
    expectations = load_expected(night.expected) if night.expected is not None else ()
    said = foretold(night, all_workloads())
    if dry_run:
        if output is Form.JSON:
            from vmlab.report.plain import dumped

            typer.echo(dumped(told(night, said)))
        else:
            _show(night, said)
        return
    places = Places(nights_dir(), runs_dir())
    if join is not None:
        from vmlab.lab.nightly.joined import joined

        record, folder = joined(night, places, _parts(join), expectations)
        _tell(record, folder, written(places.nights, night.name, to), output)
        return
    room_kib = rooms(night, _room)
    _refuse_too_large(night, room_kib)
    for line in in_lines(said):
        _say(line)
    try:
        record, folder = night_of(
            night,
            places,
            room_kib=room_kib,
            expectations=expectations,
            accel="" if accel is Accel.AUTO else str(accel),
            resume=resume,
            say=_say,
        )
    except KeyboardInterrupt:
        written(places.nights, night.name, to)
        raise
    _tell(record, folder, written(places.nights, night.name, to), output)


def _tell(record: "NightRecord", folder: Path, page: Path | None, output: Form) -> None:
    from vmlab.records.night import to_json
    from vmlab.report.night.summary import in_short
    from vmlab.report.plain import dumped

    if output is Form.JSON:
        typer.echo(dumped(to_json(record)))
    else:
        typer.echo(in_short(record, str(page or folder)), nl=False)
    if record.status:
        raise typer.Exit(record.status)


def load(file: str, name: str | None = None) -> "Night":
    """The night of a file, with its topologies; `name` replaces the file's. Raises TopologyError."""
    from vmlab import workloads
    from vmlab.cli.target import find
    from vmlab.nights.read import load as load_night

    for line in workloads.warnings():
        typer.echo(f"vmlab: warning: {line}", err=True)
    return load_night(Path(file), workloads=workloads.options_by_name(), find=find, name=name)


def _only(night: "Night", entry: str) -> "Night":
    from dataclasses import replace

    from vmlab.errors import UsageError
    from vmlab.topology.wording import expected, quote

    names = [one.name for one in night.entries]
    if entry not in names:
        told = f"{night.file} has no entry {quote(entry)} ({expected(entry, names)})"
        raise UsageError(told, hint=f"vmlab nightly {night.file} --dry-run")
    return replace(night, entries=tuple(one for one in night.entries if one.name == entry))


def _parts(jobs: str) -> dict[str, Path]:
    """The state folders of jobs, by their ids."""
    from vmlab.errors import UsageError
    from vmlab.lab.farm.submit import FARM
    from vmlab.runtime.files import state_dir

    ids = jobs.split(",")
    if not all(job.isdecimal() for job in ids):
        raise UsageError(f"--join {jobs!r:.60} is no list of jobs (expected their ids: 12,13)", hint="vmlab submit -h")
    return {job: state_dir() / FARM / job for job in ids}


def _say(line: str) -> None:
    from datetime import UTC, datetime

    from vmlab.values.printable import printable

    typer.echo(f"[{datetime.now(UTC).astimezone():%H:%M:%S}] {printable(line)}", err=True)
    sys.stderr.flush()


def _room(host: str) -> int | None:
    """What new guests can have there, in KiB; libvirt's test driver has guests of no size."""
    from vmlab.lab.ground.bed import default_uri, opened
    from vmlab.virt.host import available_memory

    with opened(host or default_uri()) as found:
        return available_memory(found)


def _refuse_too_large(night: "Night", room_kib: dict[str, int | None]) -> None:
    """A bed that will never fit is told before anything begins, all of them at once."""
    from vmlab.errors import HostError, together

    errors = [
        HostError(
            f"{entry.name} wants {entry.memory_kib // 1024} MiB of memory, "
            f"and the host has {free // 1024} MiB available",
            hint="take other beds down (`vmlab list`), or give the nodes less `memory`",
        )
        for entry in night.entries
        if (free := room_kib[entry.host]) is not None and entry.memory_kib > free
    ]
    if errors:
        raise together(errors, f"{len(errors)} of {len(night.entries)} beds do not fit")


def _show(night: "Night", foretold: "Mapping[str, Sequence[str]]") -> None:
    from vmlab.lab.nightly.foretold import in_lines
    from vmlab.report.night.tables import planned_table
    from vmlab.report.tables import show
    from vmlab.values.printable import printable

    show(planned_table(night))
    for line in in_lines(foretold):
        typer.echo(printable(line))
