"""A page as Markdown (GitHub's), for a ticket or a mail. Figures are left out: their numbers are in the tables."""

import re
from collections.abc import Iterator, Sequence

from vmlab.report.pages.parts import Cell, Commands, Facts, Figure, Listing, Notice, Page, Part, Table, Words

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")
_LEVELS = {"note": "NOTE", "warning": "WARNING", "failure": "CAUTION"}


def render(page: Page) -> str:
    """The whole text."""
    blocks = [f"# {escaped(page.title)}", escaped(page.lead)]
    for section in page.sections:
        parts = [block for part in section.parts if (block := "\n".join(_lines(part)))]
        blocks += [f"## {escaped(section.title)}", *parts] if parts else []
    return "\n\n".join(filter(None, blocks)) + "\n"


def _lines(part: Part) -> Iterator[str]:
    match part:
        case Table():
            yield from _table(part)
        case Facts(rows):
            yield from (f"- {escaped(name)}: {escaped(value)}" for name, value in rows)
        case Commands(lines):
            yield from (f"    {line}" for text in lines for line in text.splitlines())
        case Notice(text, level):
            yield f"> [!{_LEVELS[level]}]"
            yield f"> {escaped(text)}"
        case Words(text):
            yield escaped(text)
        case Listing(caption, _, rows):
            yield f"{escaped(caption)}: {len(rows)} rows, in the page."
        case Figure(_, _, notes, _, data):
            yield "\n\n".join(map(escaped, notes))
            yield from ("", *_table(data)) if data is not None else ()


def _table(table: Table) -> Iterator[str]:
    yield f"**{escaped(table.caption)}**"
    yield ""
    yield _row([escaped(column.heading) for column in table.columns])
    yield _row(["---:" if column.number else "---" for column in table.columns])
    yield from (_row(list(map(_cell, row))) for row in table.rows)
    if table.notes:
        yield ""
        yield from (f"\\[{escaped(mark)}\\] {escaped(reason)}  " for mark, reason in table.notes)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell) -> str:
    text = escaped(cell.text)
    text = f"[{text}](<{cell.href}>)" if cell.href else text
    shown = f"**{text}**" if cell.strong and text else text
    return shown + (f" \\[{', '.join(cell.marks)}\\]" if cell.marks else "")


def escaped(text: str) -> str:
    """So that it stands there as it is."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
