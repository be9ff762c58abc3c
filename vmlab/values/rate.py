"""Rates of networks, as in `25GB/s` and `100Gbit/s`."""

import re
from typing import Self

from vmlab.values.written import Written

_UNITS = {
    **{f"{letter}bit/s": 1e3**power / 8 for power, letter in enumerate("kMGT", 1)},
    **{f"{letter}B/s": 1e3**power for power, letter in enumerate("kMGT", 1)},
    **{f"{letter}iB/s": 1024.0**power for power, letter in enumerate("KMGT", 1)},
}
_PATTERN = rf"^([0-9]{{1,15}}(?:\.[0-9]{{1,15}})?) ?({'|'.join(_UNITS)})$"
_EXPECTED = "expected a form such as 25GB/s, 12GiB/s or 100Gbit/s"


class Rate(Written, float):
    """Bytes per second. `str` gives the largest decimal unit of which it is at least one."""

    __slots__ = ()
    pattern = _PATTERN
    examples = ("25GB/s", "100Gbit/s")

    @classmethod
    def parse(cls, text: object) -> Self:
        """Read `25GB/s`. Raises ValueError, naming the expected form, for a bare number, `0GB/s` or `25GB`."""
        found = re.fullmatch(_PATTERN, text) if isinstance(text, str) else None
        if found is None or not float(found[1]):
            raise ValueError(f"{text!r:.60} is no rate ({_EXPECTED})")
        return cls(float(found[1]) * _UNITS[found[2]])

    def __str__(self) -> str:
        for unit in ("TB/s", "GB/s", "MB/s"):
            if self >= _UNITS[unit]:
                return f"{self / _UNITS[unit]:.6g}{unit}"
        return f"{self / 1e3:.6g}kB/s"

    def __repr__(self) -> str:
        return f"Rate({self})"
