"""Labels as people write them beside labels as runs have them."""

import re
from collections.abc import Mapping

from vmlab.metrics import label_text
from vmlab.records.run import RunRecord
from vmlab.values.nodeset import expand
from vmlab.values.size import any_size, size_text

_DIGITS = 19
"""More are no size in bytes."""


def fits(written: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """All that is written is there: `size: 1MiB` as 1048576, too, and `nodes: fta[1-2]` as `fta1,fta2`."""
    return all(name in labels and _same(value, labels[name]) for name, value in written.items())


def known(record: RunRecord, labels: Mapping[str, str]) -> dict[str, str]:
    """A figure's labels, and behind them the options that all of its run have."""
    return {name: label_text(value) for name, value in record.options.items()} | dict(labels)


def told(labels: Mapping[str, str]) -> str:
    """In words for people: `size=1MiB nodes=fta[1-2]`."""
    return " ".join(f"{name}={in_words(name, value)}" for name, value in labels.items())


def in_words(name: str, value: str) -> str:
    """A size in its largest unit, where the label is called so."""
    size = _bytes(value) if name == "size" or name.endswith("_size") else None
    return value if size is None else size_text(size)


def _same(one: str, other: str) -> bool:
    if one == other:
        return True
    size = _bytes(one)
    if size is not None:
        return size == _bytes(other)
    return (names := _names(one)) is not None and names == _names(other)


def _bytes(text: str) -> int | None:
    if text.isascii() and text.isdecimal() and len(text) < _DIGITS:
        return int(text)
    try:
        return int(any_size(text))
    except ValueError:
        return None


def _names(text: str) -> frozenset[str] | None:
    if not re.search(r"[\[,]", text):
        return frozenset((text,))
    try:
        return frozenset(expand(text))
    except ValueError:
        return None
