"""A metric over runs: where it changed for good, and where nothing did."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from some_runs import DELAY, SPEED, figures, some_run

from vmlab.judgement.trend import FEWEST, starts, trend
from vmlab.metrics import Metric
from vmlab.records.run import RunNode, RunRecord


def noisy(*levels: tuple[float, int], seed: int = 13) -> list[float]:
    random = Random(seed)  # noqa: S311
    return [random.gauss(level, 1) for level, runs in levels for _ in range(runs)]


def over_days(values: Sequence[float], metric: Metric = SPEED) -> list[RunRecord]:
    return [some_run(*figures(metric, [value], verb="write"), day=day) for day, value in enumerate(values)]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (noisy((100, 40)), ()),
        (noisy((100, 20), (95, 20)), (20,)),
        (noisy((100, 15), (90, 15), (100, 15)), (15, 30)),
        ([7.0] * 20, ()),
        ([7.0] * 10 + [8.0] * 10, (10,)),
        ([0.0] * 10 + [1.0] * 10, (10,)),
        ([*noisy((100, 10)), 60, *noisy((100, 10), seed=14)], ()),  # one that is off
        ([100.0] * 3 + [50.0] * 4, ()),  # too few
        ([], ()),
    ],
)
def test_where_levels_begin(values: list[float], found: tuple[int, ...]) -> None:
    assert starts(values) == found


def test_a_change_is_told_with_its_levels_and_what_else_differs() -> None:
    runs = over_days(noisy((100, 10), (90, 10)))
    node = RunNode("n1", ("client",), "demo", "6.12", {}, {}, {}, {}, lustre="2.15.5")
    runs = [replace(run, nodes=(node if day < 10 else replace(node, lustre="2.16.1"),)) for day, run in enumerate(runs)]
    (series,) = trend(runs, "speed", {})
    (change,) = series.changes
    assert (change.run, change.verdict, change.unlike) == (runs[10].id, "worse", ("Lustre 2.15.5, then 2.16.1",))
    assert change.difference == pytest.approx(-0.1, abs=0.02)
    assert [point.level for point in series.points] == [change.before] * 10 + [change.after] * 10
    (better,) = trend(over_days(noisy((100, 10), (90, 10)), DELAY), "delay", {})[0].changes
    assert better.verdict == "better"


def test_the_beds_of_a_farms_jobs_are_one_bed() -> None:
    runs = over_days(noisy((100, 10), (90, 10)))
    names = ["ha", *(f"j{1000 + number}-ha" for number in range(len(runs) - 1))]
    (series,) = trend([replace(run, bed=name) for run, name in zip(runs, names, strict=True)], "speed", {})
    assert (series.bed, len(series.points)) == ("ha", 20)
    assert [change.unlike for change in series.changes] == [()]
    other = [replace(run, bed=name) for run, name in zip(runs, ["ha", "j-ha", "jane-ha", "j1-hb"], strict=False)]
    assert {one.bed for one in trend(other, "speed", {})} == {"ha", "j-ha", "jane-ha", "hb"}


def test_few_runs_are_told_as_too_few() -> None:
    values = [100.0] * 4 + [50.0] * 4
    (few,) = trend(over_days(values[: FEWEST - 1]), "speed", {})
    assert (few.enough, few.changes, len(few.points)) == (False, (), FEWEST - 1)
    (enough,) = trend(over_days(values), "speed", {})
    assert (enough.enough, len(enough.changes)) == (True, 1)


def test_each_figure_has_a_series_and_emulated_ones_their_own() -> None:
    runs = [
        some_run(*figures(SPEED, [1, 3, 2], size="1048576"), *figures(SPEED, [9], size="4096"), *figures(DELAY, [1])),
        some_run(*figures(SPEED, [4], size="1048576"), day=1),
        some_run(*figures(SPEED, [5], size="1048576"), day=2, accel="tcg"),
        some_run(*figures(SPEED, [6], size="1048576"), day=3, bed="other"),
    ]
    found = trend(list(reversed(runs)), "speed", {})
    assert [[point.value for point in one.points] for one in found] == [[2, 4], [9], [5], [6]]
    assert (found[0].points[0].trials, found[0].points[0].spread) == (3, 2)
    assert [len(one.points) for one in trend(runs, "speed", {"size": "4KiB"})] == [1]
    assert trend(runs, "none", {}) == ()


@given(st.integers(2, 18), st.floats(8, 100), st.integers(0, 1000))
def test_a_large_step_is_found_where_it_is(at: int, step: float, seed: int) -> None:
    values = noisy((100, at), (100 + step, 20 - at), seed=seed)
    gap = min(values[at:]) - max(values[:at])
    assume(gap > 0)
    assert at in starts(values)


@given(st.integers(0, 1000), st.floats(1e-6, 1e6), st.floats(-1e3, 1e3))
def test_units_do_not_matter(seed: int, scale: float, offset: float) -> None:
    values = noisy((100, 10), (96, 10), seed=seed)
    assert starts([scale * (value + offset) for value in values]) == starts(values)


def test_noise_alone_seldom_shows_a_change() -> None:
    for runs in (FEWEST, 20, 60):
        shown = sum(bool(starts(noisy((100, runs), seed=seed))) for seed in range(100))
        assert shown <= 10, runs
