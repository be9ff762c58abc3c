"""YAML read into a tree that knows its positions.

Built from libyaml's events, not by a loader: nothing is constructed by tag, recursion and aliases are bounded, and a
duplicate key is seen. Plain scalars follow YAML 1.2 as far as a topology needs it: `true`, `12`, `0.5` and nothing;
everything else is text, so that `0x15b3`, `no`, `010`, `12:30` and `2024-01-01` stay what was written.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import yaml

from vmlab.topology.wording import expected, quote

MOST_BYTES = 4 << 20
_DEEPEST = 32
_MOST_VALUES = 250_000

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?[0-9]{1,18}\.[0-9]{0,18}([eE][-+]?[0-9]{1,2})?")
_WORDS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NOTHING = {"", "~", "null", "Null", "NULL"}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class NoValue:
    """A key that has no value: `disk:` and nothing behind it. No schema type accepts it."""

    def __repr__(self) -> str:
        return "nothing"


NO_VALUE = NoValue()


class Mark(NamedTuple):
    """A position; both count from 1. `source` is what was said instead of the file, "" for the file itself."""

    line: int
    column: int
    source: str = ""


START = Mark(1, 1)


@dataclass(slots=True)
class Scalar:
    """Text, number, truth value or nothing."""

    mark: Mark
    value: str | int | float | bool | NoValue
    text: str

    size = 1


@dataclass(slots=True)
class Sequence:
    """A list."""

    mark: Mark
    items: list["Tree"] = field(default_factory=list)
    size: int = 1


class Entry(NamedTuple):
    """A key's position and its value."""

    mark: Mark
    value: "Tree"


@dataclass(slots=True)
class Mapping:
    """Keys are the text that was written, whatever YAML makes of it."""

    mark: Mark
    entries: dict[str, Entry] = field(default_factory=dict)
    size: int = 1


Tree = Scalar | Sequence | Mapping
Report = Callable[[Mark, str], None]


class Unreadable(Exception):
    """The text cannot be read any further; `mark` is where."""

    def __init__(self, mark: Mark, message: str) -> None:
        super().__init__(message)
        self.mark = mark
        self.message = message


def plain(tree: Tree, nothing: object = NO_VALUE) -> object:
    """The bare Python value; a key without a value becomes `nothing`."""
    if isinstance(tree, Mapping):
        return {key: plain(entry.value, nothing) for key, entry in tree.entries.items()}
    if isinstance(tree, Sequence):
        return [plain(item, nothing) for item in tree.items]
    return nothing if isinstance(tree.value, NoValue) else tree.value


