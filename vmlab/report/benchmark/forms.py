"""The report as data for other programs: CSV, JSON, JUnit."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from lxml import etree

from vmlab.judgement.labels import told
from vmlab.judgement.verdicts import MISSED, NO_FIGURE, OTHER_HOST
from vmlab.records.run import RunRecord, RunVerdict, to_json
from vmlab.report.benchmark.figures import Figure, figures
from vmlab.report.benchmark.judged import phrase
from vmlab.report.benchmark.page import by_workload
from vmlab.report.benchmark.tables import beside_the_host
from vmlab.report.graphviz import clean
from vmlab.report.plain import dumped
from vmlab.report.plots.numbers import figure as written

_FIXED = ("run", "bed", "workload", "metric", "unit", "better", "trials", "median", "mean", "least", "most", "spread")
_DOUBTS = "doubts"


def as_csv(records: Sequence[RunRecord]) -> str:
    """A line for each figure, a column for each label; what makes a figure doubtful in the last one."""
    found = [figure for some in by_workload(records) for figure in figures(some)]
    labels = dict.fromkeys(key for figure in found for key in figure.labels if key not in _FIXED)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow((*_FIXED, *labels, _DOUBTS))
    for figure in found:
        one, run = figure.summary, figure.record
        head = (run.id, run.bed, run.workload, one.metric.name, str(one.metric.unit), one.metric.better, one.trials)
        numbers = (one.median, one.mean, one.minimum, one.maximum, one.spread)
        rows.writerow((*head, *numbers, *(figure.labels.get(key, "") for key in labels), "; ".join(figure.reasons)))
    return text.getvalue()


def as_json(records: Sequence[RunRecord]) -> str:
    """The records as `results show` has them, the figures under the report's labels, and those beside the host's."""
    content: dict[str, Any] = {"runs": [to_json(record) for record in records], "figures": [], "beside_host": []}
    for some in by_workload(records):
        found = figures(some)
        content["figures"] += [_figure(figure) for figure in found]
        content["beside_host"] += [
            {
                "workload": some[0].workload,
                **_metric(both.metric.name, str(both.metric.unit)),
                "labels": dict(both.labels),
            }
            | {"vm": both.one, "host": both.other, "percent": both.percent, "differs": both.differs}
            | {_DOUBTS: list(both.reasons)}
            for both in beside_the_host(some, found)
        ]
    return dumped(content) + "\n"


def as_junit(records: Sequence[RunRecord]) -> str:
    """A suite for each run, a case for each of its measurements and each reference: what CI servers show and keep.

    What the thing under test did wrong is a failure, the lab's fault an error. What cannot be told of a measurement is
    a case of the run's own.
    """
    suites = etree.Element("testsuites", name="vmlab")
    for record in records:
        suites.append(_suite(record))
    etree.indent(suites)
    text: str = etree.tostring(suites, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _figure(figure: Figure) -> dict[str, Any]:
    one, run = figure.summary, figure.record
    numbers = {
        "median": one.median,
        "mean": one.mean,
        "minimum": one.minimum,
        "maximum": one.maximum,
        "spread": one.spread,
    }
    head = {"run": run.id, "workload": run.workload, **_metric(one.metric.name, str(one.metric.unit))}
    return head | {"labels": dict(figure.labels), "trials": one.trials} | numbers | {_DOUBTS: list(figure.reasons)}


def _metric(name: str, unit: str) -> dict[str, str]:
    return {"metric": name, "unit": unit}


def _suite(record: RunRecord) -> etree._Element:
    seconds: dict[str, float] = {}
    for command in record.commands:
        seconds[command.measurement] = seconds.get(command.measurement, 0.0) + command.seconds
    cases: list[etree._Element] = []
    wrong = [("failure", line) for line in record.problems] + [("error", line) for line in record.faults]
    told = {name: [(kind, line) for kind, line in wrong if _of(line, name)] for name in seconds}
    cases += [_case(record, name, seconds[name], told[name]) for name in seconds]
    rest = [one for one in wrong if not any(one in some for some in told.values())]
    if rest or record.incomplete or not cases:
        broken = [("error", f"broken off: {record.incomplete}")] if record.incomplete else []
        cases.append(_case(record, "the run", 0.0, [*rest, *broken]))
    for line in record.skipped:
        case = _case(record, line.partition(": ")[0], 0.0, [])
        etree.SubElement(case, "skipped", message=clean(line))
        cases.append(case)
    cases += [_judged(record, one) for one in record.verdicts]
    suite = etree.Element("testsuite", name=record.id, timestamp=record.started[:19], tests=str(len(cases)))
    for kind, plural in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        suite.set(plural, str(sum(case.find(kind) is not None for case in cases)))
    suite.set("time", f"{sum(seconds.values()):.3f}")
    properties = etree.SubElement(suite, "properties")
    for name in ("bed", "workload", "accel", "vmlab"):
        etree.SubElement(properties, "property", name=name, value=clean(str(getattr(record, name))))
    suite.extend(cases)
    out = etree.SubElement(suite, "system-out")
    out.text = "\n".join(clean(_line(figure)) for figure in figures([record]))
    return suite


def _judged(record: RunRecord, one: RunVerdict) -> etree._Element:
    kind = {MISSED: "failure", NO_FIGURE: "error"}.get(one.verdict)
    name = f"{one.metric} {told(one.labels)}".strip()
    case = _case(record, name, 0.0, [(kind, phrase(one))] if kind else [])
    if one.verdict == OTHER_HOST:
        etree.SubElement(case, "skipped", message=clean(phrase(one)))
    return case


def _of(line: str, measurement: str) -> bool:
    """Lines begin with the measurement that they are of, and its turn where there are several."""
    return line == measurement or line.startswith((f"{measurement}:", f"{measurement} "))


def _case(record: RunRecord, name: str, seconds: float, wrong: Sequence[tuple[str, str]]) -> etree._Element:
    case = etree.Element(
        "testcase", classname=clean(f"{record.bed}.{record.workload}"), name=clean(name), time=f"{seconds:.3f}"
    )
    for kind in ("failure", "error"):
        if lines := [clean(line) for one, line in wrong if one == kind]:
            etree.SubElement(case, kind, message=lines[0]).text = "\n".join(lines)
    return case


def _line(figure: Figure) -> str:
    labels = " ".join(f"{key}={value}" for key, value in figure.labels.items())
    doubts = f" ({'; '.join(figure.reasons)})" if figure.reasons else ""
    return f"{figure.metric.name} {labels}: {written(figure.summary.median)} {figure.metric.unit}{doubts}"
