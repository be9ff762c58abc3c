"""A night as JUnit XML, in the form that Jenkins' xunit plugin has a schema of (junit-10.xsd), which GitLab reads, too.

A suite for each entry and suite; a `failure` is the product's, an `error` a bed that died in a test, or the lab. What
is known to fail is skipped there, with its ticket: a night whose failures are all known is green.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from lxml import etree

from vmlab.judgement.expectations import bare
from vmlab.records.night import (
    CRASH,
    FAIL,
    NOT_RUN,
    SKIP,
    TIMEOUT,
    NightEntry,
    NightFinding,
    NightRecord,
    NightTest,
    symptoms,
)

_UNSPEAKABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LONGEST = 500
_Findings = Mapping[tuple[str, str, str], NightFinding]


def junit(record: NightRecord) -> bytes:
    """The file."""
    findings = {(one.entry, one.suite, one.test): one for one in record.findings}
    root = etree.Element("testsuites", name=record.name)
    totals = dict.fromkeys(("tests", "failures", "errors"), 0)
    for entry in record.entries:
        for suite, tests in _by_suite(entry).items():
            made = _suite(entry, suite, tests, findings)
            root.append(made)
            for name in totals:
                totals[name] += int(made.get(name, 0))
    for name, number in totals.items():
        root.set(name, str(number))
    xml: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)
    return xml


def _by_suite(entry: NightEntry) -> dict[str, list[NightTest]]:
    found: dict[str, list[NightTest]] = {}
    for test in entry.tests:
        found.setdefault(test.suite, []).append(test)
    return found


def _suite(entry: NightEntry, suite: str, tests: Sequence[NightTest], findings: _Findings) -> etree._Element:
    name = f"{entry.name}.{suite}"
    made = etree.Element("testsuite", name=_text(name))
    beside = symptoms(tests)
    for test in tests:
        case = etree.SubElement(made, "testcase", name=_text(_named(test, tests)), classname=_text(name))
        case.set("time", f"{test.seconds or 0:.3f}")
        finding = findings.get((entry.name, suite, bare(test.test)))
        for child in _children(test, finding, symptom=test in beside):
            case.append(child)
    count = {tag: sum(case.find(tag) is not None for case in made) for tag in ("failure", "error", "skipped")}
    made.set("tests", str(len(tests)))
    made.set("failures", str(count["failure"]))
    made.set("errors", str(count["error"]))
    made.set("skipped", str(count["skipped"]))
    made.set("time", f"{sum(test.seconds or 0 for test in tests):.3f}")
    if entry.started:
        made.set("timestamp", entry.started[:19])
    return made


def _named(test: NightTest, tests: Sequence[NightTest]) -> str:
    """With its round, where it has several."""
    several = test.round > 1 or any(one.test == test.test and one.round > 1 for one in tests)
    return f"{test.test} (round {test.round})" if several else test.test


def _children(test: NightTest, finding: NightFinding | None, *, symptom: bool) -> Iterator[etree._Element]:
    verdict = finding.verdict if finding is not None else ""
    why = finding.why if finding is not None else ""
    bad = test.status in (FAIL, TIMEOUT, CRASH)
    if symptom:
        yield etree.Element("skipped", message=_text(f"comes of {test.symptom_of}: {test.said}")[:_LONGEST])
    elif bad and finding is not None and not finding.red:
        yield etree.Element("skipped", message=_text(f"{verdict}: {why}")[:_LONGEST])
    elif test.status in (FAIL, TIMEOUT):
        yield _told("failure", test, verdict or test.status, why)
    elif test.status in (CRASH, NOT_RUN):
        yield _told("error", test, verdict if test.status == CRASH else "lab" if test.lab else NOT_RUN, why)
    elif test.status == SKIP:
        yield etree.Element("skipped", message=_text(test.said)[:_LONGEST])
    words = [f"{verdict}: {why}"] if verdict not in ("", "passed", "skipped") and why and not bad else []
    words += [f"run again, alone: {', '.join(test.again)}: {test.shaky}"] if test.again else []
    words += [f"log: {test.log}"] if test.log else []
    words += [f"evidence: {test.evidence}"] if test.evidence else []
    if words:
        out = etree.Element("system-out")
        out.text = _text("\n".join(words))
        yield out


def _told(tag: str, test: NightTest, kind: str, why: str) -> etree._Element:
    message = test.said or why or test.status
    made = etree.Element(tag, message=_text(message)[:_LONGEST], type=_text(kind or test.status))
    made.text = _text("\n".join(filter(None, (why, test.excerpt))))
    return made


def _text(text: str) -> str:
    """What XML can say of it."""
    return _UNSPEAKABLE.sub("�", text)
