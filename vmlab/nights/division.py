"""A list of suites, divided over beds that are alike, by what each took in the nights before: longest first.

A suite that takes more than its share is cut into parts of its sub-tests, unless it must stay whole; the part that has
what no earlier night knew is the one without the rest.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

_UNKNOWN_S = 600.0
_PARTS = 4
"""A part takes at most such a part of a bed's share: the finer, the more even, and each has its set-up."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What one bed does in one go: a suite, of it the sub-tests `only`, or all but those in `but`."""

    suite: str
    seconds: float
    only: tuple[str, ...] = ()
    but: tuple[str, ...] = ()


def units(
    suites: Sequence[str],
    took: Mapping[str, Mapping[str, float]],
    beds: int,
    *,
    whole: Collection[str] = (),
) -> tuple[Unit, ...]:
    """The suites in units, longest first. `took` are the seconds of each sub-test of each suite, where they are known.

    Each sub-test is in exactly one unit of its suite, those that are not known in the last one of it.
    """
    seconds = {suite: sum(took[suite].values()) if took.get(suite) else _UNKNOWN_S for suite in suites}
    share = sum(seconds[suite] for suite in suites) / max(1, beds)
    found: list[Unit] = []
    for suite in suites:
        parts = ceil(_PARTS * seconds[suite] / share) if share else 1
        if beds < 2 or suite in whole or suite not in took or seconds[suite] <= share / _PARTS:  # noqa: PLR2004
            found.append(Unit(suite, seconds[suite]))
        else:
            found += _parts(suite, took[suite], min(parts, len(took[suite])))
    return tuple(sorted(found, key=lambda unit: -unit.seconds))


def _parts(suite: str, took: Mapping[str, float], number: int) -> Iterator[Unit]:
    if number < 2:  # noqa: PLR2004
        yield Unit(suite, sum(took.values()))
        return
    placed = divided([Unit(suite, seconds, (test,)) for test, seconds in took.items()], number)
    parts = [tuple(test for test in took if any(test in unit.only for unit in part)) for part in placed]
    sums = [sum(unit.seconds for unit in part) for part in placed]
    for tests, seconds in zip(parts[:-1], sums[:-1], strict=True):
        yield Unit(suite, seconds, tests)
    yield Unit(suite, sums[-1], (), tuple(test for tests in parts[:-1] for test in tests))


def divided(some: Sequence[Unit], beds: int) -> tuple[tuple[Unit, ...], ...]:
    """What each bed gets: the longest first, each to the bed that has least so far.

    No bed has more than 4/3 - 1/(3 beds) of what the best division would give it (Graham).
    """
    found: list[list[Unit]] = [[] for _ in range(beds)]
    sums = [0.0] * beds
    for unit in sorted(some, key=lambda unit: -unit.seconds):
        place = min(range(beds), key=lambda place: (sums[place], len(found[place]), place))
        found[place].append(unit)
        sums[place] += unit.seconds
    return tuple(map(tuple, found))
