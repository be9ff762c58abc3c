"""What can be measured on a bed: one file each, here, in a folder that users name, or an entry point `vmlab.workloads`.

A workload describes and never runs anything. It says which nodes take part, which commands make its measurements, how
their output is read and what must hold apart from performance. `lab.measuring` asks, runs, reads and records.

    @register
    class Rdma(Workload[Options]):
        name = "rdma"
        ...
"""

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from math import inf
from types import MappingProxyType
from typing import Any, ClassVar, Generic, Literal, NamedTuple, Self, TypeVar

from pydantic import BaseModel

from vmlab.errors import WorkloadError
from vmlab.lustre.lnetconf import Lnet
from vmlab.lustre.target import Target
from vmlab.metrics import Metric, Sample
from vmlab.registry import Registry
from vmlab.steps import Command
from vmlab.suites.consoles import Event
from vmlab.suites.results import SuiteRun
from vmlab.topology import Topology
from vmlab.workloads._causes import cause

MARK = "VMLAB_RUN"
"""The variable that each command of a run carries in its guest, and so do its children: whose they are."""

FOLDER = "VMLAB_WORKLOADS"
"""The variable that names a folder of a lab's own workloads; each file there is a module that registers itself."""


ON_HOST, ALL = "host", "all"
"""The label that tells of which host's nodes a figure is, where they are on several; and its value for all of them."""


class PerHost(NamedTuple):
    """How figures of nodes add up to one of their host: `metric` is the sum's, `node` the label that names the node.

    `without`: other labels that tell the parts of a sum from each other.
    """

    metric: Metric
    node: str = "node"
    without: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A node's place on a fabric, as seen inside the guest.

    `device` is its RDMA device there, "" if it has none; `gid_index` is -1 where RDMA needs no GID (InfiniBand's own
    link layer). `soft`: the device is soft-RoCE.
    """

    fabric: str
    kind: str
    ip: IPv4Address
    netdev: str
    soft: bool = False
    device: str = ""
    port: int = 1
    gid_index: int = -1


@dataclass(frozen=True, slots=True)
class Node:
    """A node that may take part. `facts` are what the workload's fact commands printed on it, `host` is a guest's.

    `where` it runs: "vm", a guest; "bare", a machine that is none; "host", the host itself in the place of the node
    `name`, confined to `cpus`, as many as the node has.
    """

    name: str
    roles: tuple[str, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    where: Literal["vm", "bare", "host"] = "vm"
    cpus: tuple[int, ...] = ()
    host: str = ""

    def on(self, fabric: str) -> Endpoint | None:
        """Its first place on that fabric."""
        return next((e for e in self.endpoints if e.fabric == fabric), None)


@dataclass(frozen=True, slots=True)
class Bed:
    """How the bed is laid out: its targets by label, with disks and servers, and the LNet configuration of nodes."""

    topology: Topology
    targets: Mapping[str, Target]
    configs: Mapping[str, Lnet]


@dataclass(frozen=True, slots=True)
class Native:
    """That the same is measured on the host itself.

    `mount`: the files of workloads that have some go below this directory of the host; "" if none was named.
    `written`: it stands in the topology file, beside the workload's options, and not only on the command line.
    """

    mount: str = ""
    written: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A command on a node, run as root. Its name is unique within its measurement and names its output's files.

    `files` are put on its node before it runs: contents by name. `brings` are names of files, or patterns of them, that
    are brought back when it is over, however it ended: to `Output.files` and into the run's folder. Both are in the
    folder in which all commands of a measurement run of which one has files; there is one on each node that takes part.
    `optional`: that it fails, or that its node does not answer, ends nothing.
    """

    name: str
    node: str
    argv: Command
    deadline_s: float
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    brings: tuple[str, ...] = ()
    optional: bool = False

    def __post_init__(self) -> None:
        wrong = [name for name in (*self.files, *self.brings) if "/" in name or not name.strip(".")]
        if wrong:
            raise ValueError(f"{self.name}: {wrong[0]!r} is no plain name of a file")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service(Task):
    """A command that runs while the tasks do.

    They start when `ready` exits 0 on the same node, which must happen within `ready_s`. When they are over the service
    has `linger_s` to end by itself; then it is killed.
    """

    ready: Command
    ready_s: float = 30.0
    linger_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Long(Task):
    """A task of many parts that has a time for each, and that may fail, hang or take the bed with it.

    A line of standard output that fits `part` begins a part, named by the pattern's groups; one without a name is what
    lies between parts, and has its time, too. A part that takes longer than `part_s` is ended by `end_part`, which gets
    the name as its last word; if no other begins within `grace_s` after that, the whole task is ended. So it is at its
    deadline, and when a kernel of the bed is dead. Evidence of the bed is collected before anything is ended:
    `Output.cuts`.

    That it fails ends nothing. What it came to is the workload's to say: see `Workload.more`.
    """

    part: str
    part_s: float
    end_part: Command
    grace_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Cut:
    """A long task, or only a part of it, that was ended before its time: by a limit, or `dead`, as a kernel died.

    `evidence` is a folder of the run's, "" if none could be collected.
    """

    part: str
    why: str
    whole: bool
    dead: bool = False
    evidence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed(Task):
    """What vmlab itself does to the bed, as for a user who types `argv`; no node does it. Its output is JSON.

    "failover" takes down the server of `target`, a target or a node; "" lets vmlab choose. "up" brings up again what is
    down, "failback" moves targets to their primaries, "umount" unmounts all, "revive" has all nodes begin anew, by
    their power, with nothing mounted. See `lab.measuring.deeds` for what they print.
    """

    node: str = ""
    verb: Literal["failover", "up", "failback", "umount", "revive"]
    target: str = ""
    how: Literal["power", "panic", "umount"] = "power"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Tasks that begin together, on as many nodes as they name; a node may have several.

    First `prepare` runs, all of it at once, and all must succeed. Then each of `tasks` is brought to its node and waits
    there; when all are there, which must happen within `gather_s`, one word starts them. The first that fails ends the
    others. `Output.late_s` tells how far apart they began.
    """

    tasks: tuple[Task, ...]
    prepare: tuple[Task, ...] = ()
    gather_s: float = 120.0

    def __post_init__(self) -> None:
        if not self.tasks or any(isinstance(task, Deed | Long | Service) for task in (*self.prepare, *self.tasks)):
            raise ValueError("a job is of tasks of nodes, at least one")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The services are started, then tasks and jobs run one after the other.

    `labels` tell it from the others of its run. With `skipped` nothing runs; it is the reason that the user is told.
    """

    name: str
    labels: Mapping[str, str]
    tasks: tuple[Task | Job, ...] = ()
    services: tuple[Service, ...] = ()
    skipped: str = ""

    def __post_init__(self) -> None:
        names = [task.name for task in self.commands]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"several tasks of the measurement {self.name} are called {', '.join(sorted(twice))}")

    @property
    def commands(self) -> tuple[Task, ...]:
        """All that it runs: services, then tasks, and those of its jobs."""
        flat = (
            one for step in self.tasks for one in ((*step.prepare, *step.tasks) if isinstance(step, Job) else (step,))
        )
        return (*self.services, *flat)

    @property
    def has_files(self) -> bool:
        """One of them has: then all run in a folder."""
        return any(task.files or task.brings for task in self.commands)

    @property
    def at_once(self) -> int:
        """How many of them run at the same time, at most."""
        together = (max(len(step.prepare), len(step.tasks)) for step in self.tasks if isinstance(step, Job))
        return len(self.services) + max((1, *together))

    @property
    def gathered(self) -> int:
        """How many of them wait for one word, at most."""
        return max((len(step.tasks) for step in self.tasks if isinstance(step, Job)), default=0)


