"""Going on with a run that was cut off: which one, and what becomes of both parts."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vmlab.errors import UsageError
from vmlab.lab.measuring.turns import Often
from vmlab.records.run import RunRecord
from vmlab.store.runs import cut_off
from vmlab.topology.sweep import NATIVE
from vmlab.workloads import Workload
from vmlab.workloads._options import Point

KILLED = "vmlab was killed"
"""Why a run is incomplete of which nobody says anything else."""


def requested(bed: str, workload: str, points: Sequence[Point[Any]], often: Often) -> dict[str, Any]:
    """What the record of a run says of what was asked for; two runs of one request measure the same."""
    written = [point.options.model_dump(mode="json", by_alias=True) for point in points]
    swept = dict.fromkeys(name for point in points for name in point.labels)
    native = points[0].native
    there = {NATIVE: {"mount": native.mount} if native.mount else True} if native is not None else {}
    return {
        "bed": bed,
        "workload": workload,
        "options": {name: value for name, value in written[0].items() if name not in swept} | there,
        "points": tuple({name: one[name] for name in swept} for one in written) if swept else (),
        "trials": often.trials,
        "warm_up": often.warm_up,
        "fresh": often.fresh,
        "shape": dict(points[0].shape),
        "series": points[0].series,
    }


def found_earlier(runs_dir: Path, request: dict[str, Any]) -> RunRecord:
    """The latest run of this request that was cut off. Raises UsageError if there is none."""
    for record in cut_off(runs_dir):
        if all(getattr(record, name) == value for name, value in request.items()):
            return record
    told = f"{request['bed']} {request['workload']}"
    raise UsageError(
        f"no run of {told} with these options was cut off", hint="vmlab results list; without --resume it begins anew"
    )


def from_cut_off(
    runs_dir: Path, bed: str, todo: Sequence[tuple[Workload[Any], tuple[Point[Any], ...]]], often: Often
) -> list[tuple[Workload[Any], tuple[Point[Any], ...]]]:
    """Of several workloads that are run one after the other: the one whose run was cut off latest, and those behind it.

    Raises UsageError if no run of one of them was.
    """
    found: dict[str, int] = {}
    first: UsageError | None = None
    for place, (workload, points) in enumerate(todo):
        try:
            found[found_earlier(runs_dir, requested(bed, workload.name, points, often)).id] = place
        except UsageError as error:
            first = first or error
    if not found:
        raise first or UsageError("there is nothing to go on with")
    return list(todo[found[max(found)] :])


def joined(earlier: RunRecord, later: RunRecord) -> RunRecord:
    """One run: what the earlier part has measured, and all of the later one, which repeated the rest."""
    measured = frozenset(earlier.measured)
    return replace(
        later,
        started=earlier.started,
        commands=(*(c for c in earlier.commands if c.measurement in measured), *later.commands),
        samples=(*earlier.samples, *later.samples),
        problems=tuple(dict.fromkeys((*earlier.problems, *later.problems))),
        notes=tuple(dict.fromkeys((*earlier.notes, *later.notes))),
        suites=(*(s for s in earlier.suites if s.measurement in measured), *later.suites),
        measured=(*earlier.measured, *later.measured),
    )
