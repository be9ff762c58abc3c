"""Figures that others published, from a file: drawn beside ours as what they are, and never as ours."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from vmlab.errors import UsageError

_FORM = "series: [{source: ..., name: ..., metric: bandwidth, unit: MB/s, x: nodes, points: {1: 100, 2: 190}}]"
_TO: Mapping[str, Mapping[str, float]] = {
    "MiB/s": {
        "MiB/s": 1,
        "GiB/s": 1 << 10,
        "KiB/s": 1 / (1 << 10),
        "MB/s": 1e6 / (1 << 20),
        "GB/s": 1e9 / (1 << 20),
        "Gbit/s": 1e9 / 8 / (1 << 20),
    },
    "Gbit/s": {"Gbit/s": 1, "Mbit/s": 1e-3, "MB/s": 8e-3, "GB/s": 8},
    "us": {"us": 1, "ns": 1e-3, "ms": 1e3, "s": 1e6},
    "s": {"s": 1, "ms": 1e-3, "us": 1e-6, "min": 60},
}
_THOUSANDS = {"": 1.0, "K ": 1e3, "k ": 1e3, "M ": 1e6}


@dataclass(frozen=True, slots=True)
class Series:
    """Figures of one source, in `unit`. `points` by the value of the label `x`; a single one has no `x`.

    `labels`: where else they belong, as our figures have it. `source`: who published them, where and when.
    """

    source: str
    name: str
    metric: str
    unit: str
    points: Mapping[str, float]
    x: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def factor(self, unit: str) -> float | None:
        """What a figure is multiplied by to be in `unit`; None if it measures something else."""
        if unit == self.unit:
            return 1.0
        for prefix, thousands in _THOUSANDS.items():
            if prefix and self.unit == f"{prefix}{unit}":
                return thousands
        return _TO.get(unit, {}).get(self.unit)

    def beside(self, labels: Mapping[str, str]) -> bool:
        """None of these labels says something else."""
        return all(labels.get(key, value) == value for key, value in self.labels.items())


def read_published(text: str, file: str) -> tuple[Series, ...]:
    """The series of a YAML file. Raises UsageError with what is wrong with the first one that is."""
    import yaml  # noqa: PLC0415  slow to import

    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{file} is no YAML: {' '.join(str(error).split())[:200]}") from None
    listed = content.get("series") if isinstance(content, dict) else None
    if not isinstance(listed, list) or not listed:
        raise UsageError(f"{file} lists no series", hint=_FORM)
    return tuple(_series(one, f"{file}: series {number}") for number, one in enumerate(listed, 1))


def _series(content: object, where: str) -> Series:
    from pydantic import BaseModel, ConfigDict, Field, ValidationError  # noqa: PLC0415  slow to import

    class Written(BaseModel):
        model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

        source: Annotated[str, Field(min_length=1)]
        name: Annotated[str, Field(min_length=1)]
        metric: str
        unit: str
        x: str = ""
        labels: dict[str, str] = Field(default_factory=dict)
        points: dict[str, float] = Field(default_factory=dict)
        value: float | None = None

    try:
        written = Written.model_validate(_with_text_keys(content))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UsageError(f"{where}: {place}: {first['msg']}", hint=_FORM) from None
    points = written.points if written.value is None else {"": written.value}
    if bool(written.x) != (written.value is None) or not points:
        raise UsageError(f"{where}: has neither a value, nor an x with points", hint=_FORM)
    return Series(written.source, written.name, written.metric, written.unit, points, written.x, written.labels)


def _with_text_keys(content: Any) -> Any:
    """YAML reads `1:` as a number's key."""
    if not isinstance(content, dict) or not isinstance(content.get("points"), dict):
        return content
    return content | {"points": {str(key): value for key, value in content["points"].items()}}
