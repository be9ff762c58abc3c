"""Processes on several nodes, each with a file of its own, by iozone's throughput mode: written, read, at random.

The first node is iozone's master and starts a client for each process by ssh, on one node after the other; what its
clients find wrong it prints between the tables, and ends with status 0 nevertheless. `total` is shared by the
processes: the more there are, the less each moves. With `operations` iozone counts transfers instead of bytes.

"Children see" is the sum of what each process reached by itself; iozone stops all when the first is through, and one
that came too late has moved nothing. "Parent sees" is all that was moved over all the time; a master of other nodes
does not print it. 1 kB is 1024 bytes (iozone.c, `unit`), and KB in older versions is the same.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, NamedTuple, Self

from pydantic import Field, model_validator
from typing_extensions import override

from vmlab.errors import WorkloadError
from vmlab.metrics import Metric, Sample, Unit
from vmlab.shell import script
from vmlab.steps import Command
from vmlab.topology.wording import quote
from vmlab.values.cpuset import cpu_list
from vmlab.values.nodeset import fold
from vmlab.values.size import Bytes
from vmlab.workloads import MARK, Measurement, Node, Output, Outputs, Task, register
from vmlab.workloads._causes import matched
from vmlab.workloads._clients import ClientsOptions, OnClients
from vmlab.workloads._install import SYSTEM, refuse
from vmlab.workloads._lustre import MOUNTS, NETS, directory
from vmlab.workloads._nodes import NodeNames, clients_of
from vmlab.workloads._sizes import Size

_TASK = "iozone"
_FOLDER = "vmlab-iozone"
_NODES, _SHELL = "nodes", "shell"
_MOST = 1024
"""Processes: MAXSTREAMS of iozone.c."""
_FREE = 0.95
_PREPARE_S = 600.0
_KIB = 1 << 10

_PREPARE = script(__file__, "iozone_prepare.sh")
# iozone calls its remote shell with a node, `-n` and a command, for each process and each test anew: one log-in to each
# node does for ten of them at once. What it starts there carries the run's mark.
_REMOTE = f"""exec ssh -o BatchMode=yes -o ControlMaster=auto -o ControlPath=.ssh-%n -o ControlPersist=60 \\
    -n "$1" "{MARK}='${MARK}' exec $3"
