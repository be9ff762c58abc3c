"""Any command on a set of nodes, and figures out of what it prints or writes, in the user's own units.

    command:
      run: dd if=/dev/zero of=/mnt/lustre/$(uname -n) bs=1M count=1024 oflag=direct
      metrics:
        - {name: bandwidth, unit: MB/s, better: higher, pattern: '([0-9.]+) MB/s'}

A metric is found by a regular expression (the group `value`, or the only one there is; other named groups become
labels) in what was printed, standard error included, or by a path in JSON (`jobs[*].read.bw_bytes`, `$.a."b c"[0]`),
which may have notes around it. Each must be found on each node; several finds are several figures.

A table of runs has the command once for each row, whose columns stand in braces in the command and its files, and are
labels of its figures. Rows follow one another, or with `slots` several run at once, each on nodes of its own:

    command:
      run: ./solve --size {size} --mode {mode} input
      runs: [{size: 100, mode: fast}, {size: 100, mode: exact}]
      files: {input: 'size {size}'}
      slots: 2

`cases: runs.csv` has such a table in a file beside the topology: its first line names the columns.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite, nan
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from typing_extensions import override

from vmlab.errors import UsageError, WorkloadError
from vmlab.metrics import Metric, Sample, Unit, label_text
from vmlab.topology.wording import quote
from vmlab.values.nodeset import fold
from vmlab.workloads import Job, Measurement, Native, Node, Output, Outputs, Task, Workload, by_node, register
from vmlab.workloads._fields import report
from vmlab.workloads._nodes import NodeNames, clients_of

_TASK = "command"
_SECONDS = Metric("seconds", Unit.SECONDS, "lower", "command", "how long it took, with the way to the node")

_STEP = r"""\[(?:\*|[0-9]{1,9})\]|\.?(?:[A-Za-z_][\w-]*|"[^"]+")"""
_STEPS = re.compile(r"""\[(\*|[0-9]{1,9})\]|([A-Za-z_][\w-]*)|"([^"]+)\"""")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?")


_OURS = ("node", "nodes", "number", "on")
"""Labels that figures have besides the columns of a table."""


def _cell(value: object) -> object:
    """Numbers are text as they are written."""
    return label_text(value) if isinstance(value, int | float) else value


Column = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w-]{0,39}$")]
Row = Annotated[
    dict[Column, Annotated[str, BeforeValidator(_cell)]],
    WithJsonSchema(
        {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}, "form": "row"}
    ),
]


def _pattern(text: str) -> str:
    try:
        groups = re.compile(text, re.MULTILINE)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{quote(text)} is no regular expression: {error}") from None
    if "value" not in groups.groupindex and groups.groups != 1:
        raise ValueError(f"{quote(text)} does not tell the figure (expected one group, or one that is named value)")
    return text


def _path(text: str) -> str:
    if not re.fullmatch(rf"\$?(?:{_STEP})+", text):
        raise ValueError(f"{quote(text)} is no path (expected one such as jobs[*].read.iops)")
    return text


