"""What each of several beds does of a step, and what is known of durations."""

import simulated_nights as simulated

from vmlab.nights.division import Unit
from vmlab.nights.night import Step
from vmlab.nights.shares import durations, options_of, undividable

STEP = Step("all", "lustre_tests", {"suites": ["sanity", "sanityn"], "except": "27a", "env": {"SLOW": "no"}}, 60)


def test_the_options_of_a_part_are_those_of_its_step() -> None:
    assert options_of(STEP, Unit("sanityn", 9)) == {
        "suites": ["sanityn"],
        "except": "27a",
        "env": {"SLOW": "no"},
    }
    assert options_of(STEP, Unit("sanity", 9, ("1", "2"))) == {
        "suites": ["sanity"],
        "only": ["1", "2"],
        "except": "27a",
        "env": {"SLOW": "no"},
    }
    assert options_of(STEP, Unit("sanity", 9, (), ("1",)))["except"] == ["27a", "1"]


def test_what_takes_how_long_is_known_of_the_latest_night_in_which_it_passed() -> None:
    nights = [
        simulated.night(
            simulated.entry(
                "a",
                simulated.sub_test("1", status, seconds=seconds),
                simulated.sub_test("setup", seconds=1.0),
                simulated.sub_test("2", "skip"),
            ),
            simulated.entry("b", simulated.sub_test("1", seconds=99.0)),
        )
        for status, seconds in (("pass", 5.0), ("pass", 7.0), ("fail", 60.0))
    ]
    assert durations(nights, "a") == {"sanity": {"1": 7.0}}


def test_what_cannot_be_divided_says_why() -> None:
    assert undividable(STEP) == ""
    for options, why in (
        ({"test_parameters": "mdscount=2"}, "test_parameters says what runs"),
        ({"suites": []}, "it lists no suites"),
        ({"suites": [["a"], ["b"]]}, "it lists no suites"),
        ({"suites": ["a"], "start_at": "1"}, "start_at says what runs"),
    ):
        assert undividable(Step("all", "lustre_tests", options, 60)) == why
