"""How a test that failed is run again by itself."""

from collections.abc import Mapping
from typing import Any

from vmlab.nights.night import Step
from vmlab.records.night import BAD, NightTest
from vmlab.topology.sweep import CASES

SUITES = "lustre_tests"
"""The workload whose results are those of suites."""

_OTHERS = ("suites", "group", "only", "except", "start_at", "stop_at", "repeat", "test_parameters", CASES)


def failed(tests: tuple[NightTest, ...]) -> tuple[NightTest, ...]:
    """Those that are worth it, each once, whatever round it failed in."""
    return tuple({(one.suite, one.test): one for one in tests if one.status in BAD}.values())


def alone(step: Step, test: NightTest) -> Mapping[str, Any]:
    """The options of the step, of which this test alone is left; of a workload without suites, all of them."""
    if step.workload != SUITES or test.suite == step.workload:
        return step.options
    kept = {name: value for name, value in step.options.items() if name not in _OTHERS}
    only = {} if test.test.startswith("(") else {"only": [test.test.removeprefix("test_")]}
    return kept | {"suites": [test.suite]} | only
