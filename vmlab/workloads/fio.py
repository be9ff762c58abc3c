"""Reads and writes of many nodes at once, by fio: bandwidth, IOPS, latencies to the 99.99th percentile, steadiness.

The same jobs begin on all nodes with one start, after each has laid out its files, each in a folder of its own. With a
mix (`rw: randrw`, `read_percent: 90`) reads and writes are figures of their own.

fio (https://github.com/axboe/fio, 2.x and 3.x): HOWTO.rst, `add_ddir_status_json` in stat.c. `bw` is in KiB/s, rounded
down, `bw_bytes` (from 3.2) in bytes/s; `clat_ns` and `lat_ns` are in ns, in 2.x `clat` and `lat` in us. A direction
that a job does not use is there with zeros. fio ends with status 0 when a job did nothing.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from os import strerror
from statistics import fmean
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Self

from pydantic import Field, model_validator
from typing_extensions import override

from vmlab.errors import WorkloadError
from vmlab.metrics import Metric, Sample, Unit
from vmlab.shell import script
from vmlab.topology.wording import quote
from vmlab.values.nodeset import fold
from vmlab.values.size import Bytes
from vmlab.workloads import Job, Measurement, Node, Output, Outputs, PerHost, Task, by_node, register
from vmlab.workloads._causes import matched
from vmlab.workloads._clients import ClientsOptions, OnClients
from vmlab.workloads._fields import below, number, report, rows
from vmlab.workloads._install import SYSTEM, require, tools
from vmlab.workloads._lustre import DROP_CACHES, MOUNTS, NETS, directory, kept_caches
from vmlab.workloads._nodes import NodeNames, clients_of
from vmlab.workloads._sizes import Size

_TOOL = "fio"
_NAME = "vmlab"
"""Of the job."""
_LAYOUT = "layout"
_FOLDER = "vmlab-fio"
_FREE = 0.95  # of the file system, at most
_LAYOUT_S = 3600.0
_MIB = 1 << 20
_LEAST_TIME = 0.9  # of what was asked for

_BANDWIDTH = Metric("bandwidth", Unit.MIB_PER_S, "higher", "bandwidth", "all nodes together")
_LOWEST = Metric("bandwidth_lowest", Unit.MIB_PER_S, "higher", "bandwidth", "in the slowest second, all together")
_STEADINESS = Metric("steadiness", "%", "higher", "bandwidth", "the slowest second in parts of the mean of all")
_RATE = Metric("iops", "IOPS", "higher", "bandwidth", "all nodes together")
_NODE_BANDWIDTH = Metric("node_bandwidth", Unit.MIB_PER_S, "higher", "node", "of one node")
_NODE_RATE = Metric("node_iops", "IOPS", "higher", "node", "of one node")
_HOST_BANDWIDTH = Metric("host_bandwidth", Unit.MIB_PER_S, "higher", "by host", "of a host's nodes, and of all")
_HOST_RATE = Metric("host_iops", "IOPS", "higher", "by host", "of a host's nodes, and of all")
_LATENCY = Metric("latency", Unit.MICROSECONDS, "lower", "latency", "mean, from the call to its end")
_PERCENTILES: Mapping[float, Metric] = {
    percent: Metric(f"latency_p{name}", Unit.MICROSECONDS, "lower", "latency", "from being given to the kernel")
    for percent, name in ((50, "50"), (90, "90"), (95, "95"), (99, "99"), (99.9, "999"), (99.99, "9999"))
}
_MAX = Metric("latency_max", Unit.MICROSECONDS, "lower", "latency", "from the call to its end")
_OVER_TIME = Metric("bandwidth_second", Unit.MIB_PER_S, "higher", "over time", "in each second, all nodes together")

_PREPARE = DROP_CACHES + script(__file__, "fio_prepare.sh")


class Options(ClientsOptions):
    """What may be written below `fio:`."""

    nodes: NodeNames | None = Field(None, description="nodes that read and write (default: all clients)")
    rw: Literal["read", "write", "randread", "randwrite", "rw", "randrw"] = Field(
        "randread", description="in order or at random; rw and randrw are mixes"
    )
    read_percent: int = Field(50, ge=1, le=99, description="of a mix, how much is read")
    block: Size = Field(Bytes(4096), description="bytes of one read or write")
    jobs: int = Field(1, ge=1, le=4096, description="processes on each node, each with a file of its own")
    depth: int = Field(1, ge=1, le=65_536, description="reads and writes of a process in flight (libaio, io_uring)")
    size: Size = Field(Bytes(1 << 30), description="of each process's file")
    runtime_s: int = Field(30, ge=1, le=604_800, description="how long it is measured")
    ramp_s: int = Field(0, ge=0, le=3600, description="how long it runs before that without being measured")
    engine: Literal["libaio", "io_uring", "psync"] = Field("libaio", description="fio's ioengine")
    direct: bool = Field(default=True, description="past the page cache (O_DIRECT)")
    directory: str | None = Field(
        None, pattern="^/", description="where the files go (default: the first Lustre file system that is mounted)"
    )
    over_time: bool = Field(default=False, description="bandwidth in each second, too")
    timeout_s: int = Field(120, ge=1, le=86_400, description="deadline of fio, besides runtime_s and ramp_s")

    @model_validator(mode="after")
    def _files_hold_blocks(self) -> Self:
        if self.size < self.block:
            raise ValueError("size is smaller than a block")
        return self


@register
class Fio(OnClients[Options]):
    """Each measurement is a job of fio on all nodes, begun at once."""

    name = _TOOL
    summary = "reads and writes of many nodes at once: bandwidth, IOPS, latencies (fio)"
    options = Options
    metrics = (
        *(_BANDWIDTH, _LOWEST, _STEADINESS, _RATE, _NODE_BANDWIDTH, _NODE_RATE),
        *(_HOST_BANDWIDTH, _HOST_RATE, _LATENCY, *_PERCENTILES.values(), _MAX, _OVER_TIME),
    )
    adds_up = MappingProxyType(
        {
            _NODE_BANDWIDTH: PerHost(_HOST_BANDWIDTH, without=("number",)),
            _NODE_RATE: PerHost(_HOST_RATE, without=("number",)),
        }
    )
    packages = ("fio", "lustre-client", "lustre-client-utils")
    facts = MappingProxyType({"tools": tools(_TOOL), "mounts": MOUNTS, "nets": NETS, "system": SYSTEM})

    @override
    def measurements(self, options: Options, nodes: Sequence[Node]) -> tuple[tuple[Measurement, ...], ...]:
        chosen = clients_of(self.name, options.nodes, nodes)
        require(self.name, _TOOL, chosen)
        above, free = directory(self.name, options.directory, chosen)
        wanted = Bytes(options.size * options.jobs * len(chosen))
        if free and wanted > free * _FREE:
            raise WorkloadError(
                f"fio: {wanted} do not fit into the {free >> 20}MiB that are free in {above}",
                hint=f"--set size={max(1, int(free * _FREE) // (options.jobs * len(chosen)) >> 20)}MiB",
            )
        return ((_measurement(options, [node.name for node in chosen], f"{above}/{_FOLDER}"),),)

    @override
    def parse(self, options: Options, measurement: Measurement, outputs: Outputs) -> tuple[Sample, ...]:
        of_nodes = {node: _measured(output) for node, output in by_node(_TOOL, outputs).items()}
        if not of_nodes:
            raise WorkloadError("fio printed nothing")
        return (
            *_together(measurement, of_nodes),
            *_of_time(options, measurement, by_node(_TOOL, outputs)),
            *_of_each(measurement, of_nodes),
        )

    @override
    def sanity(
        self, options: Options, measurement: Measurement, outputs: Outputs, samples: Sequence[Sample]
    ) -> tuple[str, ...]:
        found = {node: _failed(output) for node, output in by_node(_TOOL, outputs).items()}
        return tuple(f"{node}: {said}" for node, (code, said) in found.items() if code in _LOST)

    @override
    def notes(self, options: Options, measurement: Measurement, outputs: Outputs) -> tuple[str, ...]:
        if options.direct or options.rw in ("write", "randwrite"):
            return ()
        kept = map(kept_caches, (output.stdout for output in by_node(_LAYOUT, outputs).values()))
        return tuple(f"read figures: of the client's own cache, not of the servers, for {why}" for why in kept if why)

    @override
    def explain(self, output: Output) -> str:
        text = f"{output.stderr}\n{output.stdout}"
        return _failed(output)[1] or matched(_FAILURES, text) or super().explain(output)


_FAILURES = ((r"^fio: (?!pid=|terminating|failed parsing)([^\n]{1,200})", "{}"),)


# --- command lines -------------------------------------------------------------------------------------------------


def _measurement(options: Options, names: Sequence[str], folder: str) -> Measurement:
    labels = {"nodes": fold(names), "rw": options.rw, "block": str(int(options.block))}
    labels |= {"jobs": str(options.jobs), "depth": str(options.depth)}
    if options.rw in ("rw", "randrw"):
        labels["read_percent"] = str(options.read_percent)
    reads = "0" if options.rw in ("write", "randwrite") else "1"
    deadline_s = float(options.timeout_s + options.runtime_s + options.ramp_s)

    def layout(name: str) -> Task:
        here = f"{folder}/{name}"
        argv = ("sh", "-c", _PREPARE, "vmlab", here, reads, *_fio(options, here))
        return Task(name=f"{_LAYOUT}.{name}", node=name, argv=argv, deadline_s=_LAYOUT_S)

    def measure(name: str) -> Task:
        # --unlink: the files are removed at the end, also of one that failed.
        more = ("--unlink=1", f"--write_bw_log={name}", "--log_avg_msec=1000", "--per_job_logs=0")
        argv = (*_fio(options, f"{folder}/{name}"), *more)
        return Task(name=f"{_TOOL}.{name}", node=name, argv=argv, deadline_s=deadline_s, brings=(_log(name),))

    return Measurement(
        name=f"{options.rw}.{options.block}.{options.jobs}x{options.depth}.{fold(names)}",
        labels=labels,
        tasks=(Job(prepare=tuple(map(layout, names)), tasks=tuple(map(measure, names))),),
    )


def _log(node: str) -> str:
    """What `write_bw_log=NODE` writes."""
    return f"{node}_bw.log"


def _fio(options: Options, folder: str) -> tuple[str, ...]:
    mix = (f"--rwmixread={options.read_percent}",) if options.rw in ("rw", "randrw") else ()
    ramp = (f"--ramp_time={options.ramp_s}",) if options.ramp_s else ()
    return (
        *("fio", "--output-format=json", f"--name={_NAME}", f"--directory={folder}", f"--rw={options.rw}", *mix),
        *(f"--bs={int(options.block)}", f"--size={int(options.size)}", f"--numjobs={options.jobs}"),
        *(f"--iodepth={options.depth}", f"--ioengine={options.engine}", f"--direct={int(options.direct)}"),
        *("--time_based=1", f"--runtime={options.runtime_s}", *ramp, "--group_reporting"),
        f"--percentile_list={':'.join(f'{percent:g}' for percent in _PERCENTILES)}",
    )


# --- reading -------------------------------------------------------------------------------------------------------

_DIRECTIONS = ("read", "write", "trim")
_USES: Mapping[str, tuple[str, ...]] = {
    "read": ("read",),
    "randread": ("read",),
    "write": ("write",),
    "randwrite": ("write",),
    "rw": ("read", "write"),
    "readwrite": ("read", "write"),
    "randrw": ("read", "write"),
    "trim": ("trim",),
    "randtrim": ("trim",),
    "trimwrite": ("trim", "write"),
}
_SIGNAL = re.compile(r"\bfio: terminating on signal (\d+)")
_TIME = re.compile(r"([0-9]{1,9})(us|usec|ms|msec|s|sec|m|min|h|d|)")
_TIMES = {"": 1.0, "s": 1.0, "sec": 1.0, "ms": 1e-3, "msec": 1e-3, "us": 1e-6, "usec": 1e-6}
_TIMES |= {"m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_SIZE = re.compile(r"([0-9]{1,18})([kmgt]?)(?:i?b)?")
_SHIFTS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}
_OPTIONS_OF_AMOUNT = frozenset(
    {"io_size", "io_limit", "number_ios", "loops", "filesize", "fill_device", "zonesize", "zonerange", "kb_base"}
)
_LAST_ERRNO = 4095
_LEAST_SECONDS = 2
_WRONG_DATA = 84  # EILSEQ, as fio's verify.c has it
# What a file system answers that lost a server, a client's state or data: EIO, EBADMSG, ENOTCONN, ESHUTDOWN, ETIMEDOUT,
# ESTALE, EUCLEAN. A full one (ENOSPC) is the lab's doing.
_LOST = frozenset({5, 74, _WRONG_DATA, 107, 108, 110, 116, 117})
_LATENCY_UNITS = {"_ns": 1e-3, "": 1.0}
_LOG_LINE = re.compile(r"([0-9]{1,12}), *([0-9]{1,15}), *([0-2])(?:,|$)")
_A_SECOND_IS_MISSING = 1500  # ms between two lines


class _Row(NamedTuple):
    """What one direction of a job did. Absent metrics were not measured."""

    job: str
    direction: str
    figures: Mapping[Metric, float]


def _labels(measurement: Measurement, row: _Row) -> dict[str, str]:
    """A job that is not ours has its name among them."""
    job = {} if row.job == _NAME else {"job": row.job}
    return {**measurement.labels, **job, "direction": row.direction}


def _together(measurement: Measurement, of_nodes: Mapping[str, Sequence[_Row]]) -> Iterator[Sample]:
    kinds: dict[tuple[str, str], list[_Row]] = {}
    for row in (row for rows_of in of_nodes.values() for row in rows_of):
        kinds.setdefault((row.job, row.direction), []).append(row)
    for same in kinds.values():
        for metric, part in ((_BANDWIDTH, _NODE_BANDWIDTH), (_RATE, _NODE_RATE)):
            yield Sample(metric, sum(row.figures[part] for row in same), _labels(measurement, same[0]))


def _of_each(measurement: Measurement, of_nodes: Mapping[str, Sequence[_Row]]) -> Iterator[Sample]:
    """By node, and by number where a job's processes have rows of their own."""
    for node, rows_of in of_nodes.items():
        kinds = [(row.job, row.direction) for row in rows_of]
        for place, (kind, row) in enumerate(zip(kinds, rows_of, strict=True)):
            which = {"number": str(kinds[: place + 1].count(kind))} if kinds.count(kind) > 1 else {}
            for metric, value in row.figures.items():
                yield Sample(metric, value, {**_labels(measurement, row), **which, "node": node})


