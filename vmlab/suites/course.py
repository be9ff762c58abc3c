"""One suite over all the times that auster was begun for it: what is left when it was ended, and what became of it.

auster runs one suite at a time here, so that each has its own limit, its own log and its own end.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from vmlab.suites.auster import Part
from vmlab.suites.logs import CLEANUP, SETUP, Log, Logs, read_log, read_logs
from vmlab.suites.outcomes import BAD, Outcome, Status, SuiteOutcome, outcomes
from vmlab.suites.results import Seen, SubTest, SuiteRun
from vmlab.suites.written import FAIL, PASS, Record, Suite, read_results

Key = tuple[str, str]
"""Suite and sub-test, as results.yml calls it."""

_RANGE = re.compile(r"(\d+)-(\d+)")
_WORST = (Status.CRASH, Status.TIMEOUT, Status.FAIL, Status.NOT_RUN, Status.PASS, Status.SKIP)


@dataclass(frozen=True, slots=True)
class Begun:
    """What one auster left that was begun for a suite: `said` is all that it printed, which outlives its guest.

    `logs` are the files in its log folder, by name. By sub-test: `limits` and `crashes` say why it was ended,
    `evidence` and `seen` what was collected of it and seen on consoles. `ended` says why the whole of it was ended, ""
    if it was not; `dead`: because a kernel died. `seconds` are those that it ran. `called` are the names for records,
    of `said` and of the files.
    """

    said: str
    logs: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[Key, str] = field(default_factory=dict)
    crashes: Mapping[Key, str] = field(default_factory=dict)
    evidence: Mapping[Key, str] = field(default_factory=dict)
    seen: Mapping[Key, tuple[Seen, ...]] = field(default_factory=dict)
    ended: str = ""
    dead: bool = False
    seconds: float = 0.0
    called: Mapping[str, str] = field(default_factory=dict)


SAID = ""
"""Under which `Begun.called` has the name of what was printed."""


def asked(part: Part, listed: Sequence[str]) -> tuple[str, ...]:
    """The sub-tests that are to run, of those `listed` in the suite, in its order.

    As the framework takes `only`: 27 is 27a, too, and 1-3 are three numbers. Where nothing is listed: the names given.
    """
    if part.only:
        wanted = {name for word in part.only for name in _numbers(word)}
        return tuple(name for name in listed if name in wanted or _base(name) in wanted) or part.only
    begin = _place(listed, part.start_at, 0)
    end = _place(listed, part.stop_at, len(listed) - 1)
    return tuple(listed[begin : end + 1])


def rest(part: Part, names: Sequence[str], begun: Sequence[Begun]) -> Part | None:
    """What to begin auster for again when the last one was ended; None if nothing is left, or would get no farther.

    `names` are those that `asked` gave.
    """
    reached = [_reached(one, part.suite) for one in begun]
    earlier = {name for tests in reached[:-1] for name in tests}
    if not set(reached[-1]) - earlier:
        return None
    places = [place for place, name in enumerate(names) for tests in reached if f"test_{name}" in tests]
    left = tuple(names[max(places) + 1 :]) if places else ()
    if not left:
        return None
    return replace(part, only=left) if part.only else replace(part, start_at=left[0])


def suite_run(part: Part, names: Sequence[str], begun: Sequence[Begun], why_not: str) -> SuiteRun:
    """All of it as one; `why_not` is why what did not run did not, where nothing else says so."""
    found: list[SubTest] = []
    whole: list[SuiteOutcome] = []
    seconds = 0.0
    for one in begun:
        if (outcome := _outcome(one, part.suite)) is None:
            continue
        there = {test.test for test in found}
        # Those before START_AT are skipped as "excluded", and have a result already.
        new = [t for t in outcome.tests if not (t.status is Status.SKIP and t.test in there)]
        found += [_sub_test(test, one) for test in new]
        whole.append(outcome)
        seconds += one.seconds if outcome.seconds is None else outcome.seconds
    statuses = [outcome.status for outcome in whole]
    there = {test.test for test in found}
    ended = next((outcome for outcome in whole if outcome.status in BAD), None)
    why = f"{part.suite} ended before it ({ended.status})" if ended is not None else why_not
    missing = [
        SubTest(part.suite, f"test_{name}", Status.NOT_RUN, why=why) for name in names if f"test_{name}" not in there
    ]
    if missing or not whole:
        statuses.append(Status.NOT_RUN)
    return SuiteRun(
        part.suite,
        min(statuses, key=_WORST.index),
        seconds if whole else None,
        next((outcome.why for outcome in whole if outcome.why), "" if whole else why_not),
        begun=max(1, len(begun)),
        tests=(*_numbered(found), *missing),
    )


def _numbers(word: str) -> Iterator[str]:
    found = _RANGE.fullmatch(word)
    if found is None:
        yield word
    else:
        yield from map(str, range(int(found[1]), int(found[2]) + 1))


def _base(name: str) -> str:
    """27 of 27Ca; a name that begins with a letter has none."""
    found = re.match(r"\d+", name)
    return found[0] if found is not None else name


def _place(listed: Sequence[str], name: str, otherwise: int) -> int:
    return next((place for place, one in enumerate(listed) if name and name in (one, _base(one))), otherwise)


def _reached(begun: Begun, suite: str) -> tuple[str, ...]:
    """The sub-tests that it came to; those that were left out before the first that ran do not count."""
    outcome = _outcome(begun, suite)
    tests = outcome.tests if outcome is not None else ()
    return tuple(t.test for t in tests if t.test not in (SETUP, CLEANUP) and t.status is not Status.NOT_RUN)


def _outcome(begun: Begun, suite: str) -> SuiteOutcome | None:
    """None if it never came to the suite: then what it printed tells why."""
    written = read_results(begun.logs.get("results.yml", ""))
    own = tuple(one for one in written.suites if one.name == suite)[-1:]
    if not own and not re.search(rf"^-----=+ acceptance-small: {re.escape(suite)} =", begun.said, re.MULTILINE):
        return None
    logs = read_logs({name: text for name, text in begun.logs.items() if name.endswith(".log")})
    log = read_log(begun.said)
    logs = Logs({**logs.suites, suite: log}, logs.tests)
    written = replace(written, suites=own or (_unwritten(suite, log, begun.said),))
    (outcome,) = outcomes(written, logs, limits=begun.limits, crashes=begun.crashes)
    if begun.ended and (outcome.why or outcome.status not in (Status.CRASH, Status.TIMEOUT)):
        return replace(outcome, status=Status.CRASH if begun.dead else Status.TIMEOUT, why=begun.ended)
    return outcome


def _unwritten(suite: str, log: Log, said: str) -> Suite:
    """What results.yml would have, where that is lost; auster tells that a suite has ended, whatever its status is."""
    records = [
        Record(test, section.status, section.seconds) for test, rounds in log.tests.items() for section in rounds
    ]
    failed = any(record.status == FAIL for record in records)
    over = re.search(rf"^{re.escape(suite)} returned \d+$", said, re.MULTILINE)
    return Suite(suite, status=(FAIL if failed else PASS) if over else None, records=records)


def _sub_test(test: Outcome, begun: Begun) -> SubTest:
    key = (test.suite, test.test)
    own = next((name for name in begun.called if name.startswith(f"{test.suite}.{test.test}.test_log.")), SAID)
    lost = own == SAID and test.log and test.status is not Status.SKIP
    return SubTest(
        test.suite,
        test.test,
        test.status,
        test.seconds,
        test.why,
        test.cause.place,
        test.cause.before if test.status in BAD else (),
        tuple(" ".join(error.text.split()) for error in test.later),
        " ".join(test.ignored.text.split()) if test.ignored is not None else "",
        test.symptom_of,
        notes=(*test.notes, *(["its own log is missing: this is what auster printed of it"] if lost else ())),
        seen=begun.seen.get(key, ()),
        log=begun.called.get(own, "") if test.log else "",
        evidence=begun.evidence.get(key, ""),
    )


def _numbered(tests: Sequence[SubTest]) -> Iterator[SubTest]:
    """With their rounds: setup and clean-up have one for each time that auster was begun."""
    rounds = Counter(test.test for test in tests)
    seen: Counter[str] = Counter()
    for test in tests:
        seen[test.test] += 1
        yield replace(test, round=seen[test.test], rounds=rounds[test.test])
