"""A file system from several clients at once, by IOR over MPI: bandwidth of writing and reading files.

The block, which each task writes, is by default so large that a node writes twice its memory: what it reads back
cannot lie in its cache. With several nodes each reads what another one wrote, besides. IOR (https://github.com/hpc/ior)
must be 3.2 or later for its JSON; MPI must be Open MPI, which starts its processes over ssh between the nodes.
"""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import override

from vmlab.errors import WorkloadError
from vmlab.metrics import Metric, Sample, Unit
from vmlab.topology.wording import quote
from vmlab.values.nodeset import fold
from vmlab.values.size import Bytes
from vmlab.workloads import Measurement, Node, Output, Outputs, Task, Workload, register
from vmlab.workloads._lustre import MOUNTS, NETS, directory, mounts, over_soft_roce
from vmlab.workloads._nodes import NodeNames, clients_of
from vmlab.workloads._sizes import Size

_BANDWIDTH = Metric("bandwidth", Unit.MIB_PER_S, "higher", "bandwidth", "mean of the repetitions, all nodes together")
_MAX = Metric("bandwidth_max", Unit.MIB_PER_S, "higher", "bandwidth", "best repetition")
_MIN = Metric("bandwidth_min", Unit.MIB_PER_S, "higher", "bandwidth", "worst repetition")
_RATE = Metric("operations", Unit.OPERATIONS_PER_S, "higher", "operations", "transfers, mean of the repetitions")
_FIGURES = {"bwMeanMIB": _BANDWIDTH, "bwMaxMIB": _MAX, "bwMinMIB": _MIN, "OPsMean": _RATE}

_FOLDER = "vmlab-ior"
_FREE = 0.95  # of the file system, at most
_MIB = 1 << 20
_LEAST_REPORT = 0.999  # IOR rounds
_PREPARE_S = 300.0

# What an earlier run left goes first. Without lfs, or not on Lustre, files lie as they do.
_PREPARE = """
rm -rf "$1" && mkdir -p "$1" || exit
if [ "$2" != 0 ] && command -v lfs >/dev/null; then lfs setstripe -c "$2" "$1"; fi
"""
# Debian has Open MPI in /usr/bin, RHEL where only `module load` finds it.
_FIND = """
PATH=$PATH:/usr/lib64/openmpi/bin:/usr/local/bin:/opt/ior/bin
for tool in mpirun ior; do
    found=$(command -v "$tool") && echo "$tool $found"
done
mpirun --version 2>/dev/null | head -n 1 | sed 's/^/version /'
sed -n 's/^MemTotal: *\\([0-9]*\\) kB/memory \\1/p' /proc/meminfo
exit 0
"""


