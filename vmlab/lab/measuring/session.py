"""The measurements of one run: services, tasks and deeds are begun, kept, read and ended.

A result is kept as soon as there is one: what breaks a run off, be it Ctrl-C, a full disk or a bug in a workload, takes
nothing of what was measured before it.
"""

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import ceil
from typing import Any, Protocol

from pydantic import BaseModel

from vmlab.errors import VmlabError
from vmlab.guest.killed import KILLED, out_of_memory, was_killed
from vmlab.guest.ssh import RunsCommands
from vmlab.lab.ground.leftovers import end_run, end_task, mark
from vmlab.metrics import RunCommand, Sample
from vmlab.runtime.process import Result
from vmlab.runtime.wait import Deadline, now
from vmlab.store.runs import OpenRun
from vmlab.workloads import MARK, Deed, Measurement, Output, Service, Task, Workload


class Deeds(Protocol):
    """What is needed of `lab.measuring.deeds.Deeds`."""

    def __call__(self, deed: Deed) -> Result:
        """Do it to the end; raises VmlabError if that cannot even begin."""


_ASK_S = 60.0
_SSH_S = 15.0  # what a command may take longer here than in the guest
_BROKEN_S = 15.0  # nobody who pressed Ctrl-C waits long for a guest
_FELLOW_S = 1.0

# `timeout` in the guest ends with 124 when it ended the command, with 137 when that took SIGKILL; but 137 is the end of
# everything that was killed.
_TIMED_OUT = 124

# One round trip asks twenty times; the answer comes as soon as it is yes.
_UNTIL_READY = """
tries=0
until "$@" >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 20 ] || exit 1
    sleep 0.1
done
"""


