"""Run one workload on a bed: ask the guests, measure, read, record.

Everything that can be measured is measured; what failed is in the record, and `verdict` turns it into the command's
error. The caller holds the bed's lock: what an earlier, killed run left running in the guests is ended first.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel

from vmlab import __version__
from vmlab.domainxml.metadata import NodeMetadata
from vmlab.errors import ReferenceMissed, UsageError, VmlabError, WorkloadError
from vmlab.fabrics import SURVEY, kind_of, read_survey
from vmlab.metrics import RunCommand, RunNode, RunRecord, Sample
from vmlab.runtime import parallel
from vmlab.runtime.process import Result
from vmlab.runtime.wait import Deadline, now
from vmlab.steps import Command
from vmlab.store.runs import OpenRun, open_run
from vmlab.workloads import Deed, Endpoint, Measurement, Node, Output, Service, Task, Workload


class Guest(Protocol):
    """What is needed of `guest.ssh.Guest`, connected already."""

    def run(self, argv: Sequence[str], *, deadline_s: float, as_root: bool = False) -> Result:
        """Run to the end; raises GuestError when the guest cannot be reached."""


class Deeds(Protocol):
    """What is needed of `lab.deeds.Deeds`."""

    def __call__(self, deed: Deed) -> Result:
        """Do it to the end; raises VmlabError if that cannot even begin."""


Placement = Mapping[str, Mapping[int, Sequence[int]]]
"""Node, virtual CPU, the host CPUs that it may use."""

_ASK_S = 60.0
_JOBS = 16
_SSH_S = 15.0  # what a command may take longer here than in the guest

# Each command carries this variable, and so do its children: what the kernel knows needs no pid file, and a variable's
# value cannot be that of another process. `timeout` bounds what nobody is left to end.
_MARK = "VMLAB_RUN"
_KILL = f"""
for found in $(grep -lsz -e "^{_MARK}=$1" /proc/[0-9]*/environ); do
    process=${{found#/proc/}}
    kill -KILL "${{process%/environ}}"
done 2>/dev/null
exit 0
"""
_TIMED_OUT = (124, 137)

_SYSTEM = r"""
uname -r
if command -v dpkg-query >/dev/null; then dpkg-query -W -f '${Package} ${Version}\n' "$@"
elif command -v rpm >/dev/null; then rpm -q --qf '%{NAME} %{VERSION}-%{RELEASE}\n' "$@" | grep -v ' is not installed'
fi 2>/dev/null
exit 0
"""

# One round trip asks twenty times; the answer comes as soon as it is yes.
_UNTIL_READY = """
tries=0
until "$@" >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 20 ] || exit 1
    sleep 0.1
done
"""


def run_workload(
    guests: Mapping[str, Guest],
    nodes: Mapping[str, NodeMetadata],
    workload: Workload[Any],
    options: BaseModel,
    *,
    runs_dir: Path,
    accel: str,
    placement: Placement,
    deeds: Deeds | None,
    progress: Callable[[str], None],
    noticed: Callable[[], Sequence[str]] = tuple,
) -> RunRecord:
    """Measure, and record in a new folder of `runs_dir`; see `verdict` for what went wrong while measuring.

    `guests` must have every node that takes part (`Workload.takes_part`). Without `deeds` only guests' commands can
    run. `noticed` tells what the bed's kernels complained of meanwhile, which is a problem of the run. Raises
    UsageError or WorkloadError if nothing can be measured, GuestError if a guest does not answer before that.
    """
    started = datetime.now(UTC)
    bed = next(iter(nodes.values())).bed if nodes else ""
    known = tuple(participant(node) for node in nodes.values())
    names = workload.takes_part(options, known)
    asked = dict(
        parallel.each(
            lambda name: (name, _ask(guests[name], nodes[name], workload)),
            names,
            jobs=_JOBS,
            failed="guests do not answer",
        )
    )
    everyone = tuple(asked[n.name].node if n.name in asked else n for n in known)
    rounds = workload.measurements(options, everyone)
    skipped = [f"{m.name}: {m.skipped}" for r in rounds for m in r if m.skipped]
    total = sum(not m.skipped for r in rounds for m in r)
    if not total:
        raise WorkloadError(f"{workload.name}: nothing can be measured: {'; '.join(skipped) or 'no measurement'}")
    if deeds is None and any(isinstance(task, Deed) for r in rounds for m in r for task in m.tasks):
        raise UsageError(
            f"{workload.name} has to know the topology of {bed}, and its file is not here",
            hint=f"vmlab run FILE {workload.name}",
        )
    with open_run(runs_dir, at=started, bed=bed, workload=workload.name) as run:
        session = _Session(run, guests, deeds, workload, options)
        results: list[_Result] = []
        try:
            for measurements in rounds:
                todo = [m for m in measurements if not m.skipped]
                for number, measurement in enumerate(todo, start=len(results) + 1):
                    progress(f"{number}/{total} {measurement.name}")
                done = session.measure_all(todo)
                results += done
                for result in done:
                    for said in (*result.faults, *result.problems):
                        progress(said)
        finally:
            session.end(names)
        record = RunRecord(
            id=run.id,
            bed=bed,
            workload=workload.name,
            options=options.model_dump(mode="json", by_alias=True),
            accel=accel,
            soft=workload.soft(options, everyone),
            vmlab=__version__,
            started=_iso(started),
            ended=_iso(datetime.now(UTC)),
            nodes=tuple(_run_node(nodes[name], asked[name], placement.get(name, {})) for name in names),
            commands=tuple(c for result in results for c in result.commands),
            samples=tuple(s for result in results for s in result.samples),
            problems=(*(p for result in results for p in result.problems), *noticed()),
            faults=tuple(f for result in results for f in result.faults),
            skipped=tuple(skipped),
        )
        run.finish(record)
    return record


def verdict(record: RunRecord, runs_dir: Path) -> VmlabError | None:
    """The error that the command ends with, to be raised after the figures were printed; None if all is well.

    WorkloadError when something could not be measured, else ReferenceMissed when what was measured did not behave.
    """
    kind = WorkloadError if record.faults else ReferenceMissed
    said = (*record.faults, *record.problems)
    if not said:
        return None
    hint = f"what the commands printed is in {runs_dir / record.id}"
    if len(said) == 1:
        return kind(said[0], hint=hint)
    what = "could not be measured" if record.faults else "did not behave as they must"
    number = len(record.faults) or len(record.problems)
    return kind(f"{record.workload}: {number} measurements {what}", hint=hint, causes=[kind(line) for line in said])


def _iso(moment: datetime) -> str:
    return moment.astimezone().isoformat(timespec="milliseconds")


def participant(node: NodeMetadata) -> Node:
    """A node as workloads see it."""
    endpoints = tuple(Endpoint(a.fabric, a.kind, a.ip.ip, a.interface, a.soft) for a in node.addresses)
    return Node(node.node, node.roles, endpoints)


@dataclass(frozen=True, slots=True)
class _Asked:
    node: Node
    kernel: str
    packages: Mapping[str, str]


def _ask(guest: Guest, metadata: NodeMetadata, workload: Workload[Any]) -> _Asked:
    """What a guest knows of itself; whatever an earlier run left in it is ended."""

    def said(argv: Command) -> str:
        return guest.run(argv, deadline_s=_ASK_S, as_root=True).stdout

    guest.run(("sh", "-c", _KILL, "vmlab", ""), deadline_s=_ASK_S, as_root=True)
    survey = read_survey(said(SURVEY))
    endpoints = []
    for endpoint, address in zip(participant(metadata).endpoints, metadata.addresses, strict=True):
        device = kind_of(address).device(address, survey)
        if device is None:
            endpoints.append(endpoint)
        else:
            endpoints.append(replace(endpoint, device=device.name, port=device.port, gid_index=device.gid_index))
    kernel, *packages = said(("sh", "-c", _SYSTEM, "vmlab", *workload.packages)).splitlines() or [""]
    facts = {name: said(command) for name, command in workload.facts.items()}
    return _Asked(
        Node(metadata.node, metadata.roles, tuple(endpoints), facts),
        kernel,
        {name: version for name, _, version in (line.partition(" ") for line in packages) if version},
    )


def _run_node(metadata: NodeMetadata, asked: _Asked, vcpus: Mapping[int, Sequence[int]]) -> RunNode:
    return RunNode(
        name=metadata.node,
        roles=metadata.roles,
        image=metadata.image,
        kernel=asked.kernel,
        packages=asked.packages,
        addresses={a.interface: str(a.ip) for a in metadata.addresses},
        devices={e.netdev: f"{e.device}/{e.port}" for e in asked.node.endpoints if e.device},
        vcpus={str(vcpu): tuple(cpus) for vcpu, cpus in vcpus.items()},
    )


@dataclass(frozen=True, slots=True)
class _Result:
    commands: tuple[RunCommand, ...]
    samples: tuple[Sample, ...]
    problems: tuple[str, ...]
    faults: tuple[str, ...]


class _Session:
    """One run's measurements."""

    def __init__(
        self,
        run: OpenRun,
        guests: Mapping[str, Guest],
        deeds: Deeds | None,
        workload: Workload[Any],
        options: BaseModel,
    ) -> None:
        self._run = run
        self._guests = guests
        self._deeds = deeds
        self._workload = workload
        self._options = options

    def measure_all(self, measurements: Sequence[Measurement]) -> list[_Result]:
        """Those of one round, at once."""
        if len(measurements) == 1:
            return [self._measure(measurements[0])]
        return parallel.each(self._measure, measurements, jobs=len(measurements), failed="the round failed")

    def end(self, names: Sequence[str]) -> None:
        """Leave nothing running in the guests, whatever happened; a guest that is gone has nothing running."""
        for name in names:
            self._kill(name, f"{self._run.id}/")

    def _measure(self, measurement: Measurement) -> _Result:
        outputs: dict[str, Output] = {}
        commands: list[RunCommand] = []
        samples: tuple[Sample, ...] = ()
        faults: list[str] = []

        def keep(task: Task, output: Output, started: datetime) -> None:
            outputs[task.name] = output
            files = self._run.keep(f"{measurement.name}.{task.name}", output.stdout, output.stderr)
            commands.append(
                RunCommand(
                    measurement.name,
                    task.name,
                    task.node,
                    task.argv,
                    _iso(started),
                    round(output.seconds, 3),
                    output.status,
                    output.timed_out,
                    *files,
                )
            )

        try:
            fault = self._perform(measurement, keep)
            if not fault:
                samples = self._workload.parse(self._options, measurement, outputs)
        except VmlabError as error:
            fault = error.message
        problems = self._workload.sanity(self._options, measurement, outputs, samples)
        if fault and not problems:  # what is wrong with the thing under test explains the failure
            faults.append(fault)
        return _Result(
            tuple(commands),
            samples,
            tuple(f"{measurement.name}: {problem}" for problem in problems),
            tuple(f"{measurement.name}: {fault}" for fault in faults),
        )

    def _perform(self, measurement: Measurement, keep: Callable[[Task, Output, datetime], None]) -> str:
        """Services, then tasks; why it failed, or ""."""
        with ThreadPoolExecutor(max_workers=max(1, len(measurement.services))) as pool:
            running: list[tuple[Service, datetime, Future[Output]]] = []
            fault = ""
            lingered = False
            try:
                for service in measurement.services:
                    future = pool.submit(self._command, measurement, service)
                    running.append((service, datetime.now(UTC), future))
                for service, _, future in running:
                    fault = fault or self._not_ready(service, future)
                for task in measurement.tasks:
                    if fault:
                        break
                    started = datetime.now(UTC)
                    output = self._command(measurement, task)
                    keep(task, output, started)
                    if not output.ok:
                        fault = self._failed(task, output)
                lingered = not fault
            finally:
                for service, started, future in running:
                    stopped = self._stop(measurement, service, future, lingered)
                    if future.done() and future.exception() is None:
                        output = future.result()
                        timed_out = output.timed_out and not stopped
                        keep(service, replace(output, stopped=stopped, timed_out=timed_out), started)
        return fault

    def _not_ready(self, service: Service, future: "Future[Output]") -> str:
        deadline = Deadline.after(service.ready_s)
        guest = self._guests[service.node]
        ask = ("sh", "-c", _UNTIL_READY, "vmlab", *service.ready)
        while not guest.run(ask, deadline_s=_ASK_S, as_root=True).ok:
            if future.done():
                return self._failed(service, future.result())
            if deadline.passed:
                return f"{service.name} on {service.node} is not ready after {service.ready_s:g} s"
        return ""

    def _failed(self, task: Task, output: Output) -> str:
        where = f" on {task.node}" if task.node else ""
        if output.timed_out:
            return f"{task.name}{where} did not end within {task.deadline_s:g} s"
        return f"{task.name}{where} failed: {self._workload.explain(output)}"

    def _stop(self, measurement: Measurement, service: Service, future: "Future[Output]", lingered: bool) -> bool:
        """Let a service end, or end it; whether it had to be ended."""
        wait([future], timeout=service.linger_s if lingered else 0)
        if future.done():
            return False
        self._kill(service.node, self._mark(measurement, service))
        wait([future])  # bounded: by its own deadline at the latest
        return True

    def _mark(self, measurement: Measurement, task: Task) -> str:
        return f"{self._run.id}/{measurement.name}/{task.name}"

    def _kill(self, node: str, mark: str) -> None:
        try:
            self._guests[node].run(("sh", "-c", _KILL, "vmlab", mark), deadline_s=_ASK_S, as_root=True)
        except VmlabError:
            return  # the guest does not answer: `timeout` in it ends what runs

    def _command(self, measurement: Measurement, task: Task) -> Output:
        limit = str(ceil(task.deadline_s))
        argv = ("env", f"{_MARK}={self._mark(measurement, task)}", "timeout", "-k", "5", limit, *task.argv)
        begin = now()
        if isinstance(task, Deed) and self._deeds is not None:
            result = self._deeds(task)
        else:
            result = self._guests[task.node].run(argv, deadline_s=task.deadline_s + _SSH_S, as_root=True)
        timed_out = result.timed_out or result.status in _TIMED_OUT
        return Output(result.status, result.stdout, result.stderr, now() - begin, timed_out)