class Options(BaseModel):
    """What may be written below `ior:`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    nodes: NodeNames | None = Field(None, description="nodes that write and read (default: all clients)")
    tasks_per_node: int = Field(1, ge=1, le=1024, description="MPI tasks on each node")
    transfer_sizes: tuple[Size, ...] = Field(
        (Bytes(_MIB),), min_length=1, description="bytes of one write or read; each is measured by itself"
    )
    block: Size | None = Field(
        None, description="bytes that each task writes (default: twice its node's memory, shared by the node's tasks)"
    )
    operations: tuple[Literal["write", "read"], ...] = Field(
        ("write", "read"), min_length=1, description="what is measured; what is read is written first in any case"
    )
    file_per_process: bool | None = Field(
        None, description="a file for each task, or one for all (default: both, one after the other)"
    )
    directory: str | None = Field(
        None, pattern="^/", description="where the files go (default: the first Lustre file system that is mounted)"
    )
    stripe_count: int = Field(
        -1, ge=-1, le=2000, description="OSTs under a shared file; -1: all, 0: as the directory has it"
    )
    check: bool = Field(default=False, description="compare what is read with what was written; figures are lower then")
    repetitions: int = Field(1, ge=1, le=1000, description="how often each is measured")
    fabric: str = Field("mgmt", description="the fabric of MPI's own messages")
    timeout_s: int = Field(3600, ge=1, le=604_800, description="deadline of each command")

    @model_validator(mode="after")
    def _blocks_hold_transfers(self) -> Self:
        if self.block is not None and self.block < max(self.transfer_sizes):
            raise ValueError("block is smaller than a transfer")
        return self


class _Facts:
    """What `_FIND` and MOUNTS printed on a node."""

    def __init__(self, node: Node) -> None:
        words = [line.split(None, 1) for line in node.facts.get("ior", "").splitlines()]
        told = {name: rest for name, *more in words for rest in more}
        self.mpirun = told.get("mpirun", "")
        self.ior = told.get("ior", "")
        self.version = told.get("version", "")
        memory = told.get("memory", "")
        self.memory = int(memory) << 10 if memory.isdecimal() else 0
        self.mounts = mounts(node.facts.get("mounts", ""))


@register
class Ior(Workload[Options]):
    """Each measurement is one mpirun on the first node, which starts IOR on all of them."""

    name = "ior"
    summary = "file system bandwidth from several clients at once (IOR over MPI)"
    options = Options
    metrics = (_BANDWIDTH, _MAX, _MIN, _RATE)
    packages = ("ior", "openmpi", "openmpi-bin", "lustre-client", "lustre-client-utils")
    facts = MappingProxyType({"ior": ("sh", "-c", _FIND), "mounts": MOUNTS, "nets": NETS})

    @override
    def takes_part(self, options: Options, nodes: Sequence[Node]) -> tuple[str, ...]:
        return tuple(node.name for node in clients_of("ior", options.nodes, nodes))

    @override
    def measurements(self, options: Options, nodes: Sequence[Node]) -> tuple[tuple[Measurement, ...], ...]:
        chosen = clients_of("ior", options.nodes, nodes)
        facts = {node.name: _Facts(node) for node in chosen}
        _have_tools(facts)
        known = {name: fact.mounts for name, fact in facts.items()}
        above, free = directory("ior", options.directory, known)
        layouts = (True, False) if options.file_per_process is None else (options.file_per_process,)
        return tuple(
            (_measurement(options, chosen, facts, folder=f"{above}/{_FOLDER}", free=free, own=own, size=size),)
            for own in layouts
            for size in options.transfer_sizes
        )

    @override
    def soft(self, options: Options, nodes: Sequence[Node]) -> bool:
        del options
        return over_soft_roce(nodes)

    @override
    def parse(self, options: Options, measurement: Measurement, outputs: Outputs) -> tuple[Sample, ...]:
        output = outputs.get("ior")
        if output is None:
            raise WorkloadError("IOR printed nothing")
        samples = [
            Sample(metric, _number(row, name), {**measurement.labels, "operation": operation})
            for row in self._summary(output)
            if (operation := str(row.get("operation"))) in options.operations
            for name, metric in _FIGURES.items()
            if name in row and (metric in (_BANDWIDTH, _RATE) or options.repetitions > 1)
        ]
        missing = set(options.operations) - {sample.labels["operation"] for sample in samples}
        if missing:
            raise WorkloadError(f"IOR's report has no figures of {' and '.join(sorted(missing))}")
        return tuple(samples)

    @override
    def sanity(
        self, options: Options, measurement: Measurement, outputs: Outputs, samples: Sequence[Sample]
    ) -> tuple[str, ...]:
        output = outputs.get("ior")
        if output is None:
            return ()
        text = output.stdout + "\n" + output.stderr
        problems = [found.strip() for found in re.findall(r"WARNING: (?:.*(?:incorrect|differs|mismatch).*)", text)]
        if not samples:
            return tuple(problems)
        wanted = _wanted_bytes(measurement)
        for row in self._summary(output):
            moved = row.get("xsizeMiB")
            if isinstance(moved, int | float) and 0 < moved < wanted / _MIB * _LEAST_REPORT:
                problems.append(f"only {moved:g} of {wanted / _MIB:g} MiB were moved by {row.get('operation')}")
        still = [sample for sample in samples if sample.metric is _BANDWIDTH and not sample.value]
        problems += [f"bandwidth of {sample.labels['operation']} is 0" for sample in still]
        del options
        return tuple(problems)

    @override
    def explain(self, output: Output) -> str:
        text = output.stdout + "\n" + output.stderr
        for pattern, said in _FAILURES:
            if found := re.search(pattern, text):
                return said.format(*found.groups())
        return output.last_line

    def _summary(self, output: Output) -> list[dict[str, Any]]:
        """The report's list of figures, by operation. MPI's warnings may stand around the report."""
        begin = re.search(r"^\{", output.stdout, re.MULTILINE)
        if begin is None:
            raise WorkloadError(f"IOR printed no report: {self.explain(output)}")
        try:
            report, _ = json.JSONDecoder().raw_decode(output.stdout, begin.start())
        except (ValueError, RecursionError):
            raise WorkloadError("IOR's report is cut off") from None
        summary = report.get("summary") if isinstance(report, dict) else None
        rows = [row for row in summary if isinstance(row, dict)] if isinstance(summary, list) else []
        if not rows:
            raise WorkloadError("IOR's report has no summary")
        return rows


_FAILURES = (
    (r"ssh: connect to host (\S+) port \d+: ([^\n]+)", "mpirun cannot reach {} by ssh: {}"),
    (r"(Permission denied|Host key verification failed)", "mpirun's ssh from the first node to the others: {}"),
    (r"ORTE was unable to reliably start|PRTE has lost communication", "mpirun cannot start on all nodes"),
    (r"There are not enough slots available", "mpirun finds too few slots for the tasks"),
    (r"ERROR: ([^\n]*No space left on device[^\n]*)", "the file system is full: {}"),
    (r"ERROR: ([^\n]{1,200}?),? \(\S+:\d+\)", "{}"),
    (r"ERROR: ([^\n]{1,200})", "{}"),
    (r"ior: (?:command )?not found|could not find an executable", "a node has no ior"),
)


def _have_tools(facts: Mapping[str, _Facts]) -> None:
    for tool in ("ior", "mpirun"):
        without = [name for name, fact in facts.items() if not getattr(fact, tool)]
        if without:
            raise WorkloadError(
                f"ior: {fold(without)} has no {tool}", hint="use an image that carries IOR and Open MPI"
            )
    first = next(iter(facts.values()))
    if "Open MPI" not in first.version and "OpenRTE" not in first.version:
        raise WorkloadError(f"ior: mpirun is {quote(first.version or 'unknown')} (expected Open MPI)")
    paths = {fact.ior for fact in facts.values()}
    if len(paths) > 1:
        raise WorkloadError(f"ior: the nodes have ior in different places: {', '.join(sorted(paths))}")


def _measurement(
    options: Options,
    clients: Sequence[Node],
    facts: Mapping[str, _Facts],
    *,
    folder: str,
    free: int,
    own: bool,
    size: Bytes,
) -> Measurement:
    tasks = len(clients) * options.tasks_per_node
    block = _block(options, facts, size)
    if free and block * tasks > free * _FREE:
        raise WorkloadError(
            f"ior: {Bytes(block * tasks)} do not fit into the {free >> 20}MiB that are free in {folder}",
            hint=f"--set block={max(1, int(free * _FREE) // tasks >> 20)}MiB; reads may then come from the cache",
        )
    first = facts[clients[0].name]
    interface = _interface(options, clients)
    access = "file-per-process" if own else "shared"
    names = [node.name for node in clients]
    argv = (
        *(first.mpirun, "--allow-run-as-root"),
        *("--mca", "btl_tcp_if_include", interface, "--mca", "oob_tcp_if_include", interface),
        *("--host", ",".join(f"{name}:{options.tasks_per_node}" for name in names), "-np", str(tasks)),
        *(first.ior, "-a", "POSIX", *(("-F",) if own else ()), "-w"),
        *(("-r",) if "read" in options.operations else ()),
        *(("-W", "-R") if options.check and "read" in options.operations else ("-W",) if options.check else ()),
        # -C: each reads what its neighbour wrote. -e: what is written is on the servers before the clock stops.
        *("-C", "-Q", str(options.tasks_per_node), "-e", "-g", "-i", str(options.repetitions)),
        *("-t", str(int(size)), "-b", str(block), "-o", f"{folder}/data", "-O", "summaryFormat=JSON"),
    )
    prepare = ("sh", "-c", _PREPARE, "vmlab", folder, "1" if own else str(options.stripe_count))
    return Measurement(
        name=f"{access}.{size}.{fold(names)}",
        labels={"nodes": fold(names), "tasks": str(tasks), "access": access, "size": str(int(size))},
        tasks=(
            Task(name="prepare", node=names[0], argv=prepare, deadline_s=_PREPARE_S),
            Task(name="ior", node=names[0], argv=argv, deadline_s=float(options.timeout_s)),
        ),
    )


def _block(options: Options, facts: Mapping[str, _Facts], size: Bytes) -> int:
    """A multiple of the transfer size, which IOR wants: rounded up."""
    wanted = options.block
    if wanted is None:
        memory = max(fact.memory for fact in facts.values())
        if not memory:
            raise WorkloadError("ior: the nodes do not tell their memory", hint="--set block=SIZE")
        wanted = Bytes(2 * memory // options.tasks_per_node)
    return -(-max(wanted, size) // size) * size


def _interface(options: Options, clients: Sequence[Node]) -> str:
    """Its name is the same on all nodes: interfaces are named by their fabrics."""
    places = {node.name: node.on(options.fabric) for node in clients}
    without = [name for name, place in places.items() if place is None]
    if without:
        raise WorkloadError(f"ior: {fold(without)} is not on the fabric {quote(options.fabric)}")
    return next(place.netdev for place in places.values() if place is not None)


def _number(row: Mapping[str, Any], name: str) -> float:
    value = row[name]
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < float("inf"):
        raise WorkloadError(f"IOR's {name} is no number: {quote(str(value))}")
    return float(value)


def _wanted_bytes(measurement: Measurement) -> int:
    """What the command line asks for; 0 if it does not say."""
    argv = next((task.argv for task in measurement.tasks if task.name == "ior"), ())
    after = {name: value for name, value in pairwise(argv) if name in ("-b", "-np")}
    block, tasks = after.get("-b", ""), after.get("-np", "")
    return int(block) * int(tasks) if block.isdecimal() and tasks.isdecimal() else 0
