"""What runs say, as results of tests; and what is run again alone."""

from dataclasses import replace
from typing import Any

from vmlab.nights.alone import alone, failed
from vmlab.nights.night import Step
from vmlab.nights.outcome import outcome
from vmlab.records.night import CRASH, FAIL, NOT_RUN, PASS, SKIP, TIMEOUT, NightTest

STEP = Step("sanity", "lustre_tests", {"suites": ["sanity", "sanityn"], "except": ["27a"], "mdscount": 2}, 60)


def sub_test(test: str, status: str, **more: Any) -> dict[str, Any]:
    return {"suite": "sanity", "test": test, "status": status, "seconds": 3, "why": "", "round": 1, **more}


def suites(*tests: dict[str, Any], status: str = "fail", why: str = "") -> list[dict[str, Any]]:
    suite = {"suite": "sanity", "status": status, "seconds": 9, "why": why, "tests": list(tests)}
    return [{"id": "run1", "problems": ["sanity test_1a: ..."], "suites": [suite]}]


def test_each_sub_test_is_a_test_with_the_lines_around_its_error() -> None:
    records = suites(
        sub_test("test_0a", "pass"),
        sub_test(
            "test_1a",
            "fail",
            why="it\nbroke",
            before=["one", "two"],
            later=[{"text": "and then"}],
            log="s.log",
            evidence="s.1a",
            seen=[
                {
                    "node": "oss1",
                    "kind": "panic",
                    "line": "Kernel panic",
                    "lines": ["before", "Kernel panic", "Call Trace:"],
                },
                {"node": "oss2", "kind": "hung task", "line": "INFO: task", "lines": ["of no use"]},
            ],
        ),
        sub_test("test_2", "skip", why="needs 2 MDTs"),
        sub_test("test_3", "not run", why="nothing ran it"),
        sub_test("test_4", "crash", round=2),
        sub_test("test_cleanup", "fail", symptom_of="test_1a"),
    )
    found = outcome(STEP, status=8, seconds=9.0, records=records, said="", runs="../../runs")
    assert [one.status for one in found.tests] == [PASS, FAIL, SKIP, NOT_RUN, CRASH, FAIL]
    assert [one.symptom_of for one in found.tests if one.symptom_of] == ["test_1a"]
    bad = found.tests[1]
    around = "oss1: Kernel panic\n  before\n  Kernel panic\n  Call Trace:"
    assert (bad.said, bad.excerpt) == ("it broke", f"one\ntwo\nit\nbroke\nand then\n{around}\noss2: INFO: task")
    assert (bad.log, bad.evidence) == ("../../runs/run1/s.log", "../../runs/run1/s.1a")
    assert (found.lab, found.bad, found.tests[4].round) == ("", True, 2)
    assert found.tests[0].excerpt == ""


def test_a_suite_that_failed_by_itself_is_told() -> None:
    records = suites(sub_test("test_0a", "pass"), status="crash", why="the bed died after test_0a")
    found = outcome(STEP, status=8, seconds=9.0, records=records, said="")
    assert [(one.test, one.status, one.said) for one in found.tests[1:]] == [
        ("(suite)", CRASH, "the bed died after test_0a")
    ]


def test_a_step_without_suites_is_one_test() -> None:
    step = Step("smoke", "command", {"run": "x"}, 60)
    records = [{"id": "r", "problems": ["it failed"], "faults": []}]
    bad = outcome(step, status=8, seconds=2.0, records=records, said="x", excerpt="lines")
    assert bad.tests == (NightTest("command", "smoke", FAIL, 2.0, "it failed", "lines"),)
    good = outcome(step, status=0, seconds=2.0, records=records, said="")
    assert [one.status for one in good.tests] == [PASS]
    assert not good.bad


def test_what_the_lab_broke_is_no_failure_of_the_product() -> None:
    step = Step("smoke", "command", {"run": "x"}, 60)
    records = [{"id": "r", "problems": [], "faults": ["fio is not installed"]}]
    for status, records_, said, why in (
        (7, records, "", "fio is not installed"),
        (6, [], "oss1 does not answer", "oss1 does not answer"),
        (1, [], "", "`vmlab run` ended with 1"),
    ):
        found = outcome(step, status=status, seconds=1.0, records=records_, said=said)
        assert found.lab == f"smoke: {why}"
        assert [(one.status, one.lab, one.said) for one in found.tests] == [(NOT_RUN, True, why)]


def test_the_status_of_a_command_is_a_result() -> None:
    step = Step("smoke", "command", {"run": "x"}, 60)
    for told, status in (
        ({"status": 3}, FAIL),
        ({"status": 137, "timed_out": True}, TIMEOUT),
        ({"status": 127}, NOT_RUN),  # no such command
        ({"status": 255}, NOT_RUN),  # ssh has lost the guest
    ):
        records = [{"id": "r", "problems": [], "faults": ["it failed"], "commands": [{"status": 0}, told]}]
        found = outcome(step, status=7, seconds=1.0, records=records, said="")
        assert [(one.status, one.lab) for one in found.tests] == [(status, status == NOT_RUN)]
        other = outcome(Step("f", "fio", {}, 60), status=7, seconds=1.0, records=records, said="")
        assert other.lab == "f: it failed"


def test_at_its_limit_what_was_measured_stays() -> None:
    records = suites(sub_test("test_0a", "pass"), status="pass")
    found = outcome(STEP, status=130, seconds=60.4, records=records, said="", late=True)
    assert [(one.test, one.status) for one in found.tests] == [("test_0a", PASS), ("sanity", TIMEOUT)]


def test_alone_means_this_test_of_this_suite() -> None:
    tests = (NightTest("sanity", "test_1a", FAIL), NightTest("sanity", "test_2", PASS))
    again = (*tests, NightTest("sanity", "test_1a", FAIL, round=2), NightTest("sanity", "(suite)", CRASH))
    assert [one.test for one in failed(again)] == ["test_1a", "(suite)"]
    assert alone(STEP, again[0]) == {"suites": ["sanity"], "only": ["1a"], "mdscount": 2}
    assert alone(STEP, again[3]) == {"suites": ["sanity"], "mdscount": 2}
    cleanup = NightTest("sanity", "test_cleanup", TIMEOUT, symptom_of="test_2")
    assert failed((*tests, cleanup)) == (tests[0], cleanup)
    assert alone(STEP, cleanup) == {"suites": ["sanity"], "only": ["2"], "mdscount": 2}
    assert failed((*tests, replace(cleanup, symptom_of="test_1a"))) == (tests[0],)
    command = Step("smoke", "command", {"run": "x"}, 60)
    assert alone(command, NightTest("command", "smoke", FAIL)) == {"run": "x"}
