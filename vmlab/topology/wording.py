"""The words that problems have in common: values quoted on one line, and the nearest known name."""

from collections.abc import Iterable
from difflib import get_close_matches

_LONGEST = 60
_LISTED = 12
# Comparing names is slow; of more than these only the likely ones are compared.
_COMPARED = 100


def quote(value: object) -> str:
    """A value from a file or a command line, on one line and not longer than a line can bear."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, (dict, list, tuple)):
        kind = "mapping" if isinstance(value, dict) else "list"
        return f"a {kind}" if value else f"an empty {kind}"
    text = str(value)
    if len(text) > _LONGEST:
        text = text[:_LONGEST] + "..."
    return "'" + "".join(c if c.isprintable() else repr(c)[1:-1] for c in text) + "'"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant."""
    if len(name) > 2 * _LONGEST:
        return None
    names = list(known)
    if len(names) > _COMPARED:
        names = [other for other in names if other[:2] == name[:2] and abs(len(other) - len(name)) <= 1][:_COMPARED]
    close = get_close_matches(name, names, n=1, cutoff=0.6) or get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    return close[0] if close else None


def among(name: str, known: Iterable[str]) -> str:
    """The nearest, and all that there is to choose from."""
    names = list(known)
    close = nearest(name, names)
    if close is None or len(names) == 1:
        return f"expected {'one of ' * (len(names) > 1)}{', '.join(names) or 'none'}"
    return f"did you mean `{close}`? One of {', '.join(names)}"


def expected(name: str, known: Iterable[str], nothing: str = "there is none") -> str:
    """` (did you mean ...?)`, or what there is to choose from."""
    names = list(known)
    close = nearest(name, names)
    if close is not None:
        return f"did you mean `{close}`?"
    if not names:
        return nothing
    listed = ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
    return f"expected one of {listed}" if len(names) > 1 else f"expected {listed}"
