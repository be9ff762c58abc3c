"""What a step's runs say, as results of tests; and whether it was the lab that failed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vmlab.nights.night import Step
from vmlab.records.night import BAD, FAIL, NOT_RUN, PASS, TIMEOUT, NightTest

COMMAND = "command"
"""The workload of which a status is a result. Of others one says that the tool could not do its work."""

_FAILED, _COULD_NOT = 8, 7
_LINES = 12
_NO_COMMAND = 126
_TOLD = {"version": "lustre", "arch": "machine"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The tests of a step, and what the lab broke of it, "" if nothing."""

    tests: tuple[NightTest, ...]
    lab: str = ""

    @property
    def bad(self) -> bool:
        """Something failed, be it under test or the lab's."""
        return bool(self.lab) or any(test.status in BAD for test in self.tests)


def outcome(
    step: Step,
    *,
    status: int,
    seconds: float,
    records: Sequence[Mapping[str, Any]],
    said: str,
    excerpt: str = "",
    late: bool = False,
    runs: str = "",
) -> Outcome:
    """Of one step. `records` are its runs, as in run.json, `said` is the last that `vmlab run` had to say.

    A step without suites is one test: the workload's, by the step's name. A command that ends with a status has failed
    its test, except where the shell says that there is no such command. `runs` is the folder of all runs, as seen
    from the night's.
    """
    tests = tuple(_of_suites(records, runs))
    problems = [line for record in records for line in record.get("problems", ())]
    faults = [line for record in records for line in record.get("faults", ())]
    if late:
        why = f"it was ended at its limit of {step.limit_s:g} s"
        return Outcome((*tests, NightTest(step.workload, step.name, TIMEOUT, seconds, why, excerpt)))
    if status in (0, _FAILED):
        if tests:
            return Outcome(tests)
        why = _first(problems) or (said if status else "")
        found = FAIL if status else PASS
        return Outcome((NightTest(step.workload, step.name, found, seconds, why, excerpt if status else ""),))
    why = _first(faults) or said or f"`vmlab run` ended with {status}"
    if step.workload == COMMAND and status == _COULD_NOT and (ended := _command_ended(records)):
        return Outcome((NightTest(step.workload, step.name, ended, seconds, why, excerpt),))
    missing = NightTest(step.workload, step.name, NOT_RUN, said=why, lab=True)
    return Outcome((*tests, missing), f"{step.name}: {why}")


def under(records: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What runs tell of the conditions that they had: `version` of Lustre and `arch`, all that there were of each."""
    nodes = [node for record in records for node in record.get("nodes") or ()]
    told = {name: sorted({str(node.get(key) or "") for node in nodes} - {""}) for name, key in _TOLD.items()}
    return {name: ", ".join(values) for name, values in told.items() if values}


def _command_ended(records: Sequence[Mapping[str, Any]]) -> str:
    """How a command failed that was there and ran; "" if that is not so, and the lab's fault."""
    for record in records:
        for one in record.get("commands", ()):
            if one.get("timed_out"):
                return TIMEOUT
            if 0 < int(one.get("status") or 0) < _NO_COMMAND:
                return FAIL
    return ""


def _first(lines: Sequence[str]) -> str:
    return next(iter(lines), "")


def _of_suites(records: Sequence[Mapping[str, Any]], runs: str) -> Iterator[NightTest]:
    for record in records:
        folder = f"{runs}/{record.get('id', '')}"
        for suite in record.get("suites") or ():
            tests = suite.get("tests") or ()
            yield from (_of_suite(test, folder) for test in tests)
            if suite["status"] in BAD and not any(test["status"] in BAD for test in tests):
                yield NightTest(suite["suite"], "(suite)", suite["status"], suite.get("seconds"), suite.get("why", ""))


def _of_suite(test: Mapping[str, Any], folder: str) -> NightTest:
    before = [*(test.get("before") or ())][-_LINES:]
    later = [*(test.get("later") or ())][:_LINES]
    why = str(test.get("why") or "")
    seen = [one for one in test.get("seen") or () if isinstance(one, Mapping)]
    told = [f"{one.get('node')}: {one.get('line')}" for one in seen]
    around = [f"  {line}" for one in seen[:1] for line in one.get("lines") or ()]
    lines = [*map(str, before), why, *map(_text, later), *told[:1], *around, *told[1:]]
    return NightTest(
        test["suite"],
        test["test"],
        test["status"],
        test.get("seconds"),
        " ".join(why.split()),
        "\n".join(lines).strip("\n") if test["status"] in BAD else "",
        round=int(test.get("round") or 1),
        log=f"{folder}/{test['log']}" if test.get("log") else "",
        evidence=f"{folder}/{test['evidence']}" if test.get("evidence") else "",
        symptom_of=str(test.get("symptom_of") or ""),
    )


def _text(error: object) -> str:
    return str(error.get("text", "")) if isinstance(error, Mapping) else str(error)
