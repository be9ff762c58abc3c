"""A file system from several clients at once, by IOR over MPI: bandwidth of writing and reading files.

Writing and reading are two runs of IOR, and between them each node gives up its locks and drops its caches: what is
read, and compared, comes from the servers. With several nodes each reads what another one wrote, besides, and the block
is by default so large that a node writes twice its memory. IOR (https://github.com/hpc/ior) must be 3.2 or later for
its JSON.

With a stonewall each task writes on until it has written as much as the fastest one had when the time was over, and
IOR keeps that number in a file for the run that reads: without it the reader runs into the end of shorter files. The
bandwidth is then of all that was moved and all the time that it took. What IOR says besides is of no use:
`StoneWallbwMeanMIB` is that of all tasks in 3.3, of one in 4.0, and absent in 3.2.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from statistics import fmean
from types import MappingProxyType
from typing import Any, Literal, Self

from pydantic import Field, model_validator
from typing_extensions import override

from vmlab.errors import WorkloadError
from vmlab.metrics import Metric, Sample, Unit
from vmlab.steps import Command
from vmlab.topology.wording import quote
from vmlab.values.nodeset import fold
from vmlab.values.size import Bytes
from vmlab.workloads import ON_HOST, Measurement, Node, Output, Outputs, Task, _mpirun, register
from vmlab.workloads._causes import matched
from vmlab.workloads._clients import ClientsOptions, OnClients
from vmlab.workloads._install import SYSTEM
from vmlab.workloads._ior_report import complaints, reported, summary
from vmlab.workloads._lustre import DROP_CACHES, MOUNTS, NETS, directory, kept_caches
from vmlab.workloads._nodes import NodeNames, by_hosts, clients_of, interface
from vmlab.workloads._sizes import Size

_BANDWIDTH = Metric("bandwidth", Unit.MIB_PER_S, "higher", "bandwidth", "mean of the repetitions, all nodes together")
_MAX = Metric("bandwidth_max", Unit.MIB_PER_S, "higher", "bandwidth", "best repetition")
_MIN = Metric("bandwidth_min", Unit.MIB_PER_S, "higher", "bandwidth", "worst repetition")
_RATE = Metric("operations", Unit.OPERATIONS_PER_S, "higher", "operations", "transfers, mean of the repetitions")
_FIGURES: Mapping[
    str, tuple[Metric, Callable[[Sequence[float]], float]]
] = {  # how those of several repetitions become one
    "bwMeanMIB": (_BANDWIDTH, fmean),
    "bwMaxMIB": (_MAX, max),
    "bwMinMIB": (_MIN, min),
    "OPsMean": (_RATE, fmean),
}

_FOLDER = "vmlab-ior"
_FREE = 0.95  # of the file system, at most
_MIB = 1 << 20
_LEAST_REPORT = 0.999  # IOR rounds
_PREPARE_S = 300.0
_DROP_S = 600.0
_TASK = "ior"
"""The task's name, or how it begins, wherever IOR runs."""
_DROP = "drop"

# What an earlier run left goes first. Without lfs, or not on Lustre, files lie as they do.
_PREPARE = """
rm -rf "$1" && mkdir -p "$1" || exit
if [ "$2" != 0 ] && command -v lfs >/dev/null; then lfs setstripe -c "$2" "$1"; fi
"""
_MEMORY = ("grep", "^MemTotal:", "/proc/meminfo")


