"""Sizes of what is read and written at once."""

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from vmlab.values.size import Bytes

_SIZE = re.compile(r"([0-9]{1,15})(KB|MB|GB)")
_DECIMAL = {"KB": 10**3, "MB": 10**6, "GB": 10**9}


def _transfer_size(value: object) -> Bytes:
    """`1MiB`, and `10KB` too: benchmarks are agreed on in decimal units, and those are what is meant."""
    if isinstance(value, Bytes):
        return value
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    return Bytes(int(found[1]) * _DECIMAL[found[2]]) if found else Bytes.parse(value)


def _not_nothing(size: Bytes) -> Bytes:
    if size < 1:
        raise ValueError(f"{size} is no size to transfer (expected at least 1B)")
    return size


Size = Annotated[
    Bytes,
    AfterValidator(_not_nothing),
    BeforeValidator(_transfer_size),
    WithJsonSchema(
        {"type": "string", "pattern": "^[0-9]+(B|[KMG]iB|[KMG]B)$", "form": "size", "examples": ["1MiB", "10KB"]}
    ),
]
"""Bytes of one read or write, at least one."""