@dataclass(frozen=True, slots=True)
class Output:
    """What a task left.

    `stopped` means that vmlab killed it: a service that did not end by itself, or the task of a job of which another
    failed. `late_s`: so long after the first of its job it began. `files` are those that the task `brings`. Of a long
    task `cuts` are what was ended before its time, and `events` what kernels said on consoles meanwhile, by node.
    """

    status: int
    stdout: str
    stderr: str
    seconds: float
    timed_out: bool = False
    stopped: bool = False
    late_s: float = 0.0
    files: Mapping[str, bytes] = field(default_factory=dict)
    cuts: tuple[Cut, ...] = ()
    events: Mapping[str, tuple[Event, ...]] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """A file that was brought. Raises WorkloadError if there is none of that name."""
        if name not in self.files:
            raise WorkloadError(f"there is no {name}")
        return self.files[name].decode(errors="replace")

    @property
    def ok(self) -> bool:
        """It ended by itself with status 0."""
        return self.status == 0 and not self.timed_out

    @property
    def cause(self) -> str:
        """Why it failed: the first thing that it complained of, standard error first."""
        return cause(self.stderr, self.stdout) or f"status {self.status}"

    @property
    def last_line(self) -> str:
        """The last thing it said: of a deed that is why it failed."""
        return next(reversed(self.stderr.strip().splitlines()), f"status {self.status}").strip()


O = TypeVar("O", bound=BaseModel)  # noqa: E741 (the options' class; a longer name would only be noise)

Outputs = Mapping[str, Output]
"""By the task's name. Tasks that never ran are absent."""


def by_node(task: str, outputs: Outputs) -> dict[str, Output]:
    """The outputs of the tasks that are called `TASK.NODE`, by node."""
    return {name.removeprefix(f"{task}."): output for name, output in outputs.items() if name.startswith(f"{task}.")}