class Figure(BaseModel):
    """What is measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$", description="the metric's name")
    unit: str = Field("", max_length=20, description="printed beside its figures")
    better: Literal["higher", "lower"] = Field("higher", description="which figures are the better ones")
    pattern: Annotated[str, AfterValidator(_pattern)] | None = Field(None, description="a regular expression")
    path: Annotated[str, AfterValidator(_path)] | None = Field(None, description="a path in JSON")
    file: str | None = Field(None, description="a file that is brought (default: what was printed)")
    factor: float = Field(1.0, gt=0, allow_inf_nan=False, description="what is found is multiplied with it")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.pattern is None) == (self.path is None):
            raise ValueError(f"{self.name}: expected either a pattern or a path")
        return self

    @property
    def metric(self) -> Metric:
        """In a table of its own."""
        return Metric(self.name, self.unit, self.better, self.name)


class Options(BaseModel):
    """What may be written below `command:`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str = Field("", description="a command of the shell; it runs as root")
    nodes: NodeNames | None = Field(None, description="where it runs (default: all clients)")
    at_once: bool = Field(default=True, description="on all nodes with one start, or on one after the other")
    files: dict[str, str] = Field({}, description="contents of files that it finds in its folder, by name")
    bring: tuple[str, ...] = Field((), description="files of its folder, or patterns of them, that the run keeps")
    metrics: tuple[Annotated[Figure, WithJsonSchema(Figure.model_json_schema() | {"form": "metric"})], ...] = Field(
        (), description="name, unit, better, and pattern or path; file and factor if need be"
    )
    runs: tuple[Row, ...] = Field(
        (), description="a table: the command runs once for each row, with its columns for what stands in braces"
    )
    cases: Annotated[str, WithJsonSchema({"type": "string", "form": "CSV file"})] | None = Field(
        None, description="such a table in a file beside the topology; its first line names the columns"
    )
    slots: int = Field(1, ge=1, le=1024, description="so many rows run at once, each on its share of the nodes")
    timeout_s: int = Field(600, ge=1, le=604_800, description="deadline of the command")

    @model_validator(mode="after")
    def _table(self) -> Self:
        columns = list(self.runs[0]) if self.runs else []
        for number, row in enumerate(self.runs, start=1):
            if not row or sorted(row) != sorted(columns):
                raise ValueError(
                    f"row {number} has the columns {', '.join(row) or 'none'} (expected {', '.join(columns)})"
                )
        if wrong := [column for column in columns if column in _OURS]:
            raise ValueError(f"a column cannot be called {wrong[0]}: figures have that label")
        return self

    @model_validator(mode="after")
    def _names(self) -> Self:
        read = [figure.file for figure in self.metrics if figure.file is not None]
        if wrong := [name for name in (*self.files, *self.bring, *read) if "/" in name or not name.strip(".")]:
            raise ValueError(f"{quote(wrong[0])} is no plain name of a file")
        names = [figure.name for figure in self.metrics]
        if twice := [name for name in names if names.count(name) > 1 or name == _SECONDS.name]:
            raise ValueError(f"the metric {quote(twice[0])} is there already")
        return self


@register
class Command(Workload[Options]):
    """One measurement: a job over the nodes, or one task after the other."""

    name = "command"
    summary = "any command on a set of nodes, with metrics of one's own"
    options = Options
    metrics = (_SECONDS,)

    @override
    def takes_part(self, options: Options, nodes: Sequence[Node]) -> tuple[str, ...]:
        if not options.run.strip():
            raise UsageError("command: there is nothing to run", hint="--set run=COMMAND")
        return tuple(node.name for node in clients_of(self.name, options.nodes, nodes))

    @override
    def measurements(self, options: Options, nodes: Sequence[Node]) -> tuple[tuple[Measurement, ...], ...]:
        names = self.takes_part(options, nodes)
        if not options.runs:
            return ((_measurement(options, names, {}),),)
        share = len(names) // options.slots
        if not share:
            raise WorkloadError(
                f"command: {options.slots} slots are wanted, and {len(names)} nodes take part",
                hint=f"--set slots={len(names)}",
            )
        groups = [names[slot * share : (slot + 1) * share] for slot in range(options.slots)]
        rows = list(enumerate(options.runs, start=1))
        return tuple(
            tuple(
                _measurement(options, group, row, f"row{number}.")
                for (number, row), group in zip(rows[first : first + options.slots], groups, strict=False)
            )
            for first in range(0, len(rows), options.slots)
        )

    @override
    def on_host(self, options: Options, native: Native) -> Options:
        if not native.written:
            raise WorkloadError(
                "a command that was written for guests runs on the host, as root, only where its topology says so",
                hint="in the topology file, beside it: native: true",
            )
        return options

    @override
    def parse(self, options: Options, measurement: Measurement, outputs: Outputs) -> tuple[Sample, ...]:
        row = {name: value for name, value in measurement.labels.items() if name not in _OURS}
        found = by_node(_TASK, outputs)
        if not found:
            raise WorkloadError("the command printed nothing")
        return tuple(
            sample for node, output in found.items() for sample in _samples(options, {"node": node, **row}, output)
        )


