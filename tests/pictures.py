"""What a picture in Graphviz's language says, as text that a person can check: its words in their order, its lines."""

import re
from collections.abc import Iterator

_NODE = re.compile(r"^ *(\w+) \[[^\n]*?label=<(.*)>(?:, peripheries=2)?\]$", re.MULTILINE)
_EDGE = re.compile(r"^ *(\w+)(?::\w+)? -- (\w+)(?::\w+)? \[(.*)\]$", re.MULTILINE)


def words(label: str) -> list[str]:
    """The lines of an HTML-like label; what stands side by side is parted by bars."""
    rows = re.split(r"</TR>", re.sub(r"\n|</TD></TR>", lambda m: "" if m[0] == "\n" else "</TR>", label))
    lines = (re.sub(r"<[^>]+>", "", re.sub(r"<BR[^>]*>", " ", re.sub(r"</TD>", " | ", row))) for row in rows)
    return [text for line in lines if (text := " ".join(line.replace("&amp;", "&").split()).strip(" |"))]


def said(dot: str) -> str:
    """All labels, one block for each."""
    return "\n\n".join("\n".join(words(label)) for label in _labels(dot)) + "\n"


def nodes(dot: str) -> dict[str, str]:
    """By id, each in one line."""
    return {name: "<br/>".join(_lines(label)) for name, label in _NODE.findall(dot)}


def edges(dot: str) -> list[tuple[str, str, bool]]:
    """From, to, and whether the line is dashed."""
    return [(one, other, "dashed" in form) for one, other, form in _EDGE.findall(dot)]


def _lines(label: str) -> Iterator[str]:
    for line in label.split("<BR/>"):
        yield re.sub(r"<[^>]+>", "", line).strip()


def _labels(dot: str) -> Iterator[str]:
    """Balanced angle brackets, as Graphviz reads them."""
    for start in re.finditer(r"label=<", dot):
        depth, at = 1, start.end()
        while depth:
            depth += {"<": 1, ">": -1}.get(dot[at], 0)
            at += 1
        yield dot[start.end() : at - 1]
