"""MPI by message size, by the OSU micro-benchmarks: latency and bandwidth of pairs, collective operations of all nodes.

Versions 5 to 7 (https://mvapich.cse.ohio-state.edu/benchmarks/). Their titles and columns differ, by the options too:
columns are told by the words of the title line. MB is 10^6 bytes (osu_bw.c). A table may be cut off at
any row and look whole: it has to reach the largest message, 4 MiB between pairs and 1 MiB else, if `-m` says nothing.
mpirun's own words stand anywhere between the lines, or its tags before them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Literal, NamedTuple, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import override

from vmlab.errors import WorkloadError
from vmlab.metrics import Metric, Sample, Unit
from vmlab.shell import script
from vmlab.topology.wording import quote
from vmlab.values.nodeset import fold
from vmlab.workloads import Measurement, Native, Node, Output, Outputs, Task, Workload, _mpirun, register
from vmlab.workloads._causes import matched
from vmlab.workloads._install import SYSTEM
from vmlab.workloads._nodes import NodeNames, clients_of, interface
from vmlab.workloads._sizes import Size

_TASK = "osu"
_MIB_OF_MB = 10**6 / (1 << 20)
_LARGEST_OF_PAIRS, _LARGEST_OF_ALL = 4 << 20, 1 << 20
_MEMORY = 512 << 20
"""What a collective operation may take, if -M says nothing else: it is shared by the tasks."""

_LATENCY = Metric("latency", Unit.MICROSECONDS, "lower", "latency", "mean; of a collective operation that of all tasks")
_LATENCY_MIN = Metric("latency_min", Unit.MICROSECONDS, "lower", "latency", "of the fastest task")
_LATENCY_MAX = Metric("latency_max", Unit.MICROSECONDS, "lower", "latency", "of the slowest task")
_BANDWIDTH = Metric("bandwidth", Unit.MIB_PER_S, "higher", "bandwidth", "of a pair, or of all pairs together")
_RATE = Metric("message_rate", Unit.MESSAGES_PER_S, "higher", "rate", "of all pairs together")
_TAILS = MappingProxyType(
    {
        percent: Metric(
            f"latency_p{percent}", Unit.MICROSECONDS, "lower", "latency", f"{percent} % of the messages were as fast"
        )
        for percent in ("50", "90", "99")
    }
)

Test = Literal["latency", "bw", "bibw", "mbw_mr", "allreduce", "reduce", "allgather", "alltoall", "bcast", "barrier"]
_PAIRS = ("latency", "bw", "bibw")
_PROGRAMS: tuple[Test, ...] = get_args(Test)

_PLACES = script(__file__, "osu_places.sh")
_FIND_ALL = f'{_PLACES}for test; do found=$(place "$test") && echo "$test $found"; done; exit 0'
_FIND_MPI = f'{_PLACES}found=$(place latency) || found=osu_latency; exec "$@" "$found"'


class Options(BaseModel):
    """What may be written below `osu:`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    nodes: NodeNames | None = Field(None, description="nodes that take part (default: all clients)")
    tests: tuple[Test, ...] = Field(
        _PROGRAMS, min_length=1, description="of pairs: latency, bw, bibw; of all nodes: the others"
    )
    pairs: Literal["apart", "each"] = Field(
        "apart", description="apart: each node in one pair, in their order; each: every node with every other"
    )
    tasks_per_node: int = Field(1, ge=1, le=1024, description="MPI tasks on each node, where all nodes take part")
    smallest: Size | None = Field(None, description="message to begin with (default: the program's own)")
    largest: Size | None = Field(None, description="message to end with (default: 4MiB of pairs, 1MiB of all nodes)")
    iterations: int | None = Field(None, ge=1, le=100_000_000, description="of each size (default: the program's own)")
    check: bool = Field(default=False, description="compare what arrives with what was sent (version 7)")
    tail: bool = Field(default=False, description="percentiles of latency, too (version 7)")
    fabric: str = Field("mgmt", description="the fabric that MPI's messages take")
    timeout_s: int = Field(1800, ge=1, le=604_800, description="deadline of each command")

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.smallest is not None and self.largest is None:
            raise ValueError("smallest needs largest")
        if self.smallest is not None and self.largest is not None and self.smallest > self.largest:
            raise ValueError("smallest is larger than largest")
        return self


