"""Metadata of a file system from several clients at once, by mdtest over MPI: files and directories, made to removed.

Each phase of a task works on what another node's task made (-N), so that no answer comes from a client's own cache; on
one node alone it may. mdtest (https://github.com/hpc/ior) is that of IOR 3.2 or later.

Its table is printed by `summarize_results` in src/mdtest.c. Means are the same in all versions; highest and lowest are
of the repetitions in 4.x, and in 3.x of each task in each repetition, so that they are a metric of their own there.
"""

import re
from collections.abc import Iterator, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

from pydantic import Field
from typing_extensions import override

from vmlab.errors import WorkloadError
from vmlab.metrics import Metric, Sample, Unit
from vmlab.topology.wording import quote
from vmlab.values.nodeset import fold
from vmlab.workloads import Measurement, Node, Output, Outputs, Task, _mpirun, register
from vmlab.workloads._causes import matched
from vmlab.workloads._clients import ClientsOptions, OnClients
from vmlab.workloads._install import SYSTEM
from vmlab.workloads._ior_report import complaints
from vmlab.workloads._lustre import MOUNTS, NETS, directory
from vmlab.workloads._nodes import NodeNames, clients_of, interface
from vmlab.workloads._sizes import Size

_RATE = Metric("rate", Unit.OPERATIONS_PER_S, "higher", "rate", "mean of the repetitions, all tasks together")
_MAX = Metric("rate_max", Unit.OPERATIONS_PER_S, "higher", "rate", "best repetition")
_MIN = Metric("rate_min", Unit.OPERATIONS_PER_S, "higher", "rate", "worst repetition")
_TASK_MAX = Metric("rate_max_task", Unit.OPERATIONS_PER_S, "higher", "rate", "best task of a repetition (mdtest 3)")
_TASK_MIN = Metric("rate_min_task", Unit.OPERATIONS_PER_S, "higher", "rate", "worst task of a repetition (mdtest 3)")

_TASK = "mdtest"
_FOLDER = "vmlab-mdtest"
_PREPARE_S = 600.0
# What an earlier run left goes first.
_PREPARE = 'rm -rf "$1" && mkdir -p "$1"'

_ONLY = MappingProxyType({"-F": "file", "-D": "directory"})


class Options(ClientsOptions):
    """What may be written below `mdtest:`."""

    nodes: NodeNames | None = Field(None, description="nodes that take part (default: all clients)")
    tasks_per_node: int = Field(1, ge=1, le=1024, description="MPI tasks on each node")
    items: tuple[Literal["file", "directory"], ...] = Field(
        ("directory", "file"), min_length=1, description="what is made and removed"
    )
    per_task: int = Field(1000, ge=1, le=100_000_000, description="files, and directories, of each task")
    access: tuple[Literal["unique", "shared"], ...] = Field(
        ("unique", "shared"), min_length=1, description="unique: in a directory of each task's own; shared: all in one"
    )
    file_size: Size | None = Field(
        None, description="bytes written into each file, and read from it (default: files are made, opened and closed)"
    )
    directory: str | None = Field(
        None, pattern="^/", description="where it happens (default: the first Lustre file system that is mounted)"
    )
    repetitions: int = Field(1, ge=1, le=1000, description="how often each is measured")
    fabric: str = Field("mgmt", description="the fabric of MPI's own messages")
    timeout_s: int = Field(3600, ge=1, le=604_800, description="deadline of each command")


