"""Deadlines that follow the machine, with a clock of the test's own."""

import pytest

from vmlab.guest import patience as module
from vmlab.guest.console import settled
from vmlab.guest.patience import Advance, Patience, never
from vmlab.runtime import wait
from vmlab.runtime.wait import Deadline

STARTING = "[  OK  ] Started sshd\n"
DRAWN = "[ ***  ] A start job is running for Wait for Network ({at}s / no limit)\n"


class World:
    """A guest, and the machine that it is on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at_s = 1000.0
        self.slow = True
        self.console = STARTING
        self.cpu_s = 0.0
        self.disk = 0
        for where in (module, wait):
            monkeypatch.setattr(where, "now", lambda: self.at_s)
        monkeypatch.setattr(module, "fair_share", lambda: 1.0)
        self.advance = Advance(
            console=lambda: self.console, usage=lambda: (self.cpu_s, self.disk), slow=lambda: self.slow
        )

    def passes(self, seconds: int, deadline: Deadline, *, cpu: float = 0.0, drawn: bool = False) -> bool:
        """Whether the deadline has passed on the way."""
        for _ in range(seconds):
            self.at_s += 1
            self.cpu_s += cpu
            if drawn:
                self.console += DRAWN.format(at=self.at_s)
            if deadline.passed:
                return True
        return False


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_on_a_fast_machine_the_usual_time_is_the_end(world: World) -> None:
    world.slow = False
    stage = Patience.of(90, Deadline.after(600), world.advance)
    assert not world.passes(89, stage, cpu=1.0)
    assert world.passes(1, stage, cpu=1.0)
    assert world.advance.why == ""


def test_on_a_slow_machine_what_gets_on_is_waited_for(world: World) -> None:
    stage = Patience.of(90, Deadline.after(6000), world.advance)
    assert not world.passes(500, stage, cpu=0.5)
    assert world.passes(80, stage)  # now it stands still
    assert "nothing advances since" in world.advance.why


def test_what_systemd_draws_while_it_waits_is_no_progress(world: World) -> None:
    stage = Patience.of(90, Deadline.after(6000), world.advance)
    assert world.passes(170, stage, drawn=True)


def test_the_commands_end_is_the_end(world: World) -> None:
    stage = Patience.of(90, Deadline.after(200), world.advance)
    assert not world.passes(199, stage, cpu=1.0)
    assert world.passes(1, stage, cpu=1.0)


def test_without_an_end_too(world: World) -> None:
    stage = Patience.of(90, Deadline(float("inf")), world.advance)
    assert not world.passes(500, stage, cpu=0.5)
    assert world.passes(100, stage)


def test_every_stage_is_judged_by_itself(world: World) -> None:
    first = Patience.of(90, Deadline.after(60000), world.advance)
    assert world.passes(170, first)
    assert not world.passes(40, Deadline.after(1000))  # nobody asked meanwhile
    second = Patience.of(0, Deadline.after(60000), world.advance)
    assert not world.passes(50, second)
    assert world.passes(20, second)


def test_where_nothing_is_known_the_usual_time_is_the_end(world: World) -> None:
    assert world.passes(90, Patience.of(90, Deadline.after(600), never), cpu=1.0)


def test_lines_that_are_drawn_over_are_left_out() -> None:
    assert settled(STARTING + DRAWN * 300) == STARTING.strip()
    assert settled("") == ""
