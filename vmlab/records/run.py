"""The record of a run, which is the content of its `run.json`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from vmlab.metrics import Sample, summaries
from vmlab.records.beside import beside_host
from vmlab.suites.results import SuiteRun

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class RunNode:
    """A node that took part. `vcpus` are the host CPUs that each virtual CPU may use, where that is known.

    `packages` are versions of the distribution's, `tools` what programs say of themselves, `lustre` what its modules
    do, or "". `machine` is its architecture, as `uname -m` says it. `digest` is that of all that was asked for when the
    node was defined: the plan that is in force. `where` it ran: "vm", a guest; "bare", a machine that is none; "host",
    the host itself in the node's place, on the CPUs `vcpus`.
    """

    name: str
    roles: tuple[str, ...]
    image: str
    kernel: str
    packages: Mapping[str, str]
    addresses: Mapping[str, str]
    devices: Mapping[str, str]
    vcpus: Mapping[str, tuple[int, ...]]
    tools: Mapping[str, str] = field(default_factory=dict)
    lustre: str = ""
    digest: str = ""
    where: str = "vm"
    machine: str = ""


@dataclass(frozen=True, slots=True)
class RunHost:
    """A host of nodes that took part. `hcas` are boards, firmwares and rates by RDMA device.

    `numastat` is by how much the counters of the kernel's allocator grew meanwhile, by cell. `remote_memory` is, of
    each node's QEMU at the end, the share of its memory in cells where it has no CPU, from 0 to 1; absent where the
    host does not tell us. `cells` are its CPUs by NUMA cell, none where nobody told.
    """

    name: str
    nodes: tuple[str, ...]
    cpu: str
    cpus: int
    memory_kib: int
    kernel: str
    libvirt: str
    hypervisor: str
    hcas: Mapping[str, str]
    numastat: Mapping[str, Mapping[str, int]]
    remote_memory: Mapping[str, float]
    cells: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RootVolume:
    """The file that a node's root disk was in a trial: its inode, and when it was made (ISO 8601), "" if not known.

    Nodes that were made anew between two trials have another one.
    """

    trial: int
    node: str
    path: str
    inode: int
    made: str


@dataclass(frozen=True, slots=True)
class RunCommand:
    """A command that ran in a guest. `stdout` and `stderr` are files of the run's folder, `files` those that it left.

    `late_s`: so many seconds after the first of its job it began; 0 for what is of no job. `files` has the names in the
    run's folder by those in the guest.
    """

    measurement: str
    task: str
    node: str
    argv: tuple[str, ...]
    started: str
    seconds: float
    status: int
    timed_out: bool
    stdout: str
    stderr: str
    late_s: float = 0.0
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunVerdict:
    """What a reference says of a figure, of several trials of their median; `why` in words, with both numbers.

    `verdict` is "ok"; "missed"; "better": beyond the bound that does not hurt, so that the reference is old; "no
    figure", which is no pass; or "other host": the reference is for others. The last two have no `value`. `lower` and
    `upper` are in the figure's unit, None where it is not bounded. `file` and `line` say where the reference stands.
    """

    verdict: str
    workload: str
    metric: str
    labels: Mapping[str, str]
    value: float | None
    unit: str
    reference: float
    lower: float | None
    upper: float | None
    file: str
    line: int
    why: str


@dataclass(frozen=True, slots=True)
class RunRecord:
    """All that is known of one run. Times are ISO 8601 with an offset.

    `problems`: it ran, and what was measured did not behave. `faults`: the lab's fault, nothing is known of what was to
    be measured. `skipped`: not measured, and why. `notes`: what makes figures worth less than they look. `incomplete`
    says why the run was broken off, "" if it was not: what there is was measured before. `accel` is "kvm" or "tcg", or
    "bare" where no guest took part; `soft` means that what was measured went over soft-RoCE; LNet over tcp does not,
    whatever the fabric. Under TCG, or with soft-RoCE, the figures say nothing about hardware.

    `points` are those of a sweep, as the options that make them; `options` are then what they have in common. Each was
    measured `trials` times, after `warm_up` times that are not counted. `measured` are the measurements that are over,
    without a fault, by the names by which commands and lines above call them: `--resume` repeats all others.

    `fresh`: the nodes were made anew between trials, as `roots` shows. `options` has `native` where the same was
    measured on the host itself: samples then say by the label `on` where.

    `topology` is the bed's as it was read, null where its file was not at hand. `load` is a file of the run's folder:
    what the nodes' CPUs, networks and disks did each second, as their hosts' libvirt counts; "" without.

    `shape` are the values that made the bed in a sweep of its shape, which are labels of all samples; `series` is what
    the runs of that sweep have in common, "" of others.

    `verdicts` are those of the references that it was judged by, in their file's order. `suites` are Lustre's own ones,
    if the workload ran some: sub-tests that went wrong are problems, too.
    """

    id: str
    bed: str
    workload: str
    options: Mapping[str, Any]
    accel: str
    soft: bool
    vmlab: str
    started: str
    ended: str
    nodes: tuple[RunNode, ...]
    commands: tuple[RunCommand, ...]
    samples: tuple[Sample, ...]
    problems: tuple[str, ...]
    faults: tuple[str, ...]
    skipped: tuple[str, ...]
    notes: tuple[str, ...] = ()
    incomplete: str = ""
    points: tuple[Mapping[str, Any], ...] = ()
    trials: int = 1
    warm_up: int = 0
    measured: tuple[str, ...] = ()
    topology: Mapping[str, Any] | None = None
    hosts: tuple[RunHost, ...] = ()
    load: str = ""
    fresh: bool = False
    roots: tuple[RootVolume, ...] = ()
    verdicts: tuple[RunVerdict, ...] = ()
    suites: tuple[SuiteRun, ...] = ()
    shape: Mapping[str, str] = field(default_factory=dict)
    series: str = ""


def to_json(record: RunRecord) -> dict[str, Any]:
    """What `run.json` holds: the fields above, with `schema` first.

    Behind them `summaries` of several trials, and `beside_host` where the same was measured on the host itself.
    """
    content: dict[str, Any] = {"schema": SCHEMA} | asdict(record)
    content["samples"] = [
        {
            "metric": sample.metric.name,
            "value": sample.value,
            "unit": str(sample.metric.unit),
            "better": sample.metric.better,
            "group": sample.metric.group,
            "labels": dict(sample.labels),
            "trial": sample.trial,
        }
        for sample in record.samples
    ]
    if record.trials > 1:
        content["summaries"] = [
            asdict(one) | {"metric": one.metric.name, "unit": str(one.metric.unit)} for one in summaries(record.samples)
        ]
    if both := beside_host(record.samples):
        content["beside_host"] = [
            asdict(one) | {"metric": one.metric.name, "unit": str(one.metric.unit), "percent": one.percent}
            for one in both
        ]
    return content


def from_json(content: object) -> RunRecord:
    """Read back what `to_json` gave. Raises ValueError if it is something else, or of a newer schema, which it names.

    Fields that this version does not know are passed over; those that an older one did not know have their defaults.
    """
    schema = content.get("schema") if isinstance(content, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        raise ValueError(f"a run record of schema {schema}, of a newer vmlab: this one reads up to {SCHEMA}")
    if not isinstance(content, dict) or schema != SCHEMA:
        raise ValueError(f"no run record of schema {SCHEMA}")
    from pydantic import ValidationError  # noqa: PLC0415  slow to import

    samples = content.get("samples")
    nested = [_sample(sample) for sample in samples] if isinstance(samples, list) else samples
    try:
        return _records().validate_python(content | {"samples": nested})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"a damaged run record: {where}: {first['msg']}") from error


def _sample(content: object) -> object:
    if not isinstance(content, dict):
        return content
    metric = {name: content[key] for name, key in _METRIC.items() if key in content}
    return {"metric": metric, **{key: content[key] for key in ("value", "labels", "trial") if key in content}}


_METRIC = {"name": "metric", "unit": "unit", "better": "better", "group": "group"}


@cache
def _records() -> "TypeAdapter[RunRecord]":
    from pydantic import TypeAdapter  # noqa: PLC0415  slow to import

    return TypeAdapter(RunRecord)