def _of_time(options: Options, measurement: Measurement, outputs: Mapping[str, Output]) -> Iterator[Sample]:
    """Out of the logs, if those of all nodes are there."""
    if not all(_log(node) in output.files for node, output in outputs.items()):
        return
    logs = [_each_second(output.text(_log(node)), _ended(output)) for node, output in outputs.items()]
    for direction in _DIRECTIONS:
        parts = [log[direction] for log in logs if direction in log]
        series = [sum(at) for at in zip(*parts, strict=False)]
        if len(parts) < len(logs) or len(series) < _LEAST_SECONDS or not (mean := fmean(series)):
            continue
        labels = {**measurement.labels, "direction": direction}
        yield Sample(_LOWEST, min(series), labels)
        yield Sample(_STEADINESS, 100 * min(series) / mean, labels)
        for second, value in enumerate(series if options.over_time else ()):
            yield Sample(_OVER_TIME, value, {**labels, "second": str(second + 1)})


def _measured(output: Output) -> list[_Row]:
    """Raises WorkloadError unless each job ran to its end without an error, and moved something each way it was to."""
    found = report(_TOOL, output.stdout)
    if not isinstance(found.get("fio version"), str):
        raise WorkloadError("fio's JSON does not say its version")
    jobs = rows(_TOOL, found, "jobs")
    if not jobs:
        raise WorkloadError("fio ran no job")
    common = found.get("global options")
    asked = [_options(common) | _options(job.get("job options")) for job in jobs]
    if said := _failure(output, jobs)[1]:
        raise WorkloadError(said)
    for job, options in zip(jobs, asked, strict=True):
        _whole(job, options)
    return [row for job in jobs for row in _rows_of(job)]


