"""When a guest on a slow machine is still waited for, and when it is given up."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmlab.plan.advance import SPIN_S, STILL_S, Pace, Signs

Look = tuple[float, Signs]
FIRST = Signs("login:", 100.0, 1 << 20)


def seen(looks: Iterable[Look], *, share: float = 1.0) -> Pace:
    pace = Pace.begin(0.0, FIRST)
    for at_s, signs in looks:
        pace = pace.after(at_s, signs, share=share)
    return pace


def every_5s(until_s: int, *, cpu: float = 0.0, kib: float = 0.0, says: bool = False) -> list[Look]:
    """One that uses a part `cpu` of a CPU, moves so many KiB in a second, and says something at each look or not."""
    return [
        (
            float(at),
            Signs(
                f"line {at}" if says else FIRST.said,
                FIRST.cpu_s + cpu * at,
                FIRST.disk_bytes + int(kib * 1024 * at),
            ),
        )
        for at in range(5, until_s + 1, 5)
    ]


@pytest.mark.parametrize(
    ("looks", "share", "stuck"),
    [
        (every_5s(600), 1.0, True),  # hangs
        (every_5s(600, cpu=0.04), 1.0, True),  # only its clock ticks
        (every_5s(600, cpu=0.04, kib=1), 1.0, True),  # and a journal is flushed now and then
        (every_5s(600, says=True), 1.0, False),
        (every_5s(600, kib=100), 1.0, False),  # the root disk is read
        (every_5s(600, cpu=0.9), 1.0, False),  # it computes
        (every_5s(600, cpu=0.06), 0.2, False),  # five times more wants to run than can
        (every_5s(600, cpu=0.01), 0.2, True),
        (every_5s(1200, cpu=1.0), 1.0, True),  # it computes for ever, and nothing comes of it
    ],
)
def test_what_gets_on_is_waited_for(looks: list[Look], share: float, *, stuck: bool) -> None:
    assert bool(seen(looks, share=share).stuck(looks[-1][0])) == stuck


def test_it_is_told_what_was_looked_at() -> None:
    assert seen(every_5s(60)).stuck(75.0) == "nothing advances since 75 s: no console, no CPU time, no bytes"
    told = seen(every_5s(700, cpu=1.0)).stuck(700.0)
    assert told == "it has used 700 s of CPU time, and neither said nor moved anything"


def test_time_begins_anew_with_every_sign_of_life() -> None:
    looks = [*every_5s(50), (55.0, Signs("one more line", FIRST.cpu_s, FIRST.disk_bytes))]
    assert not seen(looks).stuck(55.0 + STILL_S - 1)
    assert seen(looks).stuck(55.0 + STILL_S)


def test_a_cpu_time_that_libvirt_does_not_tell_is_no_sign() -> None:
    blind = [(float(at), Signs(FIRST.said)) for at in range(5, 100, 5)]
    assert seen(blind).stuck(95.0)


@given(
    steps=st.lists(st.tuples(st.floats(0.1, 30), st.floats(0, 4), st.integers(0, 1 << 22), st.booleans()), max_size=40),
    share=st.floats(0.01, 1.0),
)
def test_nothing_is_given_up_before_its_time(steps: list[tuple[float, float, int, bool]], share: float) -> None:
    """Whatever happens: not before it was still for so long, or has computed for so long for nothing."""
    at_s, cpu_s, disk, said = 0.0, 0.0, 0, 0
    pace = Pace.begin(at_s, Signs("0"))
    quiet_s = spun_s = 0.0
    for seconds, busy, moved, talks in steps:
        at_s, cpu_s, disk, said = at_s + seconds, cpu_s + busy * seconds, disk + moved, said + talks
        quiet_s = 0.0 if talks else quiet_s + seconds
        spun_s = 0.0 if talks else spun_s + busy * seconds
        pace = pace.after(at_s, Signs(str(said), cpu_s, disk), share=share)
        if pace.stuck(at_s):
            assert quiet_s >= STILL_S - 1e-6 or spun_s >= SPIN_S - 1e-6
