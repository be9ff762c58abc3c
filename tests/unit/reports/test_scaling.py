"""Where a curve ends to grow. All series here are simulated: by formulas, nobody measured them."""

import pytest

from vmlab.judgement.scaling import Step, scaling


def simulated(values: list[float], spread: float = 1.0) -> list[Step]:
    return [Step(n, value, spread) for n, value in enumerate(values, 1)]


def test_it_grows_to_the_knee_and_no_further() -> None:
    found = scaling(simulated([10, 20, 30, 40, 40.5, 40.2]))
    assert found is not None
    assert (found.knee, found.maximum, found.at) == (4, 40.5, 5)
    assert found.slope == pytest.approx(10)
    assert found.of_native is None


def test_a_gain_within_the_spread_of_either_end_is_none() -> None:
    assert scaling([Step(1, 10, 0), Step(2, 20, 0), Step(3, 25, 6)]).knee == 2  # type: ignore[union-attr]
    assert scaling([Step(1, 10, 0), Step(2, 20, 6), Step(3, 25, 0)]).knee == 2  # type: ignore[union-attr]
    assert scaling([Step(1, 10, 0), Step(2, 20, 0), Step(3, 25, 4)]).knee is None  # type: ignore[union-attr]


def test_what_never_stops_to_grow_has_no_knee() -> None:
    found = scaling(simulated([10, 20, 30, 40]))
    assert found is not None
    assert (found.knee, found.at) == (None, 4)


def test_what_does_not_grow_at_all_has_no_slope() -> None:
    found = scaling(simulated([10, 10, 9]))
    assert found is not None
    assert (found.knee, found.slope, found.at) == (1, None, 1)


def test_the_steps_may_double_and_come_in_any_order() -> None:
    steps = [Step(n, 5.0 * min(n, 64), 1) for n in (128, 1, 32, 2, 64, 8, 256)]
    found = scaling(steps)
    assert found is not None
    assert found.knee == 64
    assert found.slope == pytest.approx(5)


@pytest.mark.parametrize(
    ("native", "percent", "at"),
    [({1: 5.0, 3: 10.0}, 300.0, 3), ({1: 5.0, 2: 10.0}, 300.0, 2), ({3: 0.0}, None, None), ({}, None, None)],
)
def test_native_is_that_of_the_same_number_or_its_best(
    native: dict[float, float], percent: float | None, at: float | None
) -> None:
    found = scaling(simulated([10, 20, 30]), native)
    assert found is not None
    assert found.native_at == at
    assert found.of_native == (None if percent is None else pytest.approx(percent))


def test_two_steps_have_no_shape() -> None:
    assert scaling(simulated([1, 2])) is None
    assert scaling([Step(1, 1), Step(1, 2), Step(2, 3)]) is None
