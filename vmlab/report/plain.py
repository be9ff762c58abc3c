"""Values as JSON."""

import json
from dataclasses import fields, is_dataclass
from typing import Any

from vmlab.values.pci import PciAddress


def dumped(value: object) -> str:
    """The JSON text of a value: dataclasses as objects, addresses and paths as strings."""
    return json.dumps(_plain(value), indent=2, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, float, str, int)):
        return value
    if isinstance(value, PciAddress):  # a tuple, but nobody reads it as one
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    return str(value)