def _failure(output: Output, jobs: Sequence[Mapping[str, Any]]) -> tuple[int, str]:
    """errno and words of the first job that failed, or of a signal that ended all; 0 and "" if nothing did."""
    for job in jobs:
        if code := _error(job):
            said = "data read back are not what was written" if code == _WRONG_DATA else strerror(code)
            return code, f"{_name(job)} failed: {said} (error {code})"
    if signal := _SIGNAL.search(f"{output.stdout}\n{output.stderr}"):
        return 0, f"cut off by signal {signal[1]} after {max(map(_lasted, jobs), default=0):.3g} s"
    return 0, ""


def _failed(output: Output) -> tuple[int, str]:
    """The same of what may be no report."""
    try:
        return _failure(output, rows(_TOOL, report(_TOOL, output.stdout), "jobs"))
    except WorkloadError:
        return 0, ""


def _ended(output: Output) -> float:
    """Seconds, of its longest job."""
    return max(map(_lasted, rows(_TOOL, report(_TOOL, output.stdout), "jobs")), default=0.0)


def _options(found: object) -> dict[str, str]:
    return {name: value for name, value in found.items() if isinstance(value, str)} if isinstance(found, dict) else {}


def _name(job: Mapping[str, Any]) -> str:
    return str(job.get("jobname", "a job"))[:60]


