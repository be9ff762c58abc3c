"""One line of the table: what was measured, the floor that it stands against, and the aim."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.text import Text

from vmlab.report.grid import Grid


@dataclass(frozen=True, slots=True)
class Line:
    """Medians of seconds, or of another `unit`. The aim is a ratio to the floor; where there is none it is in seconds.

    `details` are further seconds that say where the time went.
    """

    section: str
    what: str
    ours: float
    floor: float | None
    aim: float
    details: dict[str, float] = field(default_factory=dict)
    unit: str = "s"

    @property
    def ratio(self) -> float | None:
        """Ours to the floor."""
        return None if self.floor is None else self.ours / self.floor

    @property
    def ok(self) -> bool:
        """The aim is met."""
        return (self.ours if self.ratio is None else self.ratio) <= self.aim

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "section": self.section,
            "what": self.what,
            f"ours_{self.unit}": round(self.ours, 4),
            f"floor_{self.unit}": None if self.floor is None else round(self.floor, 4),
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
            _written(line.ours, line.unit),
            "" if line.floor is None else _written(line.floor, line.unit),
            "" if line.ratio is None else f"{line.ratio:.2f}",
            f"<= {line.aim:g} s" if line.ratio is None else f"<= {line.aim:g}",
            Text("yes", "green") if line.ok else Text("no", "red"),
            ", ".join(f"{name} {seconds:.3g}" for name, seconds in line.details.items()),
        )
    return found


def _written(figure: float, unit: str) -> str:
    if unit != "s":
        return f"{figure:.0f} {unit}"
    return f"{figure * 1000:.1f} ms" if figure < 1 else f"{figure:.2f} s"