@register
class Mdtest(OnClients[Options]):
    """Each measurement is one mpirun on the first node, which starts mdtest on all of them."""

    name = _TASK
    summary = "metadata operations from several clients at once (mdtest over MPI)"
    options = Options
    metrics = (_RATE, _MAX, _MIN, _TASK_MAX, _TASK_MIN)
    packages = ("ior", "mdtest", "openmpi", "openmpi-bin", "lustre-client", "lustre-client-utils")
    facts = MappingProxyType({"mpi": _mpirun.mpi(_TASK), "mounts": MOUNTS, "nets": NETS, "system": SYSTEM})

    @override
    def measurements(self, options: Options, nodes: Sequence[Node]) -> tuple[tuple[Measurement, ...], ...]:
        chosen = clients_of(self.name, options.nodes, nodes)
        mpi = _mpirun.found(self.name, _TASK, chosen)
        above, _ = directory(self.name, options.directory, chosen)
        return tuple((_measurement(options, access, chosen, mpi, f"{above}/{_FOLDER}"),) for access in options.access)

    @override
    def parse(self, options: Options, measurement: Measurement, outputs: Outputs) -> tuple[Sample, ...]:
        output = outputs.get(_TASK)
        if output is None:
            raise WorkloadError("mdtest printed nothing")
        repetitions, found = _measured(output)
        return tuple(
            Sample(metric, value, {**measurement.labels, "item": row.item, "operation": row.operation})
            for row in found
            for metric, value in _of_row(row, repetitions)
        )

    @override
    def sanity(
        self, options: Options, measurement: Measurement, outputs: Outputs, samples: Sequence[Sample]
    ) -> tuple[str, ...]:
        said = [line for output in outputs.values() for line in f"{output.stdout}\n{output.stderr}".splitlines()]
        problems = list(complaints("\n".join(line for line in said if "ERROR: " in line)))
        tasks = measurement.labels.get("tasks", "")
        if (
            samples
            and tasks.isdecimal()
            and (made := _made(_last_run(outputs[_TASK].stdout))) != int(tasks) * options.per_task
        ):
            problems.append(f"{made} of {int(tasks) * options.per_task} files or directories were made")
        return tuple(problems)

    @override
    def notes(self, options: Options, measurement: Measurement, outputs: Outputs) -> tuple[str, ...]:
        if re.search(r"[\[,]", measurement.labels.get("nodes", "[")):
            return ()
        return ("stat and read: one node alone may answer them from its own cache",)

    @override
    def explain(self, output: Output) -> str:
        text = f"{output.stdout}\n{output.stderr}"
        return matched(_FAILURES, text) or _mpirun.explain(output.stderr, output.stdout) or super().explain(output)


# aiori-POSIX.c by ERR of src/iordef.h and src/aiori-debug.h; FAIL of src/mdtest.c.
_FAILURES = (
    (r"(?:ERROR: |FAILED in [^,\n]{1,60}, )([^\n]{0,200}No space left on device)", "the file system is full: {}"),
    (r"FAILED in [^,\n]{1,60}, ([^\n]{1,200})", "{}"),
    (r"ERROR: ([^\n]{1,200}?),? \(\S+:\d+\)", "{}"),
    (r"ERROR: ([^\n]{1,200})", "{}"),
)


def _measurement(options: Options, access: str, clients: Sequence[Node], mpi: _mpirun.Mpi, folder: str) -> Measurement:
    names = [node.name for node in clients]
    everyone = dict.fromkeys(names, options.tasks_per_node)
    only = tuple(flag for flag, item in _ONLY.items() if set(options.items) == {item})
    contents = (
        () if options.file_size is None else ("-w", str(int(options.file_size)), "-e", str(int(options.file_size)))
    )
    # -N: each phase of a task is about what the task of another node made.
    apart = ("-N", str(options.tasks_per_node)) if len(names) > 1 else ()
    amount = ("-d", folder, "-n", str(options.per_task), "-i", str(options.repetitions))
    argv = (mpi.program, *amount, *only, *(("-u",) if access == "unique" else ()), *apart, *contents)
    return Measurement(
        name=f"{access}.{fold(names)}",
        labels={"nodes": fold(names), "tasks": str(sum(everyone.values())), "access": access},
        tasks=(
            Task(name="prepare", node=names[0], argv=("sh", "-c", _PREPARE, "vmlab", folder), deadline_s=_PREPARE_S),
            Task(
                name=_TASK,
                node=names[0],
                argv=mpi.start(everyone, interface(_TASK, options.fabric, clients), argv),
                deadline_s=float(options.timeout_s),
            ),
        ),
    )


# --- reading -------------------------------------------------------------------------------------------------------

_TITLE = re.compile(r"^SUMMARY(?! time)[^\n]*\(of (\d{1,9}) iterations\)", re.MULTILINE)
_ROW = re.compile(r" +(?P<item>File|Directory|Tree) (?P<what>[a-z]+) *(?P<colon>:?) (?P<figures>[^:]*)")
_NUMBER = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,9})?")
_COLUMNS = 4
"""The last of each row: Max, Min, Mean, Std Dev. Before them may stand those per rank."""
_BEGIN, _END = " was launched with ", "-- finished at "
_MADE = re.compile(r"^\d{1,9} tasks, (\d{1,18}) (?:file|director)", re.MULTILINE)
_COMMAND = re.compile(r"^Command line used: (.+)$", re.MULTILINE)
_WORD = re.compile(r"""["']([^"']*)["']""")
_OPERATIONS = MappingProxyType(
    {"creation": "create", "stat": "stat", "read": "read", "rename": "rename", "removal": "remove"}
)
_PHASES = MappingProxyType({"-C": "create", "-T": "stat", "-E": "read", "-r": "remove"})
_PHASES_OF = MappingProxyType({"file": ("create", "stat", "read", "remove"), "directory": ("create", "stat", "remove")})
# 4.x goes on where a call failed, counts it as done and ends with status 0 (WARNF in src/mdtest.c); 3.x ends there.
_FAILED = re.compile(
    r"^WARNING: (?:\[RANK \d+\]: )?(unable to (?:create|mknode|open|write|verify|stat|read|rename|remove) "
    r"\w+)",
    re.MULTILINE,
)


