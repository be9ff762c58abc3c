"""Tests' results beside what was expected of them and what they did before."""

import re
from collections.abc import Callable, Sequence
from math import sqrt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmlab.errors import TopologyError
from vmlab.judgement.expectations import Expectation, load, loads
from vmlab.judgement.expected import Finding, Outcome, Result, Verdict, counts, judge_tests, rate, red

CASES = Path(__file__).parents[2] / "cases" / "expected"
BAD = Path(__file__).parents[2] / "golden" / "expectations"
LETTERS = {"P": Outcome.PASS, "F": Outcome.FAIL, "S": Outcome.SKIP, "D": Outcome.DIED}


def results(case: str) -> list[Result]:
    """The records of a results.yml, as far as these two go: its errors are escaped as no YAML is."""
    found = []
    for suite in re.split(r"^-$", (CASES / case / "results.yml").read_text(), flags=re.MULTILINE)[1:]:
        name = re.findall(r"^ {8}name: (\S+)", suite, re.MULTILINE)[0]
        for test in re.split(r"^ {8}-$", suite, flags=re.MULTILINE)[1:]:
            keys = dict(re.findall(r"^ {12}(\w+): *(.*)$", test, re.MULTILINE))
            outcome = Outcome(keys["status"]) if "status" in keys else Outcome.DIED
            seconds = float(keys["duration"]) if "duration" in keys else None
            said = keys.get("error", "").strip('"').replace("\\", "")
            found.append(Result(name, keys["name"], outcome, seconds, said))
    return found


def told(findings: Sequence[Finding], verdict: Verdict) -> list[str]:
    return [f"{one.suite} {one.test}" for one in findings if one.verdict is verdict]


def test_a_night_beside_its_known_failures() -> None:
    case = "n13-expected-failures"
    found = judge_tests(results(case), (), load(CASES / case / "known-failures.yaml"))
    assert told(found, Verdict.DIED) == ["sanity 312"]
    assert told(found, Verdict.NEW) == ["sanity 27j", "sanity 270", "sanityn 27J"]
    assert told(found, Verdict.KNOWN) == ["sanity 27J", "sanity 270a"]
    assert [one.ticket for one in found if one.verdict is Verdict.KNOWN] == ["LU-18102", "LU-18562"]
    assert [(one.test, one.ticket) for one in found if one.verdict is Verdict.FIXED] == [("216", "LU-12550")]
    assert told(found, Verdict.MISSING) == ["sanity 0d", "sanity 430a"]
    assert told(found, Verdict.SKIPPED) == ["sanity 27m", "sanity 42a", "sanity 56wa"]
    assert found[0].why == "the bed died in it; LU-15963 expects a failure, which this is not"
    assert [one.test for one in found if one.red] == ["312", "27j", "270", "27J"]
    assert red(found)
    assert not red([one for one in found if one.verdict not in (Verdict.DIED, Verdict.NEW)])


def test_rounds_are_one_test_and_status_decides() -> None:
    tonight = results("n05-status-against-return-code")
    assert counts(tonight) == {Outcome.PASS: 8, Outcome.FAIL: 2, Outcome.SKIP: 0, Outcome.DIED: 0}
    found = judge_tests(tonight, (), (), asked={("sanity", "64b"): 5})
    assert told(found, Verdict.NEW) == ["sanity 64b", "recovery-small 50"]
    assert found[0].why == "failed in round 3 of 3 (5 asked for): grant leak, client 2097152 server 4194304"
    (ignored,) = [one for one in found if one.test == "24a"]
    assert (ignored.verdict, ignored.why) == (
        Verdict.PASSED,
        "with an error that it ignores: multiop didn't fail fsync: rc 0",
    )


def night(letters: str, seconds: float | None = None) -> list[list[Result]]:
    """A test's nights, a letter each; `-` for one in which it was not there."""
    return [[Result("s", "test_1", LETTERS[one], seconds)] if one != "-" else [] for one in letters]


def judged(before: str, now: str, *listed: Expectation) -> Finding:
    found = judge_tests([one for rounds in night(now) for one in rounds], night(before), listed)
    (one,) = found
    return one


KNOWN = Expectation("s", "1", "LU-1")
FLAKY = Expectation("s", "1", "LU-2", flaky=0.1)


