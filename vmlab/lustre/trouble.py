"""What error texts of Lustre and LNet mean, and what to do about them: the first row of `words` that fits counts.

`passes` is true of what goes away by itself: a mount that fails so is worth another try.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from vmlab.lustre import lnetctl
from vmlab.lustre.words import formatting, lnet, modules, mounting, own


class LustreTrouble(NamedTuple):
    """`message` says what is wrong, `hint` what to do; `passes`: the same command may succeed a little later."""

    message: str
    hint: str
    passes: bool = False


_ROWS = (*own.ROWS, *modules.ROWS, *lnet.ROWS, *formatting.ROWS, *mounting.ROWS)
TABLE = tuple(
    (re.compile(row.pattern, re.MULTILINE | (re.DOTALL if ".*?" in row.pattern else 0)), row) for row in _ROWS
)


def troubles(text: str) -> Iterator[LustreTrouble]:
    """All that the text tells of, in the table's order: causes come before what follows from them."""
    for pattern, row in TABLE:
        found = pattern.search(text)
        if found is not None:
            words = {name: value or "it" for name, value in found.groupdict().items()}
            yield LustreTrouble(row.message.format_map(words), row.hint.format_map(words), row.passes)
    for error in lnetctl.errors(text):
        yield LustreTrouble(lnetctl.meaning(error), "vmlab lnet show BED")


def explain(text: str) -> LustreTrouble | None:
    """What is wrong, from everything that a command printed, and the kernel's log if it is at hand; None: unknown."""
    return next(troubles(text), None)


def passes(text: str) -> bool:
    """Whether the same mount may succeed a little later. What is unknown does not pass."""
    found = explain(text)
    return found is not None and found.passes
