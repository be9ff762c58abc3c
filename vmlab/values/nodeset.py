"""Node sets in the HPC sense: `oss[1-4]`, `fta[01-11]`, `mds1,mds2`.

ClusterShell reads the ranges and folds. Its set operators, groups and wildcards are not let through, what a text would
unfold to is counted before it is unfolded, and the written order is kept: in `oss2,oss1` the first one is the primary.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import product
from math import prod

MOST_NODES = 4096

_COMMA = re.compile(r",(?![^\[]*\])")
_PIECE = re.compile(r"\[([^\[\]]*)\]|([A-Za-z0-9._-]+)")
_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9})(?:/([1-9][0-9]{0,8}))?)?")


def parts(text: str) -> tuple[str, ...]:
    """The parts between the commas that are not in brackets, as written; empty ones included."""
    return tuple(part.strip() for part in _COMMA.split(text))


@lru_cache(maxsize=1024)
def expand(text: str) -> tuple[str, ...]:
    """The names in the order in which they are written, each once; zero-padding is kept.

    Raises ValueError: no node set, or more than MOST_NODES names.
    """
    names: dict[str, None] = {}
    for part in parts(text):
        for name in _expand_part(part):
            names[name] = None
            if len(names) > MOST_NODES:
                raise _too_many(text)
    return tuple(names)


def fold(names: Iterable[str]) -> str:
    """`oss[1-2]` from `oss1`, `oss2`; sorted."""
    from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet  # noqa: PLC0415  slow to import

    folded = NodeSet("", resolver=RESOLVER_NOGROUP)
    for name in names:
        folded.add(NodeSet(name, resolver=RESOLVER_NOGROUP))
    return str(folded)


def _too_many(text: str) -> ValueError:
    return ValueError(f"{text!r:.60} names too many nodes (expected at most {MOST_NODES})")


def _no_set(text: str) -> ValueError:
    return ValueError(f"{text!r:.60} is no node set (expected a form such as oss1, oss[1-4] or mds1,mds2)")


def _expand_part(part: str) -> Iterator[str]:
    axes: list[list[str]] = []
    end = 0
    for match in _PIECE.finditer(part):
        if match.start() != end:
            raise _no_set(part)
        end = match.end()
        ranges, literal = match.groups()
        axes.append([literal] if literal is not None else _expand_ranges(part, ranges))
        if prod(map(len, axes)) > MOST_NODES:
            raise _too_many(part)
    if end != len(part) or not axes:
        raise _no_set(part)
    return ("".join(pieces) for pieces in product(*axes))


def _expand_ranges(part: str, ranges: str) -> list[str]:
    from ClusterShell.RangeSet import RangeSet, RangeSetException  # noqa: PLC0415  slow to import

    numbers: list[str] = []
    for text in ranges.split(","):
        match = _RANGE.fullmatch(text)
        if match is None:
            raise _no_set(part)
        first, last, step = match[1], match[2] or match[1], int(match[3] or 1)
        if (int(last) - int(first)) // step + len(numbers) >= MOST_NODES:
            raise _too_many(part)
        try:
            numbers.extend(RangeSet(text).striter())
        except RangeSetException:
            raise _no_set(part) from None
    return numbers
