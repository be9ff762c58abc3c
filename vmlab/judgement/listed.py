"""Expected results written into, and taken out of, a file that people edit: the rest of its text stays as it is."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from vmlab.errors import UsageError
from vmlab.judgement.expectations import Expectation, bare, loads

_SECTION = "expected"
_ITEM = re.compile(r"( *)- ")


def with_expected(text: str, file: str, one: Mapping[str, Any]) -> str:
    """The text with this item at its end; a text that is empty begins with it.

    Raises TopologyError, with FILE:LINE:COLUMN, for what the file may not have, such as a test that it has already.
    """
    kept = text if not text or text.endswith("\n") else f"{text}\n"
    if not kept.strip():
        kept += f"{_SECTION}:\n"
    else:
        _by_line(kept, file)
    last = [found[1] for line in kept.splitlines() if (found := _ITEM.match(line))]
    # The first item's, since a list of names below a key may be further in.
    written = f"{kept}{last[0] if last else '  '}- {_flow(one)}\n"
    loads(written, file)
    return written


def without_expected(
    text: str, file: str, suite: str, tests: Sequence[str], where: Mapping[str, str]
) -> tuple[str, list[Expectation]]:
    """The text without these tests of a suite, and what they were; with `where` only what holds just there.

    An item that has others, too, keeps these, and becomes one line. Raises UsageError for a test that is not in there.
    """
    listed = _by_line(text, file)
    names = {bare(test) for test in tests}
    gone = [
        one for one in listed if one.suite == suite and one.test in names and (not where or dict(one.where) == where)
    ]
    if missing := names - {one.test for one in gone}:
        told = ", ".join(sorted(missing))
        raise UsageError(f"{file} does not list {suite} {told}", hint=f"vmlab expected list {file}")
    lines = text.splitlines(keepends=True)
    for number in sorted({one.line for one in gone}, reverse=True):
        rest = [one for one in listed if one.line == number and one not in gone]
        end = _end(lines, number)
        indent = _indent(lines[number - 1])
        lines[number - 1 : end] = [f"{indent}- {_flow(_item(rest))}\n"] if rest else []
    if not any(_ITEM.match(line) for line in lines):
        raise UsageError(f"nothing would be left in {file}", hint=f"rm {file}, and `{_SECTION}` of the night's file")
    left = "".join(lines)
    loads(left, file)
    return left, gone


def _by_line(text: str, file: str) -> tuple[Expectation, ...]:
    """What the file lists. Raises UsageError if its items are not each on lines of their own."""
    listed = loads(text, file)
    lines = text.splitlines()
    if any(not _ITEM.match(lines[one.line - 1]) for one in listed):
        raise UsageError(f"the list in {file} is in one line: edit it by hand", hint=f"${{EDITOR:-vi}} {file}")
    return listed


def _end(lines: Sequence[str], number: int) -> int:
    """How many lines there are up to the end of the item that begins in line `number`."""
    begin = len(_indent(lines[number - 1]))
    end = number
    while end < len(lines) and lines[end].strip() and len(_indent(lines[end])) > begin:
        end += 1
    return end


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" "))]


def _item(some: Sequence[Expectation]) -> dict[str, Any]:
    first = some[0]
    more = {"flaky": first.flaky, "reason": first.reason, "where": dict(first.where)}
    tests = [one.test for one in some]
    return {"suite": first.suite, "tests": tests, "ticket": first.ticket, **{k: v for k, v in more.items() if v}}


def _flow(value: Mapping[str, Any]) -> str:
    text: str = yaml.safe_dump(dict(value), default_flow_style=True, sort_keys=False, allow_unicode=True, width=1 << 20)
    return text.strip()
