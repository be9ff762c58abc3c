"""The commands that repeat a run."""

from collections.abc import Mapping
from math import prod
from pathlib import PurePath
from shlex import quote
from typing import Any

import yaml

from vmlab.records.run import RunRecord

_NATIVE = "native"
_CASES = "cases"


def repeated(record: RunRecord) -> tuple[str, ...]:
    """The bed's `up`, where its file is known, in this shape, and the run, with each of its options as it was then."""
    file = PurePath(str((record.topology or {}).get("file", ""))).name
    options = {name: value for name, value in record.options.items() if value is not None and name != _NATIVE}
    words = ["vmlab", "run", quote(record.bed), quote(record.workload)]
    for name, value in {**options, **_sweep(record)}.items():
        words += ["--set", quote(f"{name}={_text(value)}")]
    native = record.options.get(_NATIVE)
    if isinstance(native, Mapping):
        words += ["--set", quote(f"{_NATIVE}={_text(dict(native))}")]
    elif native:
        words.append("--native")
    words += ["--trials", str(record.trials)] if record.trials > 1 else []
    words += ["--warm-up", str(record.warm_up)] if record.warm_up else []
    words += ["--fresh"] if record.fresh else []
    up = ["vmlab", "up", quote(file)]
    for key, value in record.shape.items():
        up += ["--set", quote(f"{key}={value}")]
    return (*((" ".join(up),) if file else ()), " ".join(words))


def _sweep(record: RunRecord) -> dict[str, Any]:
    """The lists whose product the points are; where they are none, the points themselves."""
    if not record.points:
        return {}
    names = list(record.points[0])
    lists = {name: _distinct([point.get(name) for point in record.points]) for name in names}
    if prod(map(len, lists.values())) == len(record.points):
        return lists
    return {_CASES: [dict(point) for point in record.points]}


def _distinct(values: list[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, tuple):
        value = list(value)
    # A flow style that ends no line, and no document's end behind a number.
    text = yaml.safe_dump(value, default_flow_style=True, width=10**9, sort_keys=False, allow_unicode=True)
    return str(text).removesuffix("\n").removesuffix("\n...")
