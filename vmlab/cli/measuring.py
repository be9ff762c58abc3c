"""run, workloads: measuring."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vmlab.cli import complete
from vmlab.cli.options import Accel, Acceleration, Bed, Form, Output, option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vmlab.errors import VmlabError
    from vmlab.judgement.references import Reference
    from vmlab.lab.ground.hosts import Hosts
    from vmlab.lab.measuring.shapes import Part, Todo
    from vmlab.lab.measuring.turns import Often
    from vmlab.records.run import RunRecord
    from vmlab.topology import Topology
    from vmlab.workloads import Workload
    from vmlab.workloads._options import Point

_Workload = Annotated[
    str | None,
    typer.Argument(metavar="WORKLOAD", help="Absent: those of the topology file.", autocompletion=complete.workloads),
]


def run(
    bed: Bed,
    workload: _Workload = None,
    settings: Annotated[
        list[str] | None, option("--set", metavar="KEY=VALUE", help="An option of the workload; may be repeated.")
    ] = None,
    trials: Annotated[int, option("--trials", metavar="N", min=1, max=1000, help="Measure all N times.")] = 1,
    warm_up: Annotated[
        int, option("--warm-up", metavar="N", min=0, max=1000, help="Before that N times, which are not counted.")
    ] = 0,
    fresh: Annotated[
        bool,
        option("--fresh", help="Between trials all nodes are made anew, root disks and all; file systems keep theirs."),
    ] = False,
    native: Annotated[
        bool, option("--native", help="Measure the same on the host itself, on as many CPUs, and put it beside.")
    ] = False,
    resume: Annotated[
        bool, option("--resume", help="Go on with the latest such run that was cut off; what it has is not repeated.")
    ] = False,
    judge: Annotated[
        str | None,
        option("--judge", metavar="FILE", help="References to judge by; absent: the topology's."),
    ] = None,
    accel: Acceleration = Accel.AUTO,
    output: Output = Form.TABLE,
) -> None:
    """Run a workload on a bed, print and keep its figures.

    Without WORKLOAD: those of the topology file, in order. `-o json` prints the run's record, or then a list of them.
    One that cannot run does not keep the others from it. When it is broken off, what was measured is kept and marked.
    A list in place of a value is a sweep: each is measured, several lists in all combinations. Where there are
    references it ends with 8 if a figure misses its own, with 7 if one that has any was not measured.
    A file with `sweep: {bed: ...}` is measured on each of these beds, which is brought up as --accel says, and taken
    down; by its name a bed is measured as it is.

    \b
    Examples:
      vmlab run ha rdma --set verbs=write,read --set sizes=64KiB
      vmlab run ha ior --set 'block=[64m, 1g]' --set nodes=1..4 --trials 3
      vmlab run ha-topology.yaml fio --trials 5 --fresh
      vmlab run ha rdma --native
      vmlab run ha ior --trials 3 --judge refs.yaml
      vmlab run ha-topology.yaml
      vmlab run mpi-shapes.yaml --trials 3 --fresh
    """
    from dataclasses import replace

    from vmlab.cli.target import at, is_file
    from vmlab.errors import UsageError
    from vmlab.lab.measuring.turns import Often

    if fresh and trials == 1:
        raise UsageError("--fresh is between trials, and there is one", hint="--trials N --fresh")
    topology = _described(bed)
    todo = _todo(bed, topology, workload, settings or [], native=native)
    told = _Told(Often(trials, warm_up, fresh), _references(judge, topology), output)
    with at(bed, topology) as (hosts, name):
        if topology is not None and topology.shapes and is_file(bed):
            _sweep(hosts, topology, todo, told, accel=accel, resume=resume)
            told.end(f"{len(told.errors)} failures on {len(topology.shapes)} beds", listed=True)
        else:
            _all(hosts, name, topology and replace(topology, shapes=()), todo, told, resume=resume)
            told.end(f"{len(told.errors)} of {len(todo)} workloads failed", listed=workload is None)


def _all(hosts: "Hosts", bed: str, topology: "Topology | None", todo: "Todo", told: "_Told", *, resume: bool) -> None:
    """One workload after the other, on a bed that is there."""
    from vmlab.lab.measuring.resume import from_cut_off
    from vmlab.store.runs import runs_dir

    if resume:
        todo = from_cut_off(runs_dir(), bed, todo, told.often)
    for place, (kind, points) in enumerate(todo):
        told.measure(hosts, bed, topology, kind, points, resume=resume and place == 0)


def _sweep(hosts: "Hosts", topology: "Topology", todo: "Todo", told: "_Told", *, accel: Accel, resume: bool) -> None:
    """All workloads on each of the beds that a sweep of its shape makes."""
    from vmlab.errors import HostError
    from vmlab.lab.measuring.shapes import measure_shapes
    from vmlab.report.progress import shown

    told.errors += measure_shapes(hosts, topology, todo, told.often, accel=accel, resume=resume, shown=shown, by=told)
    records = told.records
    if records and not (told.errors or resume) and not any(record.measured for record in records):
        why = records[0].skipped[0]
        told.errors.append(HostError(f"no bed of the sweep fits: {why}", hint="vmlab plan FILE --set KEY=VALUE"))
    elif records:
        series = records[0].series
        typer.echo(f"all of it: vmlab results report --where series={series} -o report.html", err=True)


class _Told:
    """Has workloads measured, tells of each, and has at the end what there is to tell of all."""

    def __init__(self, often: "Often", references: "Sequence[Reference]", output: Form) -> None:
        self.often = often
        self.records: list[RunRecord] = []
        self.errors: list[VmlabError] = []
        self._references = references
        self._output = output

    def measure(
        self,
        hosts: "Hosts",
        bed: str,
        topology: "Topology | None",
        kind: "Workload[Any]",
        points: "tuple[Point[Any], ...]",
        *,
        resume: bool,
    ) -> None:
        """One run; why there is none is an error that keeps nobody else from measuring."""
        from vmlab.errors import GuestError, UsageError, WorkloadError
        from vmlab.lab.measuring.run import measure
        from vmlab.lab.measuring.workload import verdict
        from vmlab.report.progress import shown
        from vmlab.store.runs import runs_dir

        try:
            with shown() as progress:
                record = measure(
                    hosts,
                    bed,
                    kind,
                    points,
                    topology=topology,
                    progress=progress,
                    often=self.often,
                    resume=resume,
                    references=self._references,
                )
        except (WorkloadError, GuestError, UsageError) as error:
            self.errors.append(error)
            return
        self._add(record)
        if (wrong := verdict(record, runs_dir())) is not None:
            self.errors.append(wrong)

    def measured(self, hosts: "Hosts", topology: "Topology", part: "Part") -> None:
        """A bed of a sweep is up: see `lab.measuring.shapes`."""
        self.measure(hosts, topology.name, topology, part.workload, part.points, resume=part.resume)

    def not_measured(self, record: "RunRecord") -> None:
        """There is no such bed: see `lab.measuring.shapes`."""
        self._add(record)

    def end(self, failed: str, *, listed: bool) -> None:
        """Judge, print what is still to be printed, and raise what went wrong."""
        from vmlab.errors import together
        from vmlab.records.run import to_json
        from vmlab.report.plain import dumped

        self.errors += _judged(self.records, self._references, self._output)
        if self._output is Form.JSON and (listed or self.records):
            told = list(map(to_json, self.records))
            typer.echo(dumped(told if listed else told[0]))
        if self.errors:
            raise together(self.errors, failed)

    def _add(self, record: "RunRecord") -> None:
        from vmlab.report.run import run_table
        from vmlab.report.tables import show

        self.records.append(record)
        if self._output is Form.TABLE:
            show(run_table(record, findings=False))


def workloads(
    workload: _Workload = None,
    output: Output = Form.TABLE,
) -> None:
    """List workloads with options, defaults, metrics, units.

    \b
    Examples:
      vmlab workloads
      vmlab workloads rdma -o json
    """
    from vmlab import workloads as known
    from vmlab.report.plain import dumped
    from vmlab.report.workloads import workload_help
    from vmlab.workloads._options import describe

    _tell_warnings()
    names = [workload] if workload is not None else list(known.workloads())
    told = [describe(_known(name)) for name in names]
    if output is Form.JSON:
        typer.echo(dumped(told))
        return
    from vmlab.report.tables import show

    for help_ in told:
        show(workload_help(help_))


def _described(bed: str) -> "Topology | None":
    """The topology of a bed; None for a bed's name if no file here describes it."""
    from vmlab.cli.target import described_by, load

    file = described_by(bed)
    return None if file is None else load(file)


