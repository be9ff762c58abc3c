"""What became of each sub-test: from results.yml, the logs, and what is known of the night apart from both.

`status` decides, not `return_code`, which may be 0 beside FAIL. auster's own words and exit status decide nothing: it
says 0 when suites failed, and "SUITE returned 1" of suites that passed after one that did not.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from vmlab.suites.consoles import Console
from vmlab.suites.logs import CLEANUP, SETUP, Error, Logs, Section
from vmlab.suites.written import FAIL, PASS, SKIP, Record, Suite, Written


class Status(StrEnum):
    """How it ended. CRASH: the bed died in it. NOT_RUN: it was asked for, and there is nothing of it."""

    PASS = "pass"  # noqa: S105 (no password)
    FAIL = "fail"
    SKIP = "skip"
    TIMEOUT = "time-out"
    CRASH = "crash"
    NOT_RUN = "not run"


NOTHING = Error("")
BAD = frozenset({Status.FAIL, Status.TIMEOUT, Status.CRASH})


@dataclass(frozen=True, slots=True)
class Outcome:
    """One round of one sub-test.

    `cause` is its first error, or why it was skipped or did not run; `later` are the errors that followed. `ignored` is
    an error in spite of which it passed. `symptom_of`: a clean-up that went wrong because of that sub-test, "" if it is
    none. `log` is False where there is none of it: nobody knows then what else it would say, or whether anything.
    """

    suite: str
    test: str
    status: Status
    seconds: int | None = None
    return_code: int | None = None
    cause: Error = NOTHING
    later: tuple[Error, ...] = ()
    ignored: Error | None = None
    symptom_of: str = ""
    round: int = 1
    rounds: int = 1
    log: bool = True
    notes: tuple[str, ...] = ()

    @property
    def why(self) -> str:
        """In one line."""
        return " ".join(self.cause.text.split())


@dataclass(frozen=True, slots=True)
class SuiteOutcome:
    """One run of a suite. `why` says what is wrong with it that no sub-test tells: it has no end, it failed by itself.

    `occurrence` counts the runs of the same suite.
    """

    suite: str
    status: Status
    seconds: int | None
    tests: tuple[Outcome, ...]
    why: str = ""
    occurrence: int = 1


@dataclass(frozen=True, slots=True)
class Asked:
    """A suite that was to run, and its sub-tests where they are known."""

    suite: str
    tests: tuple[str, ...] = ()


def outcomes(
    written: Written,
    logs: Logs,
    *,
    asked: Sequence[Asked] = (),
    limits: Mapping[tuple[str, str], str] | None = None,
    crashes: Mapping[tuple[str, str], str] | None = None,
) -> tuple[SuiteOutcome, ...]:
    """Of all suites, in the order in which they ran; those that did not run last.

    By suite and sub-test: `limits` are those that were ended because their time was over, `crashes` those in which a
    kernel crashed, each with the words for it.
    """
    last = {suite.name: suite for suite in written.suites}
    count: Counter[str] = Counter()
    found = []
    for suite in written.suites:
        count[suite.name] += 1
        # A suite's log is written over by its next run.
        own = logs if suite is last[suite.name] else Logs({}, {})
        reader = _Suite(suite, own, limits or {}, crashes or {})
        found.append(replace(reader.outcome(), occurrence=count[suite.name]))
    return (*_completed(found, asked), *_absent(asked, count))


def everything(suites: Sequence[SuiteOutcome]) -> tuple[Outcome, ...]:
    """The sub-tests of all."""
    return tuple(test for suite in suites for test in suite.tests)


def passed(suites: Sequence[SuiteOutcome]) -> bool:
    """Something ran, and nothing went wrong, or is missing."""
    wrong = BAD | {Status.NOT_RUN}
    fine = all(suite.status not in wrong for suite in suites) and all(t.status not in wrong for t in everything(suites))
    return bool(suites) and fine


def crashes_of(consoles: Mapping[str, Console]) -> dict[tuple[str, str], str]:
    """What `outcomes` takes as crashes, from the nodes' consoles: a kernel panicked, or a thread stopped for good.

    Of a sub-test that had several the first one of the first node; what somebody asked for by sysrq is none.
    """
    found: dict[tuple[str, str], str] = {}
    for node, console in consoles.items():
        for event in console.events:
            if event.test is not None and (event.dead or event.stuck) and not event.asked:
                found.setdefault(event.test, f"{node}: {event.line}")
    return found


class _Suite:
    """One run of a suite, with its logs."""

    def __init__(
        self,
        suite: Suite,
        logs: Logs,
        limits: Mapping[tuple[str, str], str],
        crashes: Mapping[tuple[str, str], str],
    ) -> None:
        self._suite = suite
        self._log = logs.suites.get(suite.name)
        self._own = {test: log for (of, test), log in logs.tests.items() if of == suite.name}
        self._limits = limits
        self._crashes = crashes

    def outcome(self) -> SuiteOutcome:
        records = [*self._suite.records, *self._unwritten()]
        rounds = Counter(record.name for record in records)
        seen: Counter[str] = Counter()
        found: list[Outcome] = []
        for place, record in enumerate(records):
            seen[record.name] += 1
            one = self._one(record, seen[record.name], last=place == len(records) - 1)
            one = replace(one, round=seen[record.name], rounds=rounds[record.name])
            found.append(replace(one, symptom_of=self._symptom_of(one, found)))
        status, why = self._whole(found)
        return SuiteOutcome(self._suite.name, status, self._suite.seconds, tuple(found), why)

    def _unwritten(self) -> Iterator[Record]:
        """Sub-tests that only the log knows, because results.yml ends before them."""
        if self._suite.status is None and self._log is not None:
            known = {record.name for record in self._suite.records}
            for test, rounds in self._log.tests.items():
                if test not in known:
                    yield from (Record(test) for _ in rounds)

    def _one(self, record: Record, number: int, *, last: bool) -> Outcome:
        section = self._section(record.name, number)
        key = (self._suite.name, record.name)
        status, notes = self._status(record, section, last=last)
        errors = _errors(record, section) if status in BAD else []
        if status is Status.SKIP:
            errors = [Error(record.error or (section.skipped if section else ""))]
        ended = next((said[key] for said in (self._crashes, self._limits) if key in said), "")
        if ended and status in (Status.CRASH, Status.TIMEOUT):
            errors = [Error(ended), *errors]
        if status in BAD and not errors:
            errors = [Error(notes[0] if notes else f"nothing says why (return code {record.return_code})")]
        if status in BAD and section is None:
            notes = (*notes, "its log is missing: what it said first is not known")
        return Outcome(
            self._suite.name,
            record.name,
            status,
            record.seconds if record.seconds is not None or section is None else section.seconds,
            record.return_code,
            errors[0] if errors else NOTHING,
            tuple(errors[1:]),
            _ignored(record, section) if status is Status.PASS else None,
            log=section is not None,
            notes=notes,
        )

    def _section(self, test: str, number: int) -> Section | None:
        for log in (self._log, self._own.get(test)):
            rounds = log.of(test) if log is not None else ()
            if len(rounds) >= number:
                return rounds[number - 1]
        return None

    def _status(self, record: Record, section: Section | None, *, last: bool) -> tuple[Status, tuple[str, ...]]:
        key = (self._suite.name, record.name)
        if record.status is not None:
            return self._of_written(record, section)
        if key in self._crashes:
            return Status.CRASH, ()
        if key in self._limits:
            return Status.TIMEOUT, ()
        if section is not None and section.status is not None and record.name not in (SETUP, CLEANUP):
            return _known(section.status), ("results.yml has no end of it, its log has",)
        if last and self._suite.status is None:
            return Status.CRASH, ("the bed died in it: neither it nor its suite has an end",)
        return Status.FAIL, ("it left its suite: no end of it was written",)

    def _of_written(self, record: Record, section: Section | None) -> tuple[Status, tuple[str, ...]]:
        key = (self._suite.name, record.name)
        status = _known(record.status or FAIL)
        if status is not Status.FAIL:
            return status, ()
        if key in self._crashes:
            return Status.CRASH, ()
        if key in self._limits:
            return Status.TIMEOUT, ()
        first = next(iter(_errors(record, section)), NOTHING)
        ended = _ENDED.fullmatch(first.text)
        return (Status.TIMEOUT, (f"it was ended ({_WORDS[ended['code']]})",)) if ended else (status, ())

    def _whole(self, tests: Sequence[Outcome]) -> tuple[Status, str]:
        """The suite's own status, and why, where no sub-test says it."""
        status = self._suite.status
        bad = [test for test in tests if test.status in BAD]
        if status is None:
            worst = {test.status for test in bad}
            if Status.TIMEOUT in worst and Status.CRASH not in worst:
                return Status.TIMEOUT, ""
            after = f" after {tests[-1].test}" if tests else ""
            told = any(test.status is Status.CRASH for test in tests)
            return Status.CRASH, "" if told else f"the bed died{after}: the suite has no end"
        if status == PASS and bad:
            return Status.FAIL, ""
        if status == FAIL and not bad:
            return Status.FAIL, "the suite failed, and none of its sub-tests did" if tests else "it ran no sub-test"
        return _known(status), ""

    def _symptom_of(self, one: Outcome, before: Sequence[Outcome]) -> str:
        """Of which sub-test a clean-up's failure comes: the one whose files it names, else the last that failed or ran.

        The framework calls a sub-test's files dNAME.SUITE and fNAME.SUITE.
        """
        if one.test != CLEANUP or one.status not in BAD:
            return ""
        ran = [test for test in before if test.test != SETUP and test.status is not Status.SKIP]
        if not ran:
            return ""
        said = "\n".join((*one.cause.before[-_CLOSE:], one.cause.text))
        named = re.findall(rf"\b[df](\w+)\.{re.escape(self._suite.name)}\b", said)
        known = [f"test_{name}" for name in named if any(test.test == f"test_{name}" for test in ran)]
        failed = [test.test for test in ran if test.status in BAD]
        return next(iter(known), (failed or [test.test for test in ran])[-1])


