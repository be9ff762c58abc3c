"""IO500: its twelve phases, its own score and whether that is valid, by the io500 program over MPI.

io500 (https://github.com/IO500/io500) contains IOR, mdtest and a parallel find. A run is valid only by the rules of the
list: each writing phase lasts 300 seconds. A shorter one is `[INVALID]`; its figures are figures nevertheless, and are
told to be so by a label and a note that says why. A phase that moved nothing, found nothing or had errors has none.

The reports of src/main.c: GiB/s are 2^30 bytes, and a score is the geometric mean of phases, and of both scores. The
program ends with status 0 whatever the phases did.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Literal, NamedTuple

from pydantic import BeforeValidator, Field, StringConstraints
from typing_extensions import override

from vmlab.errors import WorkloadError
from vmlab.metrics import Metric, Sample
from vmlab.shell import script
from vmlab.topology.wording import quote
from vmlab.values.nodeset import fold
from vmlab.workloads import Measurement, Node, Output, Outputs, Task, _mpirun, register
from vmlab.workloads._causes import matched
from vmlab.workloads._clients import ClientsOptions, OnClients
from vmlab.workloads._install import SYSTEM
from vmlab.workloads._ior_report import complaints
from vmlab.workloads._lustre import MOUNTS, NETS, directory
from vmlab.workloads._nodes import NodeNames, clients_of, interface

_TASK = "io500"
_FOLDER = "vmlab-io500"
_INI, _RESULT = "io500.ini", "result.txt"
_OFFICIAL_S = 300
_PREPARE_S = 600.0

_BANDWIDTH = Metric("bandwidth", "GiB/s", "higher", "bandwidth", "of a phase of IOR")
_RATE = Metric("rate", "kIOPS", "higher", "rate", "of a phase of mdtest, or of find")
_SCORE = Metric("score", "", "higher", "score", "IO500's: the geometric mean of both others")
_SCORE_BANDWIDTH = Metric("score_bandwidth", "GiB/s", "higher", "score", "geometric mean of the phases of IOR")
_SCORE_RATE = Metric("score_rate", "kIOPS", "higher", "score", "geometric mean of all other phases")
_UNITS = MappingProxyType({"GiB/s": _BANDWIDTH, "kIOPS": _RATE})

_PREPARE = script(__file__, "io500_prepare.sh")
# What it writes lies beside the data, where all nodes see it.
_RUN = f"""
folder=$1
shift
"$@"
status=$?
cp "$folder/results/{_RESULT}" . 2>/dev/null
exit $status
"""
# src/ini-parse.c refuses a line with a semicolon or a hash in its value.
_DROP = 'sh -c "sync && echo 3 > /proc/sys/vm/drop_caches"'


def _value(value: object) -> object:
    """As io500 writes it, what YAML takes for a number or a truth: 200, TRUE."""
    if isinstance(value, bool):
        return str(value).upper()
    return str(value) if isinstance(value, int | float) else value


Value = Annotated[
    str,
    StringConstraints(pattern=r"^[^\n\[\]#;]*$"),
    BeforeValidator(_value, json_schema_input_type=str | bool | int | float),
]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,40}$")]


class Options(ClientsOptions):
    """What may be written below `io500:`."""

    nodes: NodeNames | None = Field(None, description="nodes that take part (default: all clients)")
    tasks_per_node: int = Field(1, ge=1, le=1024, description="MPI tasks on each node")
    mode: Literal["standard", "extended"] = Field("standard", description="the phases of the list, or more of them")
    stonewall_s: int = Field(
        _OFFICIAL_S, ge=1, le=86_400, description="of each writing phase; with less than 300 the score is not valid"
    )
    settings: dict[Name, dict[Name, Value]] = Field(
        {}, description="more of io500's configuration: values by key by section"
    )
    directory: str | None = Field(
        None,
        pattern=r"^/\S*$",
        description="where the files go (default: the first Lustre file system that is mounted)",
    )
    fabric: str = Field("mgmt", description="the fabric of MPI's own messages")
    timeout_s: int = Field(6 * 3600, ge=1, le=604_800, description="deadline of the run")


@register
class Io500(OnClients[Options]):
    """One mpirun on the first node."""

    name = _TASK
    summary = "IO500's phases and score, over MPI"
    options = Options
    metrics = (_SCORE, _SCORE_BANDWIDTH, _SCORE_RATE, _BANDWIDTH, _RATE)
    packages = ("io500", "openmpi", "openmpi-bin", "lustre-client", "lustre-client-utils")
    facts = MappingProxyType({"mpi": _mpirun.mpi(_TASK), "mounts": MOUNTS, "nets": NETS, "system": SYSTEM})

    @override
    def measurements(self, options: Options, nodes: Sequence[Node]) -> tuple[tuple[Measurement, ...], ...]:
        chosen = clients_of(self.name, options.nodes, nodes)
        mpi = _mpirun.found(self.name, _TASK, chosen)
        above, _ = directory(self.name, options.directory, chosen)
        folder = f"{above}/{_FOLDER}"
        names = [node.name for node in chosen]
        over = interface(self.name, options.fabric, chosen)
        start = mpi.start(
            dict.fromkeys(names, options.tasks_per_node), over, (mpi.program, _INI, f"--mode={options.mode}")
        )
        run = Task(
            name=_TASK,
            node=names[0],
            argv=("sh", "-c", _RUN, "vmlab", folder, *start),
            deadline_s=float(options.timeout_s),
            files={_INI: _ini(options, folder, alone=len(names) == 1)},
            brings=(_RESULT,),
        )
        prepare, remove = ("sh", "-c", _PREPARE, "vmlab", folder), ("rm", "-rf", folder)
        labels = {"nodes": fold(names), "tasks": str(len(names) * options.tasks_per_node), "mode": options.mode}
        return (
            (
                Measurement(
                    name=f"{options.mode}.{fold(names)}",
                    labels=labels,
                    tasks=(
                        Task(name="prepare", node=names[0], argv=prepare, deadline_s=_PREPARE_S),
                        run,
                        Task(name="remove", node=names[0], argv=remove, deadline_s=_PREPARE_S),
                    ),
                ),
            ),
        )

    @override
    def parse(self, options: Options, measurement: Measurement, outputs: Outputs) -> tuple[Sample, ...]:
        output = outputs.get(_TASK)
        if output is None:
            raise WorkloadError("io500 did not run")
        report = _report(output.stdout)
        _whole(report, self.explain(output))
        return tuple(_samples(measurement, report))

    @override
    def sanity(
        self, options: Options, measurement: Measurement, outputs: Outputs, samples: Sequence[Sample]
    ) -> tuple[str, ...]:
        text = "\n".join(f"{output.stdout}\n{output.stderr}" for output in outputs.values())
        said = [line for line in text.splitlines() if re.search(r"\b(?:ERROR|WARNING): ", line)]
        errors = [f"{found[1]} errors in a phase of {found[2]}" for found in _ERRORS.finditer(text)]
        # An ill-behaved write is said by the same words as a full file system, which is the lab's doing.
        full = "No space left on device" in text
        return (*errors, *(() if full else complaints("\n".join(said))))

    @override
    def notes(self, options: Options, measurement: Measurement, outputs: Outputs) -> tuple[str, ...]:
        try:
            report = _report(outputs[_TASK].stdout) if _TASK in outputs else None
        except WorkloadError:
            return ()
        if report is None or all(score.valid for score in report.scores):
            return ()
        return (f"not valid by IO500's rules: {'; '.join(report.reasons) or 'it does not say why'}",)

    @override
    def explain(self, output: Output) -> str:
        text = f"{output.stdout}\n{output.stderr}"
        return matched(_FAILURES, text) or _mpirun.explain(output.stderr, output.stdout) or super().explain(output)


_FAILURES = (
    (r"([^\n]{0,160}No space left on device)", "the file system is full: {}"),
    (r"(Parsing error in line \d+, [^\n]{1,160})", "io500's configuration: {}"),
    (r"^FATAL \(\S+\) ([^\n]{1,200})", "{}"),
    (r"Process \d+: FAILED in [^,\n]+, ([^\n]{1,200})", "{}"),
    (r"ERROR: ([^\n]{1,200}?),? \(\S+:\d+\)", "{}"),
)


def _ini(options: Options, folder: str, *, alone: bool) -> str:
    """One node alone would read from its own cache."""
    caches = {"drop-caches": "TRUE", "drop-caches-cmd": _DROP} if alone else {}
    sections = {"global": caches, "debug": {"stonewall-time": str(options.stonewall_s)}}
    for name, values in options.settings.items():
        sections[name] = {**sections.get(name, {}), **values}
    sections["global"] |= {
        "datadir": f"{folder}/data",
        "resultdir": f"{folder}/results",
        "timestamp-datadir": "FALSE",
        "timestamp-resultdir": "FALSE",
    }
    lines = ((f"[{name}]", *(f"{key} = {value}" for key, value in of.items())) for name, of in sections.items())
    return "\n\n".join("\n".join(section) for section in lines) + "\n"


# --- reading -------------------------------------------------------------------------------------------------------

_PHASES = (
    *("ior-easy-write", "mdtest-easy-write", "ior-hard-write", "mdtest-hard-write", "find", "ior-easy-read"),
    *("mdtest-easy-stat", "ior-hard-read", "mdtest-hard-stat", "mdtest-easy-delete", "mdtest-hard-read"),
    "mdtest-hard-delete",
)
"""All that the standard score is made of."""
_FIGURE = r"[0-9]{1,15}\.[0-9]{6}"
# Versions of 2020 say `[RESULT-invalid]` and `[SCORE-invalid]`, and GB/s of a score whose phases are in GiB/s.
_PHASE = re.compile(
    rf"\[(?:RESULT(?P<old>-invalid)?|      )\] +(?P<name>\S{{1,60}}) +(?P<value>{_FIGURE}) (?P<unit>\S+) +: "
    rf"time [0-9]{{1,15}}\.[0-9]{{3}} seconds(?P<invalid> \[INVALID\])?"
)
_TOTAL = re.compile(
    rf"\[SCORE(?P<extended>X)? ?(?P<old>-invalid)?\] Bandwidth (?P<bandwidth>{_FIGURE}) Gi?B/s +: "
    rf"IOPS (?P<rate>{_FIGURE}) kiops +: TOTAL (?P<total>{_FIGURE})(?P<invalid> \[INVALID\])?"
)
_OF_THE_REPORT = re.compile(r"\[(?:RESULT|SCORE|      )")
# In the spring of 2020 the score was the last line.
_END = re.compile(
    r"^The result files are stored in the directory:|^IO500 version io500-isc20(?!\d)[\s\S]*^\[SCORE\S*\] .*\n",
    re.MULTILINE,
)
_REASON = re.compile(r"ERROR INVALID (?:\([^)\n]{1,200}\) ?)?([^\n]{1,300})")
_ERRORS = re.compile(r"Errors \((\d{1,12})\) occured during (?:the |phase in )?([\w-]+)")
# Why a phase is worth nothing, whatever figure it has.
_VOID = re.compile(
    r"Errors \(\d+\) occured|Find didn't find|PFind returned with an error|Exit code \d+ != 0|score shouldn't be 0|"
    r"DRY RUN|two iterations are performed"
)
_DUMMY = "timestamp"


class _Phase(NamedTuple):
    name: str
    metric: Metric
    value: float
    valid: bool


class _Scores(NamedTuple):
    """`extended`: of more phases than the list's."""

    extended: bool
    bandwidth: float
    rate: float
    total: float
    valid: bool


