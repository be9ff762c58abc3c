"""Runs in Prometheus' text format: prometheus.io/docs/instrumenting/exposition_formats, names: practices/naming."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from math import isfinite
from typing import NamedTuple

from vmlab.metrics import Metric, summaries
from vmlab.records.run import RunRecord


class _Base(NamedTuple):
    """What a unit is called, and what a figure is multiplied by to be in it."""

    name: str
    factor: float = 1.0


_UNITS: Mapping[str, _Base] = {
    "MiB/s": _Base("bytes_per_second", 1 << 20),
    "Gbit/s": _Base("bytes_per_second", 1e9 / 8),
    "us": _Base("seconds", 1e-6),
    "s": _Base("seconds"),
    "%": _Base("ratio", 0.01),
    "msg/s": _Base("messages_per_second"),
    "RPC/s": _Base("rpcs_per_second"),
    "op/s": _Base("operations_per_second"),
    "IOPS": _Base("operations_per_second"),
}
_OWN = ("bed", "workload")


class _Line(NamedTuple):
    labels: Mapping[str, str]
    value: float


def exposition(records: Sequence[RunRecord]) -> str:
    """Of each run the medians of its figures, when it ended, and whether it went well."""
    families: dict[tuple[str, str], list[_Line]] = {}
    for record in records:
        for name, told, line in _lines(record):
            families.setdefault((name, told), []).append(line)
    text: list[str] = []
    for (name, told), lines in families.items():
        text += [f"# HELP {name} {_help(told)}", f"# TYPE {name} gauge"]
        text += dict.fromkeys(_line(name, line) for line in lines)
    return "".join(f"{line}\n" for line in text)


def _lines(record: RunRecord) -> Iterator[tuple[str, str, _Line]]:
    own = {"bed": record.bed, "workload": record.workload}
    with suppress(ValueError):
        ended = datetime.fromisoformat(record.ended).timestamp()
        yield "vmlab_run_end_timestamp_seconds", "When the last run ended.", _Line(own, ended)
    about = own | {"run": record.id, "accel": record.accel, "vmlab": record.vmlab}
    yield "vmlab_run_info", "The last run.", _Line(about, 1)
    yield "vmlab_run_problems", "What did not behave in the last run.", _Line(own, len(record.problems))
    yield "vmlab_run_faults", "What could not be measured in the last run.", _Line(own, len(record.faults))
    for one in summaries(record.samples):
        name, factor = _name(one.metric)
        if isfinite(one.median):
            yield (
                name,
                "Median of the trials of the last run.",
                _Line({**_safe(one.labels), **own}, one.median * factor),
            )


def _name(metric: Metric) -> tuple[str, float]:
    known = _UNITS.get(str(metric.unit))
    words = _word(metric.name)
    unit, factor = known or _Base(_word(str(metric.unit)))
    # A metric that is called as its unit is, as seconds or clients, is not called so twice.
    return "_".join(filter(None, ("vmlab", words, "" if words.endswith(unit) else unit))), factor


def _word(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.replace("/", "_per_").lower()).strip("_")


def _safe(labels: Mapping[str, str]) -> dict[str, str]:
    """Names that Prometheus allows; it keeps those that begin with two underscores, and we ours, for itself."""
    found: dict[str, str] = {}
    for key, value in labels.items():
        name = re.sub(r"[^A-Za-z0-9_]", "_", key)
        name = f"label_{name.strip('_')}" if not re.match(r"[A-Za-z]", name) or name in _OWN else name
        while name in found:
            name += "_"
        found[name] = value
    return found


def _line(name: str, line: _Line) -> str:
    labels = ",".join(f'{key}="{_escaped(value)}"' for key, value in line.labels.items())
    return f"{name}{{{labels}}} {line.value!r}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _help(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")
