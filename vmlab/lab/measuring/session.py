"""The measurements of one run: services, tasks and deeds are begun, kept, read and ended.

A result is kept as soon as there is one: what breaks a run off, be it Ctrl-C, a full disk or a bug in a workload, takes
nothing of what was measured before it.
"""

import threading
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from vmlab.errors import GuestError, VmlabError
from vmlab.guest.ssh import RunsCommands
from vmlab.lab.ground.leftovers import end_run
from vmlab.lab.measuring.by_host import of_hosts
from vmlab.lab.measuring.commands import Commands, Deeds, Keep, told
from vmlab.lab.measuring.job import perform
from vmlab.lab.measuring.long import Beside, last_long
from vmlab.lab.measuring.services import Services, serving
from vmlab.lab.measuring.turns import Turn
from vmlab.metrics import Sample
from vmlab.records.run import RunCommand
from vmlab.runtime.interrupt import PutOff
from vmlab.runtime.parallel import wait_for
from vmlab.runtime.wait import now
from vmlab.store.runs import OpenRun
from vmlab.suites.results import SuiteRun
from vmlab.workloads import Job, Long, Output, Outputs, Task, Workload

_BROKEN_S = 15.0  # nobody who pressed Ctrl-C waits long for a guest
_APART = 0.05  # of the time that the shortest took
_NO_TIME = "it was not begun, because the time of all was over"
_STDOUT = "stdout"
_LOST = 255


@dataclass(frozen=True, slots=True)
class MeasuredResult:
    """What became of one measurement; `over` if it ended by itself."""

    name: str
    over: bool
    commands: tuple[RunCommand, ...]
    samples: tuple[Sample, ...]
    problems: tuple[str, ...]
    faults: tuple[str, ...]
    notes: tuple[str, ...]
    suites: tuple[SuiteRun, ...] = ()


@dataclass(slots=True)
class _Taken:
    """What a measurement has so far."""

    name: str
    over: bool = False
    outputs: dict[str, Output] = field(default_factory=dict)
    commands: list[RunCommand] = field(default_factory=list)
    samples: tuple[Sample, ...] = ()
    problems: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    suites: tuple[SuiteRun, ...] = ()


