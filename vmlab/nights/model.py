"""What may be written in the file of a night: its keys, their defaults, and what each value may be."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from vmlab.topology.model import Part
from vmlab.topology.scalars import Text, Word, as_tuple
from vmlab.topology.tree import NO_VALUE
from vmlab.topology.wording import quote
from vmlab.values.fault import Kind
from vmlab.values.rate import Rate

_NAME = re.compile(r"[a-z][a-z0-9-]{0,15}")
_TIME = re.compile(r"([0-9]{1,7}(?:\.[0-9]{1,3})?)(s|m|h)")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_HOUR = 3600.0


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(f"{quote(value)} is not possible (expected [a-z][a-z0-9-]*, at most 16 characters)")
    return value


def _seconds(value: object) -> object:
    if value is NO_VALUE:
        return value
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None or not float(found[1]):
        raise ValueError(f"{quote(value)} is no duration (expected a form such as 90s, 10m or 8h)")
    return float(found[1]) * _UNITS[found[2]]


def _settings(value: object) -> object:
    """Each value as it would stand behind `--set KEY=`."""
    if isinstance(value, dict):
        return {key: _written(one) for key, one in value.items()}
    return value


def _choices(value: object) -> object:
    if not isinstance(value, dict):
        return value
    for key, some in value.items():
        if not isinstance(some, list) or not some:
            raise ValueError(f"{quote(key)} is no list of at least one (expected {key}: [ONE, ANOTHER])")
    return {key: tuple(map(_written, some)) for key, some in value.items()}


def _written(value: object) -> str:
    if value is NO_VALUE or isinstance(value, (dict, list)):
        raise ValueError(f"{quote(value)} (expected one value, as behind `--set KEY=`)")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _one_or_many(value: object) -> object:
    return (value,) if isinstance(value, str) else as_tuple(value)


def _kind(value: object) -> object:
    if isinstance(value, str) and value in list(Kind):
        return Kind(value)
    raise ValueError(f"{quote(value)} is no kind of fault (expected one of {', '.join(Kind)})")


Name = Annotated[Word, AfterValidator(_name)]
Duration = Annotated[
    float,
    BeforeValidator(_seconds),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,7}(\.[0-9]{1,3})?[smh]$"}),
]
_SCALAR = {"type": ["string", "number", "boolean"]}
Settings = Annotated[
    dict[str, str],
    BeforeValidator(_settings),
    WithJsonSchema({"type": "object", "additionalProperties": _SCALAR}),
]
Matrix = Annotated[
    dict[str, tuple[str, ...]],
    BeforeValidator(_choices),
    WithJsonSchema(
        {"type": "object", "additionalProperties": {"type": "array", "minItems": 1, "items": _SCALAR}},
    ),
]
FaultKind = Annotated[Kind, BeforeValidator(_kind), WithJsonSchema({"type": "string", "enum": list(Kind)})]
Packages = Annotated[
    tuple[Word, ...],
    BeforeValidator(_one_or_many),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
Keep = Literal["never", "on-failure", "always"]


class Limits(Part):
    """How long things may take."""

    night: Duration = Field(12 * _HOUR, description="all of it")
    entry: Duration = Field(6 * _HOUR, description="a bed, with all its steps")
    step: Duration = Field(2 * _HOUR, description="a step, if it has no `limit` of its own")


class EntryLimits(Part):
    """The same of one entry; what is absent is the night's."""

    entry: Duration | None = Field(None, description="the bed, with all its steps")
    step: Duration | None = Field(None, description="a step, if it has no `limit` of its own")


class FaultEntry(Part):
    """What goes wrong on purpose in the step that follows; the words of `vmlab fault add`."""

    stand_ins: ClassVar[Mapping[str, Any]] = {"kind": "power", "nodes": "none"}

    kind: FaultKind
    nodes: Word = Field(description="a node set or @role")
    fabric: Word | None = Field(None, description="of link and net")
    disk: Word | None = Field(None, description="of disk and its errors: its serial, or the target")
    delay: Word | None = Field(None, description="of net: 20ms")
    jitter: Word | None = Field(None, description="of net: 5ms")
    loss: Word | None = Field(None, description="of net: 0.1%")
    rate: Rate | None = Field(None, description="of net and disk: 1Gbit/s")
    iops: int | None = Field(None, ge=1, description="of disk")
    after: Duration | None = Field(None, description="so long after the step began; absent: before it begins")
    lasts: Duration | None = Field(None, description="then it is undone; absent: at the step's end")


class StepHead(Part):
    """What stands beside a step's workload."""

    name: Name | None = Field(None, description="absent: the workload's name")
    limit: Duration | None = Field(None, description="absent: limits.step")


class EntryHead(Part):
    """A bed, and what is done on it; one for each combination of its matrix."""

    stand_ins: ClassVar[Mapping[str, Any]] = {"topology": "none"}

    topology: Word = Field(description="a topology file: below this file's folder, or one that ships with vmlab")
    name: Name | None = Field(None, description="absent: the topology's")
    image: Word | None = Field(None, description="in place of the topology's")
    packages: Packages = Field(
        (), description="folders of .rpm or .deb files, or such files: the image gets them before the bed comes up"
    )
    backend: Literal["ldiskfs", "zfs", "wbcfs"] | None = Field(None, description="of all its file systems")
    set: Settings = Field(default_factory=dict, description="as `up --set`: nodes.@oss.memory: 4GiB")
    matrix: Matrix = Field(
        default_factory=dict, description="image, backend, or keys as in `set`: an entry for each combination"
    )
    keep: Keep | None = Field(None, description="absent: the night's")
    retry: int | None = Field(None, ge=0, le=100, description="absent: the night's")
    limits: EntryLimits = EntryLimits()
    beds: int = Field(1, ge=1, le=16, description="so many beds that are alike share the suites of its steps")
    whole: Annotated[tuple[Word, ...], BeforeValidator(as_tuple)] = Field(
        (), description="suites that stay whole, whatever they take, with `beds`"
    )


class Head(Part):
    """The night's own keys."""

    stand_ins: ClassVar[Mapping[str, Any]] = {"name": "none"}

    name: Name = Field(description="of this night and those before it; its beds are called NAME-ENTRY")
    description: Text = ""
    keep: Keep = Field("on-failure", description="which beds stay up until the next night")
    retry: int = Field(0, ge=0, le=100, description="so often what failed is run again, alone, on a fresh bed")
    history: int = Field(14, ge=0, le=1000, description="so many nights before count for what is new and what is flaky")
    expected: Word | None = Field(None, description="a file of expected results, below this file's folder")
    limits: Limits = Limits()


class NightFile(Head):
    """A night of tests for vmlab."""

    entries: list[Any] = Field(min_length=1, description="beds, each with its steps")
