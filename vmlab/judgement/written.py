"""A run's figures as references, in a file that people edit."""

from collections.abc import Iterator, Mapping
from glob import escape
from math import isfinite
from typing import Any

import yaml

from vmlab.errors import UsageError
from vmlab.judgement.labels import in_words
from vmlab.judgement.numbers import number, percent
from vmlab.metrics import Summary, summaries
from vmlab.records.run import RunRecord
from vmlab.values.printable import one_line

_HEAD = """\
# What figures should be, as {run} measured them. Edit it, commit it, and judge by it:
#   vmlab run BED {workload} --judge FILE, or `references: FILE` in the topology
# `lower` and `upper` are fractions of `value`; null: not bounded. Beyond the bound that hurts a figure is missed,
# beyond the other one it is better. Labels that are left out fit any. `reason` is told with what is missed.
"""
_EXACT = 12
"""Significant digits of a value; all of them would say more than was measured."""


def written(record: RunRecord, *, lower: float | None, upper: float | None) -> str:
    """The text of a file, whose references the run itself keeps to. The bounds are fractions, None: not bounded.

    Raises UsageError if the run has no figures, or without a bound.
    """
    if lower is None and upper is None:
        raise UsageError("a reference without a bound judges nothing", hint="--lower 5%")
    found = [one for one in summaries(record.samples) if isfinite(one.median)]
    if not found:
        raise UsageError(f"the run {record.id} has no figures", hint="vmlab results list")
    bounds = {"lower": lower, "upper": upper}
    parts = [_HEAD.format(run=record.id, workload=record.workload), _yaml({"host": _kind(record)}), "references:\n"]
    for one in found:
        parts += [f"  # {one_line(line)}\n" for line in _comment(one, bounds)]
        parts.append(_item(_entry(record, one, bounds)))
    return "".join(parts)


def _kind(record: RunRecord) -> dict[str, object]:
    """The kind of host that the run was on, as far as all of its hosts are of one."""
    kind: dict[str, object] = {}
    cpus = {host.cpu for host in record.hosts}
    boards = {hca.split()[0] for host in record.hosts for hca in host.hcas.values() if hca.split()}
    if len(cpus) == 1 and "" not in cpus:
        kind["cpu"] = escape(cpus.pop())
    if len(boards) == 1 and all(host.hcas for host in record.hosts):
        kind["hca"] = f"{escape(boards.pop())}*"
    return kind | {"accel": record.accel, "soft": record.soft}


def _comment(one: Summary, bounds: Mapping[str, float | None]) -> Iterator[str]:
    if one.trials == 1:
        yield f"one trial, {one.metric.better} is better"
        return
    said = f"the median of {one.trials}, from {number(one.minimum)} to {number(one.maximum)}"
    yield f"{said}, {one.metric.better} is better"
    hurts = bounds["lower" if one.metric.better == "higher" else "upper"]
    if hurts is not None and one.spread > abs(hurts * one.median):
        part = f" ({percent(one.spread / abs(one.median)).lstrip('+')})" if one.median else ""
        yield f"the trials differ{part} by more than the bound that hurts: measure more often, or bound it less"


def _entry(record: RunRecord, one: Summary, bounds: Mapping[str, float | None]) -> dict[str, Any]:
    labels = {name: in_words(name, value) for name, value in one.labels.items()}
    value = float(f"{one.median:.{_EXACT}g}")
    return {
        "metric": one.metric.name,
        "workload": record.workload,
        **({"labels": labels} if labels else {}),
        "value": int(value) if value.is_integer() and abs(value) < 10**_EXACT else value,
        "unit": str(one.metric.unit),
        **bounds,
        "reason": f"measured by {record.id}",
    }


def _item(entry: Mapping[str, Any]) -> str:
    lines = _yaml(entry).splitlines()
    return "".join(f"{'  - ' if place == 0 else '    '}{line}\n" for place, line in enumerate(lines))


def _yaml(value: Mapping[str, Any]) -> str:
    text: str = yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True, width=1 << 20)
    return text
