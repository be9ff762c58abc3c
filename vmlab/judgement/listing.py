"""Files that are a list below one key, with some keys beside it."""

from collections.abc import Iterator
from typing import TypeVar

from vmlab.errors import TopologyError
from vmlab.topology.model import Part
from vmlab.topology.parse import Parsed, Problems, parse, read_mapping
from vmlab.topology.tree import Entry, Mapping, Sequence, Tree, plain
from vmlab.topology.wording import quote

HeadT = TypeVar("HeadT", bound=Part)
ItemT = TypeVar("ItemT", bound=Part)


def read_list(
    text: str, section: str, head: type[HeadT], item: type[ItemT], problems: Problems
) -> tuple[HeadT, tuple[Parsed[ItemT], ...]]:
    """The keys beside `section`, and its items, each checked by itself; call `refuse` before anything is made of them.

    Raises TopologyError if the text cannot be read so far.
    """
    tree = read_mapping(text, f"the key `{section}`", problems)
    beside = parse(head, Entry(tree.mark, tree), "the file", problems, also=(section,))
    items = (
        parse(item, Entry(one.mark, one), f"an item of `{section}`", problems)
        for one in _items(tree, section, problems)
    )
    return beside.value, tuple(items)


def refuse(problems: Problems) -> None:
    """Raise TopologyError if there are any."""
    if problems.found:
        raise TopologyError(problems.sorted())


def _items(tree: Mapping, section: str, problems: Problems) -> Iterator[Tree]:
    entry = tree.entries.get(section)
    if entry is None:
        if not problems.found:  # else it was misspelt
            problems.add(tree.mark, f"the file has no `{section}` (expected the key `{section}`)")
    elif isinstance(entry.value, Sequence) and entry.value.items:
        yield from entry.value.items
    else:
        told = "an empty list" if isinstance(entry.value, Sequence) else quote(plain(entry.value))
        problems.add(entry.value.mark, f"`{section}` is {told} (expected a list of at least one)")
