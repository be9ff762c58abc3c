"""What is told of a night: JUnit XML that CI takes, a summary, the record read back. The nights are simulated."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import simulated_nights as simulated
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from vmlab.records.night import NightRecord, from_json, to_json
from vmlab.report.night.junit import junit
from vmlab.report.night.page import page
from vmlab.report.night.summary import headline, in_short, markdown, totals
from vmlab.report.pages import html
from vmlab.report.pages import markdown as whole

TESTS = Path(__file__).parents[2]
GOLDEN = TESTS / "golden" / "nights"
FORM = etree.RelaxNG(etree.parse(TESTS / "cases" / "nights" / "junit.rng"))
NIGHTS = {"green": simulated.green, "red": simulated.red, "huge": lambda: simulated.huge(400)}


def parsed(record: NightRecord) -> etree._Element:
    root = etree.fromstring(junit(record))
    FORM.assertValid(root)
    return root


@pytest.mark.parametrize("name", NIGHTS)
def test_junit_is_what_jenkins_takes(name: str) -> None:
    record, _ = NIGHTS[name]()
    root = parsed(record)
    for suite in root:
        cases = suite.findall("testcase")
        assert int(suite.get("tests")) == len(cases)
        for tag, count in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            assert int(suite.get(count)) == sum(case.find(tag) is not None for case in cases)
    for count in ("tests", "failures", "errors"):
        assert int(root.get(count)) == sum(int(suite.get(count)) for suite in root)
    assert int(root.get("tests")) == sum(len(entry.tests) for entry in record.entries)


def test_junit_tells_the_product_from_the_lab_and_what_is_known() -> None:
    root = parsed(simulated.red()[0])
    told = {
        (suite.get("name"), case.get("name")): next((f"{c.tag}: {c.get('type')}" for c in case), "")
        for suite in root
        for case in suite
    }
    assert told == {
        ("ha-ldiskfs.sanity", "test_27J"): "failure: new failure",
        ("ha-ldiskfs.sanity", "test_270a"): "skipped: None",
        ("ha-ldiskfs.sanity", "test_51b"): "skipped: None",
        ("ha-ldiskfs.sanity", "test_0a"): "",
        ("ha-ldiskfs.sanity", "test_1"): "skipped: None",
        ("ha-ldiskfs.sanity", "test_2 (round 2)"): "failure: new failure",
        ("ha-ldiskfs.sanity", "test_3"): "error: not run",
        ("ha-ldiskfs.sanity", "test_312"): "error: died",
        ("ha-zfs.sanityn", "test_16a"): "skipped: None",
        ("ha-zfs.sanity", "test_16a"): "",
        ("fta.lustre_tests", "suites"): "error: lab",
    }
    failed = root.find(".//testcase[@name='test_27J']")
    assert failed.findtext("system-out").splitlines() == [
        "run again, alone: pass, fail: flaky",
        "log: ../../runs/r/sanity.test_27J.log",
        "evidence: ../../runs/r/e",
    ]
    assert simulated.EXCERPT.strip() in failed.findtext("failure")


@given(st.text(), st.text())
def test_junit_says_whatever_a_guest_said(said: str, excerpt: str) -> None:
    bad = simulated.sub_test("1a", "fail", said=said, excerpt=excerpt)
    parsed(simulated.nights(simulated.night(simulated.entry("a", bad)))[0])


def test_a_form_that_refuses() -> None:
    root = parsed(simulated.red()[0])
    del root[0].attrib["errors"]
    assert not FORM.validate(root)


@pytest.mark.parametrize("name", ["green", "red"])
def test_the_summary(name: str, golden: Callable[[Path, str], None]) -> None:
    record, _ = NIGHTS[name]()
    golden(GOLDEN / f"{name}.md", markdown(record))
    golden(GOLDEN / f"{name}.terminal", in_short(record, "night.html"))


def test_a_summary_stays_short() -> None:
    record, _ = simulated.huge(8000)
    assert len(markdown(record)) < 20_000
    assert "more" in markdown(record)
    assert headline(record).startswith("nightly, 2026-08-14: ")
    assert totals(record).startswith("4 beds, 8000 tests: ")


def test_beds_that_share_an_entry_are_counted_each() -> None:
    shared = simulated.entry("shared", *(simulated.sub_test(str(number), bed=f"b{number % 2}") for number in range(6)))
    assert totals(simulated.night(shared, simulated.entry("alone"))) == "3 beds, 6 tests: 6 pass"


def test_a_clean_up_that_comes_of_a_failure_counts_with_it() -> None:
    tests = (
        simulated.sub_test("1"),
        simulated.sub_test("27J", "fail"),
        simulated.sub_test("cleanup", "time-out", symptom_of="test_27J"),
    )
    record, _ = simulated.nights(simulated.night(simulated.entry("ha-ldiskfs", *tests)), *"PP")
    assert (record.product, [one.test for one in record.findings if one.red]) == (1, ["27J"])
    root = parsed(record)
    assert (root.get("failures"), root.get("errors")) == ("1", "0")
    (skipped,) = root.iter("skipped")
    assert str(skipped.get("message")).startswith("comes of test_27J: ")
    assert "comes of" in html.render(page(record, ()))
    alone = (tests[0], replace(tests[2], symptom_of="test_1"))
    record, _ = simulated.nights(simulated.night(simulated.entry("ha-ldiskfs", *alone)), *"PP")
    assert (record.product, [one.test for one in record.findings if one.red]) == (1, ["cleanup"])
    assert parsed(record).get("failures") == "1"


@pytest.mark.parametrize("name", NIGHTS)
def test_a_record_is_read_back(name: str) -> None:
    record, _ = NIGHTS[name]()
    assert from_json(json.loads(json.dumps(to_json(record)))) == record


@pytest.mark.parametrize("content", [[], {}, {"schema": 2}, {"schema": 1, "id": 3}])
def test_what_is_no_record_is_refused(content: object) -> None:
    with pytest.raises(ValueError, match="record of a night"):
        from_json(content)


def test_the_page_says_what_is_new_and_what_the_lab_broke() -> None:
    record, before = simulated.red()
    text = whole.render(page(record, before))
    assert text.index("Failed, and nobody expected it") < text.index("What the lab broke") < text.index("Time line")
    assert "| **27J** | new failure |" in text
    assert "[evidence](<evidence/fta/up/index.md>)" in text
    assert "**on purpose: power oss1**" in text
    assert "flaky: pass, fail" in text


def test_what_a_guest_said_ends_no_element() -> None:
    bad = simulated.sub_test("1a", "fail", said="</script><script>alert(1)</script>", excerpt="</script>")
    record, before = simulated.nights(simulated.night(simulated.entry("a", bad)))
    made = html.render(page(record, before))
    assert "<script>alert" not in made
    assert made.count("</script>") == 2
