"""A page as one HTML file: it needs no network and no other file, and a script only where it has a listing."""

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from vmlab.report.pages.parts import Listing, Page, Section

if TYPE_CHECKING:
    from jinja2 import Environment


def render(page: Page) -> str:
    """The whole file. All text is escaped; figures are written as they are."""
    listed = any(isinstance(part, Listing) for section in page.sections for part in section.parts)
    script = _script() if listed else ""
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() if listed else ""
    return _environment().get_template("page.html.jinja").render(page=page, script=script, allowed=allowed)


@cache
def _script() -> str:
    return (files("vmlab.report.pages") / "templates" / "listing.js").read_text(encoding="utf-8")


def _data(part: Listing) -> str:
    """For the script; written so that nothing in it can end the element that it stands in."""
    content = {
        "columns": [[column.heading, column.number] for column in part.columns],
        "rows": [list(row) for row in part.rows],
        "choices": list(part.choices),
        "strip": part.strip,
        "looks": dict(part.looks),
        "details": {
            place: [list(map(list, detail.facts)), detail.lines, list(map(list, detail.links))]
            for place, detail in part.details.items()
        },
    }
    return json.dumps(content, separators=(",", ":"), ensure_ascii=True).replace("<", "\\u003c")


def _kind(part: object) -> str:
    return type(part).__name__.lower()


def _anchor(section: Section, number: int) -> str:
    words = "".join(c if c.isascii() and c.isalnum() else "-" for c in section.title.lower()).strip("-")
    return f"s{number}-{words[:40]}"


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415  slow to import

    made = Environment(
        loader=PackageLoader("vmlab.report.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"kind": _kind, "anchor": _anchor, "data": _data}
    return made