class Session:
    """One run's measurements on the machines that take part, and on the host in their place."""

    def __init__(
        self,
        run: OpenRun,
        doors: Mapping[str, RunsCommands],
        on_host: Mapping[str, RunsCommands],
        deeds: Deeds | None,
        workload: Workload[Any],
        *,
        beside: Beside,
        hosts: Mapping[str, str] = MappingProxyType({}),
        torn: Collection[str] = (),
    ) -> None:
        """`hosts` are of the nodes; of rounds that are `torn`, by their turns' names, other turns were made earlier."""
        self._run = run
        self._beside = beside
        self._hosts = hosts
        self._torn = torn
        self._began = now()
        self._doors = doors
        self._on_host = on_host
        self._deeds = deeds
        self._workload = workload
        self._taken: list[_Taken] = []
        self._lock = threading.Lock()
        self._broken = threading.Event()

    @property
    def results(self) -> list[MeasuredResult]:
        """All that there are so far, in the order in which they were begun."""
        with self._lock:
            return [_result(taken) for taken in self._taken]

    def measure_all(self, turns: Sequence[Turn]) -> None:
        """Those of one round, at once. What is no error of the tree ends the session, and is raised."""
        taken = [_Taken(turn.name) for turn in turns]
        with self._lock:
            self._taken += taken
        self._at_once(turns, taken)
        if all(turn.counts and not turn.native and turn.name not in self._torn for turn in turns):
            self._add_up(taken)

    def _add_up(self, taken: Sequence[_Taken]) -> None:
        """What all of a round come to by host. Of a round that lacks figures there is no sum."""
        if all(one.over and one.samples and not one.faults for one in taken):
            measured = [sample for one in taken for sample in one.samples]
            taken[-1].samples += tuple(of_hosts(self._workload.adds_up, measured, self._hosts))

    def _at_once(self, turns: Sequence[Turn], taken: Sequence[_Taken]) -> None:
        if len(turns) == 1:
            self._measure(turns[0], taken[0])
            return
        pool = ThreadPoolExecutor(max_workers=len(turns) or 1)
        with PutOff():
            running = [pool.submit(self._measure, *pair) for pair in zip(turns, taken, strict=True)]
        try:
            wait_for(running)
        except BaseException:
            # Their commands are ended, and then so are they: what they have until then is kept.
            self.break_off()
            wait(running, timeout=_BROKEN_S)
            raise
        finally:
            pool.shutdown(wait=False)
        for future in running:
            future.result()

    def end(self) -> None:
        """Leave nothing running; a guest that is gone has nothing running."""
        self._end()

    def break_off(self) -> None:
        """End what runs, before its time: what its commands then say of themselves is no result."""
        self._broken.set()
        self._end(deadline_s=_BROKEN_S)

    def _end(self, **how: float) -> None:
        end_run(self._doors, self._run.id, **how)
        end_run(dict(tuple(self._on_host.items())[:1]), self._run.id, **how)  # all of them are doors to one host

    def _measure(self, turn: Turn, taken: _Taken) -> None:
        workload, options, measurement = self._workload, turn.options, turn.measurement
        outputs = taken.outputs
        samples: tuple[Sample, ...] = ()
        try:
            fault = self._perform(turn, taken) if self._left_s(turn) > 0 else _NO_TIME
            if not fault:
                samples = workload.parse(options, measurement, outputs)
        except VmlabError as error:
            fault = told((error.message, *(cause.message for cause in error.causes)))
        if self._broken.is_set():
            return  # what became of its commands is our own doing
        if turn.counts:
            taken.samples = tuple(map(turn.labelled, samples))
            taken.suites = self._suites(turn, taken)
        taken.problems = workload.sanity(options, measurement, outputs, samples)
        apart = () if taken.suites else _apart(outputs)  # a job that only prepares the nodes measures nothing
        taken.notes = (*workload.notes(options, measurement, outputs), *apart)
        if fault and not taken.problems:  # what is wrong with the thing under test explains the failure
            taken.faults = (fault,)
        taken.over = True

    def _left_s(self, turn: Turn) -> float:
        """Of the time that all measurements may take together."""
        return self._workload.limit_s(turn.options) - (now() - self._began)

    def _suites(self, turn: Turn, taken: _Taken) -> tuple[SuiteRun, ...]:
        """With the names that logs have in the run's folder."""
        files = {f"{command.task}/{name}": file for command in taken.commands for name, file in command.files.items()}
        files |= {f"{command.task}/{_STDOUT}": command.stdout for command in taken.commands}
        return tuple(
            replace(
                suite,
                tests=tuple(replace(test, log=files.get(test.log, "")) for test in suite.tests),
                measurement=turn.name,
                trial=turn.trial,
            )
            for suite in self._workload.tests(turn.options, turn.measurement, taken.outputs)
        )

    def _keep(self, name: str, taken: _Taken, task: Task, output: Output, started: datetime) -> None:
        taken.outputs[task.name] = output
        files = self._run.keep(f"{name}.{task.name}", output.stdout, output.stderr)
        taken.commands.append(
            RunCommand(
                name,
                task.name,
                task.node,
                task.argv,
                iso(started),
                round(output.seconds, 3),
                output.status,
                output.timed_out,
                *files,
                late_s=round(output.late_s, 6),
                files={
                    file: self._run.keep_file(f"{name}.{task.name}.{file}", content)
                    for file, content in output.files.items()
                },
            )
        )

    def _perform(self, turn: Turn, taken: _Taken) -> str:
        """Services, then tasks and jobs; why it failed, or ""."""
        commands = Commands(
            self._run.id,
            turn,
            self._on_host if turn.native else self._doors,
            self._deeds,
            explain=self._workload.explain,
            broken=self._broken,
        )

        def keep(task: Task, output: Output, started: datetime) -> None:
            self._keep(turn.name, taken, task, output, started)

        commands.prepare()

        def perform_all(steps: Sequence[Task | Job], services: Services) -> bool:
            for step in steps:
                if services.fault or self._broken.is_set():
                    break
                services.fault = self._step(step, turn, commands, keep, services)
            return bool(steps) and not services.fault and not self._broken.is_set()

        with serving(turn.measurement.services, commands, keep) as services:
            goes_on = perform_all(turn.measurement.tasks, services)
            while goes_on:
                left_s = self._left_s(turn)
                more = self._workload.more(turn.options, turn.measurement, taken.outputs, left_s)
                goes_on = perform_all(more, services)
        return services.fault

    def _step(self, step: Task | Job, turn: Turn, commands: Commands, keep: Keep, services: Services) -> str:
        """Why it failed, or ""; services that failed before the task that needed them did are the cause."""
        if isinstance(step, Job):
            fault = perform(step, commands, keep)
        elif isinstance(step, Long):
            self._long(step, turn, commands, keep)
            fault = ""
        else:
            fault = _one(step, commands, keep)
        return told((*services.failed(), fault)) if fault else ""

    def _long(self, step: Long, turn: Turn, commands: Commands, keep: Keep) -> None:
        commands.put(step)
        started = datetime.now(UTC)
        folder, stem = self._run.folder, self._run.called(f"evidence.{turn.name}")
        output = last_long(step, commands, self._beside, lambda: self._beside.collect(folder, stem))
        keep(step, output, started)


def _result(taken: _Taken) -> MeasuredResult:
    problems, faults, notes = (
        tuple(f"{taken.name}: {s}" for s in said) for said in (taken.problems, taken.faults, taken.notes)
    )
    commands = tuple(taken.commands)
    return MeasuredResult(taken.name, taken.over, commands, taken.samples, problems, faults, notes, taken.suites)


def _one(step: Task, commands: Commands, keep: Keep) -> str:
    """Why it failed, or ""."""
    started = datetime.now(UTC)
    try:
        commands.put(step)
        output = commands.bring(step, commands.run(step))
    except GuestError as error:
        if not step.optional:
            raise
        output = Output(_LOST, "", f"{error.message}\n", 0.0)
    keep(step, output, started)
    return "" if output.ok or step.optional else commands.failed(step, output)


def _apart(outputs: Outputs) -> tuple[str, ...]:
    """That the tasks of a job began so far apart that it matters."""
    late_s = max((output.late_s for output in outputs.values()), default=0.0)
    shortest_s = min((output.seconds for output in outputs.values() if output.late_s), default=0.0)
    if late_s <= shortest_s * _APART:
        return ()
    return (f"what was to begin together began within {late_s:.2g} s, and the shortest of it took {shortest_s:.3g} s",)


def iso(moment: datetime) -> str:
    """ISO 8601 with an offset."""
    return moment.astimezone().isoformat(timespec="milliseconds")
