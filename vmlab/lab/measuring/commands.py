"""The commands of one measurement: run in their guests or by deeds, ended before their time, and why they failed."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from math import ceil
from typing import IO, Protocol

from vmlab.errors import VmlabError
from vmlab.guest.killed import KILLED, out_of_memory, was_killed
from vmlab.guest.ssh import OnLine, RunsCommands, no_line
from vmlab.lab.ground.leftovers import end_task, mark
from vmlab.lab.measuring.files import Folder
from vmlab.lab.measuring.turns import Turn
from vmlab.runtime.parallel import each
from vmlab.runtime.process import Result
from vmlab.runtime.wait import now
from vmlab.steps import Command
from vmlab.workloads import MARK, Deed, Output, Task

_TELLING = 3
_JOBS = 32
_SSH_S = 15.0  # what a command may take longer here than in the guest

# `timeout` in the guest ends with 124 when it ended the command, with 137 when that took SIGKILL; but 137 is the end of
# everything that was killed.
_TIMED_OUT = 124


class Deeds(Protocol):
    """What is needed of `lab.measuring.deeds.Deeds`."""

    def __call__(self, deed: Deed) -> Result:
        """Do it to the end; raises VmlabError if that cannot even begin."""


Keep = Callable[[Task, Output, datetime], None]
"""Takes a task's output, and when it was begun, into the record."""


class Commands:
    """Those of one measurement, each with a mark of its own."""

    def __init__(
        self,
        run: str,
        turn: Turn,
        guests: Mapping[str, RunsCommands],
        deeds: Deeds | None,
        *,
        explain: Callable[[Output], str],
        broken: threading.Event,
    ) -> None:
        """`explain` says why a task failed. `broken` is set when the run is over before its time."""
        self._folder = Folder(run, turn.name, shared=turn.native) if turn.measurement.has_files else None
        self.guests = guests
        self.broken = broken
        self._run = run
        self._measurement = turn.name
        self._native = turn.native
        self._deeds = deeds
        self._explain = explain

    def prepare(self) -> None:
        """Have a folder on each node, if one is needed. Raises GuestError, WorkloadError."""
        if (folder := self._folder) is not None:
            each(
                lambda one: folder.make(one[1], one[0]), self.guests.items(), jobs=_JOBS, failed="no folders for files"
            )

    def put(self, task: Task) -> None:
        """Put its files on its node. Raises GuestError, WorkloadError."""
        if self._folder is not None and task.files:
            self._folder.put(self.guests[task.node], task.node, task.files)

    def bring(self, task: Task, output: Output) -> Output:
        """With the files that it brings; those of a task that failed if they can be had. Raises as `put` does."""
        if self._folder is None or not task.brings or self.broken.is_set():
            return output
        try:
            return replace(output, files=self._folder.bring(self.guests[task.node], task.node, task.brings))
        except VmlabError:
            if output.ok:
                raise
            return output

    def run(self, task: Task) -> Output:
        """To its end, or its deadline, its files apart. Raises GuestError, and what deeds raise."""
        begin = now()
        if isinstance(task, Deed) and self._deeds is not None:
            result = self._deeds(task)
        else:
            result = self.in_guest(task, self.bounded(task), task.deadline_s)
        return self.output(task, result, now() - begin)

    def bounded(self, task: Task) -> Command:
        """The task's command, ended by its guest at the deadline."""
        return ("timeout", "-k", "5", str(ceil(task.deadline_s)), *task.argv)

    def in_guest(
        self, task: Task, argv: Command, deadline_s: float, stdin: "str | IO[bytes]" = "", on_line: OnLine = no_line
    ) -> Result:
        """Run `argv` with the task's mark on its node. Raises GuestError."""
        marked = (
            "env",
            f"{MARK}={self._mark(task)}",
            *(argv if self._folder is None else self._folder.inside(task.node, argv)),
        )
        guest = self.guests[task.node]
        return guest.run(marked, deadline_s=deadline_s + _SSH_S, as_root=True, stdin=stdin, on_line=on_line)

    def output(self, task: Task, result: Result, seconds: float) -> Output:
        """What a result says of the task, which took so long."""
        late = result.status == KILLED and seconds >= ceil(task.deadline_s)
        timed_out = result.timed_out or result.status == _TIMED_OUT or late
        return Output(result.status, result.stdout, result.stderr, seconds, timed_out)

    def end(self, task: Task) -> None:
        """End it, and what it began; where the guest does not answer `timeout` in it does that."""
        try:
            end_task(self.guests[task.node], self._mark(task))
        except VmlabError:
            return

    def failed(self, task: Task, output: Output) -> str:
        """Why it failed, in one line."""
        where = (f" on the host for {task.node}" if self._native else f" on {task.node}") if task.node else ""
        if output.timed_out:
            return f"{task.name}{where} did not end within {task.deadline_s:g} s"
        if isinstance(task, Deed):
            return f"{task.name} failed: {output.last_line}"
        killed = was_killed(output.status, output.stdout, output.stderr)
        if killed and (oom := out_of_memory(self.guests, output.seconds)):
            return f"{task.name}{where} failed: {oom}"
        if output.status == KILLED:
            why = "neither by vmlab nor, as its log says, by its kernel for want of memory"
            return f"{task.name}{where} was killed after {output.seconds:.0f} s, {why}"
        return f"{task.name}{where} failed: {self._explain(output)}"

    def _mark(self, task: Task) -> str:
        return mark(self._run, self._measurement, task.name)


def told(faults: Sequence[str]) -> str:
    """Several faults in one line, the first of them whole; "" if there is none."""
    more = len(faults) - _TELLING
    return "; ".join((*faults[:_TELLING], *((f"and {more} more",) if more > 0 else ())))
