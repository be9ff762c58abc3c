"""What a night's tests say, beside what was expected of them and what they did in the nights before.

A test that passes now and fails then is flaky: its rate is told with the interval of Wilson, at 95 %, which is right
for few runs, too. Whether it is another rate than the listed one says an exact binomial test: of one run Wilson's is
too sure. What makes a night red is what nobody expected: a listed failure does not, and a bed that died always does.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise, takewhile
from statistics import median

from vmlab.judgement.expectations import Expectation, bare
from vmlab.judgement.numbers import number


class Outcome(StrEnum):
    """What became of a test. DIED: the bed went away in it, and nothing came after it."""

    PASS = "PASS"  # noqa: S105 (the word of test frameworks)
    FAIL = "FAIL"
    SKIP = "SKIP"
    DIED = "DIED"


_WORST = (Outcome.DIED, Outcome.FAIL, Outcome.PASS, Outcome.SKIP)


@dataclass(frozen=True, slots=True)
class Result:
    """One round of one test. `said` is its error, why it was skipped, or, where it passed, what it ignored."""

    suite: str
    test: str
    outcome: Outcome
    seconds: float | None = None
    said: str = ""


class Verdict(StrEnum):
    """What there is to say of a test, the worst first."""

    DIED = "died"
    NEW = "new failure"
    STILL = "still failing"
    OFTENER = "fails more often"
    FLAKY = "flaky"
    KNOWN = "known failure"
    SLOWER = "slower"
    FIXED = "fixed"
    MISSING = "did not run"
    SKIPPED = "skipped"
    PASSED = "passed"


@dataclass(frozen=True, slots=True)
class Rate:
    """So many of so many runs failed: between `low` and `high` of all that there could be, at 95 % (Wilson)."""

    failed: int
    runs: int
    low: float
    high: float

    def __str__(self) -> str:
        return f"failed {self.failed} of {self.runs} times, {100 * self.low:.0f} to {100 * self.high:.0f} %"


@dataclass(frozen=True, slots=True)
class Finding:
    """One test of tonight, of all its rounds, with the reason in words. `red`: because of it the night is."""

    verdict: Verdict
    suite: str
    test: str
    why: str
    red: bool = False
    ticket: str = ""
    rate: Rate | None = None


_Test = tuple[str, str]

_FEWEST = 5
"""Of fewer passes nobody knows how long a test takes."""
_CHANCE = 0.025
_LONGER = 1.5
_LEAST_S = 1.0


def judge_tests(
    tonight: Sequence[Result],
    history: Sequence[Sequence[Result]],
    expectations: Sequence[Expectation],
    *,
    asked: Mapping[_Test, int] | None = None,
) -> tuple[Finding, ...]:
    """A finding for each test that ran, or that was expected to, the worst first.

    `history` are the nights before, oldest first. A test may have several rounds, `asked` says how many were wanted
    where that is known: one that failed is a failure.
    """
    listed = {(one.suite, one.test): one for one in expectations}
    rounds = _by_test(tonight)
    nights = [_by_test(night) for night in history]
    found = [
        _Judge(
            test,
            there,
            [night[test] for night in nights if test in night],
            listed.get(test),
            (asked or {}).get(test, 0),
        )
        for test, there in rounds.items()
    ]
    last = nights[-1] if nights else {}
    absent = [test for test in dict.fromkeys((*listed, *_ran(last))) if test not in rounds]
    findings = [*(one.finding() for one in found), *(_absent(test, listed.get(test)) for test in absent)]
    order = list(Verdict)
    return tuple(sorted(findings, key=lambda one: order.index(one.verdict)))


def red(findings: Sequence[Finding]) -> bool:
    """Something went wrong that nobody expected."""
    return any(one.red for one in findings)


def counts(results: Sequence[Result]) -> dict[Outcome, int]:
    """How many rounds ended how."""
    return {outcome: sum(one.outcome is outcome for one in results) for outcome in Outcome}


def rate(outcomes: Sequence[Outcome]) -> Rate:
    """Of at least one run; what was skipped is none."""
    from scipy.stats import binomtest  # noqa: PLC0415  slow to import

    failed = sum(outcome in (Outcome.FAIL, Outcome.DIED) for outcome in outcomes)
    interval = binomtest(failed, len(outcomes)).proportion_ci(0.95, method="wilson")
    return Rate(failed, len(outcomes), max(0.0, float(interval.low)), min(1.0, float(interval.high)))


def _unlike(seen: Rate, listed: float, which: str) -> bool:
    """So few or so many failures would come about by chance in less than one of 40 cases."""
    from scipy.stats import binomtest  # noqa: PLC0415  slow to import

    return float(binomtest(seen.failed, seen.runs, listed, alternative=which).pvalue) < _CHANCE


def _by_test(results: Sequence[Result]) -> dict[_Test, list[Result]]:
    found: dict[_Test, list[Result]] = {}
    for one in results:
        found.setdefault((one.suite, bare(one.test)), []).append(one)
    return found


def _ran(night: Mapping[_Test, Sequence[Result]]) -> Iterator[_Test]:
    return (test for test, rounds in night.items() if _worst(rounds) is not Outcome.SKIP)


def _worst(rounds: Sequence[Result]) -> Outcome:
    return min((one.outcome for one in rounds), key=_WORST.index)


def _absent(test: _Test, listed: Expectation | None) -> Finding:
    why = "ran the night before, and not tonight" if listed is None else f"listed with {listed.ticket}, and did not run"
    return Finding(Verdict.MISSING, *test, why, ticket="" if listed is None else listed.ticket)


class _Judge:
    """Of one test."""

    def __init__(
        self,
        test: _Test,
        rounds: Sequence[Result],
        nights: Sequence[Sequence[Result]],
        listed: Expectation | None,
        asked: int,
    ) -> None:
        self.test = test
        self.rounds = rounds
        self.nights = [night for night in nights if _worst(night) is not Outcome.SKIP]
        self.before = [_worst(night) is not Outcome.PASS for night in self.nights]
        self.listed = listed
        self.asked = asked

    def finding(self) -> Finding:
        match _worst(self.rounds):
            case Outcome.DIED:
                more = f"; {self.listed.ticket} expects a failure, which this is not" if self.listed else ""
                return self._found(Verdict.DIED, f"the bed died in it{more}", red=True)
            case Outcome.FAIL:
                return self._failed() if self.listed is None else self._failed_as_listed(self.listed)
            case Outcome.SKIP if self.listed is not None:
                return self._found(Verdict.MISSING, f"listed with {self.listed.ticket}, and skipped: {self._said()}")
            case Outcome.SKIP:
                return self._found(Verdict.SKIPPED, self._said())
            case _:
                return self._passed()

    def _found(self, verdict: Verdict, why: str, *, red: bool = False, rate: Rate | None = None) -> Finding:
        ticket = "" if self.listed is None else self.listed.ticket
        return Finding(verdict, *self.test, why, red, ticket, rate)

    def _failed_as_listed(self, listed: Expectation) -> Finding:
        if listed.flaky is None:
            return self._found(Verdict.KNOWN, f"{self._failure()} ({listed.ticket})")
        seen = self._rate()
        if _unlike(seen, listed.flaky, "greater"):
            why = f"{self._failure()}; {seen}, where {listed.ticket} has {100 * listed.flaky:.3g} %"
            return self._found(Verdict.OFTENER, why, red=True, rate=seen)
        return self._found(Verdict.FLAKY, f"{self._failure()} ({listed.ticket}); {seen}", rate=seen)

    def _failed(self) -> Finding:
        if self._mixed():
            seen = self._rate()
            return self._found(Verdict.FLAKY, f"{self._failure()}; {seen}, and is not listed", red=True, rate=seen)
        row = self._in_a_row()
        passed = len(self.before) - row
        since = f", for {row + 1} nights in a row" if row else ""
        never = f"; it passed {passed} times before" if passed else ""
        return self._found(Verdict.STILL if row else Verdict.NEW, f"{self._failure()}{since}{never}", red=True)

    def _passed(self) -> Finding:
        if self.listed is not None:
            return self._passed_though_listed(self.listed)
        if (row := self._in_a_row()) and not self._mixed():
            return self._found(Verdict.FIXED, f"failed before, {row} nights in a row")
        if slower := self._slower():
            return self._found(Verdict.SLOWER, slower)
        said = self._said()
        return self._found(Verdict.PASSED, f"with an error that it ignores: {said}" if said else "")

    def _passed_though_listed(self, listed: Expectation) -> Finding:
        if listed.flaky is None:
            return self._found(Verdict.FIXED, f"listed with {listed.ticket}, and passed")
        seen = self._rate()
        if _unlike(seen, listed.flaky, "less"):
            why = f"{seen}, where {listed.ticket} has {100 * listed.flaky:.3g} %"
            return self._found(Verdict.FIXED, why, rate=seen)
        return self._found(Verdict.PASSED, f"{seen} ({listed.ticket})", rate=seen)

    def _rate(self) -> Rate:
        """Tonight included."""
        return rate([*(_worst(night) for night in self.nights), _worst(self.rounds)])

    def _in_a_row(self) -> int:
        """How many nights until tonight it failed."""
        return sum(takewhile(bool, reversed(self.before)))

    def _mixed(self) -> bool:
        """It has passed again after a failure, before tonight."""
        return any(failed and not then for failed, then in pairwise(self.before))

    def _failure(self) -> str:
        """What failed, in one line: of several rounds which, and what it said first."""
        place, first = next((n, one) for n, one in enumerate(self.rounds, start=1) if one.outcome is Outcome.FAIL)
        wanted = f" ({self.asked} asked for)" if self.asked > len(self.rounds) else ""
        which = f" in round {place} of {len(self.rounds)}{wanted}" if len(self.rounds) > 1 or wanted else ""
        return f"failed{which}: {first.said}" if first.said else f"failed{which}"

    def _said(self) -> str:
        return next((one.said for one in self.rounds if one.said), "")

    def _slower(self) -> str:
        """It took longer than ever, and by half longer than it does; "" if not, or if too little is known."""
        took = _longest(self.rounds)
        known = [_longest(night) for night in self.nights if _worst(night) is Outcome.PASS]
        usual = [seconds for seconds in known if seconds is not None]
        if took is None or len(usual) < _FEWEST:
            return ""
        middle = median(usual)
        if took <= max(*usual, _LONGER * middle, middle + _LEAST_S):
            return ""
        return f"took {number(took)} s; {len(usual)} times before {number(min(usual))} to {number(max(usual))} s"


def _longest(rounds: Sequence[Result]) -> float | None:
    return max((one.seconds for one in rounds if one.seconds is not None), default=None)
