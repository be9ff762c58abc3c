"""What each of several beds does of a step: its options, for a unit of `nights.division`; and the durations known."""

from collections.abc import Iterable, Mapping
from typing import Any

from vmlab.nights.division import Unit, units
from vmlab.nights.night import Entry, Step
from vmlab.records.night import PASS, NightRecord

_NOT_BESIDE = ("group", "start_at", "stop_at", "test_parameters", "cases")
_NO_TESTS = ("test_setup", "test_cleanup")


def undividable(step: Step) -> str:
    """Why the suites of a step cannot be told apart before it runs, "" if they can."""
    if found := next((name for name in _NOT_BESIDE if step.options.get(name)), ""):
        return f"{found} says what runs"
    suites = step.options.get("suites")
    if not isinstance(suites, list) or not suites or not all(isinstance(suite, str) for suite in suites):
        return "it lists no suites"
    return ""


def shares(entry: Entry, step: Step, took: Mapping[str, Mapping[str, float]]) -> tuple[Unit, ...]:
    """The units of a step. Where it names the sub-tests that run, no suite is cut."""
    suites = list(dict.fromkeys(step.options["suites"]))
    whole = suites if step.options.get("only") else entry.whole
    return units(suites, took, entry.beds, whole=whole)


def options_of(step: Step, unit: Unit) -> Mapping[str, Any]:
    """Those of the step, for this unit alone."""
    found = dict(step.options) | {"suites": [unit.suite]}
    if unit.only:
        found["only"] = list(unit.only)
    if unit.but:
        found["except"] = [*_listed(step.options.get("except")), *unit.but]
    return found


def _listed(value: object) -> list[Any]:
    return list(value) if isinstance(value, list) else [] if value is None else [value]


def durations(nights: Iterable[NightRecord], entry: str) -> dict[str, dict[str, float]]:
    """By suite and sub-test, of the latest night in which it passed. `nights` are oldest first."""
    found: dict[str, dict[str, float]] = {}
    for night in nights:
        for one in night.entries:
            for test in one.tests if one.name == entry else ():
                if test.status == PASS and test.seconds is not None and test.test not in _NO_TESTS:
                    found.setdefault(test.suite, {})[test.test.removeprefix("test_")] = test.seconds
    return found
