"""A tool's report in JSON, field by field: each is what it is taken for, or a WorkloadError says what is wrong."""

import re
from collections.abc import Mapping
from typing import Any

from vmlab.errors import WorkloadError
from vmlab.topology.wording import quote
from vmlab.workloads._json import document

_BEGIN = re.compile(r'^\{[ \t]*(?:["}]|$)', re.MULTILINE)
# A note that did not end its line before the report began.
_NOTE = re.compile(r'^[^\s"{}\[\],][^\n"{}]*(?=\{[ \t]*$)', re.MULTILINE)
# A line of a report: brackets, or a name with a value.
_OF_A_REPORT = re.compile(r'[\[\]{},\s]*|"[^"\n]*"\s*:\s*(?:(?:"[^"\n]*"|[-+.\w]+)\s*,?|[\[{][\[\]{},\s]*)')

_LARGEST = 10**18


def report(tool: str, text: str) -> dict[str, Any]:
    """The one report in `text`; notes may stand before it, after it and between its lines.

    Raises WorkloadError if there is none, or several, or if it is cut off.
    """
    if len(_BEGIN.findall(text)) < 2:  # noqa: PLR2004 (none is told by `document`)
        try:
            return document(tool, text)
        except WorkloadError:
            lines = _NOTE.sub("", text).splitlines()
            return document(tool, "\n".join(line for line in lines if _OF_A_REPORT.fullmatch(line.strip())))
    raise WorkloadError(f"{tool} printed more than one report")


def number(tool: str, row: Mapping[str, Any], name: str) -> float:
    """A figure, not below 0, nor beyond all that can be: bits in a second, nanoseconds, bytes."""
    value = row.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _LARGEST:
        return float(value)
    raise WorkloadError(f"{tool}'s {name} is no number: {quote(str(value)[:60])}")


def below(tool: str, row: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object of that name."""
    found = row.get(name)
    if not isinstance(found, dict):
        raise WorkloadError(f"{tool}'s report has no {name}")
    return found


def rows(tool: str, row: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects of the list of that name; nothing else is in it."""
    found = row.get(name)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise WorkloadError(f"{tool}'s report has no list {name}")
    return found