@dataclass(frozen=True, slots=True)
class MeasuredResult:
    """What became of one measurement."""

    commands: tuple[RunCommand, ...]
    samples: tuple[Sample, ...]
    problems: tuple[str, ...]
    faults: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Taken:
    """What a measurement has so far."""

    name: str
    outputs: dict[str, Output] = field(default_factory=dict)
    commands: list[RunCommand] = field(default_factory=list)
    samples: tuple[Sample, ...] = ()
    problems: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Session:
    """One run's measurements on the guests that take part."""

    def __init__(
        self,
        run: OpenRun,
        guests: Mapping[str, RunsCommands],
        deeds: Deeds | None,
        workload: Workload[Any],
        options: BaseModel,
    ) -> None:
        self._run = run
        self._guests = guests
        self._deeds = deeds
        self._workload = workload
        self._options = options
        self._taken: list[_Taken] = []
        self._lock = threading.Lock()
        self._broken = False

    @property
    def results(self) -> list[MeasuredResult]:
        """All that there are so far, in the order in which they were begun."""
        with self._lock:
            return [
                MeasuredResult(
                    tuple(taken.commands),
                    taken.samples,
                    *(
                        tuple(f"{taken.name}: {s}" for s in said)
                        for said in (taken.problems, taken.faults, taken.notes)
                    ),
                )
                for taken in self._taken
            ]

    def measure_all(self, measurements: Sequence[Measurement]) -> None:
        """Those of one round, at once. What is no error of the tree ends the session, and is raised."""
        taken = [_Taken(measurement.name) for measurement in measurements]
        with self._lock:
            self._taken += taken
        if len(measurements) == 1:
            self._measure(measurements[0], taken[0])
            return
        pool = ThreadPoolExecutor(max_workers=len(measurements) or 1)
        running = [pool.submit(self._measure, *pair) for pair in zip(measurements, taken, strict=True)]
        try:
            for future in running:
                future.exception()
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
        """Leave nothing running in the guests; a guest that is gone has nothing running."""
        end_run(self._guests, self._run.id)

    def break_off(self) -> None:
        """End what runs, before its time: what its commands then say of themselves is no result."""
        self._broken = True
        end_run(self._guests, self._run.id, deadline_s=_BROKEN_S)

    def _measure(self, measurement: Measurement, taken: _Taken) -> None:
        workload, options = self._workload, self._options
        outputs = taken.outputs
        try:
            fault = self._perform(measurement, taken)
            if not fault:
                taken.samples = workload.parse(options, measurement, outputs)
        except VmlabError as error:
            fault = error.message
        if self._broken:
            return  # what became of its commands is our own doing
        taken.problems = workload.sanity(options, measurement, outputs, taken.samples)
        taken.notes = workload.notes(options, measurement, outputs)
        if fault and not taken.problems:  # what is wrong with the thing under test explains the failure
            taken.faults = (fault,)

    def _keep(self, measurement: Measurement, taken: _Taken, task: Task, output: Output, started: datetime) -> None:
        taken.outputs[task.name] = output
        files = self._run.keep(f"{measurement.name}.{task.name}", output.stdout, output.stderr)
        taken.commands.append(
            RunCommand(
                measurement.name,
                task.name,
                task.node,
                task.argv,
                iso(started),
                round(output.seconds, 3),
                output.status,
                output.timed_out,
                *files,
            )
        )

    def _perform(self, measurement: Measurement, taken: _Taken) -> str:
        """Services, then tasks; why it failed, or ""."""
        with ThreadPoolExecutor(max_workers=max(1, len(measurement.services))) as pool:
            running: list[tuple[Service, datetime, Future[Output]]] = []
            fault = ""
            lingered = False
            try:
                for service in measurement.services:
                    future = pool.submit(self._command, measurement, service)
                    running.append((service, datetime.now(UTC), future))
                for service, _, future in running:
                    fault = fault or self._not_ready(service, future)
                for task in measurement.tasks:
                    if fault or self._broken:
                        break
                    started = datetime.now(UTC)
                    output = self._command(measurement, task)
                    self._keep(measurement, taken, task, output, started)
                    if not output.ok:
                        fault = "; ".join([*self._fellows(running), self._failed(task, output)])
                lingered = not fault
            finally:
                for service, started, future in running:
                    stopped = self._stop(measurement, service, future, lingered)
                    if future.done() and future.exception() is None:
                        output = future.result()
                        timed_out = output.timed_out and not stopped
                        output = replace(output, stopped=stopped, timed_out=timed_out)
                        self._keep(measurement, taken, service, output, started)
        return fault

    def _fellows(self, running: "Sequence[tuple[Service, datetime, Future[Output]]]") -> list[str]:
        """Services that failed before the task that needed them did: theirs is the cause."""
        wait([future for _, _, future in running], timeout=_FELLOW_S)
        return [
            self._failed(service, future.result())
            for service, _, future in running
            if future.done() and future.exception() is None and not future.result().ok
        ]

    def _not_ready(self, service: Service, future: "Future[Output]") -> str:
        deadline = Deadline.after(service.ready_s)
        guest = self._guests[service.node]
        ask = ("sh", "-c", _UNTIL_READY, "vmlab", *service.ready)
        while not guest.run(ask, deadline_s=_ASK_S, as_root=True).ok:
            if future.done():
                return self._failed(service, future.result())
            if deadline.passed:
                return f"{service.name} on {service.node} is not ready after {service.ready_s:g} s"
        return ""

    def _failed(self, task: Task, output: Output) -> str:
        where = f" on {task.node}" if task.node else ""
        if output.timed_out:
            return f"{task.name}{where} did not end within {task.deadline_s:g} s"
        if isinstance(task, Deed):
            return f"{task.name} failed: {output.last_line}"
        killed = was_killed(output.status, output.stdout, output.stderr)
        if killed and (oom := out_of_memory(self._guests, output.seconds)):
            return f"{task.name}{where} failed: {oom}"
        if output.status == KILLED:
            why = "neither by vmlab nor, as its log says, by its kernel for want of memory"
            return f"{task.name}{where} was killed after {output.seconds:.0f} s, {why}"
        return f"{task.name}{where} failed: {self._workload.explain(output)}"

    def _stop(self, measurement: Measurement, service: Service, future: "Future[Output]", lingered: bool) -> bool:
        """Let a service end, or end it; whether it had to be ended."""
        wait([future], timeout=service.linger_s if lingered else 0)
        if future.done():
            return False
        self._kill(service.node, self._mark(measurement, service))
        wait([future])  # bounded: by its own deadline at the latest
        return True

    def _mark(self, measurement: Measurement, task: Task) -> str:
        return mark(self._run.id, measurement.name, task.name)

    def _kill(self, node: str, value: str) -> None:
        try:
            end_task(self._guests[node], value)
        except VmlabError:
            return  # the guest does not answer: `timeout` in it ends what runs

    def _command(self, measurement: Measurement, task: Task) -> Output:
        limit = ceil(task.deadline_s)
        argv = ("env", f"{MARK}={self._mark(measurement, task)}", "timeout", "-k", "5", str(limit), *task.argv)
        begin = now()
        if isinstance(task, Deed) and self._deeds is not None:
            result = self._deeds(task)
        else:
            result = self._guests[task.node].run(argv, deadline_s=task.deadline_s + _SSH_S, as_root=True)
        took = now() - begin
        timed_out = result.timed_out or result.status == _TIMED_OUT or (result.status == KILLED and took >= limit)
        return Output(result.status, result.stdout, result.stderr, took, timed_out)


def iso(moment: datetime) -> str:
    """ISO 8601 with an offset."""
    return moment.astimezone().isoformat(timespec="milliseconds")