def _references(judge: str | None, topology: "Topology | None") -> "tuple[Reference, ...]":
    """Those of the named file, or of the topology's; none without either. Raises TopologyError."""
    from pathlib import Path

    from vmlab.judgement.references import load

    if judge is not None:
        return load(Path(judge))
    if topology is not None and topology.references is not None:
        return load(topology.path(topology.references))
    return ()


def _judged(records: "Sequence[RunRecord]", references: "Sequence[Reference]", output: Form) -> "Sequence[VmlabError]":
    """Print what the references say; the error that the command ends with, if there is one."""
    if not records or not references:
        return ()
    from vmlab.judgement.verdicts import error, judge
    from vmlab.report.judgement import verdicts_table
    from vmlab.report.tables import show

    verdicts = judge(records, references)
    if output is Form.TABLE:
        show(verdicts_table(verdicts))
    missed = error(verdicts)
    return () if missed is None else (missed,)


def _todo(
    bed: str, topology: "Topology | None", workload: str | None, settings: list[str], *, native: bool
) -> "list[tuple[Workload[Any], tuple[Point[Any], ...]]]":
    """The named workload, with what the topology file sets for it; or all of the file. `native`: on the host, too."""
    from vmlab.errors import UsageError
    from vmlab.workloads._options import also_native, parse_set, points

    in_file = topology.workloads if topology is not None else ()
    if workload is not None:
        kind = _known(workload)
        written = next((dict(item.options) for item in in_file if item.name == workload), {})
        asked = _with_rows(kind, parse_set(kind, settings))
        return [(kind, also_native(points(kind, written | asked), asked=native))]
    if settings:
        raise UsageError("--set needs a WORKLOAD", hint="vmlab run BED WORKLOAD --set KEY=VALUE")
    if not in_file:
        why = (
            "the topology file of {} is not here" if topology is None else "the topology file of {} lists no workloads"
        )
        raise UsageError(why.format(bed), hint="vmlab run BED WORKLOAD; `vmlab workloads` lists them")
    return [(_known(item.name), also_native(points(_known(item.name), item.options), asked=native)) for item in in_file]


def _with_rows(kind: "Workload[Any]", settings: dict[str, Any]) -> dict[str, Any]:
    """What is set, with the rows of a file that is named there, of the current folder. Raises TopologyError."""
    from pathlib import Path

    from vmlab.errors import TopologyError, UsageError
    from vmlab.topology.parse import Problems
    from vmlab.topology.table import with_rows

    problems = Problems("")
    try:
        found = with_rows(kind.options, settings, Path(), problems.add)
    except ValueError as error:
        raise UsageError(f"{kind.name}: {error}", hint=f"vmlab workloads {kind.name}") from None
    if problems.found:
        raise TopologyError(problems.sorted())
    return found


def _tell_warnings() -> None:
    from vmlab.workloads import warnings

    for line in warnings():
        typer.echo(f"vmlab: warning: {line}", err=True)


def _known(name: str) -> "Workload[Any]":
    from vmlab.errors import UsageError
    from vmlab.topology.wording import expected
    from vmlab.workloads import workloads as known

    found = known()
    if name not in found:
        _tell_warnings()
        raise UsageError(f"there is no workload `{name:.60}` ({expected(name, found)})", hint="vmlab workloads")
    return found[name]