class _Report(NamedTuple):
    """`reasons` why something of it is not valid; `ended`: it is there to its end."""

    phases: Sequence[_Phase]
    scores: Sequence[_Scores]
    reasons: Sequence[str]
    ended: bool


def _report(text: str) -> _Report:
    """Raises WorkloadError for a line of it that is cut off, or is none."""
    phases: list[_Phase] = []
    scores: list[_Scores] = []
    for line in map(str.strip, text.splitlines()):
        if not _OF_THE_REPORT.match(line):
            continue
        if phase := _PHASE.fullmatch(line):
            if phase["unit"] not in _UNITS:
                raise WorkloadError(f"io500 prints the unknown unit {quote(phase['unit'][:20])}")
            phases.append(_Phase(phase["name"], _UNITS[phase["unit"]], float(phase["value"]), _valid(phase)))
        elif total := _TOTAL.fullmatch(line):
            bandwidth, rate, value = (float(total[name]) for name in ("bandwidth", "rate", "total"))
            scores.append(_Scores(total["extended"] is not None, bandwidth, rate, value, _valid(total)))
        else:
            raise WorkloadError(f"a line of io500's is cut off, or none: {quote(line[:80])}")
    reasons = tuple(dict.fromkeys(found.strip() for found in _REASON.findall(text)))
    return _Report(phases, scores, reasons, _END.search(text) is not None)


