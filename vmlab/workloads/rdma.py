"""RDMA between pairs of nodes, by perftest: bandwidth and latency of write, read and send.

`from` is the side that acts: it writes to, reads from and sends to `to`. That is how Lustre's servers move bulk data,
so the default pairs are each server to the first client.

perftest: https://github.com/linux-rdma/perftest. Guests with a perftest older than 2012 may have only `rdma_bw` and
`rdma_lat`, which measure writes.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import override

from vmlab.errors import WorkloadError
from vmlab.metrics import Metric, Sample, Unit
from vmlab.steps import Command
from vmlab.topology.wording import quote
from vmlab.values.size import Bytes
from vmlab.workloads import (
    Endpoint,
    Measurement,
    Native,
    Node,
    Output,
    Outputs,
    Service,
    Task,
    Workload,
    _perftest_old,
    register,
)
from vmlab.workloads._causes import matched
from vmlab.workloads._install import SYSTEM, has, refuse, tools
from vmlab.workloads._nodes import NodeNames, called, there
from vmlab.workloads._pairs import Pair, Wanted, of_pairs, pairs, rounds
from vmlab.workloads._sizes import READ, form, within

_LARGEST = 1 << 30
_FIRST_PORT = 18515
_DEFAULT_SIZE = {"bw": Bytes(1 << 16), "lat": Bytes(8)}
_ALL_SIZES = tuple(Bytes(1 << power) for power in range(1, 24))
"""Those of perftest's -a."""

_BANDWIDTH = Metric("bandwidth", Unit.MIB_PER_S, "higher", "bandwidth", "average")
_PEAK = Metric("bandwidth_peak", Unit.MIB_PER_S, "higher", "bandwidth", "best stretch of messages, where measured")
_RATE = Metric("message_rate", Unit.MESSAGES_PER_S, "higher", "bandwidth")
_TYPICAL = Metric("latency", Unit.MICROSECONDS, "lower", "latency", "median; one way for write and send")
_LATENCIES = {
    "t_typical": _TYPICAL,
    "t_avg": Metric("latency_avg", Unit.MICROSECONDS, "lower", "latency"),
    "t_min": Metric("latency_min", Unit.MICROSECONDS, "lower", "latency"),
    "t_max": Metric("latency_max", Unit.MICROSECONDS, "lower", "latency"),
    "99% percentile": Metric("latency_p99", Unit.MICROSECONDS, "lower", "latency"),
    "99.9% percentile": Metric("latency_p999", Unit.MICROSECONDS, "lower", "latency"),
}
_OLD = {
    "average": _BANDWIDTH,
    "peak": _PEAK,
    "typical": _TYPICAL,
    "best": _LATENCIES["t_min"],
    "worst": _LATENCIES["t_max"],
}
_COLUMNS = {"BW average": _BANDWIDTH, "BW peak": _PEAK, "MsgRate": _RATE, **_LATENCIES}

# If perftest is told nothing, a QP sends again what is not acknowledged in 4 us * 2^14 (67 ms). The kernel of a busy
# emulated guest takes longer: soft-RoCE sends much twice then, and either side may end with status 9 or 2. This is 4 s.
_PATIENT = "20"

# perftest divides by 0x100000 whether it prints MB/sec (until 6.20) or MiB/sec (commit 1d202bb, 2024, changed the word
# and not the figure), and by 125000000 for Gb/sec: `format_factor` in src/perftest_parameters.c.
_MIB = float(1 << 20)
_FACTORS = {"MiB/sec": 1.0, "MB/sec": 1.0, "Gb/sec": 125_000_000 / _MIB, "Mpps": 1e6, "usec": 1.0}


Size = Annotated[Bytes, within("message size", _LARGEST), READ, form("64B", "64KiB")]


