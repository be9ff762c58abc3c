"""Deadlines and waiting: each wait has a name and an end that is passed down."""

import time
from collections.abc import Callable
from dataclasses import dataclass

now = time.monotonic


def sleep(seconds: float) -> None:
    """The one place that sleeps."""
    time.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in monotonic time."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """`seconds` from now."""
        return cls(now() + seconds)

    @property
    def left_s(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self.at - now())

    @property
    def passed(self) -> bool:
        """No time is left."""
        return now() >= self.at

    def capped(self, seconds: float) -> "Deadline":
        """The earlier of this deadline and `seconds` from now."""
        return Deadline(min(self.at, now() + seconds))


def until(condition: Callable[[], bool], deadline: Deadline, *, every_s: float = 0.2) -> bool:
    """Wait for `condition`; success is success even if it came late, so it is asked once more at the end."""
    while not condition():
        if deadline.passed:
            return condition()
        sleep(min(every_s, deadline.left_s))
    return True
