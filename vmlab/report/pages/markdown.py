"""A page as Markdown (GitHub's), for a ticket or a mail. Figures are left out: their numbers are in the tables."""

import re
from collections.abc import Iterator, Sequence

from vmlab.report.pages.parts import Cell, Commands, Facts, Figure, Notice, Page, Part, Table, Words

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")
_LEVELS = {"note": "NOTE", "warning": "WARNING", "failure": "CAUTION"}


def render(page: Page) -> str:
    """The whole text."""
    blocks = [f"# {_text(page.title)}", _text(page.lead)]
    for section in page.sections:
        parts = [block for part in section.parts if (block := "\n".join(_lines(part)))]
        blocks += [f"## {_text(section.title)}", *parts] if parts else []
    return "\n\n".join(filter(None, blocks)) + "\n"


def _lines(part: Part) -> Iterator[str]:
    match part:
        case Table():
            yield from _table(part)
        case Facts(rows):
            yield from (f"- {_text(name)}: {_text(value)}" for name, value in rows)
        case Commands(lines):
            yield from (f"    {line}" for text in lines for line in text.splitlines())
        case Notice(text, level):
            yield f"> [!{_LEVELS[level]}]"
            yield f"> {_text(text)}"
        case Words(text):
            yield _text(text)
        case Figure(_, _, notes, _, data):
            yield "\n\n".join(map(_text, notes))
            yield from ("", *_table(data)) if data is not None else ()


def _table(table: Table) -> Iterator[str]:
    yield f"**{_text(table.caption)}**"
    yield ""
    yield _row([_text(column.heading) for column in table.columns])
    yield _row(["---:" if column.number else "---" for column in table.columns])
    yield from (_row(list(map(_cell, row))) for row in table.rows)
    if table.notes:
        yield ""
        yield from (f"\\[{_text(mark)}\\] {_text(reason)}  " for mark, reason in table.notes)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell) -> str:
    text = _text(cell.text)
    shown = f"**{text}**" if cell.strong and text else text
    return shown + (f" \\[{', '.join(cell.marks)}\\]" if cell.marks else "")


def _text(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
