"""What a run measures, and in which order: all points of a sweep, again for each trial.

A whole sweep is measured before it is measured again, so that what drifts meanwhile (a cache that fills, a host that
gets busy) is in the spread of each point and not in the difference between them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import BaseModel

from vmlab.errors import VmlabError, WorkloadError
from vmlab.metrics import HOST, ON, VM, Sample
from vmlab.workloads import Measurement, Native, Node, Workload
from vmlab.workloads._options import Point


@dataclass(frozen=True, slots=True)
class Often:
    """How often each point is measured; `warm_up` times before, which is not counted.

    `fresh`: the nodes are made anew between trials, and warmed up each time.
    """

    trials: int = 1
    warm_up: int = 0
    fresh: bool = False


ONCE = Often()


@dataclass(frozen=True, slots=True)
class Turn:
    """A measurement's turn in a run, in which its `name` is unique. `labels` are added to those of its samples.

    `trial` counts from 1. `native`: on the host itself, in the place of the nodes. `where` the nodes are, in a run in
    which not all are guests.
    """

    name: str
    measurement: Measurement
    options: BaseModel
    labels: Mapping[str, str]
    trial: int
    counts: bool = True
    native: bool = False
    where: Mapping[str, str] = field(default_factory=dict)

    def labelled(self, sample: Sample) -> Sample:
        """With the turn's labels. Where it was measured its workload knows best, then the node that it is of."""
        own = sample.labels.get(ON) or self.where.get(sample.labels.get("node", ""))
        return replace(sample, labels={**sample.labels, **self.labels, **({ON: own} if own else {})}, trial=self.trial)


@dataclass(frozen=True, slots=True)
class Turns:
    """Rounds, one after the other, and why points or measurements have none."""

    rounds: tuple[tuple[Turn, ...], ...]
    skipped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Round:
    """The measurements of one point that are made at once. `where`: of each node, "" where all are guests."""

    point: Point[Any]
    measurements: Sequence[Measurement]
    where: Mapping[str, str]

    @property
    def native(self) -> bool:
        """On the host itself."""
        return HOST in self.where.values()

    def on(self, measurement: Measurement) -> dict[str, str]:
        """The label that tells guests' figures from others', where there are others."""
        kinds = sorted({self.where[task.node] for task in measurement.commands if self.where.get(task.node)})
        return {ON: "+".join(kinds)} if kinds else {}


def turns(
    workload: Workload[Any],
    points: Sequence[Point[Any]],
    nodes: Sequence[Node],
    often: Often,
    stand_ins: Sequence[Node] = (),
) -> Turns:
    """`stand_ins` are the host in the place of `nodes`: with them each point is measured there too, right after.

    Raises WorkloadError if nothing can be measured in guests: the only point's, or one that names all.
    """
    rounds: list[_Round] = []
    skipped: list[str] = []
    told = bool(stand_ins) or any(node.where != VM for node in nodes)
    where = {node.name: node.where for node in nodes} if told else {}
    for point in points:
        try:
            of_point = workload.measurements(point.options, nodes)
        except WorkloadError as error:
            if len(points) == 1:
                raise
            skipped.append(f"{_told(point)}: {error.message}")
            continue
        skipped += [f"{_name(point, m)}: {m.skipped}" for r in of_point for m in r if m.skipped]
        rounds += [_Round(point, ready, where) for r in of_point if (ready := [m for m in r if not m.skipped])]
        if stand_ins and point.native is not None:
            on_host, why = _on_host(workload, point, stand_ins, {e.fabric for node in nodes for e in node.endpoints})
            rounds += on_host
            skipped += why
    if not rounds:
        raise WorkloadError(f"{workload.name}: nothing can be measured: {'; '.join(skipped) or 'no measurement'}")
    return Turns(tuple(_repeated(rounds, often)), tuple(dict.fromkeys(skipped)))


def _on_host(
    workload: Workload[Any], point: Point[Any], stand_ins: Sequence[Node], fabrics: set[str]
) -> tuple[list[_Round], list[str]]:
    """The same on the host, and what cannot be measured there; `fabrics` are those on which guests are."""
    why = ""
    try:
        options = workload.on_host(point.options, point.native or Native())
        if lacking := sorted(fabrics - {e.fabric for node in stand_ins for e in node.endpoints}):
            why = f" (the host has no address on {', '.join(lacking)})"
        found = workload.measurements(options, stand_ins)
    except VmlabError as error:
        return [], [f"on the host: {error.message}{why}"]
    there = replace(point, options=options)
    where = {node.name: node.where for node in stand_ins}
    skipped = [f"on the host: {_name(point, m)}: {m.skipped}" for r in found for m in r if m.skipped]
    return [_Round(there, ready, where) for r in found if (ready := [m for m in r if not m.skipped])], skipped


def _repeated(rounds: Sequence[_Round], often: Often) -> Iterator[tuple[Turn, ...]]:
    for trial in range(1, often.trials + 1):
        of_trial = f".trial{trial}" if often.trials > 1 else ""
        for number in range(1, often.warm_up + 1 if often.fresh or trial == 1 else 1):
            end = f"{of_trial if often.fresh else ''}.warm-up{number}"
            yield from (_turns(of, end, trial, counts=False) for of in rounds)
        yield from (_turns(of, of_trial, trial, counts=True) for of in rounds)


def _turns(of: _Round, end: str, trial: int, *, counts: bool) -> tuple[Turn, ...]:
    begin = f"{HOST}." if of.native else ""

    def turn(m: Measurement) -> Turn:
        labels = {**of.point.shape, **of.point.labels, **of.on(m)}
        name = f"{begin}{_name(of.point, m)}{end}"
        return Turn(name, m, of.point.options, labels, trial, counts, of.native, of.where)

    return tuple(map(turn, of.measurements))


def _name(point: Point[Any], measurement: Measurement) -> str:
    return f"{_told(point)}.{measurement.name}" if point.labels else measurement.name


def _told(point: Point[Any]) -> str:
    """In one word: it becomes part of marks and of files' names."""
    return "_".join(",".join(f"{name}={value}" for name, value in point.labels.items()).split())