class Workload(abc.ABC, Generic[O]):
    """A benchmark. `options` is a frozen pydantic class with `extra="forbid"`: its JSON schema is the YAML schema.

    `versions` are commands whose first line says which version of a program a node has.
    `facts` are commands asked on each node that takes part, before the measurements are made; what they print is in
    `Node.facts`. `packages` are those whose versions belong into the record of a run. `adds_up` are metrics of which
    the figures of one round make one for each host: see `lab.measuring.by_host`.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    metrics: ClassVar[tuple[Metric, ...]]
    packages: ClassVar[tuple[str, ...]] = ()
    facts: ClassVar[Mapping[str, Command]] = MappingProxyType({})
    versions: ClassVar[Mapping[str, Command]] = MappingProxyType({})
    adds_up: ClassVar[Mapping[Metric, PerHost]] = MappingProxyType({})
    options: type[O]

    def of_bed(self, bed: Callable[[], Bed]) -> Self:
        """The same for a bed, of whose layout it may ask. Called where the topology is known; most need none of it."""
        del bed
        return self

    @abc.abstractmethod
    def takes_part(self, options: O, nodes: Sequence[Node]) -> tuple[str, ...]:
        """The names of the nodes that take part; their facts and devices are not known yet.

        Raises UsageError if the options do not fit the bed, WorkloadError if the bed cannot serve this workload.
        """

    @abc.abstractmethod
    def measurements(self, options: O, nodes: Sequence[Node]) -> tuple[tuple[Measurement, ...], ...]:
        """Rounds, one after the other; the measurements of one round run at once.

        `nodes` are all of the bed; devices and facts are known of those that take part. Raises WorkloadError.
        """

    def on_host(self, options: O, native: Native) -> O:
        """The options with which the same can be measured on the host itself, whose stand-ins have `Node.where` "host".

        Raises WorkloadError with the reason why it cannot: so here, since whatever a workload does it does there as
        root.
        """
        del options, native
        raise WorkloadError(f"{self.name} runs in guests only")

    def foretold(self, options: O, nodes: Sequence[Node]) -> tuple[str, ...]:
        """What the user is told before anything runs, a line each; devices and facts are known as in `measurements`."""
        del options, nodes
        return ()

    def in_advance(self, options: O, topology: Topology) -> tuple[str, ...]:
        """What is told as long as there is no bed, by its file alone, a line each; `foretold` knows more.

        Raises UsageError if the options do not fit the bed.
        """
        del options, topology
        return ()

    def limit_s(self, options: O) -> float:
        """So long all measurements may take together. What has not begun by then does not; see `tests`."""
        del options
        return inf

    def more(self, options: O, measurement: Measurement, outputs: Outputs, left_s: float) -> tuple[Task | Job, ...]:
        """What else is to run, by what the tasks came to that ran; asked again after these, until there is nothing.

        Names are new ones. `left_s` is what is left of `limit_s`.
        """
        del options, measurement, outputs, left_s
        return ()

    def tests(self, options: O, measurement: Measurement, outputs: Outputs) -> tuple[SuiteRun, ...]:
        """What became of suites of tests; asked without outputs, too, of a measurement that was not begun in time.

        A sub-test's `log` is TASK/FILE of a file that a task brought, or TASK/stdout: the record has the names in the
        run's folder.
        """
        del options, measurement, outputs
        return ()

    def soft(self, options: O, nodes: Sequence[Node]) -> bool:
        """The figures went over soft-RoCE; `nodes` are all of the bed, devices and facts known of those that took part.

        Here: whoever took part has such a device. What does not use verbs by itself knows better.
        """
        del options
        return any(endpoint.soft and endpoint.device for node in nodes for endpoint in node.endpoints)

    @abc.abstractmethod
    def parse(self, options: O, measurement: Measurement, outputs: Outputs) -> tuple[Sample, ...]:
        """The figures, when all tasks ended with status 0. Raises WorkloadError, nothing else, whatever the text is."""

    def sanity(
        self, options: O, measurement: Measurement, outputs: Outputs, samples: Sequence[Sample]
    ) -> tuple[str, ...]:
        """What is wrong with the thing under test, apart from performance; asked after failed tasks too."""
        del options, measurement, outputs, samples
        return ()

    def notes(self, options: O, measurement: Measurement, outputs: Outputs) -> tuple[str, ...]:
        """What makes its figures worth less than they look, though nothing went wrong."""
        del options, measurement, outputs
        return ()

    def explain(self, output: Output) -> str:
        """Why a task failed, in one line, from what it printed."""
        return output.cause


_kinds: Registry[Workload[Any]] = Registry(__name__, "workload", variable=FOLDER)
register = _kinds.register
workloads = _kinds.all


def options_by_name() -> Mapping[str, type[BaseModel]]:
    """What the topology loader checks `workloads:` with."""
    return {name: workload.options for name, workload in workloads().items()}


def warnings() -> tuple[str, ...]:
    """One line for each entry point or file that could not be loaded."""
    return _kinds.warnings
