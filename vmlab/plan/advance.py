"""Whether a guest that takes its time still gets on, or is given up: by what it says, computes and moves."""

from dataclasses import dataclass, replace

_WINDOW_S = 10.0
# Of the CPU time that it could have had: a guest that only waits takes a few percent, for its clock.
_WORKS = 0.2
_MOVES = 256 * 1024
STILL_S = 60.0
SPIN_S = 600.0


@dataclass(frozen=True, slots=True)
class Signs:
    """What shows that a guest does something: its console's last lines, its CPU time, the bytes its disks moved."""

    said: str
    cpu_s: float = 0.0
    disk_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Pace:
    """`since_s`: when it was last seen to advance. `spun_s`: CPU time since it last said or moved anything.

    `signs` and `at_s` are of the beginning of the present window.
    """

    at_s: float
    signs: Signs
    since_s: float
    spun_s: float = 0.0

    @classmethod
    def begin(cls, at_s: float, signs: Signs) -> "Pace":
        """From here on it is looked at."""
        return cls(at_s, signs, at_s)

    def after(self, at_s: float, signs: Signs, *, share: float) -> "Pace":
        """The pace with one more look; `share` is the part of a CPU that it could have had: 1 on an idle host."""
        talked = signs.said != self.signs.said
        moved = signs.disk_bytes - self.signs.disk_bytes >= _MOVES
        if at_s - self.at_s < _WINDOW_S and not talked and not moved:
            return self
        computed_s = max(0.0, signs.cpu_s - self.signs.cpu_s)
        worked = computed_s >= _WORKS * share * (at_s - self.at_s) > 0
        return replace(
            self,
            at_s=at_s,
            signs=signs,
            since_s=at_s if talked or moved or worked else self.since_s,
            spun_s=0.0 if talked or moved else self.spun_s + computed_s,
        )

    def stuck(self, at_s: float, *, still_s: float = STILL_S, spin_s: float = SPIN_S) -> str:
        """Why it makes no sense to wait any longer; "" if it does."""
        if at_s - self.since_s >= still_s:
            return f"nothing advances since {at_s - self.since_s:.0f} s: no console, no CPU time, no bytes"
        if self.spun_s >= spin_s:
            return f"it has used {self.spun_s:.0f} s of CPU time, and neither said nor moved anything"
        return ""