@register
class Osu(Workload[Options]):
    """Each measurement is one mpirun on its first node."""

    name = _TASK
    summary = "MPI latency, bandwidth and collective operations by message size (OSU micro-benchmarks)"
    options = Options
    metrics = (_LATENCY, _LATENCY_MIN, _LATENCY_MAX, *_TAILS.values(), _BANDWIDTH, _RATE)
    packages = ("osu-micro-benchmarks", "mpitests-openmpi", "openmpi", "openmpi-bin", "mpich")
    facts = MappingProxyType(
        {
            "mpi": ("sh", "-c", _FIND_MPI, "vmlab", *_mpirun.mpi("")[:-1]),
            "osu": ("sh", "-c", _FIND_ALL, "vmlab", *_PROGRAMS),
            "system": SYSTEM,
        }
    )
    versions = MappingProxyType({"mpirun": ("mpirun", "--version")})

    @override
    def takes_part(self, options: Options, nodes: Sequence[Node]) -> tuple[str, ...]:
        return tuple(node.name for node in clients_of(self.name, options.nodes, nodes))

    @override
    def measurements(self, options: Options, nodes: Sequence[Node]) -> tuple[tuple[Measurement, ...], ...]:
        chosen = clients_of(self.name, options.nodes, nodes)
        if len(chosen) * options.tasks_per_node == 1:
            raise WorkloadError("osu: one task alone has nobody to send to", hint="--set tasks_per_node=2")
        _mpirun.found(self.name, "osu_latency", chosen)
        return tuple((one,) for test in options.tests for one in _measurements(options, test, chosen))

    @override
    def on_host(self, options: Options, native: Native) -> Options:
        del native
        return options

    @override
    def parse(self, options: Options, measurement: Measurement, outputs: Outputs) -> tuple[Sample, ...]:
        output = outputs.get(_TASK)
        if output is None:
            raise WorkloadError("osu did not run")
        try:
            table = _table(output.stdout)
            _whole(table, measurement)
        except WorkloadError as error:
            why = self.explain(output) if not output.ok else ""
            raise WorkloadError(f"{error.message}: {why}" if why else error.message) from None
        return tuple(_samples(measurement, table))

    @override
    def sanity(
        self, options: Options, measurement: Measurement, outputs: Outputs, samples: Sequence[Sample]
    ) -> tuple[str, ...]:
        lines = _untagged(outputs[_TASK].stdout) if _TASK in outputs else []
        wrong = [found for found in map(_WRONG.fullmatch, lines) if found]
        return tuple(f"data that arrived are not what was sent, in messages of {found[1]} bytes" for found in wrong)

    @override
    def explain(self, output: Output) -> str:
        text = f"{output.stderr}\n{output.stdout}"
        return matched(_FAILURES, text) or _mpirun.explain(output.stderr, output.stdout) or super().explain(output)


_FAILURES = (
    (r"(This test requires [^\n]{1,99})", "{}"),
    (r"[Ii]nvalid option (?:\[|-- ')(?:-?)(\w)", "this version has no option -{}"),
    (r"(DATA VALIDATION ERROR)[^\n]* on message size (\d+)", "{} in messages of {} bytes"),
    (r"time limit for job execution has been reached:\n\s*\n\s*Timeout: ([^\n]{1,40})", "it was ended after {}"),
)


def _measurements(options: Options, test: str, nodes: Sequence[Node]) -> Iterator[Measurement]:
    """One of all nodes, or one of each pair; two tasks of a node are a pair where it is alone."""
    if test not in _PAIRS:
        yield _measurement(options, test, nodes, options.tasks_per_node)
    elif len(nodes) == 1:
        yield _measurement(options, test, nodes, 2)
    elif options.pairs == "each":
        for place, one in enumerate(nodes):
            for other in nodes[place + 1 :]:
                yield _measurement(options, test, (one, other), 1)
    else:
        for place in range(0, len(nodes) - 1, 2):
            yield _measurement(options, test, nodes[place : place + 2], 1)


def _measurement(options: Options, test: str, nodes: Sequence[Node], tasks_per_node: int) -> Measurement:
    names = [node.name for node in nodes]
    tasks = len(nodes) * tasks_per_node
    name = f"{test}.{fold(names)}"
    programs = {path for node in nodes for path in (_programs(node).get(test, ""),)}
    program = programs.pop()
    if programs or not program:
        return Measurement(name=name, labels={}, skipped=f"osu_{test} is not in one place on {fold(names)}")
    if test == "mbw_mr" and tasks % 2:
        return Measurement(name=name, labels={}, skipped=f"osu_{test}: {tasks} tasks are no pairs")
    mpi = _mpirun.found(_TASK, "osu_latency", nodes)
    argv = (program, *_words(options, test, tasks))
    labels = {"test": test, "nodes": fold(names), "tasks": str(tasks), "fabric": options.fabric}
    over = interface(_TASK, options.fabric, nodes)
    return Measurement(
        name=name,
        labels=labels,
        tasks=(
            Task(
                name=_TASK,
                node=names[0],
                argv=mpi.start(dict.fromkeys(names, tasks_per_node), over, argv),
                deadline_s=float(options.timeout_s),
            ),
        ),
    )


