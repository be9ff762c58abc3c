"""Rates of networks, as in `25GB/s` and `100Gbit/s`."""

import re
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

_UNITS = {
    **{f"{letter}bit/s": 1e3**power / 8 for power, letter in enumerate("kMGT", 1)},
    **{f"{letter}B/s": 1e3**power for power, letter in enumerate("kMGT", 1)},
    **{f"{letter}iB/s": 1024.0**power for power, letter in enumerate("KMGT", 1)},
}
_PATTERN = rf"^([0-9]{{1,15}}(?:\.[0-9]{{1,15}})?) ?({'|'.join(_UNITS)})$"
_EXPECTED = "expected a form such as 25GB/s, 12GiB/s or 100Gbit/s"


class Rate(float):
    """Bytes per second. `str` gives the largest decimal unit of which it is at least one."""

    __slots__ = ()

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

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: "GetCoreSchemaHandler") -> "CoreSchema":
        from pydantic_core import core_schema  # noqa: PLC0415  slow to import

        def validate(value: object) -> Rate:
            return value if isinstance(value, cls) else cls.parse(value)

        return core_schema.no_info_plain_validator_function(validate, serialization=core_schema.to_string_ser_schema())

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: "CoreSchema", handler: "GetJsonSchemaHandler") -> "JsonSchemaValue":
        return {"type": "string", "pattern": _PATTERN, "examples": ["25GB/s", "100Gbit/s"]}
