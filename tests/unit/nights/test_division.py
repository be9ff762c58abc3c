"""Suites divided over beds: nothing twice, nothing forgotten, and no bed has much more than its share."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from vmlab.nights.division import Unit, divided, units

SECONDS = st.floats(0.1, 1000)
TOOK = st.dictionaries(
    st.sampled_from(["sanity", "sanityn", "replay-single", "conf-sanity"]),
    st.dictionaries(st.integers(0, 60).map(lambda number: f"{number}a"), SECONDS, min_size=1, max_size=30),
    min_size=1,
)


@given(TOOK, st.integers(1, 6), st.sets(st.sampled_from(["sanity", "conf-sanity", "none"])))
def test_each_sub_test_is_in_one_unit(took: dict[str, dict[str, float]], beds: int, whole: set[str]) -> None:
    suites = [*took, "new"]
    found = units(suites, took, beds, whole=whole)
    assert [unit.seconds for unit in found] == sorted((unit.seconds for unit in found), reverse=True)
    for suite in suites:
        own = [unit for unit in found if unit.suite == suite]
        rest = [unit for unit in own if not unit.only]
        assert len(rest) == 1  # what nobody knows runs in one, and only there
        named = [test for unit in own for test in unit.only]
        assert sorted(named) == sorted(rest[0].but)
        assert len(set(named)) == len(named)
        assert set(named) <= set(took.get(suite, ()))
        if suite in whole or suite == "new" or beds == 1:
            assert len(own) == 1


@given(st.lists(st.builds(Unit, st.just("s"), SECONDS), max_size=7), st.integers(1, 3))
def test_no_bed_has_much_more_than_in_the_best_division(some: list[Unit], beds: int) -> None:
    found = divided(some, beds)
    assert len(found) == beds
    assert sorted(unit.seconds for part in found for unit in part) == sorted(unit.seconds for unit in some)
    longest = max(sum(unit.seconds for unit in part) for part in found)
    best = min(
        max(sum(unit.seconds for unit, at in zip(some, places, strict=True) if at == bed) for bed in range(beds))
        for places in product(range(beds), repeat=len(some))
    )
    assert longest <= (4 / 3 - 1 / (3 * beds)) * best + 1e-6


def test_twelve_suites_on_three_beds_take_a_third() -> None:
    took = {f"suite{number}": {f"{test}": 10.0 for test in range(20)} for number in range(12)}
    parts = divided(units(list(took), took, 3), 3)
    longest = max(sum(unit.seconds for unit in part) for part in parts)
    assert longest <= 1.2 / 3 * sum(sum(tests.values()) for tests in took.values())


def test_one_long_suite_is_cut() -> None:
    took = {"sanity": {str(test): 1.0 for test in range(900)}, "sanityn": {"1": 5.0}}
    parts = divided(units(list(took), took, 3), 3)
    assert max(sum(unit.seconds for unit in part) for part in parts) <= 1.2 / 3 * 905
