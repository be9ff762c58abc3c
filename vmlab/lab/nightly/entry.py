"""One entry of a night, from `up` to `down`: steps, faults on purpose, evidence, what is tried again."""

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from vmlab.errors import BusyError, GuestError, HostError, UsageError
from vmlab.lab.nightly.verbs import Verbs
from vmlab.nights.alone import alone, failed
from vmlab.nights.night import Entry, Fault, Step
from vmlab.nights.outcome import Outcome, outcome, under
from vmlab.records.night import (
    BAD,
    CRASH,
    FAIL,
    NOT_RUN,
    PASS,
    TIMEOUT,
    Journal,
    NightStep,
    NightTest,
    as_event,
    counted,
)
from vmlab.runtime.wait import Deadline, now
from vmlab.store.nights import OpenNight

_CANNOT = (HostError.status, BusyError.status)
_USAGE = UsageError.status
_TAIL = 20
_MOST_REPEATS = 100

Say = Callable[[str], None]


class CalledOff(Exception):
    """The night is to end; what has no result yet is done when it goes on."""


class NoRoom(Exception):
    """The host cannot have this bed now; when another one is gone it may."""


class Share(Protocol):
    """A part of an entry that several beds do together."""

    @property
    def step(self) -> Step:
        """The options for it, with a name of its own."""

    def back(self) -> bool:
        """It is for another bed, or for this one later; False if that was so before."""

    def over(self, result: NightStep) -> None:
        """It has a result."""


