"""Latency and bandwidth of MPI between nodes, by HPC Challenge: ping-pong of pairs, and rings of all tasks.

hpcc (https://github.com/icl-utk-edu/hpcc) reads `hpccinf.txt` and appends to `hpccoutf.txt` in its working directory,
and prints nothing. It always runs all of its benchmarks; the size of their matrix is so small by default that those of
arithmetic end in seconds, and their figures say something about the nodes only if it is made larger.

Its summary is written by `HPCC_Finalize` in src/io.c: latencies in us, GBytes and GBs in 10^9 bytes/s, -1 for what was
not measured. It ends with status 0 when a result is wrong: `Success=0` tells, and the section of the check.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite, isqrt, nan
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import override

from vmlab.errors import WorkloadError
from vmlab.metrics import Metric, Sample, Unit
from vmlab.topology.wording import quote
from vmlab.values.nodeset import fold
from vmlab.workloads import Measurement, Native, Node, Output, Outputs, Task, Workload, _mpirun, register
from vmlab.workloads._causes import matched
from vmlab.workloads._install import SYSTEM
from vmlab.workloads._nodes import NodeNames, clients_of, interface

_TASK = "hpcc"
_INPUT, _OUTPUT = "hpccinf.txt", "hpccoutf.txt"
_BLOCK = 64
"""The blocking factor of HPL and PTRANS; it must not be larger than the matrix."""
_GB = 10**9 / (1 << 20)


def _latency(name: str, summary: str) -> Metric:
    return Metric(f"latency_{name}", Unit.MICROSECONDS, "lower", "latency", summary)


def _bandwidth(name: str, summary: str) -> Metric:
    return Metric(f"bandwidth_{name}", Unit.MIB_PER_S, "higher", "bandwidth", summary)


def _arithmetic(name: str, unit: str, summary: str) -> Metric:
    return Metric(name, unit, "higher", "arithmetic", summary)


_PING_PONG, _NATURAL, _RANDOM = (
    "between two tasks",
    "in a ring of all tasks, in their order",
    "in a ring, in random order",
)
_FIGURES: Mapping[str, tuple[Metric, float]] = {
    "AvgPingPongLatency_usec": (_latency("pingpong", f"{_PING_PONG}, mean of the pairs"), 1),
    "MinPingPongLatency_usec": (_latency("pingpong_min", f"{_PING_PONG}, best pair"), 1),
    "MaxPingPongLatency_usec": (_latency("pingpong_max", f"{_PING_PONG}, worst pair"), 1),
    "NaturallyOrderedRingLatency_usec": (_latency("ring", _NATURAL), 1),
    "RandomlyOrderedRingLatency_usec": (_latency("ring_random", _RANDOM), 1),
    "AvgPingPongBandwidth_GBytes": (_bandwidth("pingpong", f"{_PING_PONG}, mean of the pairs"), _GB),
    "MinPingPongBandwidth_GBytes": (_bandwidth("pingpong_min", f"{_PING_PONG}, worst pair"), _GB),
    "MaxPingPongBandwidth_GBytes": (_bandwidth("pingpong_max", f"{_PING_PONG}, best pair"), _GB),
    "NaturallyOrderedRingBandwidth_GBytes": (_bandwidth("ring", f"{_NATURAL}, of one task"), _GB),
    "RandomlyOrderedRingBandwidth_GBytes": (_bandwidth("ring_random", f"{_RANDOM}, of one task"), _GB),
    "PTRANS_GBs": (_bandwidth("ptrans", "of a transposition over all tasks"), _GB),
    "SingleSTREAM_Triad": (_bandwidth("stream", "of a task's memory, one task alone"), _GB),
    "StarSTREAM_Triad": (_bandwidth("stream_star", "of a task's memory, all tasks at once"), _GB),
    "HPL_Tflops": (_arithmetic("hpl", "Gflop/s", "equations, all tasks together"), 1000),
    "SingleDGEMM_Gflops": (_arithmetic("dgemm", "Gflop/s", "matrices, one task alone"), 1),
    "StarDGEMM_Gflops": (_arithmetic("dgemm_star", "Gflop/s", "matrices, each of all tasks"), 1),
    "MPIFFT_Gflops": (_arithmetic("fft", "Gflop/s", "Fourier transformation, all tasks together"), 1),
    "StarFFT_Gflops": (_arithmetic("fft_star", "Gflop/s", "Fourier transformation, each of all tasks"), 1),
    "MPIRandomAccess_GUPs": (_arithmetic("gups", "GUP/s", "updates of random words, all tasks together"), 1),
}


_NETWORK = tuple(name for name in _FIGURES if "PingPong" in name or "Ring" in name)


class Options(BaseModel):
    """What may be written below `hpcc:`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    nodes: NodeNames | None = Field(None, description="nodes that take part (default: all clients)")
    tasks_per_node: int = Field(1, ge=1, le=1024, description="MPI tasks on each node")
    order: int = Field(
        512,
        ge=2 * _BLOCK,
        le=10_000_000,
        description="of the matrix: 8 x order x order bytes on all tasks together; for the network it does not matter",
    )
    fabric: str = Field("mgmt", description="the fabric that MPI's messages take")
    timeout_s: int = Field(1800, ge=1, le=604_800, description="deadline of the command")


