"""Sweeps in the options of a workload: one run, many points.

A list is a sweep where an option takes one value, a list of lists where it takes a list; several make their product,
the last changing fastest. `cases` lists points where the product is wrong: mappings, in which lists are products again.
`nodes: 1..11` takes the first n of the nodes that would take part.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from pydantic import BaseModel

CASES = "cases"
NATIVE = "native"
"""Every workload's, and no option of its own: the same is measured on the host itself. true, or {mount: DIR}."""

_NODES = "nodes"
_RANGE = re.compile(r"([0-9]{1,6})\.\.([0-9]{1,6})")
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Point:
    """One point: `swept` are the options that make it, `settings` all that are set there, both as written."""

    swept: Mapping[str, Any]
    settings: Mapping[str, Any]


def expand(kind: type[BaseModel], settings: Mapping[str, Any]) -> tuple[Point, ...]:
    """The points of a workload's options; one that has nothing swept if there is no sweep.

    Values are not checked. Raises ValueError for what is no sweep, or one of more than 10,000 points.
    """
    lists = {name for name, schema in properties(kind).items() if any(k.get("type") == "array" for k in kinds(schema))}
    native_mount(settings)
    outer = {name: value for name, value in settings.items() if name not in (CASES, NATIVE)}
    cases = _cases(settings[CASES]) if CASES in settings else [{}]
    found: list[Point] = []
    for case in cases:
        written = {**outer, **case}
        axes = {
            name: axis for name, value in written.items() if (axis := _axis(name, value, name in lists)) is not None
        }
        if len(found) + prod(map(len, axes.values())) > _MOST:
            raise ValueError(f"a sweep of more than {_MOST:,} points")
        for values in product(*axes.values()):
            point = dict(zip(axes, values, strict=True))
            swept = {name: point.get(name, value) for name, value in written.items() if name in axes or name in case}
            found.append(Point(swept, written | point))
    return tuple(found)


def native_mount(settings: Mapping[str, Any]) -> str | None:
    """The directory of the host where its files go, "" if none is named; None if nothing is measured there.

    Raises ValueError for another value than true, false and {mount: DIR}.
    """
    match settings.get(NATIVE, False):
        case False | None:
            return None
        case True:
            return ""
        case {"mount": str(mount), **rest} if mount.startswith("/") and not rest:
            return mount
    raise ValueError(f"{NATIVE} is neither true nor false (expected one of them, or {{mount: /a/folder/of/the/host}})")


def properties(kind: type[BaseModel]) -> dict[str, dict[str, Any]]:
    """The JSON Schema of each option, by the name that is written."""
    schema: dict[str, dict[str, dict[str, Any]]] = kind.model_json_schema()
    return schema.get("properties", {})


def kinds(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The alternatives of an option's schema; that it may be absent is none."""
    return list(_flat(schema))


def _flat(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for kind in schema.get("anyOf", ()):
        yield from _flat(kind)
    if "anyOf" not in schema and schema.get("type") != "null":
        yield schema


def _axis(name: str, value: object, is_list: bool) -> Sequence[Any] | None:
    """The values that an option takes one after the other; None if it is no sweep."""
    found = _RANGE.fullmatch(value) if name == _NODES and isinstance(value, str) else None
    if found is not None:
        first, last = int(found[1]), int(found[2])
        if not 1 <= first <= last <= _MOST:
            raise ValueError(f"{name}: {value} is no range of numbers of nodes (expected 1..11)")
        return range(first, last + 1)
    if not isinstance(value, list) or (is_list and not any(isinstance(one, list) for one in value)):
        return None
    if not value:
        raise ValueError(f"{name}: a sweep without values")
    return value


def _cases(value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not value or not all(isinstance(case, dict) and case for case in value):
        raise ValueError(f"{CASES} is no list of points (expected [{{block: 4k, jobs: 64}}, ...])")
    return value