def _error(job: Mapping[str, Any]) -> int:
    """errno, 0 if there was no error; with continue_on_error it stands in `first_error`."""
    first = number(_TOOL, job, "first_error") if "first_error" in job else 0
    return min(int(number(_TOOL, job, "error") or first), _LAST_ERRNO)


def _moved(job: Mapping[str, Any]) -> dict[str, float]:
    """Bytes, by direction. 2.x has KiB under the same name, and no `io_kbytes`."""
    of = {name: below(_TOOL, job, name) for name in _DIRECTIONS if name in job}
    return {name: number(_TOOL, row, "io_bytes") * (1 if "io_kbytes" in row else 1024) for name, row in of.items()}


def _lasted(job: Mapping[str, Any]) -> float:
    """Seconds, of the direction that took longest."""
    return max((number(_TOOL, below(_TOOL, job, name), "runtime") / 1e3 for name in _moved(job)), default=0.0)


def _whole(job: Mapping[str, Any], options: Mapping[str, str]) -> None:
    """Raises WorkloadError if a job did not do what its options ask for, as far as they tell it."""
    moved = _moved(job)
    uses = _USES.get(options.get("rw", options.get("readwrite", "")).partition(":")[0], ())
    if still := [name for name in uses if not moved.get(name)]:
        raise WorkloadError(f"{_name(job)} moved nothing by {' and '.join(still)}")
    done = sum(moved.values())
    if not done:
        raise WorkloadError(f"{_name(job)} moved nothing")
    wanted, lasted, totals = _seconds(options.get("runtime", "")), _lasted(job), _totals(options)
    unfinished = options.get("time_based", "0") != "0" or (totals and done not in totals)
    if unfinished and lasted < wanted * _LEAST_TIME:
        raise WorkloadError(f"{_name(job)} is cut off: {lasted:.3g} of {wanted:g} s were measured")
    if not wanted and totals and done not in totals and done < max(totals):
        raise WorkloadError(f"{_name(job)} is cut off: {done:.0f} of {max(totals)} bytes were moved")