@register
class Hpcc(Workload[Options]):
    """One mpirun on the first node."""

    name = _TASK
    summary = "MPI latency and bandwidth between nodes (HPC Challenge)"
    options = Options
    metrics = tuple(metric for metric, _ in _FIGURES.values())
    packages = ("hpcc", "openmpi", "openmpi-bin")
    facts = MappingProxyType({"mpi": _mpirun.mpi(_TASK), "system": SYSTEM})

    @override
    def takes_part(self, options: Options, nodes: Sequence[Node]) -> tuple[str, ...]:
        return tuple(node.name for node in clients_of(self.name, options.nodes, nodes))

    @override
    def measurements(self, options: Options, nodes: Sequence[Node]) -> tuple[tuple[Measurement, ...], ...]:
        chosen = clients_of(self.name, options.nodes, nodes)
        mpi = _mpirun.found(self.name, _TASK, chosen)
        names = [node.name for node in chosen]
        tasks = len(names) * options.tasks_per_node
        if tasks == 1:
            raise WorkloadError("hpcc: one task alone has nobody to send to", hint="--set tasks_per_node=2")
        over = interface(self.name, options.fabric, chosen)
        task = Task(
            name=_TASK,
            node=names[0],
            argv=mpi.start(dict.fromkeys(names, options.tasks_per_node), over, (mpi.program,)),
            deadline_s=float(options.timeout_s),
            files={_INPUT: _input(options.order, tasks)},
            brings=(_OUTPUT,),
        )
        labels = {"nodes": fold(names), "tasks": str(tasks), "fabric": options.fabric}
        return ((Measurement(name=fold(names), labels=labels, tasks=(task,)),),)

    @override
    def on_host(self, options: Options, native: Native) -> Options:
        del native
        return options

    @override
    def parse(self, options: Options, measurement: Measurement, outputs: Outputs) -> tuple[Sample, ...]:
        output = outputs.get(_TASK)
        if output is None:
            raise WorkloadError("hpcc did not run")
        labels = measurement.labels
        found = _figures(_last_run(output.text(_OUTPUT)), labels.get("tasks", ""))
        return tuple(Sample(metric, value, labels) for metric, value in found)

    @override
    def sanity(
        self, options: Options, measurement: Measurement, outputs: Outputs, samples: Sequence[Sample]
    ) -> tuple[str, ...]:
        try:
            run = _last_run(outputs[_TASK].text(_OUTPUT)) if _TASK in outputs else ""
        except WorkloadError:
            return ()
        wrong = _wrong(run)
        return (f"verification failed: {wrong}",) if wrong else ()

    @override
    def notes(self, options: Options, measurement: Measurement, outputs: Outputs) -> tuple[str, ...]:
        try:
            order = _summary(_last_run(outputs[_TASK].text(_OUTPUT))).get("HPL_N", "") if _TASK in outputs else ""
        except WorkloadError:
            return ()
        if order in ("", str(options.order)):
            return ()
        return (
            f"the matrix was of order {order}, not {options.order}: hpcc takes its own where it cannot use the input",
        )

    @override
    def explain(self, output: Output) -> str:
        return _mpirun.explain(output.stderr, output.stdout) or super().explain(output)


# --- the input -----------------------------------------------------------------------------------------------------

_TEMPLATE = """\
HPLinpack benchmark input file
vmlab
HPL.out      output file name (if any)
8            device out (6=stdout,7=stderr,file)
1            # of problems sizes (N)
{order}      Ns
1            # of NBs
{block}      NBs
0            PMAP process mapping (0=Row-,1=Column-major)
1            # of process grids (P x Q)
{rows}       Ps
{columns}    Qs
16.0         threshold
1            # of panel fact
2            PFACTs (0=left, 1=Crout, 2=Right)
1            # of recursive stopping criterium
4            NBMINs (>= 1)
1            # of panels in recursion
2            NDIVs
1            # of recursive panel fact.
1            RFACTs (0=left, 1=Crout, 2=Right)
1            # of broadcast
1            BCASTs (0=1rg,1=1rM,2=2rg,3=2rM,4=Lng,5=LnM)
1            # of lookahead depth
1            DEPTHs (>=0)
2            SWAP (0=bin-exch,1=long,2=mix)
64           swapping threshold
0            L1 in (0=transposed,1=no-transposed) form
0            U  in (0=transposed,1=no-transposed) form
1            Equilibration (0=no,1=yes)
8            memory alignment in double (> 0)
##### This line (no. 32) is ignored (it serves as a separator). ######
0            Number of additional problem sizes for PTRANS
1200         values of N
0            number of additional blocking sizes for PTRANS
40           values of NB
"""


