"""Values as JSON."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from math import isfinite
from typing import Any

from vmlab.values.pci import PciAddress


def dumped(value: object) -> str:
    """The JSON text of a value: dataclasses as objects, addresses and paths as strings, what is no number as null."""
    plain = _plain(value)
    text = json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False)
    # A file's name that is no UTF-8 holds surrogates, which only an escape brings to standard output.
    return text if _is_utf_8(text) else json.dumps(plain, indent=2, allow_nan=False)


def lines_of(found: Mapping[str, Iterable[Any]], *, named: bool) -> list[Any]:
    """The lines (dataclasses) of all hosts; `named`: each with its host's name first."""
    return [
        {"host": host, **{field.name: getattr(line, field.name) for field in fields(line)}} if named else line
        for host, lines in found.items()
        for line in lines
    ]


def _is_utf_8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, float, str, int)):
        return None if isinstance(value, float) and not isfinite(value) else value
    if isinstance(value, PciAddress):  # a tuple, but nobody reads it as one
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    return str(value)
