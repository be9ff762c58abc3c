"""Scaling: how a figure grows with a number of nodes or tasks, and where it ends to grow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import linear_regression


@dataclass(frozen=True, slots=True)
class Step:
    """What was measured with `n`: the median of the trials, and from their least to their most."""

    n: float
    value: float
    spread: float = 0.0


@dataclass(frozen=True, slots=True)
class Scaling:
    """What a series of steps says, in the unit of its values.

    `knee` is the first n after which the gain is not above the spread of both its ends, None if there is none. `slope`
    is by how much the figure grows with each one more, up to the knee; None where the knee is the first step. `maximum`
    is what was reached at the n `at`, and `of_native` that in per cent of native; None if there is no native.

    `native_at` is the n of the native figure: the same as `at` where that was measured, else where native was best.
    """

    knee: float | None
    slope: float | None
    maximum: float
    at: float
    of_native: float | None = None
    native_at: float | None = None


def scaling(steps: Sequence[Step], native: Mapping[float, float] | None = None) -> Scaling | None:
    """Of a figure of which more is better; None of less than three steps, which have no shape.

    The spread of a single trial is taken for 0: then the knee is where nothing is gained. `native`: figures by n.
    """
    order = sorted(steps, key=lambda step: step.n)
    if len({step.n for step in order}) < 3:  # noqa: PLR2004 (a line goes through any two)
        return None
    knee = next((one.n for one, more in pairwise(order) if not _gains(one, more)), None)
    best = max(order, key=lambda step: step.value)
    native_at = _beside(best.n, native or {})
    return Scaling(
        knee=knee,
        slope=_slope([step for step in order if knee is None or step.n <= knee]),
        maximum=best.value,
        at=best.n,
        of_native=None if native_at is None else 100 * best.value / (native or {})[native_at],
        native_at=native_at,
    )


def _gains(one: Step, more: Step) -> bool:
    return more.value - one.value > max(one.spread, more.spread)


def _slope(steps: Sequence[Step]) -> float | None:
    if len(steps) < 2:  # noqa: PLR2004 (a point has none)
        return None
    return linear_regression([step.n for step in steps], [step.value for step in steps]).slope


def _beside(n: float, native: Mapping[float, float]) -> float | None:
    known = {at: value for at, value in native.items() if value > 0}
    if n in known:
        return n
    return max(known, key=lambda at: known[at], default=None)