def _input(order: int, tasks: int) -> str:
    """The tasks are put into the squarest grid that takes all of them: with fewer, some would have nothing to do."""
    rows = next(number for number in range(isqrt(tasks), 0, -1) if tasks % number == 0)
    return _TEMPLATE.format(order=order, block=_BLOCK, rows=rows, columns=tasks // rows)


# --- reading -------------------------------------------------------------------------------------------------------

_BEGIN = "This is the DARPA/DOE HPC Challenge Benchmark version "
_SUMMARY, _SUMMARY_END = "Begin of Summary section.", "End of Summary section."
_END = "End of HPC Challenge tests."
_LINE = re.compile(r"^(\w{1,64})=(.*)$", re.MULTILINE)
_NUMBER = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,18})?(?:e[-+]?[0-9]{1,2})?")  # more, and its bytes are no float

# PTRANS/pdtransdriver.c, hpl/testing/ptest/HPL_pd{test,driver}.c, RandomAccess/*.c, STREAM/stream.c, */onecpu.c
_WRONG = (
    (r"^.{1,99}=[ \t]*([0-9.e+-]{1,24}) \.\.\.\.\.\. FAILED", "HPL: the residual {} is too large"),
    (
        r"^[ \t]*([1-9]\d{0,8}) tests completed and failed residual checks",
        "{} of the solutions failed the residual check",
    ),
    (r"^(?:WALL|CPU) .{1,99} FAILED\b", "PTRANS: a transposed matrix is wrong"),
    (r"^Found ([1-9]\d{0,17}) errors in (\d{1,18}) locations \(failed\)", "RandomAccess: {} of {} words are wrong"),
    (r"^(Failed Validation on array \w)", "STREAM: {}"),
    (r"^Node\(s\) with error ([1-9]\d{0,8})", "a result is wrong on {} nodes"),
)
_NOT_RUN = (
    (r"^(Failed to allocate [^\n]{1,99}|Memory allocation failed [^\n]{1,99})", "{}"),
    (r"^[ \t]*([1-9]\d{0,8}) tests skipped because of illegal input values", "{} tests were skipped for their input"),
)


def _last_run(text: str) -> str:
    """hpcc appends: the file may hold runs before this one. Raises WorkloadError if that is none of hpcc's."""
    begin = text.rfind(_BEGIN)
    if begin < 0:
        raise WorkloadError(f"{_OUTPUT} is not of HPC Challenge")
    return text[begin:]


def _summary(run: str) -> dict[str, str]:
    """Names and values. Raises WorkloadError if the run is not there to its end."""
    _, begin, rest = run.rpartition(_SUMMARY)
    inside, end, after = rest.partition(_SUMMARY_END)
    if not begin or not end or _END not in after:
        raise WorkloadError(f"{_OUTPUT} is cut off")
    return dict(_LINE.findall(inside))


def _value(found: Mapping[str, str], name: str) -> float | None:
    """None for what was not measured: -1, 0, or a name that this version has not. Raises WorkloadError."""
    text = found.get(name, "-1").strip()
    value = float(text) if _NUMBER.fullmatch(text) else nan
    if not (isfinite(value) and (value >= 0 or value == -1)):
        raise WorkloadError(f"hpcc's {name} is no number: {quote(text)}")
    return value if value > 0 else None


def _wrong(run: str) -> str:
    """Which result is numerically wrong, "" if none is known to be: without memory or with bad input there is none."""
    if matched(_NOT_RUN, run):
        return ""
    return matched(_WRONG, run) or (
        "a result is wrong (Success=0)" if re.search("^Success=0$", run, re.MULTILINE) else ""
    )


def _figures(run: str, tasks: str) -> Iterator[tuple[Metric, float]]:
    """Raises WorkloadError if a check failed, or the network was not measured between all tasks."""
    found = _summary(run)
    if why := matched(_NOT_RUN, run) or _wrong(run):
        raise WorkloadError(f"hpcc did not succeed: {why}")
    if found.get("Success") != "1":
        raise WorkloadError(f"hpcc does not say that it succeeded: {quote(found.get('Success', ''))}")
    took_part = found.get("CommWorldProcs", "0")
    if tasks and took_part != tasks:
        raise WorkloadError(f"only {took_part} of {tasks} MPI tasks worked together")
    for name, (metric, factor) in _FIGURES.items():
        value = _value(found, name)
        if value is not None:
            yield metric, value * factor
        elif name in _NETWORK:
            raise WorkloadError(f"hpcc did not measure {name}")
