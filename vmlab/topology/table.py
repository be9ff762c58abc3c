"""A table of runs in a file of its own: comma-separated values, the columns' names in the first line."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from vmlab.topology.sweep import CASES
from vmlab.topology.tree import MOST_BYTES, Mark, Report
from vmlab.topology.wording import quote

RUNS = "runs"
_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")
_MOST = 10_000

_Wrong = Callable[[int, str], None]
"""Takes a line, and what is wrong there."""


def with_rows(kind: type[BaseModel], options: Mapping[str, Any], folder: Path, report: Report) -> dict[str, Any]:
    """The options with the rows of the file that `cases` names as their `runs`; where it names none, as they are.

    A file's name is below `folder`. What is wrong with rows goes to `report`, with the file's own lines. Raises
    ValueError for a file that cannot be read, and where there are `runs` beside it.
    """
    file = options.get(CASES)
    if not isinstance(file, str) or CASES not in kind.model_fields:
        return dict(options)
    if options.get(RUNS):
        raise ValueError(f"{RUNS} beside {CASES}: {file} (expected one of them)")
    path = folder / Path(file).expanduser()
    try:
        with path.open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror} (expected a CSV file)") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 (expected a CSV file)") from None
    if len(data) > MOST_BYTES:
        raise ValueError(f"{path} has more than {MOST_BYTES >> 20} MiB (expected a table of runs)")

    def wrong(line: int, message: str) -> None:
        report(Mark(line, 1, str(path)), message)

    rows = list(_rows(text, wrong))
    return {name: value for name, value in options.items() if name != CASES} | {RUNS: rows}


def _rows(text: str, wrong: _Wrong) -> Iterator[dict[str, str]]:
    lines = _lines(text, wrong)
    line, columns = next(lines, (1, []))
    if not _named(columns):
        wrong(line, f"{quote(','.join(columns))} names no columns (expected their names, each once, such as size,mode)")
        return
    number = 0
    for number, (line, cells) in enumerate(lines, start=1):
        if len(cells) != len(columns):
            has = f"{len(cells)} value{'s' * (len(cells) != 1)}"
            wrong(line, f"the row has {has} (expected {len(columns)}: {', '.join(columns)})")
        elif number > _MOST:
            wrong(line, f"more than {_MOST:,} rows (expected at most so many)")
            return
        else:
            yield dict(zip(columns, cells, strict=True))
    if not number:
        wrong(line, "there is no row below the columns' names (expected one for each run)")


def _lines(text: str, wrong: _Wrong) -> Iterator[tuple[int, list[str]]]:
    """What is not empty, with the line where it begins: a value in quotes may have several."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    begin = 1
    try:
        for cells in reader:
            if any(cells):
                yield begin, [cell.strip() for cell in cells]
            begin = reader.line_num + 1
    except csv.Error as error:
        wrong(begin, f"not CSV: {error} (expected values with commas between them)")


def _named(columns: list[str]) -> bool:
    return bool(columns) and len(set(columns)) == len(columns) and all(map(_COLUMN.fullmatch, columns))
