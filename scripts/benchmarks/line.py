"""One line of the table: what was measured, the floor that it stands against, and the aim."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.text import Text

from vmlab.report.grid import Grid


@dataclass(frozen=True, slots=True)
class Line:
    """Medians of seconds. The aim is a ratio to the floor; where there is no floor it is in seconds, too.

    `details` are further seconds that say where the time went.
    """

    section: str
    what: str
    ours_s: float
    floor_s: float | None
    aim: float
    details: dict[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Ours to the floor."""
        return None if self.floor_s is None else self.ours_s / self.floor_s

    @property
    def ok(self) -> bool:
        """The aim is met."""
        return (self.ours_s if self.ratio is None else self.ratio) <= self.aim

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "section": self.section,
            "what": self.what,
            "ours_s": round(self.ours_s, 4),
            "floor_s": None if self.floor_s is None else round(self.floor_s, 4),
            "ratio": None if self.ratio is None else round(self.ratio, 3),
            "aim": self.aim,
            "aim_unit": "s" if self.ratio is None else "ratio",
            "ok": self.ok,
            "details_s": {name: round(seconds, 3) for name, seconds in self.details.items()},
        }


def table(lines: Sequence[Line]) -> Grid:
    """The lines for a terminal."""
    found = Grid("WHAT", "OURS", "FLOOR", "RATIO", "AIM", "OK", "WHERE")
    for line in lines:
        found.add_row(
            f"{line.section}: {line.what}",
            _seconds(line.ours_s),
            "" if line.floor_s is None else _seconds(line.floor_s),
            "" if line.ratio is None else f"{line.ratio:.2f}",
            f"<= {line.aim:g} s" if line.ratio is None else f"<= {line.aim:g}",
            Text("yes", "green") if line.ok else Text("no", "red"),
            ", ".join(f"{name} {seconds:.3g}" for name, seconds in line.details.items()),
        )
    return found


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