"""
_MEMORY = ("grep", "^MemTotal:", "/proc/meminfo")


def _figures(name: str, unit: Unit, what: str) -> Mapping[str, Metric]:
    """By the words of its table."""
    return MappingProxyType(
        {
            "Children": Metric(name, unit, "higher", name, f"{what}, all processes together"),
            "Parent": Metric(f"{name}_elapsed", unit, "higher", name, f"{what}, of all the time that passed"),
            "Min": Metric(f"{name}_slowest", unit, "higher", name, f"{what}, of the slowest process"),
            "Max": Metric(f"{name}_fastest", unit, "higher", name, f"{what}, of the fastest process"),
        }
    )


_BYTES = _figures("bandwidth", Unit.MIB_PER_S, "bytes")
_TRANSFERS = _figures("rate", Unit.OPERATIONS_PER_S, "transfers")

Processes = Annotated[int, Field(ge=1, le=_MOST)]


class Options(ClientsOptions):
    """What may be written below `iozone:`."""

    nodes: NodeNames | None = Field(None, description="nodes that write and read (default: all clients)")
    processes: tuple[Processes, ...] = Field(
        (1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
        min_length=1,
        description="how many, over all nodes; each number is measured by itself",
    )
    total: Size | None = Field(
        None, description="bytes that all processes share (default: twice the memory of all nodes)"
    )
    records: tuple[Size, ...] = Field(
        (Bytes(1 << 20),), min_length=1, description="bytes of one transfer; each is measured by itself"
    )
    direct: bool | None = Field(None, description="past the nodes' own caches (O_DIRECT) or not (default: both)")
    again: bool = Field(default=False, description="write and read a second time, too: rewrite and reread")
    operations: bool = Field(default=False, description="count transfers (op/s) instead of bytes (MiB/s)")
    directory: str | None = Field(
        None,
        pattern=r"^/\S*$",
        max_length=150,
        description="where the files go (default: the first Lustre file system that is mounted)",
    )
    timeout_s: int = Field(7200, ge=1, le=604_800, description="deadline of each command")

    @model_validator(mode="after")
    def _whole_kilobytes(self) -> Self:
        if odd := next((size for size in self.records if size % _KIB), None):
            raise ValueError(f"record {odd} is no multiple of 1KiB")
        return self


@register
class Iozone(OnClients[Options]):
    """Each measurement is one iozone on the first node, the master of its clients."""

    name = _TASK
    summary = "file system throughput of many processes on several nodes (iozone)"
    options = Options
    metrics = (*_BYTES.values(), *_TRANSFERS.values())
    packages = ("iozone", "iozone3", "lustre-client", "lustre-client-utils")
    facts = MappingProxyType(
        {
            "iozone": ("sh", "-c", "command -v iozone; exit 0"),
            "memory": _MEMORY,
            "mounts": MOUNTS,
            "nets": NETS,
            "system": SYSTEM,
        }
    )
    versions = MappingProxyType({_TASK: ("sh", "-c", "iozone -v | grep -o 'Revision: [0-9.]*'")})

    @override
    def measurements(self, options: Options, nodes: Sequence[Node]) -> tuple[tuple[Measurement, ...], ...]:
        chosen = clients_of(self.name, options.nodes, nodes)
        refuse(self.name, _TASK, [node for node in chosen if not _program(node)])
        above, free = directory(self.name, options.directory, chosen)
        total = _total(options, chosen)
        if free and total > free * _FREE:
            raise WorkloadError(
                f"{self.name}: {Bytes(total)} do not fit into the {free >> 20}MiB that are free in {above}",
                hint=f"--set total={max(1, int(free * _FREE) >> 20)}MiB",
            )
        ways = (True, False) if options.direct is None else (options.direct,)
        return tuple(
            (
                _measurement(
                    options, chosen, folder=f"{above}/{_FOLDER}", total=total, of=_Of(processes, record, direct)
                ),
            )
            for direct in ways
            for record in options.records
            for processes in options.processes
        )

    @override
    def parse(self, options: Options, measurement: Measurement, outputs: Outputs) -> tuple[Sample, ...]:
        output = outputs.get(_TASK)
        if output is None:
            raise WorkloadError("iozone did not run")
        found = _measured(output)
        wanted = measurement.labels.get("processes", "")
        if wanted and {str(table.processes) for table in found} != {wanted}:
            raise WorkloadError(f"iozone measured {found[0].processes} of {wanted} processes")
        return tuple(sample for table in found for sample in _samples(measurement, table))

    @override
    def sanity(
        self, options: Options, measurement: Measurement, outputs: Outputs, samples: Sequence[Sample]
    ) -> tuple[str, ...]:
        said = "\n".join(f"{output.stdout}\n{output.stderr}" for output in outputs.values())
        lost = [found[0].strip(" !") for found in _COMPLAINTS.finditer(said) if _LOST.search(found[0])]
        wrong = ["data read back are not what was written"] if _WRONG_DATA.search(said) else []
        return (*wrong, *dict.fromkeys(lost))

    @override
    def notes(self, options: Options, measurement: Measurement, outputs: Outputs) -> tuple[str, ...]:
        try:
            found = _measured(outputs[_TASK]) if _TASK in outputs else []
        except WorkloadError:
            return ()
        late = [table.operation for table in found if not table.moved]
        cached = measurement.labels.get("direct") == "false" and options.total is not None
        return (
            *((f"{', '.join(late)}: a process had moved nothing when the first was through",) if late else ()),
            *(("what is read may come from the nodes' own caches",) if cached else ()),
        )

    @override
    def explain(self, output: Output) -> str:
        return _why(f"{output.stderr}\n{output.stdout}") or super().explain(output)


_FAILURES = (
    (r"(Client # \d+ reporting an error [^\n]{1,160}?) ?!", "{}"),
    (r"(Client (?:# \d+|> \S+ <) is not running the same version of Iozone)", "{}"),
    (r"ssh: ([^\n]{1,200})", "iozone cannot reach a node: {}"),
    (r"(Permission denied) \((?:publickey|password|keyboard)", "iozone cannot reach a node by ssh: {}"),
    (r"^(Can not open temp[^\n]{1,200})\n(?:open: ([^\n]{1,100}))?", "{}: {}"),
    (r"^(Error (?:writing|reading) block[^\n]{1,160})\n(?:\w+: ([^\n]{1,100}))?", "{}: {}"),
)


def _why(text: str) -> str:
    """What it complains of; some blocks that cannot be written come without a reason."""
    return matched(_FAILURES, text).rstrip(": ")


class _Of(NamedTuple):
    """What one measurement is of. `record`: bytes."""

    processes: int
    record: Bytes
    direct: bool


def _program(node: Node) -> str:
    """Where iozone is there; "" if it is not."""
    return node.facts.get("iozone", "").strip()


def _total(options: Options, nodes: Sequence[Node]) -> int:
    if options.total is not None:
        return options.total
    told = [re.search(r"MemTotal: +(\d{1,15}) kB", node.facts.get("memory", "")) for node in nodes]
    memory = sum(int(found[1]) << 10 for found in told if found)
    if not memory or not all(told):
        raise WorkloadError("iozone: the nodes do not tell their memory", hint="--set total=SIZE")
    return 2 * memory


def _measurement(options: Options, nodes: Sequence[Node], *, folder: str, total: int, of: _Of) -> Measurement:
    names = [node.name for node in nodes]
    own = -(-total // of.processes // of.record) * of.record  # rounded up to whole records
    tests = ("-i", "0", "-i", "1", "-i", "2", *(() if options.again else ("-+n",)))
    # -c -e: until what is written is on the servers. -w: files stay, and are removed below.
    flags = (*(("-I",) if of.direct else ()), *(("-O",) if options.operations else ()), "-c", "-e", "-w")
    sizes = ("-r", f"{of.record // _KIB}k", "-s", f"{own // _KIB}k", "-t", str(of.processes))
    places = [nodes[number % len(nodes)] for number in range(of.processes)]
    others = () if nodes[0].where == "host" else dict.fromkeys(node.name for node in places)
    prepare = ("sh", "-c", _PREPARE, "vmlab", folder, *others)
    return Measurement(
        name=f"{'direct' if of.direct else 'cached'}.{of.record}.{of.processes}.{fold(names)}",
        labels={
            "nodes": fold(names),
            "processes": str(of.processes),
            "size": str(int(of.record)),
            "direct": str(of.direct).lower(),
        },
        tasks=(
            Task(name="prepare", node=names[0], argv=prepare, deadline_s=_PREPARE_S),
            Task(
                name=_TASK,
                node=names[0],
                argv=_argv(nodes[0], (*tests, *flags, *sizes), places, folder),
                deadline_s=float(options.timeout_s),
                files={
                    _NODES: "".join(f"{node.name} {folder} {_program(node)}\n" for node in places),
                    _SHELL: _REMOTE,
                },
            ),
            Task(name="remove", node=names[0], argv=("rm", "-rf", folder), deadline_s=_PREPARE_S),
        ),
    )


def _argv(master: Node, words: Command, places: Sequence[Node], folder: str) -> Command:
    """On the host itself all processes are the master's own."""
    if master.where == "host":
        cpus = sorted({cpu for node in places for cpu in node.cpus})
        files = (f"{folder}/{number}" for number in range(len(places)))
        confined = ("taskset", "-c", cpu_list(cpus)) if cpus else ()
        return (*confined, _program(master), *words, "-F", *files)
    return ("env", f"RSH=sh {_SHELL}", _program(master), *words, "-+m", _NODES, "-+h", master.name)


