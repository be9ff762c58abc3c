"""A page as one HTML file: it needs no network, no script and no other file."""

from functools import cache
from typing import TYPE_CHECKING

from vmlab.report.pages.parts import Page, Section

if TYPE_CHECKING:
    from jinja2 import Environment


def render(page: Page) -> str:
    """The whole file. All text is escaped; figures are written as they are."""
    return _environment().get_template("page.html.jinja").render(page=page)


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
    made.filters |= {"kind": _kind, "anchor": _anchor}
    return made