def _valid(line: re.Match[str]) -> bool:
    return line["old"] is None and line["invalid"] is None


def _whole(report: _Report, why: str) -> None:
    """Raises WorkloadError unless all phases of the list are there, each once, and the score, and all are of worth."""
    names = [phase.name for phase in report.phases]
    missing = [name for name in _PHASES if name not in names]
    if not report.scores or not report.ended or missing:
        done = f"{len(_PHASES) - len(missing)} of {len(_PHASES)} phases are there"
        raise WorkloadError(f"io500's report is cut off, {done}{f': {why}' if why else ''}")
    if len(set(names)) < len(names) or len({score.extended for score in report.scores}) < len(report.scores):
        raise WorkloadError("io500's report has a phase or a score twice")
    if void := [reason for reason in report.reasons if _VOID.search(reason)]:
        raise WorkloadError(f"a phase is worth nothing, and so is the score: {void[0]}")
    if still := [phase.name for phase in report.phases if not phase.value and phase.name != _DUMMY]:
        raise WorkloadError(f"io500 measured nothing in {', '.join(still)}")
    if not all(score.bandwidth and score.rate and score.total for score in report.scores):
        raise WorkloadError("io500's score is 0")


def _samples(measurement: Measurement, report: _Report) -> Iterator[Sample]:
    for score in report.scores:
        of: Mapping[str, str] = {"score": "extended"} if score.extended else {}
        labels = {**measurement.labels, **of, **_mark(valid=score.valid)}
        for metric, value in (
            (_SCORE, score.total),
            (_SCORE_BANDWIDTH, score.bandwidth),
            (_SCORE_RATE, score.rate),
        ):
            yield Sample(metric, value, labels)
    for phase in report.phases:
        if phase.name != _DUMMY:
            labels = {**measurement.labels, "phase": phase.name, **_mark(valid=phase.valid)}
            yield Sample(phase.metric, phase.value, labels)


def _mark(*, valid: bool) -> dict[str, str]:
    return {} if valid else {"valid": "no"}
