"""What is to be drawn, whatever draws it. Nothing here knows what was measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind = Literal["ours", "native", "bare", "published"]
"""Whose figures: in guests, on the host itself, on machines that are no guests; of others, as they published them."""
Scale = Literal["linear", "log2", "log10"]
Form = Literal["number", "count", "size"]
"""How an axis is written: as numbers, as whole numbers, as sizes in IEC units."""


@dataclass(frozen=True, slots=True)
class Axis:
    """`unit` "" for what has none."""

    name: str
    unit: str = ""
    scale: Scale = "linear"
    form: Form = "number"

    @property
    def label(self) -> str:
        """As it is written beside it."""
        return f"{self.name} [{self.unit}]" if self.unit else self.name


@dataclass(frozen=True, slots=True)
class Point:
    """A figure, and from where to where its trials went. `doubtful`: it is marked in the tables, and drawn hollow."""

    x: float
    y: float
    low: float
    high: float
    doubtful: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """Points in the order of x. Lines of one `colour` belong together, in guests and natively: one name is enough."""

    name: str
    points: Sequence[Point]
    kind: Kind = "ours"
    colour: int = 0


@dataclass(frozen=True, slots=True)
class Limit:
    """What cannot be exceeded, in the unit of the axis, and how that is known."""

    value: float
    name: str


@dataclass(frozen=True, slots=True)
class Lines:
    """Curves over one number."""

    title: str
    x: Axis
    y: Axis
    lines: Sequence[Line]
    limit: Limit | None = None


@dataclass(frozen=True, slots=True)
class Mixed:
    """Curves, and columns over the same x, each with an axis of its own: to the left, to the right."""

    title: str
    lines: Lines
    columns: Lines


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure without an x: a point, and what of its group it is."""

    name: str
    at: Point
    kind: Kind = "ours"
    colour: int = 0


@dataclass(frozen=True, slots=True)
class Bars:
    """Groups of bars by the groups' names, from above to below."""

    title: str
    y: Axis
    groups: Sequence[tuple[str, Sequence[Bar]]]
    limit: Limit | None = None


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Figures over two labels. `cells`: one row for each of `rows`, from below; None where nothing was measured."""

    title: str
    x: str
    y: str
    columns: Sequence[str]
    rows: Sequence[str]
    cells: Sequence[Sequence[float | None]]
    unit: str


@dataclass(frozen=True, slots=True)
class Panels:
    """Curves over the same time, one below the other; `spans` of it are shaded."""

    title: str
    panels: Sequence[Lines]
    spans: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True, slots=True)
class Seat:
    """A node on a host: the CPUs that its virtual ones may use. `pinned`: each of them only one.

    `remote`: the share of its memory that lies in cells without them.
    """

    node: str
    cpus: frozenset[int]
    pinned: bool
    remote: float = 0.0


@dataclass(frozen=True, slots=True)
class Seats:
    """A host's CPUs, `count` of them, and who is on them. `cells`: its NUMA cells with their CPUs, where known."""

    title: str
    count: int
    seats: Sequence[Seat]
    cells: Sequence[tuple[str, Sequence[int]]] = ()


Chart: TypeAlias = Lines | Mixed | Bars | HeatMap | Panels | Seats