def _seconds(text: str) -> float:
    """fio's `runtime`, whose bare numbers are seconds; 0 if there is none, or it is written otherwise."""
    found = _TIME.fullmatch(text.strip().lower())
    return int(found[1]) * _TIMES[found[2]] if found else 0.0


def _totals(options: Mapping[str, str]) -> set[int]:
    """Bytes of one process, and of all of them; the options do not tell which of the two a row is (group_reporting).

    Empty if something besides size and number decides.
    """
    size = _SIZE.fullmatch(options.get("size", "").lower())
    processes = options.get("numjobs", "1")
    if size is None or not re.fullmatch("[0-9]{1,9}", processes) or not _OPTIONS_OF_AMOUNT.isdisjoint(options):
        return set()
    one = int(size[1]) << _SHIFTS[size[2]]
    return {one, one * int(processes)}


def _rows_of(job: Mapping[str, Any]) -> Iterator[_Row]:
    for direction, moved in _moved(job).items():
        if moved:
            row = below(_TOOL, job, direction)
            yield _Row(_name(job), direction, dict(_figures(row)))


def _figures(row: Mapping[str, Any]) -> Iterator[tuple[Metric, float]]:
    """Raises WorkloadError if there is no rate: what took less than a millisecond has none."""
    per_s = number(_TOOL, row, "bw_bytes") if "bw_bytes" in row else number(_TOOL, row, "bw") * 1024
    rate = number(_TOOL, row, "iops")
    if not per_s or not rate:
        raise WorkloadError("fio moved something in no time: it was too little to be measured")
    yield _NODE_BANDWIDTH, per_s / _MIB
    yield _NODE_RATE, rate
    unit = next((end for end in _LATENCY_UNITS if f"lat{end}" in row), None)
    if unit is None:
        return
    to_us = _LATENCY_UNITS[unit]
    total, completion = below(_TOOL, row, f"lat{unit}"), row.get(f"clat{unit}")
    if number(_TOOL, total, "max"):
        yield _LATENCY, number(_TOOL, total, "mean") * to_us
        yield _MAX, number(_TOOL, total, "max") * to_us
    of = completion.get("percentile") if isinstance(completion, dict) else None
    percentiles = of if isinstance(of, dict) else {}
    for name in percentiles:
        metric = _PERCENTILES.get(_percent(name))
        if metric is not None and (value := number(_TOOL, percentiles, name)):
            yield metric, value * to_us


