"""One figure over many runs, and where it changed for good.

PELT of ruptures, by least squares: a change is where the runs' medians are better told by two levels than by one, by
more than a penalty of 4 s^2 ln n, for n runs. s^2 is half of the mean squared difference of neighbours, to which one
change of level adds little. With this penalty noise alone shows a change in about one of twenty series. A level has at
least two runs: a single one that is off is none.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite, log
from statistics import fmean, median

from vmlab.judgement.conditions import differing
from vmlab.judgement.labels import fits, known
from vmlab.metrics import Summary, summaries
from vmlab.records.run import RunRecord
from vmlab.values.identity import asked_bed

FEWEST = 8
"""Of fewer runs nothing is said."""
PENALTY = 4
TEST = f"PELT, least squares, penalty {PENALTY} s^2 ln n"

_SHORTEST = 2

_Run = tuple[RunRecord, Summary]


@dataclass(frozen=True, slots=True)
class TrendPoint:
    """One run: the median of its trials, and the level that it belongs to."""

    run: str
    started: str
    value: float
    trials: int
    spread: float
    level: float


@dataclass(frozen=True, slots=True)
class Change:
    """From `run` on the level is another one; `verdict` is "better" or "worse".

    `difference` is a fraction of the level before, None if that is 0. `unlike` is what else differs from the run
    before, in words: where one would look first.
    """

    run: str
    before: float
    after: float
    difference: float | None
    verdict: str
    unlike: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """A figure over its runs, oldest first. `enough`: changes were looked for."""

    bed: str
    workload: str
    metric: str
    unit: str
    better: str
    labels: Mapping[str, str]
    accel: str
    soft: bool
    points: tuple[TrendPoint, ...]
    changes: tuple[Change, ...]
    enough: bool


def trend(records: Sequence[RunRecord], metric: str, where: Mapping[str, str]) -> tuple[Series, ...]:
    """Of each bed, workload and set of labels that `where` fits; emulated runs are no part of others' series.

    The beds of a farm's jobs are one bed, by the name that their file has.
    """
    found: dict[object, list[_Run]] = {}
    for record in sorted(records, key=lambda record: record.id):
        for one in summaries(record.samples):
            if one.metric.name != metric or not isfinite(one.median) or not fits(where, known(record, one.labels)):
                continue
            about = (asked_bed(record.bed), record.workload, record.accel, record.soft)
            key = (*about, str(one.metric.unit), frozenset(one.labels.items()))
            found.setdefault(key, []).append((record, one))
    return tuple(_series(runs) for runs in found.values())


def starts(values: Sequence[float]) -> tuple[int, ...]:
    """Where levels begin, the first not counted; none of fewer than FEWEST values."""
    if len(values) < FEWEST:
        return ()
    noise = fmean((later - earlier) ** 2 for earlier, later in pairwise(values)) / 2
    if not noise:
        return ()
    from numpy import array  # noqa: PLC0415  slow to import
    from ruptures import Pelt  # noqa: PLC0415

    middle = median(values)
    signal = array([[(value - middle) / noise**0.5] for value in values])
    ends = Pelt(model="l2", min_size=_SHORTEST, jump=1).fit_predict(signal, pen=PENALTY * log(len(values)))
    return tuple(int(end) for end in ends[:-1])


def _series(runs: Sequence[_Run]) -> Series:
    values = [figure.median for _, figure in runs]
    begins = (0, *starts(values))
    levels = [median(values[begin:end]) for begin, end in pairwise((*begins, len(values)))]
    record, figure = runs[-1]
    return Series(
        bed=asked_bed(record.bed),
        workload=record.workload,
        metric=figure.metric.name,
        unit=str(figure.metric.unit),
        better=figure.metric.better,
        labels=dict(figure.labels),
        accel=record.accel,
        soft=record.soft,
        points=tuple(_points(runs, begins, levels)),
        changes=tuple(_changes(runs, begins, levels)),
        enough=len(runs) >= FEWEST,
    )


def _points(runs: Sequence[_Run], begins: Sequence[int], levels: Sequence[float]) -> Iterator[TrendPoint]:
    for place, (record, figure) in enumerate(runs):
        level = levels[sum(begin <= place for begin in begins) - 1]
        yield TrendPoint(record.id, record.started, figure.median, figure.trials, figure.spread, level)


def _changes(runs: Sequence[_Run], begins: Sequence[int], levels: Sequence[float]) -> Iterator[Change]:
    for begin, (before, after) in zip(begins[1:], pairwise(levels), strict=True):
        (earlier, _), (record, figure) = runs[begin - 1], runs[begin]
        gains = (after > before) == (figure.metric.better == "higher")
        difference = (after - before) / abs(before) if before else None
        verdict = "better" if gains else "worse"
        yield Change(record.id, before, after, difference, verdict, differing(earlier, record))