# --- reading -------------------------------------------------------------------------------------------------------

_OPERATIONS = MappingProxyType(
    {
        "initial writers": "write",
        "rewriters": "rewrite",
        "readers": "read",
        "re-readers": "reread",
        "random readers": "random_read",
        "random writers": "random_write",
        "mixed workload": "mixed",
        "reverse readers": "reverse_read",
        "stride readers": "stride_read",
        "pwrite writers": "pwrite",
        "pread readers": "pread",
        "fwriters": "fwrite",
        "freaders": "fread",
    }
)
_TESTS = MappingProxyType({"0": ("write", "rewrite"), "1": ("read", "reread"), "2": ("random_read", "random_write")})
"""What `-i` asks for; with -+n nothing is done again."""
_AGAIN = ("rewrite", "reread")

_COMMAND = re.compile(r"^\s*Command line used: (.+)$", re.MULTILINE)
_TITLE = re.compile(r"^\s*Throughput test with (\d{1,6}) (?:process|thread)", re.MULTILINE)
_HEAD = re.compile(r"^\s*(Children|Parent) sees? throughput for +(\d{1,6}) ([a-z -]+?)\s+= *(\S+) (\S+)/sec\s*$")
_REST = re.compile(r"^\s*(Min|Max|Avg) throughput per (?:process|thread)\s+= *(\S+) (\S+)/sec\s*$")
_MOVED = re.compile(r"^\s*Min xfer\s+= *(\S+) (\S+)\s*$")
_OF_A_TABLE = re.compile(r"throughput (?:for|per)|\bMin xfer\b")
_NUMBER = re.compile(r"[0-9]{1,15}\.[0-9]{2}")
_END = "iozone test complete."
_FACTORS = MappingProxyType({"kB": (_BYTES, 1 / 1024), "KB": (_BYTES, 1 / 1024), "ops": (_TRANSFERS, 1.0)})

