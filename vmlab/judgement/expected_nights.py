"""A night's record, judged: each entry by what is expected under its conditions, and by its own nights before."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from vmlab.judgement.expectations import Expectation
from vmlab.judgement.expected import Outcome, Result, judge_tests
from vmlab.records.night import (
    CRASH,
    FAIL,
    PASS,
    SKIP,
    TIMEOUT,
    NightEntry,
    NightFinding,
    NightRecord,
    NightTest,
    symptoms,
)

_OUTCOMES = {
    PASS: Outcome.PASS,
    FAIL: Outcome.FAIL,
    TIMEOUT: Outcome.FAIL,
    SKIP: Outcome.SKIP,
    CRASH: Outcome.DIED,
}
"""What did not run is no result, nor is what only comes of one."""


def judged(record: NightRecord, earlier: Sequence[NightRecord], expectations: Sequence[Expectation]) -> NightRecord:
    """The record with its findings, and how many of them nobody expected. `earlier` are nights, oldest first."""
    findings = tuple(one for entry in record.entries for one in _of_entry(entry, earlier, expectations))
    return replace(record, findings=findings, product=sum(one.red for one in findings))


def holds(expectation: Expectation, conditions: Mapping[str, str]) -> bool:
    """It is meant for these conditions; a value may be a shell pattern."""
    return all(fnmatchcase(conditions.get(name, ""), wanted) for name, wanted in expectation.where.items())


def _of_entry(
    entry: NightEntry, earlier: Sequence[NightRecord], expectations: Sequence[Expectation]
) -> Iterator[NightFinding]:
    nights = [_results(one.tests) for night in earlier for one in night.entries if one.name == entry.name]
    tonight = _results(entry.tests)
    suites = {one.suite for night in (*nights, tonight) for one in night} | set(entry.planned.values())
    conditions = {**entry.under, "entry": entry.name}
    listed = [one for one in expectations if one.suite in suites and holds(one, conditions)]
    for one in judge_tests(tonight, nights, listed):
        yield NightFinding(entry.name, one.suite, one.test, str(one.verdict), one.why, one.red, one.ticket)


def _results(tests: Collection[NightTest]) -> list[Result]:
    beside = symptoms(tests)
    return [
        Result(one.suite, one.test, _OUTCOMES[one.status], one.seconds, one.said)
        for one in tests
        if one.status in _OUTCOMES and one not in beside
    ]
