"""What all of vmlab's pictures share: Graphviz lays them out and writes the file."""

from collections.abc import Iterable
from pathlib import Path

from lxml import etree

from vmlab.errors import HostError, UsageError
from vmlab.runtime import process
from vmlab.runtime.files import write_atomically

FONT = "Helvetica,Arial,sans-serif"
INK = "#1d2939"

_DEADLINE_S = 60.0


def write(path: Path, source: str, *, hint: str) -> None:
    """Write the picture that `source` describes in the form that `path`'s suffix names: .svg, .png or .dot.

    Raises UsageError with `hint` for another suffix, and HostError if Graphviz is not installed or fails.
    """
    match path.suffix:
        case ".dot":
            write_atomically(path, source)
        case ".svg" | ".png" as suffix:
            argv = ["dot", f"-T{suffix[1:]}", "-Gdpi=144" if suffix == ".png" else "-Gdpi=72", "-o", str(path)]
            result = process.run(argv, deadline_s=_DEADLINE_S, stdin=source)
            if not result.ok:
                raise HostError(f"Graphviz could not draw {path}: {result.last_line}")
        case _:
            raise UsageError(f"{str(path)!r} has no suffix of a picture", hint=hint)


def quoted(text: str) -> str:
    """A string of Graphviz's language: a quote ends it, a backslash changes what follows."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def element(tag: str, *content: etree._Element | str, **attributes: object) -> etree._Element:
    """A part of an HTML-like label (graphviz.org/doc/info/shapes.html#html). `point_size` is written POINT-SIZE."""
    made = etree.Element(tag, {key.upper().replace("_", "-"): str(value) for key, value in attributes.items()})
    for part in content:
        if not isinstance(part, str):
            made.append(part)
            continue
        if len(made):
            made[-1].tail = (made[-1].tail or "") + clean(part)
        else:
            made.text = (made.text or "") + clean(part)
    return made


def clean(text: str) -> str:
    """Neither XML nor Graphviz has a way to write a control character, or a code that is none (U+FFFE)."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def words(text: str, size: float, colour: str = "", *, style: str = "") -> etree._Element:
    """Text of `size` points. `style` is a tag: B, I. Graphviz refuses an empty one."""
    inner = element(style, text or " ") if style else text or " "
    return element("FONT", inner, point_size=size, **({"color": colour} if colour else {}))


def table(*rows: Iterable[etree._Element], **attributes: object) -> etree._Element:
    """Rows of TD elements. Graphviz draws borders of a table and of its cells unless told otherwise."""
    every = {"border": 0, "cellborder": 0, "cellspacing": 0, "cellpadding": 1, **attributes}
    return element("TABLE", *(element("TR", *row) for row in rows), **every)


def label(content: etree._Element) -> str:
    """The HTML-like label as Graphviz's language has it; each row of its tables ends a line."""
    for row in content.iter("TR"):
        row.tail = "\n"
    return f"<{etree.tostring(content, encoding='unicode').rstrip()}>"
