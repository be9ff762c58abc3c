"""Parts of a page. Text is text here, whatever it is written as later; a picture is SVG that is trusted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Level = Literal["note", "warning", "failure"]


@dataclass(frozen=True, slots=True)
class Cell:
    """`marks` are those of the table's notes that hold for it. `strong`: this is what the table is about.

    `href` is where a click leads, as seen from the page's folder.
    """

    text: str
    marks: tuple[str, ...] = ()
    strong: bool = False
    href: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """`number`: its cells stand to the right."""

    heading: str
    number: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """`notes` explain the marks of its cells."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[tuple[str, str]] = ()

    @property
    def long(self) -> bool:
        """It is folded, and unfolded by a click or to be printed."""
        return len(self.rows) > 40  # noqa: PLR2004 (a matter of looks: more than a screen)


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture in SVG, and in words what it shows. `wide`: it takes the page's whole width. `data` stands below it."""

    caption: str
    svg: str
    notes: Sequence[str] = ()
    wide: bool = False
    data: Table | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """What a reader has to know before believing the rest."""

    text: str
    level: Level = "warning"


@dataclass(frozen=True, slots=True)
class Facts:
    """Short answers by their names."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Commands:
    """Lines for a terminal."""

    lines: Sequence[str]


@dataclass(frozen=True, slots=True)
class Words:
    """A paragraph."""

    text: str


@dataclass(frozen=True, slots=True)
class Detail:
    """What a row unfolds to: short answers, lines as they were printed, and where more is."""

    facts: Sequence[tuple[str, str]] = ()
    lines: str = ""
    links: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Listing:
    """More rows than a table can bear; a script shows those that the reader asks for, a hundred at a time.

    Values are texts or numbers, None for none. `choices` are columns of which one value can be chosen, `strip` is one
    whose letters are drawn as a strip, one square each. `looks` says how a value looks: "failure", "warning", "note",
    or "fine"; `details` what there is to a row, by its place.
    """

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str | float | None]]
    choices: Sequence[int] = ()
    strip: int | None = None
    looks: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[int, Detail] = field(default_factory=dict)


Part: TypeAlias = Table | Figure | Notice | Facts | Commands | Words | Listing


@dataclass(frozen=True, slots=True)
class Section:
    """Parts below a heading. One without parts is not written."""

    title: str
    parts: Sequence[Part] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """`lead` is what it is about, in a line."""

    title: str
    lead: str
    sections: Sequence[Section]
    made_by: str = field(default="vmlab")
