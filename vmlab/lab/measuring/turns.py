"""What a run measures, and in which order: all points of a sweep, again for each trial.

A whole sweep is measured before it is measured again, so that what drifts meanwhile (a cache that fills, a host that
gets busy) is in the spread of each point and not in the difference between them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from vmlab.errors import WorkloadError
from vmlab.workloads import Measurement, Node, Workload
from vmlab.workloads._options import Point


@dataclass(frozen=True, slots=True)
class Often:
    """How often each point is measured; `warm_up` times before, which is not counted."""

    trials: int = 1
    warm_up: int = 0


ONCE = Often()


@dataclass(frozen=True, slots=True)
class Turn:
    """A measurement's turn in a run, in which its `name` is unique. `labels` are added to those of its samples.

    `trial` counts from 1; 0 is a warm-up.
    """

    name: str
    measurement: Measurement
    options: BaseModel
    labels: Mapping[str, str]
    trial: int


@dataclass(frozen=True, slots=True)
class Turns:
    """Rounds, one after the other, and why points or measurements have none."""

    rounds: tuple[tuple[Turn, ...], ...]
    skipped: tuple[str, ...]


def turns(workload: Workload[Any], points: Sequence[Point[Any]], nodes: Sequence[Node], often: Often) -> Turns:
    """Raises WorkloadError if nothing can be measured: the only point's, or one that names all."""
    rounds: list[tuple[Point[Any], Sequence[Measurement]]] = []
    skipped: list[str] = []
    for point in points:
        try:
            of_point = workload.measurements(point.options, nodes)
        except WorkloadError as error:
            if len(points) == 1:
                raise
            skipped.append(f"{_told(point)}: {error.message}")
            continue
        skipped += [f"{_name(point, m)}: {m.skipped}" for r in of_point for m in r if m.skipped]
        rounds += [(point, ready) for r in of_point if (ready := [m for m in r if not m.skipped])]
    if not rounds:
        raise WorkloadError(f"{workload.name}: nothing can be measured: {'; '.join(skipped) or 'no measurement'}")
    return Turns(tuple(_repeated(rounds, often)), tuple(skipped))


def _repeated(rounds: Sequence[tuple[Point[Any], Sequence[Measurement]]], often: Often) -> Iterator[tuple[Turn, ...]]:
    for number in range(1 - often.warm_up, often.trials + 1):
        end = f".trial{number}" if often.trials > 1 else ""
        end = end if number > 0 else f".warm-up{number + often.warm_up}"
        for point, measurements in rounds:
            yield tuple(
                Turn(_name(point, m) + end, m, point.options, point.labels, max(0, number)) for m in measurements
            )


def _name(point: Point[Any], measurement: Measurement) -> str:
    return f"{_told(point)}.{measurement.name}" if point.labels else measurement.name


def _told(point: Point[Any]) -> str:
    """In one word: it becomes part of marks and of files' names."""
    return "_".join(",".join(f"{name}={value}" for name, value in point.labels.items()).split())
