"""What was collected of a bed: which files there are, and what is missing and why."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

SCHEMA = 1


class Dump(StrEnum):
    """Of which nodes the memory is kept: of none, of those that do not answer, or of all."""

    NEVER = "never"
    SILENT = "silent"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class Kept:
    """A file, by its path in the folder. `size` is in bytes, of the text; `cut`: of a longer one it is the end."""

    file: str
    about: str
    size: int
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Missing:
    """What could not be had, and why."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class OfNode:
    """Of one node. `state` is its domain's, in libvirt's words; `silent` is why its guest did not answer, or "".

    `events` are what its kernel complained of on its console, by kind and first line, the oldest first.
    """

    node: str
    state: str
    silent: str
    kept: tuple[Kept, ...]
    missing: tuple[Missing, ...]
    events: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """All of a bed, or of some of its nodes. `at` is ISO 8601; `kept` are the files that are of the whole bed."""

    bed: str
    at: str
    vmlab: str
    nodes: tuple[OfNode, ...]
    kept: tuple[Kept, ...]


def as_data(evidence: Evidence) -> dict[str, Any]:
    """What `index.json` holds."""
    return {"schema": SCHEMA} | asdict(evidence)


def as_text(evidence: Evidence) -> str:
    """The same for people, as Markdown: what is wrong first, then the files."""
    lines = [f"# Evidence of {evidence.bed}, {evidence.at}", ""]
    for node in evidence.nodes:
        lines += [f"- **{node.node}** is {node.state}: {node.silent}"] if node.silent else []
        lines += [f"- **{node.node}** {event}" for event in node.events]
    lines += _table("The bed", evidence.kept, ())
    for node in evidence.nodes:
        lines += _table(f"{node.node} ({node.state})", node.kept, node.missing)
    return "\n".join(lines) + "\n"


def _table(title: str, kept: Sequence[Kept], missing: Sequence[Missing]) -> list[str]:
    lines = ["", f"## {title}", "", "| file | what | bytes |", "|---|---|---|"] if kept else ["", f"## {title}"]
    lines += [f"| `{one.file}` | {one.about}{', its end' if one.cut else ''} | {one.size:,} |" for one in kept]
    lines += ["", *(f"- missing: {one.what}: {one.why}" for one in missing)] if missing else []
    return lines
