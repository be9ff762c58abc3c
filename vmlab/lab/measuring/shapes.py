"""A sweep of the bed's shape: each bed of it is brought up, measured and taken down.

What is over is told by the records of its runs, which have the shape, and a name that they have in common. That a bed
which is up is one of the sweep's is told by a file in the bed's own folder, which goes when the bed does, or when
anybody else brings it up.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from vmlab import __version__
from vmlab.errors import BusyError, GuestError, HostError, LibvirtError, UsageError, VmlabError, WorkloadError
from vmlab.lab.beds.down import down
from vmlab.lab.beds.plan import look
from vmlab.lab.beds.up import up
from vmlab.lab.ground.bed_folder import made_for, slug
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.progress import Progress, Silent
from vmlab.lab.measuring.resume import requested
from vmlab.lab.measuring.session import iso
from vmlab.lab.measuring.turns import Often
from vmlab.plan.observed import over_all
from vmlab.records.run import RunRecord
from vmlab.records.selection import Selection
from vmlab.runtime import lock
from vmlab.store.index import opened
from vmlab.store.runs import cut_off, open_run, read, runs_dir
from vmlab.topology import Shape, Topology
from vmlab.workloads import Workload
from vmlab.workloads._options import Point

_JOBS = 32

Todo = Sequence[tuple[Workload[Any], tuple[Point[Any], ...]]]

Shown = Callable[[Sequence[str]], AbstractContextManager[Progress]]
"""Progress of these nodes, for a `with` block."""


@dataclass(frozen=True, slots=True)
class Part:
    """A workload on one shape of the bed. `resume`: a run of it was cut off."""

    workload: Workload[Any]
    points: tuple[Point[Any], ...]
    resume: bool


class Measures(Protocol):
    """What is needed of who measures, and tells of it."""

    def measured(self, hosts: Hosts, topology: Topology, part: Part) -> None:
        """Measure on the bed, which is up."""

    def not_measured(self, record: RunRecord) -> None:
        """Tell of a run that has no figures, and says why."""


@dataclass(frozen=True, slots=True)
class _Sweep:
    """A sweep with all of its runs until now."""

    name: str
    bed: str
    todo: Todo
    often: Often
    runs: Sequence[RunRecord] = ()

    def left(self, shape: Shape) -> list[Part]:
        """What is not measured yet on a shape: neither to its end, nor at all."""
        found = []
        for workload, points in self.todo:
            ours = tuple(replace(point, shape=shape.labels, series=self.name) for point in points)
            request = requested(self.bed, workload.name, ours, self.often)
            runs = [run for run in self.runs if _is(run, request)]
            if not any(run.measured and not run.incomplete for run in runs):
                found.append(Part(workload, ours, resume=any(run.incomplete for run in runs)))
        return found


def measure_shapes(
    hosts: Hosts,
    topology: Topology,
    todo: Todo,
    often: Often,
    *,
    accel: str,
    resume: bool,
    shown: Shown,
    by: Measures,
) -> tuple[VmlabError, ...]:
    """Measure all of `todo` on each shape of the bed; the errors of beds that did not come up, or not go.

    A shape that the host cannot have is not measured, and has a run that says so. With `resume` the latest such sweep
    that was cut off goes on, and its bed, if one is up, is taken down first. Raises BusyError if anything else of the
    bed is there, UsageError if nothing was cut off.
    """
    bed = topology.name
    with lock.held(f"{slug(hosts.keeper)}.{bed}.sweep", what=f"the sweep of the bed {bed}"):
        sweep = _sweep(hosts, topology, todo, often, resume=resume)
        errors: list[VmlabError] = []
        for shape in topology.shapes:
            parts = sweep.left(shape)
            if parts and (why := _why_not(hosts, shape, accel)):
                for part in parts:
                    by.not_measured(_recorded(bed, part, often, f"{_told(shape)}: {why}"))
            elif parts:
                error = _at(hosts, shape, parts, sweep.name, accel=accel, shown=shown, by=by)
                errors += () if error is None else (error,)
        return tuple(errors)


def _sweep(hosts: Hosts, topology: Topology, todo: Todo, often: Often, *, resume: bool) -> _Sweep:
    """The one that goes on, its bed taken down, or a new one."""
    bed = topology.name
    there = over_all(bed, hosts.look()).exists
    marked = made_for(hosts.keeper, bed)
    if there and not (marked and resume):
        raise BusyError(
            f"{bed} is up, or its disks are kept{', for a sweep that was cut off' if marked else ''}: "
            "a sweep of its shape makes beds of this name",
            hint=f"{'vmlab run FILE --resume, or ' if marked else f'vmlab run {bed} measures it as it is; '}"
            f"vmlab down {bed}",
        )
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{bed}"
    if not resume:
        return _Sweep(name, bed, todo, often)
    runs = _runs(bed)
    ours = {run.id for run in runs if any(_of(run, shape, todo, often) for shape in topology.shapes)}
    # Of one that was killed before its first run there is nothing but its bed.
    last = next((run.series for run in runs if run.id in ours), "")
    cut = marked if marked and all(run.id in ours for run in runs if run.series == marked) else last
    found = _Sweep(cut, bed, todo, often, [run for run in runs if run.series == cut])
    if not cut or not any(map(found.left, topology.shapes)):
        raise UsageError(
            f"no sweep of {bed} with these options and shapes was cut off",
            hint="vmlab results list; without --resume it begins anew",
        )
    if there:
        down(hosts, bed, keep_disks=False, progress=Silent())
    return found


def _runs(bed: str) -> list[RunRecord]:
    """The runs of sweeps of this bed, the latest first."""
    found = [run for run in cut_off(runs_dir()) if run.bed == bed]
    with opened(runs_dir()) as index:
        entries = index.select(Selection(beds=frozenset((bed,))))
    for entry in entries:
        with suppress(UsageError, WorkloadError):  # removed meanwhile; what is damaged is of no use
            found.append(read(runs_dir(), entry.id))
    by_id = {run.id: run for run in found if run.series and run.bed == bed}  # a job's own are the job's
    return [by_id[run] for run in sorted(by_id, reverse=True)]


def _of(run: RunRecord, shape: Shape, todo: Todo, often: Often) -> bool:
    """The run is one of such a sweep."""
    for workload, points in todo:
        ours = tuple(replace(point, shape=shape.labels, series=run.series) for point in points)
        if _is(run, requested(run.bed, workload.name, ours, often)):
            return True
    return False


def _is(run: RunRecord, request: dict[str, Any]) -> bool:
    return all(getattr(run, name) == value for name, value in request.items())


def _told(shape: Shape) -> str:
    return ", ".join(f"{key}={value}" for key, value in shape.labels.items())


def _why_not(hosts: Hosts, shape: Shape, accel: str) -> str:
    """Why the host cannot have a bed of this shape, in one line; "" if it can."""
    try:
        look(hosts, shape.topology, accel=accel, restart=False, progress=Silent())
    except HostError as error:
        return "; ".join(line.strip() for line in error.message.splitlines())
    return ""


def _recorded(bed: str, part: Part, often: Often, why: str) -> RunRecord:
    started = datetime.now(UTC)
    request = requested(bed, part.workload.name, part.points, often)
    with open_run(runs_dir(), at=started, bed=bed, workload=part.workload.name) as run:
        record = RunRecord(
            **request,
            id=run.id,
            accel="bare",
            soft=False,
            vmlab=__version__,
            started=iso(started),
            ended=iso(datetime.now(UTC)),
            nodes=(),
            commands=(),
            samples=(),
            problems=(),
            faults=(),
            skipped=(why,),
        )
        run.finish(record)
    return record


def _at(
    hosts: Hosts, shape: Shape, parts: Sequence[Part], sweep: str, *, accel: str, shown: Shown, by: Measures
) -> VmlabError | None:
    """Bring a bed up, measure, and take it down, whatever happened."""
    bed = shape.topology.name
    try:
        with shown(tuple(shape.topology.nodes)) as progress:
            progress.say(f"{bed}: {_told(shape)}")
            up(
                hosts,
                shape.topology,
                accel=accel,
                restart=False,
                timeout_s=None,
                jobs=_JOBS,
                wait=True,
                progress=progress,
                sweep=sweep,
            )
        for part in parts:
            by.measured(hosts, shape.topology, part)
    except (HostError, LibvirtError, GuestError) as error:
        for one in error.causes or (error,):
            one.message = f"{_told(shape)}: {one.message}"
        return error
    finally:
        with shown(()) as progress:
            down(hosts, bed, keep_disks=False, progress=progress)
    return None
