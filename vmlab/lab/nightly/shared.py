"""An entry that several beds do together: each takes what is longest of what is left, until nothing is.

A bed that breaks is made anew, and what it had goes on where a bed is free first; one that does not come up again is
out, and the others do its rest.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

from vmlab.lab.nightly.entry import Bed, CalledOff, Share, stamp
from vmlab.nights.division import Unit
from vmlab.nights.night import Entry, Step
from vmlab.nights.shares import options_of, shares
from vmlab.records.night import NOT_RUN, Journal, NightStep, NightTest, as_event, counted
from vmlab.store.nights import OpenNight

_LOOK_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class _Part:
    """A unit of the step `of`; `step` has the options for it, and a name of its own."""

    number: int
    of: str
    step: Step
    seconds: float


@dataclass(slots=True)
class _Share:
    """See `entry.Share`."""

    part: _Part
    board: "_Board"

    @property
    def step(self) -> Step:
        """See `entry.Share`."""
        return self.part.step

    def back(self) -> bool:
        """See `entry.Share`."""
        return self.board.back(self.part)

    def over(self, result: NightStep) -> None:
        """See `entry.Share`."""
        self.board.over(self.part, result)


class _Board:
    """What is left to do, the longest first. Who finds nothing waits while others work: theirs may come back."""

    def __init__(
        self,
        parts: Sequence[_Part],
        done: Mapping[int, NightStep],
        note: Callable[..., None],
        called_off: Callable[[], bool],
    ) -> None:
        self._left = sorted((part for part in parts if part.number not in done), key=lambda part: -part.seconds)
        self._note, self._called_off = note, called_off
        self._changed = threading.Condition()
        self._taken: set[int] = set()
        self._came_back: set[int] = set()
        self._closed = False
        self.results = dict(done)

    def take(self) -> Share | None:
        """The next, None if there is none, or if nobody wants it any more."""
        with self._changed:
            while not self._left and self._taken and not self._ends():
                self._changed.wait(_LOOK_EVERY_S)
            if not self._left or self._ends():
                return None
            part = self._left.pop(0)
            self._taken.add(part.number)
            return _Share(part, self)

    def close(self) -> None:
        """Somebody will not come back: nobody waits, and nobody begins anything more."""
        self._closed = True

    def _ends(self) -> bool:
        return self._closed or self._called_off()

    def back(self, part: _Part) -> bool:
        """It is to be done again; once only."""
        with self._changed:
            first = part.number not in self._came_back
            if first:
                self._came_back.add(part.number)
                self._taken.discard(part.number)
                self._left.insert(0, part)
            self._changed.notify_all()
            return first

    def over(self, part: _Part, result: NightStep) -> None:
        """It has a result, which is in the journal before anybody hears of it."""
        told = ", ".join(f"{count} {status}" for status, count in counted(result.tests).items())
        self._note("unit", number=part.number, result=as_event(result), what=f"{part.step.name}: {told}")
        with self._changed:
            self.results[part.number] = result
            self._taken.discard(part.number)
            self._changed.notify_all()


class Shared:
    """As `entry.Bed`, of an entry with several beds."""

    def __init__(
        self,
        entry: Entry,
        make: Callable[[Entry], Bed],
        opened: OpenNight,
        journal: Journal,
        *,
        took: Mapping[str, Mapping[str, float]],
        called_off: Callable[[], bool],
    ) -> None:
        self._entry, self._make, self._opened, self._journal = entry, make, opened, journal
        self._took, self._called_off = took, called_off
        self.kept = False

    def run(self, *, alone_on_host: bool) -> None:
        """All of it. Raises CalledOff if the night is to end."""
        del alone_on_host
        entry = self._entry
        planned = self._planned()
        fresh = entry.name not in self._journal.units or not self._journal.parts.get(entry.name)
        if entry.name not in self._journal.units:
            self._note("entry", of={"started": stamp()})
            self._note("units", units=[{"step": step, **asdict(unit)} for step, unit in planned])
        steps = {step.name: step for step in entry.steps}
        parts = [
            _Part(number, of, _step(steps[of], unit, number), unit.seconds)
            for number, (of, unit) in enumerate(planned, start=1)
        ]
        board = _Board(parts, self._journal.parts.get(entry.name, {}), self._note, self._called_off)
        beds = [self._make(one) for one in entry.each_bed()]
        with ThreadPoolExecutor(max_workers=len(beds)) as pool:
            running = [pool.submit(_work, bed, board, fresh=fresh) for bed in beds]
        errors = [error for one in running if (error := one.exception()) is not None]
        self.kept = any(bed.kept for bed in beds)
        for error in errors:
            if not isinstance(error, CalledOff):
                raise error
        if errors or self._called_off():
            raise CalledOff
        self._join(parts, board.results)

    def _planned(self) -> list[tuple[str, Unit]]:
        """As it was when the night began, if it goes on: durations may be others by now."""
        known = self._journal.units.get(self._entry.name)
        if known is not None:
            return [(one["step"], _unit(one)) for one in known]
        return [(step.name, unit) for step in self._entry.steps for unit in shares(self._entry, step, self._took)]

    def _join(self, parts: Sequence[_Part], results: Mapping[int, NightStep]) -> None:
        entry = self._entry
        joined: dict[str, NightStep] = {}
        for step in entry.steps:
            own = [part for part in parts if part.of == step.name]
            there = [results[part.number] for part in own if part.number in results]
            tests = [test for result in there for test in result.tests]
            why = "no bed was left for it, or no time"
            missing = [part for part in own if part.number not in results]
            tests += [NightTest(part.step.workload, part.step.name, NOT_RUN, said=why, lab=True) for part in missing]
            lab = "; ".join(
                [*(result.lab for result in there if result.lab), *(f"{m.step.name}: {why}" for m in missing)]
            )
            joined[step.name] = NightStep(
                step.name,
                step.workload,
                max((result.status for result in there), default=0),
                round(sum(result.seconds for result in there), 3),
                tuple(tests),
                tuple(run for result in there for run in result.runs),
                lab,
                1,
                next((result.evidence for result in there if result.evidence), ""),
                {name: value for result in there for name, value in result.under.items()},
            )
            self._note("step", result=as_event(joined[step.name]))
        if entry.retry:
            bed = self._make(entry.each_bed()[0])
            bed.repeat(joined)
            self.kept = self.kept or bed.kept
        self._note("entry", of={"kept": self.kept, "ended": stamp()})
        self._note("over")

    def _note(self, event: str, **more: object) -> None:
        self._opened.note(event, entry=self._entry.name, **more)


def _work(bed: Bed, board: _Board, *, fresh: bool) -> None:
    try:
        bed.share(board.take, fresh=fresh)
    except BaseException:
        board.close()
        raise


def _unit(written: Mapping[str, Any]) -> Unit:
    return Unit(written["suite"], written["seconds"], tuple(written["only"]), tuple(written["but"]))


def _step(step: Step, unit: Unit, number: int) -> Step:
    return replace(step, name=f"{step.name}-{number}-{unit.suite}", options=options_of(step, unit))
