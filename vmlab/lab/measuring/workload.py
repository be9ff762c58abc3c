"""Run one workload on a bed: ask the guests, measure, read, record.

Everything that can be measured is measured; what failed is in the record, and `verdict` turns it into the command's
error. The caller holds the bed's lock: what an earlier, killed run left running in the guests is ended first.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from vmlab import __version__
from vmlab.domainxml.metadata import NodeMetadata
from vmlab.errors import HostError, Interrupted, ReferenceMissed, UsageError, VmlabError, WorkloadError
from vmlab.guest.ssh import RunsCommands
from vmlab.lab.measuring.commands import Deeds
from vmlab.lab.measuring.participants import Placement, ask, participant, run_node
from vmlab.lab.measuring.session import Session, iso
from vmlab.metrics import RunRecord
from vmlab.runtime import parallel
from vmlab.runtime.descriptors import OF_A_COMMAND, STARTING, require
from vmlab.store.runs import OpenRun, open_run
from vmlab.workloads import Deed, Measurement, Workload

_JOBS = 16


def run_workload(
    guests: Mapping[str, RunsCommands],
    nodes: Mapping[str, NodeMetadata],
    workload: Workload[Any],
    options: BaseModel,
    *,
    runs_dir: Path,
    accel: str,
    placement: Placement,
    deeds: Deeds | None,
    progress: Callable[[str], None],
    noticed: Callable[[], Sequence[str]] = tuple,
) -> RunRecord:
    """Measure, and record in a new folder of `runs_dir`; see `verdict` for what went wrong while measuring.

    `guests` must have every node that takes part (`Workload.takes_part`). Without `deeds` only guests' commands can
    run. `noticed` tells what the bed's kernels complained of meanwhile, which is a problem of the run. Raises
    UsageError or WorkloadError if nothing can be measured, HostError if too few files may be open for all that runs at
    once, GuestError if a guest does not answer before that.
    """
    started = datetime.now(UTC)
    bed = next(iter(nodes.values())).bed if nodes else ""
    known = tuple(participant(node) for node in nodes.values())
    names = workload.takes_part(options, known)
    asked = dict(
        parallel.each(
            lambda name: (name, ask(guests[name], nodes[name], workload)),
            names,
            jobs=_JOBS,
            failed="guests do not answer",
        )
    )
    everyone = tuple(asked[n.name].node if n.name in asked else n for n in known)
    rounds = workload.measurements(options, everyone)
    skipped = [f"{m.name}: {m.skipped}" for r in rounds for m in r if m.skipped]
    total = sum(not m.skipped for r in rounds for m in r)
    if not total:
        raise WorkloadError(f"{workload.name}: nothing can be measured: {'; '.join(skipped) or 'no measurement'}")
    if deeds is None and any(isinstance(task, Deed) for r in rounds for m in r for task in m.commands):
        raise UsageError(
            f"{workload.name} has to know the topology of {bed}, and its file is not here",
            hint=f"vmlab run FILE {workload.name}",
        )
    at_once = max(sum(m.at_once for m in r if not m.skipped) for r in rounds)
    require(at_once * OF_A_COMMAND + STARTING, f"{at_once} commands of {workload.name} at once")
    try:
        with open_run(runs_dir, at=started, bed=bed, workload=workload.name) as run:
            session = Session(run, {name: guests[name] for name in names}, deeds, workload, options)

            def record(incomplete: str) -> RunRecord:
                results = session.results
                return RunRecord(
                    id=run.id,
                    bed=bed,
                    workload=workload.name,
                    options=options.model_dump(mode="json", by_alias=True),
                    accel=accel,
                    soft=workload.soft(options, everyone),
                    vmlab=__version__,
                    started=iso(started),
                    ended=iso(datetime.now(UTC)),
                    nodes=tuple(run_node(nodes[name], asked[name], placement.get(name, {})) for name in names),
                    commands=tuple(c for result in results for c in result.commands),
                    samples=tuple(s for result in results for s in result.samples),
                    problems=(*(p for result in results for p in result.problems), *noticed()),
                    faults=tuple(f for result in results for f in result.faults),
                    skipped=tuple(skipped),
                    notes=tuple(n for result in results for n in result.notes),
                    incomplete=incomplete,
                )

            try:
                for measurements in rounds:
                    _round(session, [m for m in measurements if not m.skipped], total, progress)
            except BaseException as error:
                _keep_what_there_is(session, run, record, error, progress)
                if isinstance(error, KeyboardInterrupt):
                    raise Interrupted("what ran in the guests was ended") from error
                raise
            session.end()
            done = record("")
            run.finish(done)
            return done
    except OSError as error:
        where = error.filename or runs_dir
        raise HostError(f"{where}: {error.strerror}: no run can be recorded", hint=f"df -h {runs_dir}") from error


def _round(session: Session, todo: Sequence[Measurement], total: int, progress: Callable[[str], None]) -> None:
    before = len(session.results)
    for number, measurement in enumerate(todo, start=before + 1):
        progress(f"{number}/{total} {measurement.name}")
    session.measure_all(todo)
    for result in session.results[before:]:
        for said in (*result.faults, *result.problems):
            progress(said)


def _keep_what_there_is(
    session: Session,
    run: OpenRun,
    record: Callable[[str], RunRecord],
    error: BaseException,
    progress: Callable[[str], None],
) -> None:
    """What was measured until now becomes a run that says that it is not all; a second Ctrl-C does not prevent it."""
    try:
        session.break_off()
    finally:
        kept = record(_broken_off(error))
        if kept.commands:
            run.finish(kept)
            progress(f"what was measured is kept: vmlab results show {run.id}")


def _broken_off(error: BaseException) -> str:
    """Why a run did not go on, in words for its record."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, OSError):
        return f"{error.filename or 'a file'}: {error.strerror}"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def verdict(record: RunRecord, runs_dir: Path) -> VmlabError | None:
    """The error that the command ends with, to be raised after the figures were printed; None if all is well.

    ReferenceMissed when what was measured did not behave, whatever else happened; WorkloadError when only something
    could not be measured.
    """
    causes: list[VmlabError] = [ReferenceMissed(line) for line in record.problems]
    causes += [WorkloadError(line) for line in record.faults]
    if not causes:
        return None
    kind = type(causes[0])
    hint = f"what the commands printed is in {runs_dir / record.id}"
    if len(causes) == 1:
        return kind(causes[0].message, hint=hint)
    counts = {
        "did not behave as they must": len(record.problems),
        "could not be measured": len(record.faults),
    }
    told = ", ".join(f"{number} {what}" for what, number in counts.items() if number)
    return kind(f"{record.workload}: of its measurements {told}", hint=hint, causes=causes)