class Options(BaseModel):
    """What may be written below `rdma:`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verbs: tuple[Literal["write", "read", "send"], ...] = Field(
        ("write", "read", "send"), min_length=1, description="RDMA operations to measure"
    )
    tests: tuple[Literal["bw", "lat"], ...] = Field(
        ("bw", "lat"), min_length=1, description="bw: bandwidth with many messages in flight; lat: one at a time"
    )
    from_: NodeNames | None = Field(
        None, alias="from", description="nodes that write, read and send (default: all that are mgs, mds or oss)"
    )
    to: NodeNames | None = Field(
        None,
        description="nodes that are written to, read from and sent to (default: the first client; in a bed without "
        "clients all others, from its first node)",
    )
    both: bool = Field(default=False, description="measure each pair in the other direction too")
    sizes: Literal["all"] | tuple[Size, ...] | None = Field(
        None, description="message sizes; all: each power of two up to 8MiB (default: 64KiB for bw, 8B for lat)"
    )
    iterations: int = Field(1000, ge=5, le=100_000_000, description="messages of each size")
    duration_s: int | None = Field(None, ge=1, le=86_400, description="measure for so many seconds, not by iterations")
    fabric: str | None = Field(
        None, description="the fabric to measure (default: for each pair, the first InfiniBand fabric that both are on)"
    )
    parallel: bool = Field(default=False, description="all pairs at once, not one after the other")
    timeout_s: int = Field(120, ge=1, le=86_400, description="deadline of each command, besides duration_s")

    @property
    def pairs(self) -> Wanted:
        """Who acts on whom."""
        return Wanted(self.from_, self.to, self.fabric, ("infiniband",), self.both)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.sizes == () or (self.sizes == "all" and self.duration_s is not None):
            raise ValueError("duration_s needs a list of sizes, not all" if self.sizes else "sizes has no size")
        return self


@register
class Rdma(Workload[Options]):
    """Each measurement is one perftest program on both nodes of a pair, the server on the side that is acted upon."""

    name = "rdma"
    summary = "RDMA bandwidth and latency between pairs of nodes (perftest)"
    options = Options
    metrics = (_BANDWIDTH, _PEAK, _RATE, *_LATENCIES.values())
    packages = ("perftest", "rdma-core", "libibverbs", "libibverbs1", "ibverbs-providers")
    versions = MappingProxyType({"perftest": ("ib_write_bw", "--version")})
    facts = MappingProxyType(
        {
            "tools": tools(
                *(f"ib_{verb}_{test}" for verb in ("write", "read", "send") for test in ("bw", "lat")),
                *_perftest_old.TOOLS.values(),
            ),
            "system": SYSTEM,
        }
    )

    @override
    def takes_part(self, options: Options, nodes: Sequence[Node]) -> tuple[str, ...]:
        return of_pairs(self.name, options.pairs, nodes)

    @override
    def measurements(self, options: Options, nodes: Sequence[Node]) -> tuple[tuple[Measurement, ...], ...]:
        by_pair = [
            [
                _measurement(options, pair, _FIRST_PORT + place, (tool, test, verb, size))
                for test in options.tests
                for verb in options.verbs
                for tool in (_tool(pair, verb, test),)
                for size in _sizes(options, test, tool)
            ]
            for place, pair in enumerate(pairs(self.name, options.pairs, nodes))
        ]
        return tuple(rounds(by_pair, parallel=options.parallel))

    @override
    def on_host(self, options: Options, native: Native) -> Options:
        del native
        return options

    @override
    def parse(self, options: Options, measurement: Measurement, outputs: Outputs) -> tuple[Sample, ...]:
        del options
        output = outputs.get("client")
        if output is None:
            raise WorkloadError("the client printed nothing")
        labels = {name: value for name, value in measurement.labels.items() if name != "size"}
        return tuple(
            Sample(metric, value, labels | {"size": str(size)})
            for size, _, figures in self._rows(measurement, output)
            for metric in self.metrics
            if (value := figures.get(metric)) is not None
        )

    @override
    def sanity(
        self, options: Options, measurement: Measurement, outputs: Outputs, samples: Sequence[Sample]
    ) -> tuple[str, ...]:
        broken = [problem for name, output in sorted(outputs.items()) for problem in _completion_errors(name, output)]
        if broken or not samples:
            return tuple(broken)
        client = outputs["client"]
        problems = list(_nothing_moved(samples))
        for size, iterations, figures in self._rows(measurement, client):
            if options.duration_s is None and iterations < options.iterations:
                problems.append(f"only {iterations} of {options.iterations} messages of {Bytes(size)} were measured")
            took = _implied_seconds(size, iterations, figures)
            if took > client.seconds:
                problems.append(
                    f"{iterations} messages of {Bytes(size)} cannot have taken {took:.3g} s: the command took "
                    f"{client.seconds:.3g} s, so the guest's CPU clock is not what perftest takes it for"
                )
        problems += _other_path(measurement, client)
        server = outputs.get("server")
        if server is not None and server.status != 0 and not server.stopped:
            problems.append(f"the server ended with status {server.status}: {self.explain(server)}")
        return tuple(problems)

    @override
    def explain(self, output: Output) -> str:
        return matched(_FAILURES, f"{output.stdout}\n{output.stderr}") or super().explain(output)

    def _rows(self, measurement: Measurement, output: Output) -> tuple["_Row", ...]:
        if "#bytes" in output.stdout:
            rows = tuple(_table(output.stdout))
            _all_there([size for size, *_ in rows], measurement)
            return rows
        if _perftest_old.reported(output.stdout):
            return (_old_row(measurement, output.stdout),)
        raise WorkloadError(f"perftest printed no figures: {self.explain(output)}")


# perftest says first what went wrong, and then which of its functions failed for it: what is not in this table is told
# by the first line that complains. Read in src/perftest_{parameters,resources,communication}.c of 4.4 to 6.29.
_FAILURES = (
    (r"IB device (\S+) not found", "the guest has no RDMA device {}"),
    (
        r"Unable to find the Infiniband/RoCE device|No IB devices found|Did not detect devices",
        "the guest has no RDMA device",
    ),
    (r"(Port number \d+ state is \w+)", "{}: the RDMA device's port has no link"),
    (r"Couldn't connect to (\S+)", "could not connect to {}"),
    (r"Couldn't listen to port (\d+)", "cannot listen on TCP port {}: something else does"),
    (r"(rdma_create_event_channel) failed", "the guest has no rdma_cm ({} failed): modprobe rdma_ucm"),
    (
        r"[Uu]nexpected CM event (?:bl blka )?8\b",
        "rdma_cm: the other side refused the connection; no server listens there",
    ),
    (r"[Uu]nexpected CM event (?:bl blka )?(\d+)", "rdma_cm could not connect (event {})"),
    (r"(?:Failed|bad wc) status (\d+)", "a transfer ended with completion status {}"),
    (r"Local lid 0x0 detected", "the port has no LID: no subnet manager runs on this fabric"),
    (r"(Couldn't read remote address|Unable to (?:read|write) (?:from|to) socket)", "the other side went away: {}"),
)


# --- command lines -------------------------------------------------------------------------------------------------


def _tool(pair: Pair, verb: str, test: str) -> str:
    """What both of the pair have. Raises WorkloadError if they have neither it nor its old stand-in."""
    tool, old = f"ib_{verb}_{test}", _perftest_old.TOOLS[test]
    without = [node for node in pair[:2] if not has(node, tool)]
    neither = [node for node in without if not has(node, old)]
    if without and not all(has(node, old) for node in pair[:2]):
        refuse("rdma", tool, (neither or without)[:1], of="perftest")
    return old if without else tool


def _sizes(options: Options, test: str, tool: str) -> tuple[Bytes | None, ...]:
    """None stands for all, by one command."""
    if options.sizes == "all":
        return _ALL_SIZES if tool in _perftest_old.TOOLS.values() else (None,)
    return tuple(options.sizes) if options.sizes else (_DEFAULT_SIZE[test],)


def _measurement(options: Options, pair: Pair, tcp_port: int, what: tuple[str, str, str, Bytes | None]) -> Measurement:
    actor, target, fabric = pair
    tool, test, verb, size = what
    name = f"{actor.name}-{target.name}.{verb}_{test}.{size or 'all'}"
    labels = {"from": actor.name, "to": target.name, "fabric": fabric, "verb": verb}
    if size is not None:
        labels["size"] = str(int(size))
    old = tool in _perftest_old.TOOLS.values()
    if old and (verb != "write" or options.duration_s is not None):
        without = next(node.name for node in (actor, target) if not has(node, f"ib_{verb}_{test}"))
        why = f"{without} has no ib_{verb}_{test}, and the old {tool} measures writes, by iterations"
        return Measurement(name=name, labels=labels, skipped=why)
    ends = {node.name: _end(node, fabric) for node in (actor, target)}
    deadline_s = float(options.timeout_s + (options.duration_s or 0))
    by_cm = old and any(end.gid_index >= 0 for end in ends.values())
    ready = ("grep", "-qE", f":{tcp_port:04X} 0+:0000 0A", "/proc/net/tcp", "/proc/net/tcp6")

    def argv(node: Node) -> tuple[str, ...]:
        end = ends[node.name]
        common = ("-d", end.device, "-i", str(end.port), "-p", str(tcp_port), "-n", str(options.iterations))
        if old:
            return _perftest_old.command(tool, common, int(size or 0), by_cm=by_cm)
        length = ("-a",) if size is None else ("-s", str(int(size)))
        amount = common if options.duration_s is None else (*common[:-2], "-D", str(options.duration_s))
        gid = ("-x", str(end.gid_index)) if end.gid_index >= 0 else ()
        patience = ("-u", _PATIENT) if end.soft else ()
        # -F: a CPU clock that varies is no reason to stop; perftest warns nevertheless.
        return (tool, *amount, *length, *gid, *patience, "-F")

    return Measurement(
        name=name,
        labels=labels,
        tasks=(
            Task(
                name="client",
                node=actor.name,
                argv=(*argv(actor), str(ends[target.name].ip)),
                deadline_s=deadline_s,
            ),
        ),
        services=(
            Service(
                name="server",
                node=target.name,
                argv=argv(target),
                # It waits for the client as long as it takes to become ready, and outlives it a little.
                deadline_s=deadline_s + 60,
                ready=_perftest_old.listens_by_cm(tool, tcp_port) if by_cm else ready,
            ),
        ),
    )


def _end(node: Node, fabric: str) -> Endpoint:
    end = node.on(fabric)
    if end is None or not end.device:
        raise WorkloadError(
            f"rdma: {called([node])} has no RDMA device on {fabric}",
            hint=f"{there(node)}: rdma link show; dmesg | grep -i {fabric}",
        )
    return end


# --- reading -------------------------------------------------------------------------------------------------------

_Row = tuple[int, int, Mapping[Metric, float]]
"""Bytes of a message, messages, figures."""

_COLUMN = re.compile(r"#\w+|[A-Za-z0-9][\w.% ]*?\[[^\]\s]*\]|tps average")
_RULE = re.compile(r"-{20,}")
_NUMBER = re.compile(r"[0-9]{1,18}(\.[0-9]{1,9})?")


def _table(text: str) -> Iterator[_Row]:
    """The rows of perftest's table (`print_report_bw`, `print_report_lat`), in its units' order, read from its header.

    Warnings may stand before the table and between its header and its rows; a table is whole when a rule closes it.
    """
    lines = iter(text.splitlines())
    header = next(line for line in lines if "#bytes" in line)
    columns = _COLUMN.findall(header)
    rows = 0
    for line in lines:
        if _RULE.fullmatch(line.strip()):
            break
        fields = line.split()
        if not fields or not _NUMBER.fullmatch(fields[0]):
            continue
        # perftest's t_stdev is the root of a difference, and now and then `-nan`; nothing here reads it.
        cells = {c: f for c, f in zip(columns, fields, strict=False) if not c.startswith("t_stdev")}
        if len(fields) != len(columns) or not all(map(_NUMBER.fullmatch, cells.values())):
            raise WorkloadError(f"a row of perftest's table does not fit its header: {quote(line.strip())}")
        rows += 1
        yield _row({column: float(field) for column, field in cells.items()})
    else:
        raise WorkloadError(f"perftest's table is cut off after {rows} rows")
    if not rows:
        raise WorkloadError("perftest's table has no rows")


def _row(cells: Mapping[str, float]) -> _Row:
    figures = {}
    for column, value in cells.items():
        name, _, unit = column.rstrip("]").partition("[")
        metric = _COLUMNS.get(name)
        if metric is None:
            continue
        if unit not in _FACTORS:
            raise WorkloadError(f"perftest prints {name} in the unknown unit {quote(unit)}")
        # A peak of 0.00 was not measured ("BW peak won't be measured in this run").
        if metric is not _PEAK or value > 0:
            figures[metric] = value * _FACTORS[unit]
    if not figures:
        raise WorkloadError("perftest's table has none of the known columns")
    return int(cells.get("#bytes", 0)), int(cells.get("#iterations", 0)), figures


def _all_there(sizes: Sequence[int], measurement: Measurement) -> None:
    """The sizes that the command line asks for, each once. Raises WorkloadError."""
    argv = _client(measurement)
    asked = dict(pairwise(argv)).get("-s", "")
    wanted = [*_ALL_SIZES] if "-a" in argv else [int(asked)] if asked.isdecimal() else list(sizes)
    if list(sizes) != wanted:
        raise WorkloadError(f"perftest's table is cut off: it has {len(sizes)} of the {len(wanted)} sizes asked for")


def _old_row(measurement: Measurement, text: str) -> _Row:
    """rdma_lat says neither size nor iterations: the command line does."""
    size, messages, words = _perftest_old.report(text)
    asked = dict(pairwise(_client(measurement)))
    size = size or _whole(asked.get("-s", ""))
    if not size:
        raise WorkloadError("rdma_lat does not say the size of its messages")
    return size, messages or _whole(asked.get("-n", "")), {_OLD[word]: value for word, value in words.items()}


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _client(measurement: Measurement) -> Command:
    return next((task.argv for task in measurement.commands if task.name == "client"), ())


# --- sanity --------------------------------------------------------------------------------------------------------

# enum ibv_wc_status of rdma-core's libibverbs/verbs.h: those that say something about the network.
_COMPLETIONS = {
    "5": "flushed",
    "10": "remote access error",
    "12": "no answer from the other side",
    "13": "receiver not ready",
}


def _completion_errors(task: str, output: Output) -> Iterator[str]:
    for status in re.findall(r"(?:Failed|bad wc) status (\d{1,3})", output.stdout + output.stderr):
        meaning = f" ({_COMPLETIONS[status]})" if status in _COMPLETIONS else ""
        yield f"a transfer of the {task} ended with completion status {status}{meaning}"


def _nothing_moved(samples: Sequence[Sample]) -> Iterator[str]:
    for sample in samples:
        # Two decimals: a small message's bandwidth may well be printed as 0.00.
        small = sample.metric is _BANDWIDTH and int(sample.labels["size"]) < 1 << 12
        if sample.value <= 0 and sample.metric in (_BANDWIDTH, _TYPICAL) and not small:
            yield f"{sample.metric.name} of {Bytes(int(sample.labels['size']))} messages is {sample.value:g}"


def _implied_seconds(size: int, iterations: int, figures: Mapping[Metric, float]) -> float:
    """How long the messages took, if the figures are right; rounded figures are given the benefit of the doubt."""
    if (bandwidth := figures.get(_BANDWIDTH, 0.0)) > 0:
        return size * iterations / _MIB / (bandwidth + 0.01)
    # Half of the messages at least took the median.
    latency = figures.get(_LATENCIES["t_avg"], figures.get(_TYPICAL, 0.0))
    return iterations * max(0.0, latency - 0.01) / 1e6


def _other_path(measurement: Measurement, client: Output) -> Iterator[str]:
    """Whether perftest used the device that it was told to."""
    argv = _client(measurement)
    used = re.search(r"Device\s*: (\S+)", client.stdout)
    if used is not None and "-d" in argv and argv[argv.index("-d") + 1] != used[1]:
        yield f"the transfers went through {used[1]}, not through {argv[argv.index('-d') + 1]}"
