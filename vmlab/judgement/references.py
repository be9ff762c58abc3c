"""References: what figures should be. A YAML file that people edit and commit, read with positions.

```yaml
host: {cpu: "*Gold 6230*", accel: kvm}     # of all below that name none
references:
  - metric: bandwidth
    workload: ior
    labels: {operation: write, size: 1MiB, nodes: "fta[1-4]"}
    value: 9500
    unit: MiB/s
    lower: -0.05
    upper: 0.10
    reason: the acceptance test
```
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from vmlab.judgement.hosts import HostKind
from vmlab.judgement.listing import read_list, refuse
from vmlab.topology.loader import text_of
from vmlab.topology.model import Part
from vmlab.topology.parse import Parsed, Problems
from vmlab.topology.scalars import Text, Word
from vmlab.topology.tree import NO_VALUE
from vmlab.topology.wording import quote

_LARGEST = 100


@dataclass(frozen=True, slots=True)
class Reference:
    """One figure, or all that its `labels` fit. `lower` and `upper` are fractions of `value`; None: not bounded.

    `workload` "" means any. `host` None means all hosts. It stands in `line` of `file`.
    """

    metric: str
    value: float
    unit: str
    labels: Mapping[str, str]
    lower: float | None
    upper: float | None
    reason: str = ""
    workload: str = ""
    host: HostKind | None = None
    file: str = ""
    line: int = 0

    @property
    def least(self) -> float | None:
        """The lower bound, in the figure's unit."""
        return None if self.lower is None else self.value + self.lower * abs(self.value)

    @property
    def most(self) -> float | None:
        """The upper bound, in the figure's unit."""
        return None if self.upper is None else self.value + self.upper * abs(self.value)


def _fraction(least: float, most: float, example: str) -> BeforeValidator:
    def read(value: object) -> float | None:
        if value is NO_VALUE or value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            wanted = f"expected a fraction from {least:g} to {most:g}, such as {example}, or null: not bounded"
            raise ValueError(f"{quote(value)} is no bound ({wanted})")
        return float(value)

    return BeforeValidator(read)


def _labels(value: object) -> object:
    if not isinstance(value, dict):
        return value
    for name, label in value.items():
        if label is NO_VALUE or not isinstance(label, str | int | float):
            raise ValueError(f"{name} is {quote(label)} (expected text, a number or a size)")
    return {name: str(label).lower() if isinstance(label, bool) else str(label) for name, label in value.items()}


def _kind(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


class HostEntry(Part):
    """A kind of host."""

    name: Word | None = None
    cpu: Word | None = Field(None, description="shell pattern on the CPU's model")
    hca: Word | None = Field(None, description="shell pattern on an HCA's model")
    accel: Literal["kvm", "tcg", "bare"] | None = None
    soft: bool | None = Field(None, description="over soft-RoCE")


_Host = Annotated[HostEntry, BeforeValidator(_kind)]


class HeadEntry(Part):
    """What all references of a file have in common."""

    host: _Host | None = Field(None, description="of all that name none")


class ReferenceEntry(Part):
    """One reference."""

    stand_ins: ClassVar[Mapping[str, Any]] = {"metric": "none", "value": 0.0, "unit": "none"}

    metric: Word
    workload: Word | None = Field(None, description="absent: any that measures such a figure")
    labels: Annotated[dict[str, str], BeforeValidator(_labels)] = Field(default_factory=dict)
    value: float
    unit: Word
    lower: Annotated[float | None, _fraction(-1, 0, "-0.05")] = None
    upper: Annotated[float | None, _fraction(0, _LARGEST, "0.1")] = None
    reason: Text = ""
    host: _Host | None = None


def load(path: Path) -> tuple[Reference, ...]:
    """Read a file. Raises TopologyError with all that is wrong with it."""
    return loads(text_of(path), str(path))


def loads(text: str, file: str) -> tuple[Reference, ...]:
    """As `load`, from a text; `file` is told as where."""
    problems = Problems(file)
    head, items = read_list(text, "references", HeadEntry, ReferenceEntry, problems)
    found = tuple(_reference(item, head.host, problems) for item in items)
    first: dict[object, int] = {}
    for item, one in zip(items, found, strict=True):
        same = (one.workload, one.metric, frozenset(one.labels.items()), one.host)
        line = first.setdefault(same, one.line)
        if line != one.line and item.sound("metric", "labels", "workload", "host"):
            problems.add(item.mark, f"a reference of the same figures as in line {line} (expected one)")
    refuse(problems)
    return found


def _reference(parsed: Parsed[ReferenceEntry], common: HostEntry | None, problems: Problems) -> Reference:
    entry = parsed.value
    if entry.lower is None and entry.upper is None and parsed.sound("lower", "upper"):
        problems.add(parsed.mark, "a reference without a bound judges nothing (expected `lower`, `upper` or both)")
    host = entry.host or common
    return Reference(
        metric=entry.metric,
        value=entry.value,
        unit=entry.unit,
        labels=entry.labels,
        lower=entry.lower,
        upper=entry.upper,
        reason=entry.reason,
        workload=entry.workload or "",
        host=None if host is None else HostKind(host.name, host.cpu, host.hca, host.accel, host.soft),
        file=problems.file,
        line=parsed.mark.line,
    )
