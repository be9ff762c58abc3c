"""A task of many parts, each with its time: what takes too long is ended, after evidence of it was collected."""

import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from vmlab.errors import GuestError, VmlabError
from vmlab.lab.measuring.commands import Commands
from vmlab.runtime.process import Result
from vmlab.runtime.wait import now
from vmlab.suites.consoles import Event
from vmlab.workloads import Cut, Long, Output

_LOOK_EVERY_S = 0.5
_END_S = 60.0
_EVIDENCE_S = 3600.0
"""So much longer than its deadline the guest lets it run, in which we collect and end it ourselves."""
_LOST = 255


class Beside(Protocol):
    """What is needed of `lab.measuring.bedside.Bedside`."""

    def begin(self) -> None:
        """From now on counts what `events` tells."""

    def events(self) -> Mapping[str, tuple[Event, ...]]:
        """What kernels said since `begin`, by node."""

    def say(self, line: str) -> None:
        """Tell the user."""

    def collect(self, folder: Path, stem: str) -> str:
        """Evidence, in a new folder there that begins with `stem`: its name, "" if there is none."""


class Nobody:
    """Nobody sits there."""

    def begin(self) -> None:
        """Nothing counts."""

    def events(self) -> Mapping[str, tuple[Event, ...]]:
        """None."""
        return {}

    def say(self, line: str) -> None:
        """Not told."""

    def collect(self, folder: Path, stem: str) -> str:
        """Nothing."""
        del folder, stem
        return ""


Collect = Callable[[], str]
"""Collects evidence: the name of the folder in the run's, "" if there is none."""


def last_long(task: Long, commands: Commands, beside: Beside, collect: Collect) -> Output:
    """Run it until it ends or is ended; its output, whatever became of it."""
    watched = _Watched(task, commands, beside, collect)
    beside.begin()
    with ThreadPoolExecutor(max_workers=1) as pool:
        future = pool.submit(watched.run)
        try:
            watched.look_after(future)
        except BaseException:
            commands.end(task)
            raise
    return replace(watched.output(future), events=beside.events())


class _Parts:
    """Which part of it runs, since when, by the lines that it prints. `number` grows with each."""

    def __init__(self, pattern: str, tell: Callable[[str], None]) -> None:
        self.lines: list[str] = []
        self.number = 0
        self.name = ""
        self.since = now()
        self._named = ""
        self._pattern = re.compile(pattern)
        self._tell = tell
        self._lock = threading.Lock()

    def hear(self, line: str) -> None:
        found = self._pattern.fullmatch(line)
        with self._lock:
            self.lines.append(line)
            if found is None:
                return
            self.number += 1
            self.name = " ".join(filter(None, found.groups()))
            self.since = now()
        if self.name:
            self._named = self.name
        elif self._named:
            self._tell(f"{self._named}: {line.strip()}")
            self._named = ""


class _Watched:
    def __init__(self, task: Long, commands: Commands, beside: Beside, collect: Collect) -> None:
        self._task = task
        self._commands = commands
        self._beside = beside
        self._collect = collect
        self._parts = _Parts(task.part, beside.say)
        self._began = now()
        self._cuts: list[Cut] = []

    def run(self) -> Result:
        """To its end, in a thread of its own."""
        longest_s = self._task.deadline_s + _EVIDENCE_S
        argv = ("timeout", "-k", "5", str(int(longest_s)), *self._task.argv)
        return self._commands.in_guest(self._task, argv, longest_s, on_line=self._parts.hear)

    def look_after(self, future: "Future[Result]") -> None:
        """Until it has ended, by itself or by us."""
        while not self._ended(future, _LOOK_EVERY_S):
            parts, at = self._parts, now()
            if self._commands.broken.is_set():
                self._commands.end(self._task)
            elif at - self._began > self._task.deadline_s:
                self._end_all(future, parts.name, f"it did not end within {self._task.deadline_s:.0f} s")
            elif at - parts.since > self._task.part_s:
                self._end_part(future)
        error = future.exception()
        if isinstance(error, GuestError):
            self._died(error)

    def output(self, future: "Future[Result]") -> Output:
        """What it came to. Raises what is no word of its guest's."""
        seconds = now() - self._began
        whole = any(cut.whole for cut in self._cuts)
        try:
            result = future.result()
        except GuestError as error:
            said = "".join(f"{line}\n" for line in self._parts.lines)
            return Output(_LOST, said, f"{error.message}\n", seconds, cuts=tuple(self._cuts))
        return Output(result.status, result.stdout, result.stderr, seconds, timed_out=whole, cuts=tuple(self._cuts))

    def _end_part(self, future: "Future[Result]") -> None:
        """Only that, if something follows it then."""
        parts, task = self._parts, self._task
        number, name = parts.number, parts.name
        why = f"{name or 'what is between parts'} did not end within {task.part_s:g} s"
        if not name:
            self._end_all(future, name, why)
            return
        self._beside.say(why)
        evidence = self._collect()
        cut = Cut(name, why, whole=False, evidence=evidence)
        if parts.number == number:
            self._in_guest(name)
            began = now()
            while parts.number == number and now() - began <= task.grace_s and not self._ended(future, _LOOK_EVERY_S):
                pass
        if parts.number == number and not future.done():
            cut = replace(cut, whole=True, why=f"{why}, and could not be ended alone")
            self._finish(future)
        self._cuts.append(cut)

    def _end_all(self, future: "Future[Result]", name: str, why: str) -> None:
        self._beside.say(f"{self._task.name}: {why}")
        self._cuts.append(Cut(name, why, whole=True, evidence=self._collect()))
        self._finish(future)

    def _finish(self, future: "Future[Result]") -> None:
        """End it; where the guest answers nobody any more its ssh does not either, by the keep-alives."""
        while not future.done():
            self._commands.end(self._task)
            self._ended(future, _LOOK_EVERY_S)

    def _died(self, error: GuestError) -> None:
        """A kernel of the bed is dead, or nobody answers: what is left of it is ended, where somebody does."""
        self._beside.say(error.message)
        if not any(cut.whole for cut in self._cuts):
            self._cuts.append(Cut(self._parts.name, error.message, whole=True, dead=True, evidence=self._collect()))
        self._commands.end(self._task)

    def _in_guest(self, name: str) -> None:
        """Have the guest end a part; that it cannot shows by what comes."""
        guest = self._commands.guests[self._task.node]
        try:
            guest.run((*self._task.end_part, name), deadline_s=_END_S, as_root=True)
        except VmlabError as error:
            self._beside.say(f"{name} cannot be ended: {error.message}")

    def _ended(self, future: "Future[Result]", within_s: float) -> bool:
        wait([future], timeout=within_s)
        return future.done()