def parse(text: str, report: Report) -> Tree:
    """The document's root. Duplicate keys and the like go to `report`; raises Unreadable where reading ends."""
    if len(text) > MOST_BYTES:
        raise Unreadable(START, f"the file has more than {MOST_BYTES >> 20} MiB (expected a topology)")
    text = text.removeprefix("\ufeff")
    bad = _UNPRINTABLE.search(text)
    if bad:
        line = text.count("\n", 0, bad.start()) + 1
        column = bad.start() - text.rfind("\n", 0, bad.start())
        raise Unreadable(Mark(line, column), f"the character U+{ord(bad[0]):04X} is not allowed (expected text)")
    try:
        return _Composer(report).compose(yaml.parse(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(filter(None, (error.context, error.problem)))
        where = Mark(mark.line + 1, mark.column + 1) if mark else START
        raise Unreadable(where, f"not YAML: {what}") from error
    except yaml.YAMLError as error:
        raise Unreadable(START, f"not YAML: {' '.join(str(error).split())}") from error


class _Composer:
    """Events to tree, without recursion: the depth of a file is the file's, not the stack's."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.anchors: dict[str, Tree | None] = {}
        self.values = 0

    def compose(self, events: Iterator[yaml.Event]) -> Tree:
        root: Tree | None = None
        stack: list[_Open] = []
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent) and root is not None:
                raise Unreadable(_mark(event), "a second document begins (expected one document per file)")
            done: Tree | None = None
            if isinstance(event, yaml.ScalarEvent):
                self._count(event, 1)
                done = self._named(event, _scalar(event))
            elif isinstance(event, yaml.AliasEvent):
                done = self._alias(event)
            elif isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
                self._count(event, 1)
                stack.append(self._open(event, len(stack)))
            elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
                closed = stack.pop()
                done = closed.close(self.report)
                if closed.anchor is not None:
                    self.anchors[closed.anchor] = done
            if done is None:
                continue
            if stack:
                stack[-1].add(done, _mark(event) if isinstance(event, yaml.AliasEvent) else done.mark, self.report)
            else:
                root = done
        return root if root is not None else Scalar(START, NO_VALUE, "")

    def _count(self, event: yaml.Event, values: int) -> None:
        self.values += values
        if self.values > _MOST_VALUES:
            raise Unreadable(_mark(event), f"more than {_MOST_VALUES} values, aliases unfolded (expected a topology)")

    def _named(self, event: yaml.NodeEvent, tree: Tree) -> Tree:
        self._tagless(event)
        if event.anchor is not None:
            self.anchors[event.anchor] = tree
        return tree

    def _tagless(self, event: yaml.NodeEvent) -> None:
        tag = getattr(event, "tag", None)
        if tag is not None:
            self.report(_mark(event), f"a tag, {quote(tag)} (expected a plain value: tags are not used here)")

    def _open(self, event: yaml.SequenceStartEvent | yaml.MappingStartEvent, depth: int) -> "_Open":
        if depth >= _DEEPEST:
            raise Unreadable(_mark(event), f"nested more than {_DEEPEST} levels deep (expected a topology)")
        self._tagless(event)
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        kind = Sequence if isinstance(event, yaml.SequenceStartEvent) else Mapping
        return _Open(kind(_mark(event)), event.anchor)

    def _alias(self, event: yaml.AliasEvent) -> Tree:
        anchor = event.anchor or ""
        if anchor not in self.anchors:
            raise Unreadable(_mark(event), f"unknown alias {quote(anchor)} ({expected(anchor, self.anchors)})")
        tree = self.anchors[anchor]
        if tree is None:
            message = f"alias {quote(anchor)} inside of its own anchor (expected a finished one)"
            raise Unreadable(_mark(event), message)
        self._count(event, tree.size)
        return tree


class _Open:
    """A list or mapping whose end has not come yet."""

    def __init__(self, tree: Sequence | Mapping, anchor: str | None) -> None:
        self.tree = tree
        self.anchor = anchor
        self._key: tuple[str | None, Mark] | None = None
        self._merged: list[tuple[Mark, Tree]] = []

    def add(self, value: Tree, mark: Mark, report: Report) -> None:
        self.tree.size += value.size
        if isinstance(self.tree, Sequence):
            self.tree.items.append(value)
            return
        if self._key is None:
            if not isinstance(value, Scalar):
                report(mark, "a list or mapping as a key (expected text)")
            self._key = (value.text if isinstance(value, Scalar) else None, mark)
            return
        key, at = self._key
        self._key = None
        if key is None:
            return
        if key == "<<":
            self._merged.append((at, value))
        elif key in self.tree.entries:
            first = self.tree.entries[key].mark
            report(at, f"duplicate key {quote(key)} (first given at line {first.line})")
        else:
            self.tree.entries[key] = Entry(at, value)

    def close(self, report: Report) -> Tree:
        """Merge keys come last: what the mapping says itself is stronger."""
        for mark, value in self._merged:
            for source in value.items if isinstance(value, Sequence) else (value,):
                if isinstance(source, Mapping) and isinstance(self.tree, Mapping):
                    self.tree.entries = {**source.entries, **self.tree.entries}
                else:
                    report(mark, "`<<` merges something that is no mapping (expected an alias of a mapping)")
        return self.tree


def _mark(event: yaml.Event) -> Mark:
    start = event.start_mark
    return Mark(start.line + 1, start.column + 1) if start else START


def _scalar(event: yaml.ScalarEvent) -> Scalar:
    text = event.value
    mark = _mark(event)
    if event.style:
        return Scalar(mark, text, text)
    if text in _NOTHING:
        return Scalar(mark, NO_VALUE, text)
    if text in _WORDS:
        return Scalar(mark, _WORDS[text], text)
    if _INT.fullmatch(text):
        return Scalar(mark, int(text), text)
    if _FLOAT.fullmatch(text):
        return Scalar(mark, float(text), text)
    return Scalar(mark, text, text)
