"""Run one workload on a bed: ask the guests, measure, read, record.

Everything that can be measured is measured; what failed is in the record, and `verdict` turns it into the command's
error. The caller holds the bed's lock: what an earlier, killed run left running in the guests is ended first.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from vmlab import __version__
from vmlab.errors import HostError, Interrupted, ReferenceMissed, UsageError, VmlabError, WorkloadError
from vmlab.guest.ssh import RunsCommands
from vmlab.judgement.references import Reference
from vmlab.judgement.verdicts import judge
from vmlab.lab.measuring.commands import Deeds
from vmlab.lab.measuring.long import Beside, Nobody
from vmlab.lab.measuring.participants import Asked, Participant
from vmlab.lab.measuring.resume import KILLED, found_earlier, joined, requested
from vmlab.lab.measuring.session import Session, iso
from vmlab.lab.measuring.start import OF_A_WORD
from vmlab.lab.measuring.turns import ONCE, Often, Turn, Turns, turns
from vmlab.lab.measuring.witness import LOAD
from vmlab.records.run import RootVolume, RunHost, RunRecord
from vmlab.runtime import parallel
from vmlab.runtime.descriptors import OF_A_COMMAND, STARTING, require
from vmlab.runtime.wait import now
from vmlab.store.runs import OpenRun, incomplete, open_again, open_run, run_of
from vmlab.workloads import Deed, Workload
from vmlab.workloads._options import Point

_JOBS = 16
_NOTE_EVERY_S = 2.0
_COSTLY = 20  # the larger a record is the longer it takes to write, and that is time in which nothing is measured


class Witnesses(Protocol):
    """What is needed of `lab.measuring.witness.Witness`."""

    def begin(self, folder: Path) -> None:
        """Look at the hosts, and count from now on into a file LOAD of `folder`."""

    def end(self) -> None:
        """Count no more."""

    def told(self) -> tuple[RunHost, ...]:
        """The hosts, with what became of their memory since the beginning."""


class Renews(Protocol):
    """What is needed of `lab.measuring.renewal.Renewal`."""

    def roots(self, trial: int) -> tuple[RootVolume, ...]:
        """The nodes' root volumes, as they are in this trial."""

    def renew(self) -> None:
        """Make the nodes anew. Raises GuestError, HostError."""


StandIns = Mapping[str, tuple[Participant, RunsCommands]]
"""The host in the place of nodes, and the doors to it: `lab.measuring.native`."""


def run_workload(
    doors: Mapping[str, RunsCommands],
    nodes: Mapping[str, Participant],
    workload: Workload[Any],
    points: Sequence[Point[Any]],
    *,
    bed: str,
    runs_dir: Path,
    accel: str,
    deeds: Deeds | None,
    progress: Callable[[str], None],
    noticed: Callable[[], Sequence[str]] = tuple,
    beside: Beside | None = None,
    witness: "Witnesses | None" = None,
    topology: Mapping[str, Any] | None = None,
    often: Often = ONCE,
    resume: bool = False,
    stand_ins: StandIns = MappingProxyType({}),
    renewal: "Renews | None" = None,
    references: Sequence[Reference] = (),
) -> RunRecord:
    """Measure, and record in a new folder of `runs_dir`; see `verdict` for what went wrong while measuring.

    `nodes` are in the bed's order; `doors` must have every node that takes part (`Workload.takes_part`). Without
    `deeds` only guests' commands can run. `noticed` tells what the bed's kernels complained of meanwhile, which is a
    problem of the run; `beside` collects evidence while long tasks run. `witness` looks at the hosts; `topology` is
    what the record says of it. With `resume` the latest cut-off run of the same goes on. `stand_ins` are needed of
    nodes that take part where points are `native`, `renewal` where `often` says fresh. Of a run that was not broken off
    the record says what `references` say of it. Raises UsageError or WorkloadError if nothing can be measured,
    HostError if too few files may be open for all that runs at once, GuestError if a guest does not answer before that.
    """
    started = datetime.now(UTC)
    request = requested(bed, workload.name, points, often)
    earlier = found_earlier(runs_dir, request) if resume else None
    known = tuple(node.node for node in nodes.values())
    chosen = {name for point in points for name in workload.takes_part(point.options, known)}
    names = tuple(name for name in nodes if name in chosen)
    killed = tuple(map(run_of, incomplete(runs_dir)))
    asked = _asked({name: (nodes[name], doors[name]) for name in names}, workload, killed)
    there = {name: stand_ins[name] for name in names if name in stand_ins}
    asked_there = _asked(there, workload, killed)
    everyone = tuple(asked[n.name].node if n.name in asked else n for n in known)
    planned = turns(workload, points, everyone, often, tuple(one.node for one in asked_there.values()))
    _check(workload, bed, planned, deeds)
    for line in dict.fromkeys(line for point in points for line in workload.foretold(point.options, everyone)):
        progress(line)
    done = frozenset(earlier.measured) if earlier is not None else frozenset[str]()
    rounds = [left for r in planned.rounds if (left := [turn for turn in r if turn.name not in done])]
    opened = (
        open_run(runs_dir, at=started, bed=bed, workload=workload.name)
        if earlier is None
        else open_again(runs_dir, earlier.id)
    )
    try:
        with opened as run, contextlib.ExitStack() as stack:
            on_host = {name: door for name, (_, door) in there.items()}
            session = Session(
                run,
                {name: doors[name] for name in names},
                on_host,
                deeds,
                workload,
                beside=beside or Nobody(),
                hosts={name: nodes[name].node.host for name in names},
                torn={turn.name for r in planned.rounds for turn in r if not done.isdisjoint(t.name for t in r)},
            )
            roots: list[RootVolume] = [] if earlier is None else list(earlier.roots)
            if witness is not None:
                stack.enter_context(_seen(witness, run.folder, lambda: bool(session.results)))

            def record(incomplete: str) -> RunRecord:
                results = session.results
                new = RunRecord(
                    **request,
                    id=run.id,
                    accel=accel,
                    soft=any(workload.soft(point.options, everyone) for point in points),
                    vmlab=__version__,
                    started=iso(started),
                    ended=iso(datetime.now(UTC)),
                    nodes=(
                        *(nodes[name].recorded(asked[name]) for name in names),
                        *(one.recorded(asked_there[name]) for name, (one, _) in there.items()),
                    ),
                    commands=tuple(c for result in results for c in result.commands),
                    samples=tuple(s for result in results for s in result.samples),
                    problems=(*(p for result in results for p in result.problems), *noticed()),
                    faults=tuple(f for result in results for f in result.faults),
                    skipped=planned.skipped,
                    notes=(*(n for result in results for n in result.notes), *_of_one_host(there, planned)),
                    incomplete=incomplete,
                    topology=topology,
                    hosts=witness.told() if witness is not None and incomplete != KILLED else (),
                    load=LOAD if witness is not None else "",
                    roots=tuple(roots),
                    suites=tuple(s for result in results for s in result.suites),
                    measured=tuple(result.name for result in results if result.over and not result.faults),
                )
                return new if earlier is None else joined(earlier, new)

            try:
                trials = _Trials(renewal, roots.extend)
                _measure(
                    session,
                    rounds,
                    before=len(done),
                    progress=progress,
                    note=lambda: run.note(record(KILLED)),
                    begin=trials.begin,
                )
            except BaseException as error:
                _keep_what_there_is(session, run, record, error, progress)
                if isinstance(error, KeyboardInterrupt):
                    raise Interrupted("what ran in the guests was ended") from error
                raise
            session.end()
            whole = record("")
            whole = replace(whole, verdicts=judge((whole,), references))
            run.finish(whole)
            return whole
    except OSError as error:
        where = error.filename or runs_dir
        raise HostError(f"{where}: {error.strerror}: no run can be recorded", hint=f"df -h {runs_dir}") from error