_CLOSE = 5
_WORDS = {"124": "timeout's 124", "143": "SIGTERM's 143"}
_ENDED = re.compile(r"test_\w+ returned (?P<code>124|143)")


def _known(status: str) -> Status:
    return {PASS: Status.PASS, FAIL: Status.FAIL, SKIP: Status.SKIP}[status]


def _errors(record: Record, section: Section | None) -> list[Error]:
    """The first one first; the one in results.yml is the last, and is in the log, too, if that is whole."""
    found = list(section.errors) if section is not None else []
    written = " ".join(record.error.split())
    if written and all(" ".join(error.text.split()) != written for error in found):
        found.append(Error(record.error))
    return found


def _ignored(record: Record, section: Section | None) -> Error | None:
    if section is not None and section.ignored:
        return section.ignored[-1]
    return Error(record.error) if record.error else None


def _completed(suites: Sequence[SuiteOutcome], asked: Sequence[Asked]) -> Iterator[SuiteOutcome]:
    """With the sub-tests that were to run, and did not; each behind its suite's last run."""
    wanted = {one.suite: one for one in asked}
    last = {suite.suite: place for place, suite in enumerate(suites)}
    for place, suite in enumerate(suites):
        one = wanted.get(suite.suite)
        if one is None or last[suite.suite] != place:
            yield suite
            continue
        there = {test.test for of in suites if of.suite == suite.suite for test in of.tests}
        why = f"{suite.suite} ended before it ({suite.status})" if suite.status in BAD else "nothing ran it"
        missing = [_not_run(suite.suite, name, why) for name in _missing(one, there)]
        yield replace(suite, tests=(*suite.tests, *missing))


def _missing(asked: Asked, there: Collection[str]) -> Iterator[str]:
    for name in dict.fromkeys(asked.tests):
        full = name if name.startswith("test_") else f"test_{name}"
        if full not in there:
            yield full


def _absent(asked: Sequence[Asked], ran: Mapping[str, int]) -> Iterator[SuiteOutcome]:
    for one in asked:
        if not ran.get(one.suite):
            why = "the night ended before it"
            tests = tuple(_not_run(one.suite, name, why) for name in _missing(one, ()))
            yield SuiteOutcome(one.suite, Status.NOT_RUN, None, tests, why)


def _not_run(suite: str, test: str, why: str) -> Outcome:
    return Outcome(suite, test, Status.NOT_RUN, cause=Error(why), log=False)