class Bed:
    """One entry. `run` is called once, in a thread that nobody interrupts."""

    def __init__(
        self,
        entry: Entry,
        verbs: Verbs,
        opened: OpenNight,
        journal: Journal,
        *,
        deadline: Deadline,
        runs: Path,
        called_off: Callable[[], bool],
        say: Say,
        shared: bool = False,
    ) -> None:
        """`shared`: it is one of several that do an entry together, which says of itself what is noted of the whole."""
        self._shared = shared
        self._who = entry.bed if shared else entry.name
        self._entry, self._verbs, self._opened, self._journal = entry, verbs, opened, journal
        self._deadline = deadline.capped(entry.limit_s)
        self._runs, self._called_off, self._say = runs, called_off, say
        self._bad = any(_is_bad(step) for step in journal.steps.get(entry.name, {}).values())
        self._results: dict[str, NightStep] = dict(journal.steps.get(entry.name, {}))
        self._lab = ""
        self._sound = True
        self.kept = False

    def run(self, *, alone_on_host: bool) -> None:
        """All of it. Raises NoRoom if the host has none while others are up, CalledOff if the night is to end."""
        begun = self._entry.name in self._journal.begun
        try:
            if self._come_up(fresh=not begun, alone_on_host=alone_on_host):
                for step in self._entry.steps:
                    if step.name not in self._results and not self._late(step):
                        self._results[step.name] = self._step(step)
                self._again()
        except NoRoom:
            self._down("")
            raise
        except CalledOff:
            self._leave()
            raise
        self._leave()

    def share(self, take: Callable[[], "Share | None"], *, fresh: bool) -> None:
        """Do what `take` gives, on this bed, until there is nothing left. Raises CalledOff."""
        try:
            if self._come_up(fresh=fresh, alone_on_host=True):
                while not self._deadline.passed and (share := take()) is not None:
                    if not self._sound and not self._renew():
                        self._give_up(share)
                        break
                    found, seconds, status, evidence = self._once(share.step, resume=False)
                    self._bad = self._bad or found.bad
                    self._sound = not (found.lab or any(test.status in (CRASH, TIMEOUT) for test in found.tests))
                    if found.lab and share.back():
                        self._tell(f"{share.step.name}: the lab failed, and it goes on elsewhere: {found.lab}")
                        continue
                    if found.bad:
                        evidence = evidence or self._evidence(share.step.name)
                    share.over(self._result(share.step, found, seconds, status, evidence))
        finally:
            self._leave()

    def _give_up(self, share: Share) -> None:
        """The bed is out; so was the one that had the share before, if it comes from there."""
        if not share.back():
            found = _not_run(share.step, "no bed came up for it")
            share.over(self._result(share.step, found, 0.0, GuestError.status, ""))

    def repeat(self, results: Mapping[str, NightStep]) -> None:
        """What failed, again and alone, though other beds had it. Raises CalledOff."""
        self._results = dict(results)
        self._bad = True
        try:
            self._again()
        finally:
            self._leave()

    # -- the bed ---------------------------------------------------------------------------------------------------

    def _come_up(self, *, fresh: bool, alone_on_host: bool) -> bool:
        if fresh:
            self._note_whole(started=stamp())
        for attempt in (1, 2):
            if fresh or attempt > 1:
                self._down("what an earlier night left of it goes")
            begin = now()
            ended = self._verbs.up(self._deadline.left_s)
            self._stop_if_called_off()
            if ended.status == 0:
                self._tell(f"is up after {now() - begin:.0f} s")
                self._sound = True
                return True
            why = self._verbs.said() or f"`vmlab up` ended with {ended.status}"
            if ended.status in _CANNOT and not alone_on_host:
                raise NoRoom(why)
            self._tell(f"did not come up: {why}")
        evidence = self._verbs.collect("up")
        self._bad = True
        self._lab = f"the bed did not come up: {why}"
        self._note_whole(lab=self._lab, evidence=evidence)
        return False

    def _renew(self, *, keep: bool = False) -> bool:
        """A fresh bed, or why not is told. `keep`: as it is then it will be wanted again, and is gone back to."""
        if self._verbs.rebuild(self._deadline.left_s, keep=keep).status:
            self._stop_if_called_off()
            self._down("")
            if self._verbs.up(self._deadline.left_s).status:
                self._stop_if_called_off()
                self._tell(f"did not come up again: {self._verbs.said()}")
                return False
        self._sound = True
        return True

    def _down(self, why: str) -> bool:
        ended = self._verbs.down()
        if ended.status != 0:
            self._tell(f"does not go: {self._verbs.said()}")
        elif why:
            self._say(f"{self._entry.name}: {why}")
        return ended.status == 0

    def _leave(self) -> None:
        """Down, or kept, as the file says; also when the night is called off."""
        keep = self._entry.keep == "always" or (self._entry.keep == "on-failure" and self._bad)
        self.kept = keep or not self._down("")
        over = not self._called_off()
        self._note_whole(kept=self.kept, **({"ended": stamp()} if over else {}))
        self._tell("stays up" if self.kept else "is down")
        if over and not self._shared:
            self._note("over")

    # -- steps -----------------------------------------------------------------------------------------------------

    def _late(self, step: Step) -> bool:
        if self._deadline.passed:
            self._tell(f"{step.name} does not begin: the time is over")
            self._bad = True
        return self._deadline.passed

    def _step(self, step: Step) -> NightStep:
        resume = step.name in self._journal.begun.get(self._entry.name, ())
        found, ended_s, status = Outcome(()), 0.0, 0
        evidence = ""
        tries = 0
        for tries in (1, 2):
            if not self._sound and not self._renew():
                found, status = _not_run(step, "the bed did not come up again"), GuestError.status
                break
            self._note("begun", step=step.name, what=f"{step.name} begins")
            found, ended_s, status, evidence = self._once(step, resume=resume and tries == 1)
            if not found.lab:
                break
            self._sound = False
            self._tell(f"{step.name}: the lab failed, {'again' if tries > 1 else 'once more'}: {found.lab}")
        if found.bad:
            self._bad = True
            evidence = evidence or self._evidence(step.name)
        if any(test.status in (CRASH, TIMEOUT) for test in found.tests):
            self._sound = False
        result = replace(self._result(step, found, ended_s, status, evidence), tries=tries)
        self._note("step", result=as_event(result), what=f"{step.name}: {_summary(found)}")
        self._say(f"{self._entry.name}: {step.name}: {_summary(found)}")
        return result

    def _result(self, step: Step, found: Outcome, seconds: float, status: int, evidence: str) -> NightStep:
        records = self._verbs.records(step.name)
        runs = tuple(str(record.get("id", "")) for record in records)
        repeats = {
            (test.suite, test.test): self._verbs.file(_called(step, test), step.workload, alone(step, test))
            for test in failed(found.tests)[:_MOST_REPEATS]
        }
        bed = self._entry.bed if self._shared else ""
        tests = tuple(
            replace(test, bed=bed, repeat=repeats.get((test.suite, test.test), "") if test.status in BAD else "")
            for test in found.tests
        )
        return NightStep(
            step.name,
            step.workload,
            status,
            round(seconds, 3),
            tests,
            runs,
            found.lab,
            evidence=evidence,
            under=under(records),
        )

    def _once(self, step: Step, *, resume: bool) -> tuple[Outcome, float, int, str]:
        evidence: list[str] = []
        left_s = self._deadline.left_s
        limit_s = min(step.limit_s, left_s)
        with self._faults(step.faults):
            for again in (True, False) if resume else (False,):
                ended = self._verbs.run(
                    step.name,
                    step.workload,
                    step.options,
                    limit_s=limit_s,
                    resume=again,
                    at_limit=lambda: evidence.append(self._evidence(step.name)),
                )
                if ended.status != _USAGE:  # there was a run that had been cut off
                    break
        if ended.called_off:
            raise CalledOff
        records = self._verbs.records(step.name)
        over = "the time of the entry, or of the night, was over" if ended.late and left_s < step.limit_s else ""
        found = outcome(
            step,
            status=ended.status,
            seconds=ended.seconds,
            records=records,
            said=over or self._verbs.said(),
            excerpt=self._excerpt(records) if ended.status else "",
            late=ended.late and left_s >= step.limit_s,
            runs="../../runs",
        )
        return found, ended.seconds, ended.status, next(filter(None, evidence), "")

    def _excerpt(self, records: Sequence[dict[str, object]]) -> str:
        """The end of what the last command that failed printed; without one, what vmlab said."""
        for record in records:
            commands = record.get("commands")
            for command in reversed(commands if isinstance(commands, list) else []):
                if command.get("status"):
                    lines: list[str] = []
                    for name in ("stdout", "stderr"):
                        lines += _tail(self._runs / str(record.get("id")) / str(command.get(name)))
                    if lines:
                        return "\n".join(lines[-_TAIL:])
        return "\n".join(self._verbs.lines())

    def _evidence(self, name: str) -> str:
        folder = self._verbs.collect(name)
        self._tell(f"evidence of {name}: {folder or 'none could be collected'}")
        return folder

    @contextmanager
    def _faults(self, faults: Sequence[Fault]) -> Iterator[None]:
        """They happen in time, in a thread of their own, and are over when the `with` block is."""
        at_once = [fault for fault in faults if not fault.after_s]
        for fault in at_once:
            self._inject(fault)
        done = threading.Event()
        threads = [threading.Thread(target=self._in_time, args=(fault, done), daemon=True) for fault in faults]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            done.set()
            for thread in threads:
                thread.join()

    def _in_time(self, fault: Fault, done: threading.Event) -> None:
        if fault.after_s:
            if done.wait(fault.after_s):
                self._tell(f"{fault.told}: the step was over before it", injected=True)
                return
            self._inject(fault)
        done.wait(fault.for_s)
        ended = self._verbs.undo(fault)
        told = "is undone" if ended.status == 0 else f"could not be undone: {self._verbs.said(of_faults=True)}"
        self._tell(f"{fault.told} {told}", injected=True)

    def _inject(self, fault: Fault) -> None:
        ended = self._verbs.fault(fault)
        told = "" if ended.status == 0 else f" did not work: {self._verbs.said(of_faults=True)}"
        self._tell(f"on purpose: {fault.told}{told}", injected=True)

    # -- once more -------------------------------------------------------------------------------------------------

    def _again(self) -> None:
        """What failed is run alone, on a fresh bed, as often as asked; where the night has time for it."""
        left = [
            (step, test, number)
            for step in self._entry.steps
            if (result := self._results.get(step.name)) is not None
            for test in failed(result.tests)
            for number in range(len(test.again), self._entry.retry)
        ]
        for place, (step, test, number) in enumerate(left, start=1):
            if self._deadline.passed or not self._renew(keep=place < len(left)):
                return
            self._alone(step, test, number + 1)

    def _alone(self, step: Step, test: NightTest, number: int) -> None:
        name = f"{step.name}-again"
        ended = self._verbs.run(
            name,
            step.workload,
            alone(step, test),
            limit_s=min(step.limit_s, self._deadline.left_s),
            resume=False,
            at_limit=lambda: None,
        )
        if ended.called_off:
            raise CalledOff
        found = outcome(
            step,
            status=ended.status,
            seconds=ended.seconds,
            records=self._verbs.records(name),
            said=self._verbs.said(),
            late=ended.late,
        )
        statuses = [one.status for one in found.tests if (one.suite, one.test) == (test.suite, test.test)]
        status = _worst(statuses)
        told = f"{test.suite} {test.test}, again and alone ({number} of {self._entry.retry}): {status}"
        self._note("again", step=step.name, suite=test.suite, test=test.test, status=status, what=told)
        self._say(f"{self._entry.name}: {told}")

    # -- words -----------------------------------------------------------------------------------------------------

    def _stop_if_called_off(self) -> None:
        if self._called_off():
            raise CalledOff

    def _note_whole(self, **of: object) -> None:
        if not self._shared:
            self._note("entry", of=of)

    def _note(self, event: str, **more: object) -> None:
        self._opened.note(event, entry=self._entry.name, **more)

    def _tell(self, words: str, *, injected: bool = False) -> None:
        words = f"{self._entry.bed} {words}" if self._shared else words
        self._note("told", what=words, **({"injected": True} if injected else {}))
        self._say(f"{self._who}: {words}")