def _asked(
    those: Mapping[str, tuple[Participant, RunsCommands]], workload: Workload[Any], killed: Sequence[str]
) -> dict[str, Asked]:
    """What the machines that take part say of themselves. Raises GuestError, WorkloadError."""

    def ask(name: str) -> tuple[str, Asked]:
        one, door = those[name]
        return name, one.ask(door, workload, killed)

    return dict(parallel.each(ask, those, jobs=_JOBS, failed="not all that take part answer"))


def _of_one_host(there: StandIns, planned: Turns) -> Iterator[str]:
    if len(there) > 1 and any(turn.native for r in planned.rounds for turn in r):
        yield "on the host all nodes are one machine: what goes from one to another does not leave it"


class _Trials:
    """Sees to it that each trial has nodes of its own, and tells of them; without a renewal it does nothing."""

    def __init__(self, renewal: Renews | None, tell: Callable[[Sequence[RootVolume]], None]) -> None:
        self._renewal = renewal
        self._tell = tell
        self._trial = 0

    def begin(self, trial: int) -> None:
        """Before each round of this trial."""
        if self._renewal is None or trial == self._trial:
            return
        if self._trial:
            self._renewal.renew()
        self._trial = trial
        self._tell(self._renewal.roots(trial))


@contextlib.contextmanager
def _seen(witness: Witnesses, folder: Path, worth: Callable[[], bool]) -> Iterator[None]:
    """Count beside the run; the file of one that was over before anything began goes with it."""
    try:
        witness.begin(folder)
        yield
    finally:
        witness.end()
        if not worth():
            (folder / LOAD).unlink(missing_ok=True)


def _check(workload: Workload[Any], bed: str, planned: Turns, deeds: Deeds | None) -> None:
    """Raises UsageError, HostError if it cannot be done."""
    measurements = [turn.measurement for r in planned.rounds for turn in r]
    if deeds is None and any(isinstance(task, Deed) for m in measurements for task in m.commands):
        raise UsageError(
            f"{workload.name} has to know the topology of {bed}, and its file is not here",
            hint=f"vmlab run FILE {workload.name}",
        )
    at_once = max(sum(turn.measurement.at_once for turn in r) for r in planned.rounds)
    gathered = max(sum(turn.measurement.gathered for turn in r) for r in planned.rounds)
    files = at_once * OF_A_COMMAND + gathered * OF_A_WORD + STARTING
    require(files, f"{at_once} commands of {workload.name} at once")


def _measure(
    session: Session,
    rounds: Sequence[Sequence[Turn]],
    *,
    before: int,
    progress: Callable[[str], None],
    note: Callable[[], None],
    begin: Callable[[int], None],
) -> None:
    """Round after round; `before` were measured earlier. What there is is noted every few seconds."""
    total = before + sum(map(len, rounds))
    noted, took_s = now(), 0.0
    for todo in rounds:
        have = len(session.results)
        begin(todo[0].trial)
        for number, turn in enumerate(todo, start=before + have + 1):
            progress(f"{number}/{total} {turn.name}")
        session.measure_all(todo)
        for result in session.results[have:]:
            for said in (*result.faults, *result.problems):
                progress(said)
        if (at := now()) - noted > max(_NOTE_EVERY_S, _COSTLY * took_s):
            note()
            noted = now()
            took_s = noted - at


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
            progress(f"what was measured is kept: vmlab results show {run.id}; with --resume this command goes on")


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