class _Row(NamedTuple):
    """op/s of an operation. `of_tasks`: highest and lowest are those of tasks."""

    item: str
    operation: str
    mean: float
    highest: float
    lowest: float
    of_tasks: bool


def _of_row(row: _Row, repetitions: int) -> Iterator[tuple[Metric, float]]:
    yield _RATE, row.mean
    if row.of_tasks:
        yield from ((_TASK_MAX, row.highest), (_TASK_MIN, row.lowest))
    elif repetitions > 1:
        yield from ((_MAX, row.highest), (_MIN, row.lowest))


def _measured(output: Output) -> tuple[int, list[_Row]]:
    """How many repetitions, and what was measured in them: a row of zeros was not.

    Raises WorkloadError unless all that its command line asks for was measured, and no call failed.
    """
    text = _last_run(output.stdout)
    if failed := _FAILED.findall(f"{text}\n{output.stderr}"):
        raise WorkloadError(f"{len(failed)} calls failed ({failed[0]}), and mdtest counts them as done")
    repetitions, found = _table(text)
    measured = [row for row in found if row.mean > 0]
    if not _made(text) or all(row.item == "tree" for row in measured):
        raise WorkloadError("mdtest measured no files or directories")
    done = {(row.item, row.operation) for row in measured}
    if missing := [f"{operation} of {item}" for item, operation in _asked(text) if (item, operation) not in done]:
        raise WorkloadError(f"mdtest was to measure {', '.join(missing)}, and did not")
    return repetitions, measured


def _last_run(text: str) -> str:
    begin = text.rfind(_BEGIN)
    if begin < 0:
        raise WorkloadError("mdtest printed no report")
    return text[begin:]


def _table(text: str) -> tuple[int, list[_Row]]:
    """The table of rates; with -P one of times follows, whose rows have the same names.

    Raises WorkloadError if it is not there to its end, or holds what is no rate.
    """
    title = _TITLE.search(text)
    inside, end, _ = text[title.end() :].partition(_END) if title else ("", "", "")
    if title is None or not end:
        raise WorkloadError("mdtest's report is cut off")
    lines = inside.partition("\nSUMMARY ")[0].splitlines()
    found = [_row(row) for row in map(_ROW.fullmatch, lines) if row]
    if len({(row.item, row.operation) for row in found}) < len(found):
        raise WorkloadError("mdtest's table has several rows of the same name")
    return int(title[1]), found


def _row(found: re.Match[str]) -> _Row:
    columns = found["figures"].split()[-_COLUMNS:]
    if len(columns) < _COLUMNS or not all(map(_NUMBER.fullmatch, columns[:-1])):  # Std Dev may be nan
        raise WorkloadError(f"a row of mdtest's table is none: {quote(found[0].strip())}")
    highest, lowest, mean = map(float, columns[:-1])
    item, operation = found["item"].lower(), _OPERATIONS.get(found["what"], found["what"])
    return _Row(item, operation, mean, highest, lowest, of_tasks=bool(found["colon"]))


def _made(text: str) -> int:
    """Files, or directories, of all tasks."""
    found = _MADE.search(text)
    return int(found[1]) if found else 0


def _asked(text: str) -> Iterator[tuple[str, str]]:
    """What mdtest was told to measure, by the command line that it prints: all, unless it names items or phases."""
    line = _COMMAND.search(text)
    words = _WORD.findall(line[1]) if line else []
    items = [item for flag, item in _ONLY.items() if flag in words] or list(_PHASES_OF)
    named = {phase for flag, phase in _PHASES.items() if flag in words}
    for item in items if line else ():
        yield from ((item, phase) for phase in _PHASES_OF[item] if phase in named or not named)