def _is_bad(step: NightStep) -> bool:
    return Outcome(step.tests, step.lab).bad


def _not_run(step: Step, why: str) -> Outcome:
    return Outcome((NightTest(step.workload, step.name, NOT_RUN, said=why, lab=True),), f"{step.name}: {why}")


def _worst(statuses: Sequence[str]) -> str:
    for status in (CRASH, TIMEOUT, FAIL, NOT_RUN):
        if status in statuses:
            return status
    return PASS if PASS in statuses else NOT_RUN


def _called(step: Step, test: NightTest) -> str:
    """The name of the file that repeats a test; the step's own where the step is nothing else."""
    if test.suite == step.workload:
        return step.name
    return re.sub(r"[^\w.-]", "", f"{step.name}.{test.suite}.{test.test.removeprefix('test_')}")


def _summary(found: Outcome) -> str:
    if len(found.tests) == 1:
        one = found.tests[0]
        return f"{one.status}{f': {one.said}' if one.said else ''}"
    return ", ".join(f"{count} {status}" for status, count in counted(found.tests).items())


def _tail(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - (1 << 14)))
            return file.read().decode(errors="replace").splitlines()[-_TAIL:]
    except OSError:
        return []


def stamp() -> str:
    """Now, in ISO 8601."""
    return datetime.now(UTC).astimezone().isoformat(timespec="seconds")
