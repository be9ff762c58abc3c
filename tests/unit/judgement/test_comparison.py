"""Runs compared: what is called different, what is not, and what nobody can tell."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from some_runs import DELAY, SPEED, figures, some_host, some_run

from vmlab.judgement.comparison import BETTER, LEVEL, SAME, TOO_FEW, WORSE, Comparison, compare, earlier, p_of, wanted
from vmlab.metrics import Metric
from vmlab.records.run import RunRecord

FAST, SLOW = (100.0, 101.0, 99.0, 100.5, 99.5), (90.0, 91.0, 89.0, 90.5, 89.5)


def run(values: Sequence[float], *, day: int = 0, metric: Metric = SPEED) -> RunRecord:
    return some_run(*figures(metric, values, verb="write"), day=day)


def verdict(before: Sequence[float], after: Sequence[float], metric: Metric = SPEED) -> str:
    (one,) = compare([run(before, metric=metric)], run(after, day=1, metric=metric)).figures
    return one.verdict


@pytest.mark.parametrize(
    ("before", "after", "metric", "found"),
    [
        (FAST, SLOW, SPEED, WORSE),
        (SLOW, FAST, SPEED, BETTER),
        (FAST, SLOW, DELAY, BETTER),
        (SLOW, FAST, DELAY, WORSE),
        (FAST, (100.2, 99.8, 101.5, 98.0, 100.1), SPEED, SAME),
        (FAST[:4], SLOW[:4], SPEED, WORSE),
        (FAST[:3], SLOW[:3], SPEED, TOO_FEW),
        (FAST[:1], SLOW[:1], SPEED, TOO_FEW),
        (FAST, SLOW[:2], SPEED, TOO_FEW),
        ((0, 0, 0, 0), (0, 0, 0, 0), SPEED, SAME),
        ((0, 0, 0, 0), (1, 1, 1, 1), SPEED, BETTER),
    ],
)
def test_verdicts(before: Sequence[float], after: Sequence[float], metric: Metric, found: str) -> None:
    assert verdict(before, after, metric) == found


def test_it_says_both_medians_the_difference_and_what_by() -> None:
    found = compare([run(FAST)], run(SLOW, day=1))
    (one,) = found.figures
    assert (one.before.median, one.after.median, one.difference) == (100, 90, pytest.approx(-0.1))
    assert (one.before.spread, one.before.trials) == (pytest.approx(0.02), 5)
    assert str(one) == "speed verb=write: 100, then 90 MiB/s, -10 %, p 0.0079"
    assert found.test == "Mann-Whitney U test, two-sided, at 5%"
    (few,) = compare([run(FAST[:3])], run(SLOW[:3], day=1)).figures
    assert few.why == "100, then 90 MiB/s, -10 %, of 3 and 3 trials, where 5 later ones could tell"
    (none,) = compare([run([0] * 4)], run([1] * 4, day=1)).figures
    assert (none.difference, none.before.spread) == (None, None)


def test_how_many_trials_could_tell_is_true() -> None:
    for before in range(1, 8):
        least = wanted(before)
        assert p_of(range(before), range(100, 100 + least)) is not None
        assert p_of(range(before), range(100, 100 + least - 1)) is None


def test_figures_of_one_side_are_told() -> None:
    before = some_run(*figures(SPEED, FAST, verb="w"), *figures(SPEED, FAST, verb="r"), *figures(DELAY, FAST))
    after = some_run(*figures(SPEED, FAST, verb="w"), *figures(SPEED, FAST, verb="x"), day=1)
    found = compare([before], after)
    assert len(found.figures) == 1
    assert found.only_before == ("speed verb=r (MiB/s)", "delay (us)")
    assert found.only_after == ("speed verb=x (MiB/s)",)
    other = compare([run(FAST, metric=Metric("speed", "GB/s", "higher", "speed"))], run(FAST, day=1))
    assert (other.figures, other.only_after) == ((), ("speed verb=write (MiB/s)",))


def test_what_else_differs_is_told() -> None:
    before, after = run(FAST), replace(run(FAST, day=1), accel="tcg", hosts=(some_host(cpu="AMD EPYC"),))
    assert compare([before], after).unlike == (
        "acceleration kvm, then tcg",
        "host's CPU Intel Xeon Gold 6230, then AMD EPYC",
    )
    assert compare([before], before).unlike == ()


def test_a_night_that_is_within_what_nights_vary_by_is_none() -> None:
    levels = (100, 90, 99, 98, 97, 101)
    nights = [run([level + noise for noise in (0, 0.1, 0.2, 0.3)], day=d) for d, level in enumerate(levels)]
    (within,) = compare(nights, run([91, 91.1, 91.2, 91.3], day=9)).figures
    assert within.p is not None
    assert (within.p < LEVEL, within.verdict) == (True, SAME)
    assert within.why.endswith("within the medians of the runs before, 90.15 to 101.2")
    (below,) = compare(nights, run([80, 80.1, 80.2, 80.3], day=9)).figures
    assert (below.verdict, below.before.trials) == (WORSE, 24)


def test_earlier_runs_are_those_that_measured_the_same() -> None:
    runs = [run(FAST, day=day) for day in range(6)]
    runs[1] = replace(runs[1], bed="other")
    runs[2] = replace(runs[2], incomplete="interrupted")
    runs[3] = replace(runs[3], options={"size": "1MiB"})
    assert earlier(runs, runs[5], 10) == (runs[0], runs[4])
    assert earlier(runs, runs[5], 1) == (runs[4],)
    assert earlier(runs, runs[0], 5) == ()
    assert earlier([replace(runs[0], accel="tcg"), replace(runs[0], workload="fill")], runs[5], 5) == ()


@given(st.lists(st.integers(0, 3), min_size=4, max_size=5), st.lists(st.integers(0, 3), min_size=4, max_size=5))
def test_where_trials_are_equal_p_is_what_trying_everything_finds(before: list[int], after: list[int]) -> None:
    values = [*before, *after]

    def u(chosen: Sequence[int]) -> float:
        ours = [values[i] for i in chosen]
        theirs = [values[i] for i in range(len(values)) if i not in chosen]
        return sum((a > b) + 0.5 * (a == b) for a in ours for b in theirs)

    ways = [u(chosen) for chosen in combinations(range(len(values)), len(before))]
    seen = u(range(len(before)))
    wanted_p = min(1, 2 * min(sum(w <= seen for w in ways), sum(w >= seen for w in ways)) / len(ways))
    if len(set(values)) > 1:
        assert p_of(before, after) == pytest.approx(wanted_p)


numbers = st.lists(st.floats(1, 1e6).map(lambda value: round(value, 2)), min_size=4, max_size=6)


@given(numbers, numbers, st.randoms(use_true_random=False))
def test_order_and_direction_do_not_matter(before: list[float], after: list[float], random: Random) -> None:
    def found(one: Sequence[float], other: Sequence[float]) -> Comparison:
        return compare([run(one)], run(other, day=1))

    there, back = found(before, after).figures[0], found(after, before).figures[0]
    assert there.p == pytest.approx(back.p)
    assert {BETTER: WORSE, WORSE: BETTER}.get(there.verdict, there.verdict) == back.verdict
    random.shuffle(before)
    assert found(before, after).figures[0].verdict == there.verdict


def test_noise_alone_is_seldom_called_a_difference() -> None:
    random = Random(13)  # noqa: S311
    called = sum(
        verdict([random.gauss(100, 3) for _ in range(5)], [random.gauss(100, 3) for _ in range(5)]) != SAME
        for _ in range(400)
    )
    assert called / 400 <= LEVEL


def test_a_change_beyond_the_noise_is_found() -> None:
    random = Random(13)  # noqa: S311
    found = sum(
        verdict([random.gauss(100, 1) for _ in range(5)], [random.gauss(95, 1) for _ in range(5)]) == WORSE
        for _ in range(100)
    )
    assert found >= 95