_COMPLAINTS = re.compile(
    r"^(?:Client # \d+ reporting an error .*|Error (?:writing|reading) block.*(?:\n\w+: .*)?|\w+: .*error)$",
    re.MULTILINE,
)
# What a file system answers that lost a server or a client's state. A full one is the lab's doing.
_LOST = re.compile(
    r"Input/output error|Cannot send after transport endpoint shutdown|Transport endpoint is not connected|"
    r"Stale file handle|Structure needs cleaning|Bad message"
)
_WRONG_DATA = re.compile(r"^Error in file: Found ", re.MULTILINE)


class _Table(NamedTuple):
    """MiB/s or op/s, by the words of the table. `moved`: of the process that moved least when the first was through."""

    processes: int
    operation: str
    metrics: Mapping[str, Metric]
    figures: Mapping[str, float]
    moved: float


def _measured(output: Output) -> list[_Table]:
    """Raises WorkloadError unless all that the command line asks for was measured, and no client complained."""
    text = output.stdout
    if why := _why(f"{text}\n{output.stderr}") or matched(((_WRONG_DATA.pattern, "wrong data"),), text):
        raise WorkloadError(f"iozone failed: {why}")
    title = _TITLE.search(text)
    if title is None:
        raise WorkloadError("iozone printed no table")
    inside, end, _ = text[title.end() :].partition(_END)
    if not end:
        raise WorkloadError("iozone's report is cut off")
    found = list(_tables(inside))
    named = [(table.processes, table.operation) for table in found]
    if len(set(named)) < len(named):
        raise WorkloadError("iozone's report has several tables of the same name")
    done = {table.operation for table in found}
    if missing := [operation for operation in _asked(text) if operation not in done]:
        raise WorkloadError(f"iozone was to measure {', '.join(missing)}, and did not")
    if not found:
        raise WorkloadError("iozone measured nothing")
    return found


def _tables(text: str) -> Iterator[_Table]:
    """Each begins with what the children see, and ends with what was moved at least. Raises WorkloadError."""
    lines: list[str] = []
    for line in filter(_OF_A_TABLE.search, text.splitlines()):
        if lines and "Children" in line:
            break
        lines.append(line)
        if _MOVED.match(line):
            yield _table(lines)
            lines = []
    if lines:
        raise WorkloadError(f"a table of iozone's is cut off: {quote(lines[0].strip())}")


def _table(lines: Sequence[str]) -> _Table:
    heads = [found for found in map(_HEAD.match, lines) if found]
    rest = [found for found in map(_REST.match, lines) if found]
    moved = _MOVED.match(lines[-1])
    words = [found[1] for found in (*heads, *rest)]
    of = {(found[2], found[3]) for found in heads}
    units = {found[5] for found in heads} | {found[3] for found in rest} | {moved[2] if moved else ""}
    told = quote(lines[0].strip())
    if words not in (["Children", "Min", "Max", "Avg"], ["Children", "Parent", "Min", "Max", "Avg"]) or len(of) > 1:
        raise WorkloadError(f"a table of iozone's is none: {told}")
    (processes, name), *_ = of
    operation, unit = _OPERATIONS.get(name), units.pop()
    if operation is None or units or unit not in _FACTORS:
        raise WorkloadError(f"iozone's table is of an unknown unit or test: {told}")
    metrics, factor = _FACTORS[unit]
    figures = {found[1]: _number(found[4]) * factor for found in heads}
    figures |= {found[1]: _number(found[2]) * factor for found in rest}
    if not all(value for word, value in figures.items() if word in ("Children", "Parent", "Max")):
        raise WorkloadError(f"iozone moved nothing: {told}")
    return _Table(int(processes), operation, metrics, figures, _number(moved[1] if moved else ""))


def _number(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise WorkloadError(f"a figure of iozone's is no number: {quote(text[:60])}")
    return float(text)


def _asked(text: str) -> Iterator[str]:
    """By the command line that iozone prints; tests that are not among these are not looked for."""
    line = _COMMAND.search(text)
    words = f" {line[1]} " if line else ""
    once = re.search(r" -\+n ", words) is not None
    for number in re.findall(r" -i ?(\d{1,2})(?= )", words):
        yield from (operation for operation in _TESTS.get(number, ()) if not (once and operation in _AGAIN))


def _samples(measurement: Measurement, table: _Table) -> Iterator[Sample]:
    labels = {**measurement.labels, "processes": str(table.processes), "operation": table.operation}
    for word, metric in table.metrics.items():
        if word in table.figures:
            yield Sample(metric, table.figures[word], labels)