def _percent(name: str) -> float:
    return float(name) if re.fullmatch(r"[0-9]{1,3}\.[0-9]{1,9}", name) else 0.0


# --- bandwidth over time -------------------------------------------------------------------------------------------


def _each_second(log: str, lasted: float) -> dict[str, list[float]]:
    """MiB/s of each whole second, by direction, out of fio's bandwidth log of `log_avg_msec=1000`.

    A line is: ms since the start, KiB/s since the line before it, direction (0 read, 1 write, 2 trim), and what is not
    read here. Each process has lines of its own, and none of a second in which it moved nothing; that second counts.
    The last one is left out: its line is written or not. Raises WorkloadError for what is no such line.
    """
    seconds = max(0, int(lasted) - 1)
    found: dict[str, list[float]] = {}
    before = dict.fromkeys(_DIRECTIONS, 0)
    for line in filter(None, map(str.strip, log.splitlines())):
        fields = _LOG_LINE.match(line)
        if fields is None:
            raise WorkloadError(f"a line of fio's bandwidth log is none: {quote(line)}")
        end, rate = int(fields[1]), int(fields[2]) / 1024
        direction = _DIRECTIONS[int(fields[3])]
        begin = before[direction] if before[direction] < end else 0  # else another process begins
        begin = begin if end - begin < _A_SECOND_IS_MISSING else end - 1000
        series = found.setdefault(direction, [0.0] * seconds)
        for second in range(begin // 1000, min(seconds, end // 1000 + 1)):
            series[second] += rate * max(0, min(end, 1000 * second + 1000) - max(begin, 1000 * second)) / 1000
        before[direction] = end
    return found
