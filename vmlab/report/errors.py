"""Errors as a user reads them: the cause, one line per node, the end of a sick guest's console, what to type next."""

import os
import sys
from collections.abc import Iterator
from typing import TextIO

from vmlab.errors import GuestError, TopologyError, VmlabError
from vmlab.runtime.log import log, open_log
from vmlab.values.printable import printable

_RED, _BOLD, _DIM = "31", "1", "2"
_CONSOLE_LINES = 20
_CONSOLES = 2


def tell(error: VmlabError, to: TextIO) -> None:
    """Print it."""
    for text, style in _lines(error):
        print(painted(printable(text), style, to), file=to)
    to.flush()


def tell_interrupted(what: str, to: TextIO) -> None:
    """The line after Ctrl-C; `what` became of the command."""
    print(painted(f"\nvmlab: interrupted{f'; {what}' if what else ''}", _RED, to), file=to)


def tell_bug(to: TextIO) -> None:
    """The exception that is being handled goes into the log, one line of it to the user."""
    kind, error, _ = sys.exc_info()
    path = next((str(getattr(h, "baseFilename", "")) for h in log.handlers if hasattr(h, "baseFilename")), "")
    path = path or open_log()
    log.exception("internal error")
    said = " ".join(str(error).split())
    where = f"; see {path}" if path else ""
    text = f"vmlab: internal error: {kind.__name__ if kind else 'unknown'}: {said}"
    print(painted(printable(text) + where, _RED, to), file=to)


def painted(text: str, style: str, to: TextIO) -> str:
    """The text with an ANSI style, if `to` is a terminal and NO_COLOR is not set."""
    if not style or not coloured(to):
        return text
    return f"\x1b[{style}m{text}\x1b[0m"


def coloured(to: TextIO) -> bool:
    """Colours make sense there."""
    return to.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _lines(error: VmlabError) -> Iterator[tuple[str, str]]:
    if isinstance(error, TopologyError):
        yield from ((str(problem), "") for problem in error.problems)
        return
    yield f"vmlab: {error.message}", _RED
    leaves = list(_leaves(error)) if error.causes else []
    for cause in leaves:
        where = f"{cause.node}: " if isinstance(cause, GuestError) and cause.node not in cause.message else ""
        yield f"  {where}{cause.message}", ""
    sick = [e for e in leaves or [error] if isinstance(e, GuestError) and e.console]
    for guest in sick[:_CONSOLES]:
        yield f"  console of {guest.node}:", _BOLD
        yield from ((f"  | {line}", _DIM) for line in guest.console[-_CONSOLE_LINES:])
    hints = dict.fromkeys(e.hint for e in (error, *leaves) if e.hint)
    yield from ((f"hint: {hint}", _BOLD) for hint in list(hints)[:3])


def _leaves(error: VmlabError) -> Iterator[VmlabError]:
    for cause in error.causes:
        if cause.causes:
            yield from _leaves(cause)
        else:
            yield cause