class Options(ClientsOptions):
    """What may be written below `ior:`."""

    nodes: NodeNames | None = Field(None, description="nodes that write and read (default: all clients)")
    tasks_per_node: int = Field(1, ge=1, le=1024, description="MPI tasks on each node")
    transfer_sizes: tuple[Size, ...] = Field(
        (Bytes(_MIB),), min_length=1, description="bytes of one write or read; each is measured by itself"
    )
    block: Size | None = Field(
        None,
        description="bytes that each task writes, rounded up to a multiple of the transfer size (default: twice its "
        "node's memory, shared by the node's tasks)",
    )
    api: Literal["POSIX", "MPIIO"] = Field("POSIX", description="how files are written and read")
    stonewall_s: int | None = Field(
        None,
        ge=1,
        le=86_400,
        description="end writing and reading after so many seconds, whatever is left of the block; what the fastest "
        "task wrote until then, all write",
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
    check: bool = Field(
        default=False, description="compare what is read with what was written; read figures are lower then"
    )
    repetitions: int = Field(1, ge=1, le=1000, description="how often each is measured")
    by_host: bool = Field(
        default=False, description="where the nodes are on several hosts: those of each by themselves, and then all"
    )
    fabric: str = Field("mgmt", description="the fabric of MPI's own messages")
    timeout_s: int = Field(3600, ge=1, le=604_800, description="deadline of each command, besides stonewall_s")

    @model_validator(mode="after")
    def _blocks_hold_transfers(self) -> Self:
        if self.block is not None and self.block < max(self.transfer_sizes):
            raise ValueError("block is smaller than a transfer")
        return self


@register
class Ior(OnClients[Options]):
    """Each measurement is one mpirun on the first node, which starts IOR on all of them."""

    name = "ior"
    summary = "file system bandwidth from several clients at once (IOR over MPI)"
    options = Options
    metrics = (_BANDWIDTH, _MAX, _MIN, _RATE)
    packages = ("ior", "openmpi", "openmpi-bin", "mpich", "lustre-client", "lustre-client-utils")
    versions = MappingProxyType({"mpirun": ("mpirun", "--version")})
    facts = MappingProxyType(
        {"mpi": _mpirun.mpi("ior"), "memory": _MEMORY, "mounts": MOUNTS, "nets": NETS, "system": SYSTEM}
    )

    @override
    def measurements(self, options: Options, nodes: Sequence[Node]) -> tuple[tuple[Measurement, ...], ...]:
        chosen = clients_of("ior", options.nodes, nodes)
        started = _mpirun.found("ior", "ior", chosen)
        above, free = directory("ior", options.directory, chosen)
        folder = f"{above}/{_FOLDER}"
        layouts = (True, False) if options.file_per_process is None else (options.file_per_process,)
        sets = by_hosts(chosen) if options.by_host else {"": chosen}
        return tuple(
            (_measurement(options, some, started, folder=folder, free=free, own=own, size=size, host=host),)
            for own in layouts
            for size in options.transfer_sizes
            for host, some in sets.items()
        )

    @override
    def parse(self, options: Options, measurement: Measurement, outputs: Outputs) -> tuple[Sample, ...]:
        reports = list(self._reports(outputs))
        if not reports:
            raise WorkloadError("IOR printed nothing")
        rows = [row for report in reports for row in report if row.get("operation") in options.operations]
        missing = set(options.operations) - {row["operation"] for row in rows}
        if missing:
            raise WorkloadError(f"IOR's report has no figures of {' and '.join(sorted(missing))}")
        cached = bool(_kept(measurement, outputs))
        return tuple(
            Sample(metric, join([_number(row, name) for row in same]), _labels(measurement, operation, cached=cached))
            for operation in options.operations
            for name, (metric, join) in _FIGURES.items()
            if (same := [row for row in rows if row["operation"] == operation and name in row])
            and (metric in (_BANDWIDTH, _RATE) or options.repetitions > 1)
        )

    @override
    def sanity(
        self, options: Options, measurement: Measurement, outputs: Outputs, samples: Sequence[Sample]
    ) -> tuple[str, ...]:
        said = [line for output in _of_ior(outputs) for line in complaints(f"{output.stdout}\n{output.stderr}")]
        problems = list(dict.fromkeys(said))
        if not samples:
            return tuple(problems)
        if options.stonewall_s is None:
            problems += [
                f"only {moved:g} of {wanted:g} MiB were moved by {operation}"
                for operation, moved, wanted in self._short(measurement, outputs)
            ]
        still = [sample for sample in samples if sample.metric is _BANDWIDTH and not sample.value]
        problems += [f"bandwidth of {sample.labels['operation']} is 0" for sample in still]
        return tuple(problems)

    @override
    def notes(self, options: Options, measurement: Measurement, outputs: Outputs) -> tuple[str, ...]:
        found = []
        if why := _kept(measurement, outputs):
            what = "read figures" if "read" in options.operations else ""
            what = f"{what} and `check`".removeprefix(" and ") if options.check else what
            found.append(f"{what}: of the client's own cache, not of the servers, for {why}")
        if options.stonewall_s is not None:
            with suppress(WorkloadError):
                found += [
                    f"{operation} was ended by its stonewall of {options.stonewall_s} s: {moved:g} of {wanted:g} MiB"
                    for operation, moved, wanted in self._short(measurement, outputs)
                ]
        return tuple(found)

    @override
    def explain(self, output: Output) -> str:
        text = f"{output.stdout}\n{output.stderr}"
        return matched(_FAILURES, text) or _mpirun.explain(output.stderr, output.stdout) or super().explain(output)

    def _reports(self, outputs: Outputs) -> Iterator[list[dict[str, Any]]]:
        """Each run's list of figures."""
        for output in _of_ior(outputs):
            if not reported(output.stdout):
                raise WorkloadError(f"IOR printed no report: {self.explain(output)}")
            yield summary(output.stdout)

    def _short(self, measurement: Measurement, outputs: Outputs) -> Iterator[tuple[str, float, float]]:
        """The operations that moved less than the command line asks for: which, how much and of how much, in MiB."""
        wanted = _wanted_bytes(measurement) / _MIB
        for row in (row for report in self._reports(outputs) for row in report):
            moved = row.get("xsizeMiB")
            if isinstance(moved, int | float) and 0 < moved < wanted * _LEAST_REPORT:
                yield str(row.get("operation")), moved, wanted


def _of_ior(outputs: Outputs) -> list[Output]:
    return [output for name, output in outputs.items() if name == _TASK or name.startswith(f"{_TASK}-")]


def _labels(measurement: Measurement, operation: str, *, cached: bool) -> dict[str, str]:
    mark = {"cache": "client"} if cached and operation == "read" else {}
    return {**measurement.labels, "operation": operation, **mark}


def _kept(measurement: Measurement, outputs: Outputs) -> str:
    """Why what was read may have come from a node's own cache; "" if it did not.

    Where several nodes take part each reads what another one wrote (-C), so that none has it.
    """
    if re.search(r"[\[,]", measurement.labels.get("nodes", "")):
        return ""
    dropping = [output.stdout for name, output in outputs.items() if name.startswith(_DROP)]
    return next(filter(None, map(kept_caches, dropping)), "")


_FAILURES = (
    (r"ERROR: Unrecognized I/O API", "this IOR was built without the api that is asked for"),
    (r"ERROR: ([^\n]*No space left on device[^\n]*)", "the file system is full: {}"),
    (r"ERROR: ([^\n]{1,200}?),? \(\S+:\d+\)", "{}"),
    (r"ERROR: ([^\n]{1,200})", "{}"),
    (r"Process \d+: FAILED in [^,\n]+, ([^\n]{1,200})", "{}"),
    (r"ior: (?:command )?not found|could not find an executable", "a node has no ior"),
)


def _measurement(
    options: Options,
    clients: Sequence[Node],
    mpi: _mpirun.Mpi,
    *,
    folder: str,
    free: int,
    own: bool,
    size: Bytes,
    host: str,
) -> Measurement:
    tasks = len(clients) * options.tasks_per_node
    block = _block(options, clients, size)
    if options.stonewall_s is None and free and block * tasks > free * _FREE:
        raise WorkloadError(
            f"ior: {Bytes(block * tasks)} do not fit into the {free >> 20}MiB that are free in {folder}",
            hint=f"--set block={max(1, int(free * _FREE) // tasks >> 20)}MiB; reads may then come from the cache",
        )
    over = interface("ior", options.fabric, clients)
    access = "file-per-process" if own else "shared"
    names = [node.name for node in clients]
    everyone = dict.fromkeys(names, options.tasks_per_node)
    files = ("-t", str(int(size)), "-b", str(block), "-o", f"{folder}/data", "-O", "summaryFormat=JSON")
    reading = (*(("-r",) if "read" in options.operations else ()), *(("-R",) if options.check else ()))
    wall, wear_out, rest = _stonewall(options, folder, keeps=bool(reading))

    def ior(repetition: int, *operation: str) -> Command:
        # -C -Q 1: each reads what the next node wrote. -e: what is written is on the servers before the clock stops.
        # -G: what is written is known to the run that compares it, and differs each time.
        check = ("-G", str(repetition)) if options.check else ()
        layout = ("-F",) if own else ()
        argv = (mpi.program, "-a", options.api, *layout, *operation, "-C", "-Q", "1", *check, *wall, *files)
        return mpi.start(everyone, over, argv)

    dropping = ("sh", "-c", f'{DROP_CACHES}drop_caches "$1"', "vmlab", folder)
    drop = mpi.start(dict.fromkeys(names, 1), over, dropping)
    keep = ("-k",) if reading else ()
    prepare = ("sh", "-c", _PREPARE, "vmlab", folder, "1" if own else str(options.stripe_count))
    limit = float(options.timeout_s + (options.stonewall_s or 0))
    runs = [_task("prepare", names[0], prepare, _PREPARE_S)]
    for repetition in range(1, options.repetitions + 1):
        end = f".{repetition}" if options.repetitions > 1 else ""
        writing = ior(repetition, "-w", *keep, "-e", "-g", *wear_out)
        runs.append(_task(f"{_TASK}-write{end}", names[0], writing, limit))
        if reading:
            runs.append(_task(f"{_DROP}{end}", names[0], drop, _DROP_S))
            runs.append(_task(f"{_TASK}-read{end}", names[0], ior(repetition, *reading, *rest, "-g"), limit))
        if rest:
            runs.append(_task(f"remove{end}", names[0], ("find", folder, "-type", "f", "-delete"), _PREPARE_S))
    return Measurement(
        name=f"{access}.{size}.{fold(names)}",
        labels={
            "nodes": fold(names),
            "tasks": str(tasks),
            "access": access,
            "size": str(int(size)),
            **({ON_HOST: host} if host else {}),
            **({"api": options.api} if options.api != "POSIX" else {}),
            **({"stonewall_s": str(options.stonewall_s)} if options.stonewall_s is not None else {}),
        },
        tasks=tuple(runs),
    )


def _stonewall(options: Options, folder: str, *, keeps: bool) -> tuple[Command, Command, Command]:
    """What all runs are told, what the one that writes, and the one that reads; `keeps`: there is one that reads."""
    if options.stonewall_s is None:
        return (), (), ()
    wall = ("-D", str(options.stonewall_s))
    # With the file of its status IOR refuses to remove the others.
    status = ("-O", f"stoneWallingStatusFile={folder}/stonewall") if keeps else ()
    return (*wall, *status), ("-O", "stoneWallingWearOut=1"), ("-k",) if keeps else ()


def _task(name: str, node: str, argv: Command, deadline_s: float) -> Task:
    return Task(name=name, node=node, argv=argv, deadline_s=deadline_s)


def _block(options: Options, clients: Sequence[Node], size: Bytes) -> int:
    """A multiple of the transfer size, which IOR wants: rounded up."""
    wanted = options.block
    if wanted is None:
        told = [re.search(r"MemTotal: +(\d{1,15}) kB", node.facts.get("memory", "")) for node in clients]
        memory = max((int(found[1]) << 10 for found in told if found), default=0)
        if not memory:
            raise WorkloadError("ior: the nodes do not tell their memory", hint="--set block=SIZE")
        wanted = Bytes(2 * memory // options.tasks_per_node)
    return -(-max(wanted, size) // size) * size


def _number(row: Mapping[str, Any], name: str) -> float:
    value = row[name]
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < float("inf"):
        raise WorkloadError(f"IOR's {name} is no number: {quote(str(value))}")
    return float(value)


def _wanted_bytes(measurement: Measurement) -> int:
    """What the command line asks for; 0 if it does not say."""
    argv = next((task.argv for task in measurement.commands if "-b" in task.argv), ())
    after = dict(pairwise(argv))
    block, tasks = after.get("-b", ""), after.get("-np", after.get("-n", ""))
    return int(block) * int(tasks) if block.isdecimal() and tasks.isdecimal() else 0
