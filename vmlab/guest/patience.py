"""Deadlines that follow the machine: where it is slow, what is still on its way is waited for."""

from collections.abc import Callable
from dataclasses import dataclass, field

from vmlab.guest.console import settled
from vmlab.plan.advance import Pace, Signs
from vmlab.runtime.load import fair_share
from vmlab.runtime.wait import Deadline, now

_LOOK_EVERY_S = 5.0
_FORGET_S = 30.0  # who has not asked for so long asks about something else now


class Advance:
    """Whether a guest still gets on; asked again and again, once its usual time is over.

    `slow` tells whether the machine is: emulated, or far too busy. On another nothing is waited for beyond its time.
    """

    def __init__(
        self, *, console: Callable[[], str], usage: Callable[[], tuple[float, int]], slow: Callable[[], bool]
    ) -> None:
        self.why = ""
        self._console = console
        self._usage = usage
        self._slow = slow
        self._pace: Pace | None = None
        self._looked_s = 0.0

    def __call__(self) -> bool:
        """It does; else `why` tells what was seen, "" on a machine that is not slow."""
        if not self._slow():
            self.why = ""
            return False
        at_s = now()
        if self._pace is None or at_s - self._looked_s > _FORGET_S:
            self._pace = Pace.begin(at_s, self._signs())
        elif at_s - self._looked_s >= _LOOK_EVERY_S:
            self._pace = self._pace.after(at_s, self._signs(), share=fair_share())
        else:
            return not self.why
        self._looked_s = now()
        self.why = self._pace.stuck(at_s)
        return not self.why

    @property
    def slow(self) -> bool:
        """The machine is, now."""
        return self._slow()

    def _signs(self) -> Signs:
        return Signs(settled(self._console()), *self._usage())


class _Never:
    """Nothing is known that would be worth waiting for."""

    why = ""
    slow = False

    def __call__(self) -> bool:
        return False


never = _Never()
Advances = Advance | _Never
"""Whether a guest gets on, beyond its usual time."""


@dataclass(frozen=True, slots=True)
class Patience(Deadline):
    """A stage's end: not before its `usual` time, then when nothing advances; at the latest the command's own end."""

    usual: Deadline = field(kw_only=True)
    advances: Advances = field(kw_only=True)

    @classmethod
    def of(cls, usual_s: float, overall: Deadline, advances: Advances) -> "Patience":
        """From now on."""
        return cls(overall.at, usual=Deadline.after(usual_s), advances=advances)

    @property
    def passed(self) -> bool:
        """No time is left."""
        return now() >= self.at or (self.usual.passed and not self.advances())