def _measurement(options: Options, names: Sequence[str], row: Mapping[str, str], begin: str = "") -> Measurement:
    brings = (*options.bring, *dict.fromkeys(figure.file for figure in options.metrics if figure.file))
    tasks = tuple(
        Task(
            name=f"{_TASK}.{name}",
            node=name,
            argv=("sh", "-c", _filled(options.run, row)),
            deadline_s=float(options.timeout_s),
            files={file: _filled(text, row) for file, text in options.files.items()},
            brings=tuple(dict.fromkeys(brings)),
        )
        for name in names
    )
    return Measurement(
        name=f"{begin}{fold(names)}",
        labels={"nodes": fold(names), **row},
        tasks=(Job(tasks=tasks),) if options.at_once else tasks,
    )


def _filled(text: str, row: Mapping[str, str]) -> str:
    """With the row's columns for their names in braces; all other braces are the shell's."""
    return re.sub(r"(?<!\$)\{([A-Za-z_][\w-]*)\}", lambda found: row.get(found[1], found[0]), text)


def _samples(options: Options, own: Mapping[str, str], output: Output) -> Iterator[Sample]:
    yield Sample(_SECONDS, output.seconds, own)
    for figure in options.metrics:
        try:
            finds = list(_by_path(figure, output) if figure.path else _by_pattern(figure, output))
        except WorkloadError as error:
            raise WorkloadError(f"{figure.name} of {own['node']}: {error.message}") from error
        for place, (value, labels) in enumerate(finds, start=1):
            number = {} if len(finds) == 1 or labels else {"number": str(place)}
            yield Sample(figure.metric, value, {**own, **labels, **number})


# --- reading -------------------------------------------------------------------------------------------------------

_Find = tuple[float, Mapping[str, str]]


def _by_pattern(figure: Figure, output: Output) -> Iterator[_Find]:
    """Raises WorkloadError if nothing is found, or something that is no number."""
    text = output.text(figure.file) if figure.file else f"{output.stdout}\n{output.stderr}"
    finds = list(re.finditer(figure.pattern or "", text, re.MULTILINE))
    if not finds:
        raise WorkloadError(f"nothing fits {quote(figure.pattern)}")
    for found in finds:
        named = found.groupdict()
        labels = {name: value for name, value in named.items() if name != "value" and value is not None}
        yield _number(figure, named["value"] if "value" in named else found[1]), labels


def _by_path(figure: Figure, output: Output) -> Iterator[_Find]:
    """Raises WorkloadError if it leads nowhere, or to something that is no number."""
    text = output.text(figure.file) if figure.file else output.stdout
    finds = list(_reached(_content(text), _STEPS.findall(figure.path or "")))
    if not finds:
        raise WorkloadError(f"{figure.path} leads nowhere")
    for value in finds:
        yield _number(figure, value), {}


def _content(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return report("the command", text)


def _reached(content: Any, steps: Sequence[tuple[str, str, str]]) -> Iterator[Any]:
    if not steps:
        yield content
        return
    (index, name, quoted), *rest = steps
    if index == "*" and isinstance(content, list | dict):
        below = content if isinstance(content, list) else content.values()
    elif index.isdecimal() and isinstance(content, list):
        below = content[int(index) : int(index) + 1]
    else:
        key = name or quoted
        below = [content[key]] if isinstance(content, dict) and key in content else []
    for one in below:
        yield from _reached(one, rest)


def _number(figure: Figure, value: object) -> float:
    """A finite number, or the text of one; it may be negative, for units are the user's."""
    text = value if isinstance(value, str) else "" if isinstance(value, bool) else str(value)[:400]
    number = float(text) * figure.factor if _NUMBER.fullmatch(text.strip()) else nan
    if not isfinite(number):
        raise WorkloadError(f"{quote(str(value)[:60])} is no number")
    return number
