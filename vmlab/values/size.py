"""Sizes in IEC units, as in `4GiB`."""

import re
from typing import Self

from vmlab.values.written import Written

_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40, "PiB": 1 << 50}
_PATTERN = r"^[0-9]{1,15}(B|KiB|MiB|GiB|TiB|PiB)$"
_EXPECTED = "expected a whole number and an IEC unit, such as 512MiB or 4GiB"


class Bytes(Written, int):
    """A number of bytes. `str` gives the largest unit that divides it, and `parse` reads that back."""

    __slots__ = ()
    pattern = _PATTERN
    examples = ("512MiB", "4GiB")

    @classmethod
    def parse(cls, text: object) -> Self:
        """Read `4GiB`. Raises ValueError, naming the expected form, for a bare number, `8GB`, `1.5GiB` or `-1GiB`."""
        if not isinstance(text, str):
            raise ValueError(f"{text!r:.60} is no size ({_EXPECTED})")  # noqa: TRY004 (pydantic wants a ValueError)
        if not re.fullmatch(_PATTERN, text):
            raise ValueError(f"{text!r:.60} is no size ({_EXPECTED})")
        digits = text.rstrip("BKMGTPi")
        return cls(int(digits) * _UNITS[text[len(digits) :]])

    @property
    def kib(self) -> int:
        """Whole KiB, rounded down."""
        return self // (1 << 10)

    def __str__(self) -> str:
        for unit, factor in reversed(_UNITS.items()):
            if self and self % factor == 0:
                return f"{self // factor}{unit}"
        return "0B"

    def __repr__(self) -> str:
        return f"Bytes({self})"


_WIDER = re.compile(r"([0-9]{1,15})(k|m|g|KB|MB|GB)")
_WIDER_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def any_size(text: object) -> Bytes:
    """Read what `Bytes.parse` reads, and as benchmarks write sizes: `1m`, which is 1MiB, and `10KB`, which is decimal.

    Raises ValueError.
    """
    found = _WIDER.fullmatch(text) if isinstance(text, str) else None
    return Bytes(int(found[1]) * _WIDER_UNITS[found[2]]) if found else Bytes.parse(text)


def size_text(size: int) -> str:
    """As `any_size` reads it, as short as can be: `4KiB`, `10KB`."""
    for unit in ("GB", "MB", "KB"):
        if size and size % 1024 and size % _WIDER_UNITS[unit] == 0:
            return f"{size // _WIDER_UNITS[unit]}{unit}"
    return str(Bytes(size))