def _programs(node: Node) -> dict[str, str]:
    lines = [line.split(None, 1) for line in node.facts.get("osu", "").splitlines()]
    return {words[0]: words[1] for words in lines if len(words) > 1}


def _words(options: Options, test: str, tasks: int) -> tuple[str, ...]:
    """What versions 5 do not know is passed only where it is asked for."""
    sizes = ":".join(str(int(size)) for size in (options.smallest, options.largest) if size is not None)
    collective = test not in (*_PAIRS, "mbw_mr")
    memory = (options.largest or _LARGEST_OF_ALL) * tasks
    return (
        *(("-m", sizes) if sizes and test != "barrier" else ()),
        *(("-M", str(memory)) if collective and memory > _MEMORY and test != "barrier" else ()),
        *(("-i", str(options.iterations)) if options.iterations is not None else ()),
        *(("-f",) if collective else ()),
        *(("-c",) if options.check and test != "barrier" else ()),
        *(("-z",) if options.tail and test not in ("bw", "bibw", "mbw_mr") else ()),
    )


# --- reading -------------------------------------------------------------------------------------------------------

_TITLE = re.compile(r"# OSU MPI(?:-\w+)? ([A-Z].*?) Test v(\d[\w.]*)\s*")
_BARRIER = "Barrier Latency"
_OF_PAIRS = frozenset({"Latency", "Bandwidth", "Bi-Directional Bandwidth", "Multiple Bandwidth / Message Rate"})
_COLUMNS: Sequence[tuple[str, Metric | None, float]] = (
    (r"Size", None, 0),
    (r"Avg Latency ?\(us\)|Latency ?\(us\)", _LATENCY, 1),
    (r"Min Latency ?\(us\)", _LATENCY_MIN, 1),
    (r"Max Latency ?\(us\)", _LATENCY_MAX, 1),
    (r"Bandwidth ?\(MB/s\)|MB/s", _BANDWIDTH, _MIB_OF_MB),
    (r"Messages/s", _RATE, 1),
    (r"Iterations", None, 0),
    (r"Validation", None, 0),
    (r"Transmit Size", None, 0),
    *((rf"P{percent} Tail Lat\(us\)", metric, 1) for percent, metric in _TAILS.items()),
    (r"P[0-9.]{1,6} Tail \w+\([\w/]+\)", None, 1),
)
_HEADER = re.compile("|".join(f"({words})" for words, *_ in _COLUMNS))
_SIZE, _ITERATIONS, _VALIDATION, _TRANSMITTED = 0, 6, 7, 8
_TYPES = ("MPI_CHAR", "MPI_INT", "MPI_FLOAT")
_TYPE = re.compile(r"# Datatype: (\w+)\.?\s*")
_ROW = re.compile(r"\s*[0-9.]+(?:\s.*)?")
_FIGURE = re.compile(r"[0-9]{1,15}\.[0-9]{2}")
_WHOLE = re.compile(r"[0-9]{1,15}")
_WRONG = re.compile(r"\s*(\d{1,15})\s+[0-9].*\bFail\b.*")
# Open MPI's --tag-output, --timestamp-output and, from 5, --output; MPICH's -prepend-rank; srun's --label.
_TAG = re.compile(r"[^<]{0,120}<(?P<stream>std\w+)>: ?|\[\d+\] (?=[#\s\d])|\d+: (?=[#\s\d]|$)")


class _Table(NamedTuple):
    """By datatype, "" where it says none: of each size, 0 where there is none, figures by metric."""

    title: str
    version: str
    rows: Mapping[str, Sequence[tuple[int, Mapping[Metric, float]]]]


def _untagged(text: str) -> list[str]:
    """The program's lines, without what mpirun puts before them; what it tags as standard error is not of the table."""
    found = []
    for line in text.splitlines():
        tag = _TAG.match(line)
        if tag is None:
            found.append(line)
        elif tag["stream"] in (None, "stdout"):
            found.append(line[tag.end() :])
    return found