@pytest.mark.parametrize(
    ("before", "now", "listed", "verdict", "is_red"),
    [
        ("", "F", None, Verdict.NEW, True),
        ("PPPP", "F", None, Verdict.NEW, True),
        ("PPFF", "F", None, Verdict.STILL, True),
        ("FFFF", "F", None, Verdict.STILL, True),
        ("PFPF", "F", None, Verdict.FLAKY, True),
        ("PFPP", "F", None, Verdict.FLAKY, True),
        ("PPFF", "P", None, Verdict.FIXED, False),
        ("PPDS", "P", None, Verdict.FIXED, False),
        ("FPFP", "P", None, Verdict.PASSED, False),
        ("FPPF", "P", None, Verdict.PASSED, False),
        ("", "P", None, Verdict.PASSED, False),
        ("PPPP", "S", None, Verdict.SKIPPED, False),
        ("PPPP", "D", None, Verdict.DIED, True),
        ("PPPP", "-", None, Verdict.MISSING, False),
        ("PPPP", "F", KNOWN, Verdict.KNOWN, False),
        ("", "F", KNOWN, Verdict.KNOWN, False),
        ("FFFF", "P", KNOWN, Verdict.FIXED, False),
        ("FFFF", "S", KNOWN, Verdict.MISSING, False),
        ("FFFF", "-", KNOWN, Verdict.MISSING, False),
        ("FFFF", "D", KNOWN, Verdict.DIED, True),
        ("", "F", FLAKY, Verdict.FLAKY, False),
        ("PPPPPPPPP", "F", FLAKY, Verdict.FLAKY, False),
        ("PFPFPFPPP", "F", FLAKY, Verdict.OFTENER, True),
        ("PPPP", "P", FLAKY, Verdict.PASSED, False),
        ("P" * 40, "P", FLAKY, Verdict.FIXED, False),
        ("PPPP", "PFP", None, Verdict.NEW, True),
        ("PPPP", "PSP", None, Verdict.PASSED, False),
    ],
)
def test_verdicts(before: str, now: str, listed: Expectation | None, verdict: Verdict, *, is_red: bool) -> None:
    one = judged(before, now, *([listed] if listed else []))
    assert (one.verdict, one.red) == (verdict, is_red)
    assert one.ticket == (listed.ticket if listed else "")


def test_reasons() -> None:
    assert judged("PPFF", "F").why == "failed, for 3 nights in a row; it passed 2 times before"
    assert judged("PFPP", "F").why == "failed; failed 2 of 5 times, 12 to 77 %, and is not listed"
    assert judged("PFPFPFPPP", "F", FLAKY).why == "failed; failed 4 of 10 times, 17 to 69 %, where LU-2 has 10 %"
    assert judged("PPFF", "P").why == "failed before, 2 nights in a row"


@pytest.mark.parametrize(
    ("usual", "took", "verdict"),
    [
        ([10, 11, 10, 12, 10], 18, Verdict.SLOWER),
        ([10, 11, 10, 12, 10], 15, Verdict.PASSED),  # by half
        ([10, 11, 10, 40, 10], 30, Verdict.PASSED),  # it did so before
        ([10, 11, 10, 12], 18, Verdict.PASSED),  # too little is known
        ([0, 0, 0, 0, 0], 1, Verdict.PASSED),  # a second is nothing
    ],
)
def test_slower_is_longer_than_ever(usual: list[float], took: float, verdict: Verdict) -> None:
    history = [[Result("s", "1", Outcome.PASS, seconds)] for seconds in usual]
    (one,) = judge_tests([Result("s", "1", Outcome.PASS, took)], history, ())
    assert (one.verdict, one.red) == (verdict, False)
    if verdict is Verdict.SLOWER:
        assert one.why == "took 18 s; 5 times before 10 to 12 s"


@given(st.lists(st.sampled_from(Outcome).filter(lambda one: one is not Outcome.SKIP), min_size=1, max_size=200))
def test_the_interval_is_wilsons(outcomes: list[Outcome]) -> None:
    found = rate(outcomes)
    n, z = len(outcomes), 1.959963984540054
    part = sum(one is not Outcome.PASS for one in outcomes) / n
    middle = (part + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(part * (1 - part) / n + z * z / (4 * n * n))
    assert (found.low, found.high) == (
        pytest.approx(max(0, middle - half), abs=1e-9),
        pytest.approx(min(1, middle + half), abs=1e-9),
    )


nights = st.lists(st.text(st.sampled_from("PFSD-"), min_size=1, max_size=1), max_size=8).map("".join)


@given(nights, st.sampled_from("PFSD"), st.sampled_from([None, KNOWN, FLAKY]))
def test_each_test_has_one_finding_and_no_pass_is_red(before: str, now: str, listed: Expectation | None) -> None:
    one = judged(before, now, *([listed] if listed else []))
    assert one.red <= (now in "FD")
    if now == "D" or (now == "F" and listed is None):
        assert one.red


def test_a_list_says_all() -> None:
    text = "expected:\n  - {suite: sanity, tests: [test_51b, 0270], ticket: LU-9693, flaky: 0.1, reason: races}\n"
    assert loads(text, "known.yaml") == (
        Expectation("sanity", "51b", "LU-9693", 0.1, "races", "known.yaml", 2),
        Expectation("sanity", "0270", "LU-9693", 0.1, "races", "known.yaml", 2),
    )


@pytest.mark.parametrize("path", sorted(BAD.glob("*.yaml")), ids=lambda path: path.stem)
def test_problems_of_a_bad_list(path: Path, golden: Callable[[Path, str], None]) -> None:
    with pytest.raises(TopologyError) as caught:
        loads(path.read_text(), path.name)
    golden(path.with_suffix(".txt"), f"{caught.value}\n")
