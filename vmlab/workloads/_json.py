"""JSON that a tool prints between other things: warnings before it, complaints behind it."""

import json
import re
from typing import Any

from vmlab.errors import WorkloadError

_BEGIN = re.compile(r"^\{", re.MULTILINE)
# printf's words for what is no number; JSON has none, Python's reader others.
_NO_NUMBER = re.compile(r"(?<=[:\[,])(\s*)-?(nan|inf)(?=\s*[,}\]\n])")
_READ = {"nan": "NaN", "inf": "Infinity"}


def document(tool: str, text: str) -> dict[str, Any]:
    """The one JSON object whose first brace begins a line.

    Raises WorkloadError if there is none, if it is cut off, or if there are several: of which run would they be?
    """
    found = documents(text)
    if len(found) > 1:
        raise WorkloadError(f"{tool} printed {len(found)} reports, and one was asked for")
    if not found:
        raise WorkloadError(f"{tool}'s report is {'cut off' if _BEGIN.search(text) else 'not there'}")
    return found[0]


def documents(text: str) -> list[dict[str, Any]]:
    """All whole JSON objects that begin a line, in their order; lines that only look like one are passed over."""
    return _whole(text) or _whole(_NO_NUMBER.sub(lambda found: found[1] + _READ[found[2]], text))


def _whole(text: str) -> list[dict[str, Any]]:
    decoder = json.JSONDecoder()
    whole: list[dict[str, Any]] = []
    at = 0
    while (begin := _BEGIN.search(text, at)) is not None:
        try:
            value, at = decoder.raw_decode(text, begin.start())
        except (ValueError, RecursionError):
            at = begin.end()
            continue
        whole.append(value)
    return whole