def _table(text: str) -> _Table:
    """Raises WorkloadError if there is none, or what is in it is none."""
    lines = _untagged(text)
    titles = [(place, found) for place, found in enumerate(map(_TITLE.fullmatch, lines)) if found]
    if len(titles) != 1:
        raise WorkloadError("there are several tables" if titles else "there is no table")
    place, title = titles[0]
    columns: list[int] = []
    rows: dict[str, list[tuple[int, Mapping[Metric, float]]]] = {}
    datatype = ""
    for line in lines[place + 1 :]:
        if named := _TYPE.fullmatch(line):
            datatype = named[1]
        elif line.startswith("#"):
            columns = columns or _header(line)
        elif columns and _ROW.fullmatch(line):
            rows.setdefault(datatype, []).append(_row(line, columns))
    if not rows:
        raise WorkloadError("there is no table")
    return _Table(title[1], title[2], rows)


def _header(line: str) -> list[int]:
    """Which columns, as places in the list of those that are known; none if it is another line.

    Raises WorkloadError for columns beside known ones that are not.
    """
    found = list(_HEADER.finditer(line))
    rest = _HEADER.sub("", line.removeprefix("#")).strip()
    columns = [(one.lastindex or 1) - 1 for one in found]
    if not any(_COLUMNS[column][1] for column in columns):
        return []
    if rest:
        raise WorkloadError(f"unknown columns: {quote(rest[:60])}")
    return columns


def _row(line: str, columns: Sequence[int]) -> tuple[int, Mapping[Metric, float]]:
    fields = line.split()
    if len(fields) != len(columns):
        raise WorkloadError(f"a row is cut off, or none: {quote(line.strip()[:60])}")
    size, figures = 0, dict[Metric, float]()
    for field, column in zip(fields, columns, strict=True):
        _, metric, factor = _COLUMNS[column]
        if column == _VALIDATION:
            good = field == "Pass"
        else:
            good = (_WHOLE if column in (_SIZE, _ITERATIONS, _TRANSMITTED) else _FIGURE).fullmatch(field) is not None
        if not good:
            raise WorkloadError(f"a row is cut off, or none: {quote(line.strip()[:60])}")
        if column == _SIZE:
            size = int(field)
        elif metric is not None:
            figures[metric] = float(field) * factor
    if not all(figures.values()):
        raise WorkloadError(f"nothing was measured: {quote(line.strip()[:60])}")
    return size, figures


def _whole(table: _Table, measurement: Measurement) -> None:
    """Raises WorkloadError unless the table goes on to the largest message, each twice as large as the one before."""
    argv = next((task.argv for task in measurement.commands if task.name == _TASK), ())
    if dict(pairwise(argv)).get("-T") == "all" and len(table.rows) < len(_TYPES):
        raise WorkloadError(f"the table is cut off: it has {', '.join(table.rows)} of {', '.join(_TYPES)}")
    for rows in table.rows.values():
        _goes_on(table.title, [size for size, _ in rows], measurement)


def _goes_on(title: str, sizes: Sequence[int], measurement: Measurement) -> None:
    if title == _BARRIER:
        if sizes != [0]:
            raise WorkloadError("there are several rows")
        return
    smallest, largest = _asked(measurement)
    largest = largest or (_LARGEST_OF_PAIRS if title in _OF_PAIRS else _LARGEST_OF_ALL)
    if not sizes[-1] <= largest < 2 * max(sizes[-1], 0.5):
        raise WorkloadError(f"the table is cut off: it ends at {sizes[-1]} of {largest} bytes")
    begins = {smallest, max(smallest, 1), max(smallest, 4)} if smallest is not None else {0, 1, 4}
    if sizes[0] not in begins or any(later != (2 * size or 1) for size, later in pairwise(sizes)):
        raise WorkloadError("the table has gaps: a message is missing, or twice there")


def _asked(measurement: Measurement) -> tuple[int | None, int]:
    """The smallest and largest message, as the command line has them; None and 0 if it has not."""
    argv = next((task.argv for task in measurement.commands if task.name == _TASK), ())
    found = re.fullmatch(r"(?:(\d{1,15}):)?(\d{1,15})", dict(pairwise(argv)).get("-m", ""))
    if found is None:
        return None, 0
    return int(found[1]) if found[1] else None, int(found[2])


def _samples(measurement: Measurement, table: _Table) -> Iterator[Sample]:
    for datatype, rows in table.rows.items():
        of = {"datatype": datatype} if len(table.rows) > 1 else {}
        for size, figures in rows:
            own = {} if table.title == _BARRIER else {"size": str(size)}
            for metric, value in figures.items():
                yield Sample(metric, value, {**measurement.labels, **of, **own})
