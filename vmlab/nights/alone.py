"""How a test that failed is run again by itself."""

from collections.abc import Mapping
from typing import Any

from vmlab.nights.night import Step
from vmlab.records.night import BAD, NightTest, symptoms
from vmlab.topology.sweep import CASES

SUITES = "lustre_tests"
"""The workload whose results are those of suites."""

_OTHERS = ("suites", "group", "only", "except", "start_at", "stop_at", "repeat", "test_parameters", CASES)


def failed(tests: tuple[NightTest, ...]) -> tuple[NightTest, ...]:
    """Those that are worth it, each once, whatever round it failed in; what comes of one of them is not."""
    beside = symptoms(tests)
    return tuple({(one.suite, one.test): one for one in tests if one.status in BAD and one not in beside}.values())


def alone(step: Step, test: NightTest) -> Mapping[str, Any]:
    """The options of the step, of which this test alone is left; of a workload without suites, all of them.

    A clean-up cleans up behind the sub-test that it failed because of.
    """
    if step.workload != SUITES or test.suite == step.workload:
        return step.options
    kept = {name: value for name, value in step.options.items() if name not in _OTHERS}
    name = (test.symptom_of or test.test).removeprefix("test_")
    only = {} if name.startswith("(") else {"only": [name]}
    return kept | {"suites": [test.suite]} | only
