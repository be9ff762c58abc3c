"""Runs compared with a later one: figure by figure, by a test that needs no distribution.

The Mann-Whitney U test, because trials are few and their noise is not normal: caches and neighbours make it skew. It
asks whether trials of one side tend to be larger, and of few trials its p is exact. A bootstrap of three or five trials
would draw the same few numbers again and know no more. So few trials that even complete separation has a p above the
level cannot tell, and that is the verdict.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import comb, isfinite
from statistics import median

from vmlab.judgement.conditions import alike, differing
from vmlab.judgement.labels import told
from vmlab.judgement.numbers import number, percent
from vmlab.metrics import Metric
from vmlab.records.run import RunRecord

BETTER, WORSE, SAME, TOO_FEW = "better", "worse", "no difference", "too few trials to tell"
LEVEL = 0.05
TEST = f"Mann-Whitney U test, two-sided, at {LEVEL:.0%}"

_EXACTLY = 2_000
"""So many ways to divide the trials among both sides are tried one by one where some are equal; that takes time."""

_Key = tuple[str, str, frozenset[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class Side:
    """One side's trials of a figure, in its unit."""

    trials: int
    median: float
    minimum: float
    maximum: float

    @property
    def spread(self) -> float | None:
        """From the least to the most, as a fraction of the median; None if that is 0."""
        return (self.maximum - self.minimum) / abs(self.median) if self.median else None


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure. `difference` of the medians is a fraction of the earlier one, None if that is 0. `p` of the test."""

    metric: str
    unit: str
    better: str
    labels: Mapping[str, str]
    before: Side
    after: Side
    difference: float | None
    p: float | None
    verdict: str
    why: str

    def __str__(self) -> str:
        labels = f" {told(self.labels)}" if self.labels else ""
        return f"{self.metric}{labels}: {self.why}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of the run `after` with those `before`, by their IDs.

    `only_before` and `only_after` are figures that one side has alone, in words; `unlike` is what else differs between
    the run and the last before it.
    """

    before: tuple[str, ...]
    after: str
    test: str
    figures: tuple[Compared, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    unlike: tuple[str, ...]

    def of(self, verdict: str) -> tuple[Compared, ...]:
        """The figures of one verdict."""
        return tuple(one for one in self.figures if one.verdict == verdict)


def earlier(records: Sequence[RunRecord], run: RunRecord, most: int) -> tuple[RunRecord, ...]:
    """The last `most` that measured the same before, oldest first; what was broken off is not among them."""
    found = [one for one in records if one.id < run.id and not one.incomplete and one.samples and alike(one, run)]
    return tuple(sorted(found, key=lambda one: one.id)[-most:])


def compare(before: Sequence[RunRecord], after: RunRecord) -> Comparison:
    """Each figure that both sides have. `before`, at least one, oldest first; the trials of several count together.

    Between several runs there is more than between trials of one: a difference that leaves the median within theirs is
    none, whatever the test says.
    """
    sides = [_trials(run) for run in before]
    then = _trials(after)
    earlier_keys = list(dict.fromkeys(key for side in sides for key in side))
    return Comparison(
        before=tuple(run.id for run in before),
        after=after.id,
        test=TEST,
        figures=tuple(
            _compared(key, [side[key] for side in sides if key in side], then[key]) for key in _both(sides, then)
        ),
        only_before=tuple(_named(key) for key in earlier_keys if key not in then),
        only_after=tuple(_named(key) for key in then if key not in earlier_keys),
        unlike=differing(before[-1], after),
    )


@dataclass(frozen=True, slots=True)
class _Trials:
    metric: Metric
    labels: Mapping[str, str]
    values: tuple[float, ...]


def _trials(run: RunRecord) -> dict[_Key, _Trials]:
    found: dict[_Key, _Trials] = {}
    for sample in run.samples:
        key = (sample.metric.name, str(sample.metric.unit), frozenset(sample.labels.items()))
        values = found[key].values if key in found else ()
        if isfinite(sample.value):
            found[key] = _Trials(sample.metric, sample.labels, (*values, sample.value))
    return found


def _both(sides: Sequence[Mapping[_Key, _Trials]], then: Mapping[_Key, _Trials]) -> Iterator[_Key]:
    return (key for key in then if any(key in side for side in sides))


def _named(key: _Key) -> str:
    metric, unit, labels = key
    return " ".join(filter(None, (metric, told(dict(sorted(labels))), f"({unit})")))


def _compared(key: _Key, runs: Sequence[_Trials], then: _Trials) -> Compared:
    before = [value for run in runs for value in run.values]
    after = list(then.values)
    ours, theirs = _side(after), _side(before)
    difference = (ours.median - theirs.median) / abs(theirs.median) if theirs.median else None
    p = p_of(before, after)
    verdict = _verdict(p, ours.median - theirs.median, then.metric.better)
    why = _why(theirs, ours, difference, p, key[1])
    medians = [median(run.values) for run in runs]
    if verdict in (BETTER, WORSE) and len(runs) > 1 and min(medians) <= ours.median <= max(medians):
        verdict = SAME
        why += f", within the medians of the runs before, {number(min(medians))} to {number(max(medians))}"
    return Compared(
        metric=then.metric.name,
        unit=key[1],
        better=then.metric.better,
        labels=dict(then.labels),
        before=theirs,
        after=ours,
        difference=difference,
        p=p,
        verdict=verdict,
        why=why,
    )


def _side(values: Sequence[float]) -> Side:
    return Side(len(values), median(values), min(values), max(values))


def _verdict(p: float | None, difference: float, better: str) -> str:
    if p is None:
        return TOO_FEW
    if p > LEVEL or not difference:
        return SAME
    return BETTER if (difference > 0) == (better == "higher") else WORSE


def _why(before: Side, after: Side, difference: float | None, p: float | None, unit: str) -> str:
    said = f"{number(before.median)}, then {number(after.median)} {unit}"
    if difference is not None:
        said += f", {percent(difference)}"
    if p is not None:
        return f"{said}, p {p:.2g}"
    return f"{said}, of {before.trials} and {after.trials} trials, where {wanted(before.trials)} later ones could tell"


def p_of(before: Sequence[float], after: Sequence[float]) -> float | None:
    """How likely sides that differ at least so much are by chance; None if no outcome could be below LEVEL."""
    ways = comb(len(before) + len(after), len(before))
    if 2 / ways > LEVEL:
        return None
    values = [*before, *after]
    if min(values) == max(values):
        return 1.0
    from scipy.stats import PermutationMethod, mannwhitneyu  # noqa: PLC0415  slow to import

    tied = len(set(values)) < len(values)
    if tied and ways <= _EXACTLY:
        found = mannwhitneyu(before, after, method=PermutationMethod(n_resamples=_EXACTLY))
    else:
        found = mannwhitneyu(before, after, method="auto")
    return min(1.0, float(found.pvalue))


def wanted(before: int) -> int:
    """How many later trials could tell a difference from so many earlier ones."""
    after = 1
    while 2 / comb(before + after, before) > LEVEL:
        after += 1
    return after
