"""A file or a text to a Topology, or all that is wrong with it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

from pydantic import BaseModel

from vmlab.errors import Problem, TopologyError, UsageError
from vmlab.topology import check, check_filesystems
from vmlab.topology.bed import Shape, Topology
from vmlab.topology.build import build
from vmlab.topology.change import change
from vmlab.topology.parse import Problems
from vmlab.topology.read import read
from vmlab.topology.shapes import shaped
from vmlab.topology.tree import MOST_BYTES, Tree, Unreadable, parse
from vmlab.topology.wording import quote

Workloads = Mapping[str, type[BaseModel]]

_NONE: Workloads = MappingProxyType({})
_BED_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")


def load(
    path: Path, *, name: str | None = None, workloads: Workloads = _NONE, settings: Sequence[str] = ()
) -> Topology:
    """Read a file; `name` replaces the one it gives the bed. `workloads` are the known ones' option classes.

    `settings` are KEY=VALUE, over what the file says (`topology.change`). Raises TopologyError with every problem that
    can be found, and with one if the file cannot be read.
    """
    return loads(text_of(path), str(path), name=name, workloads=workloads, settings=settings)


def text_of(path: Path) -> str:
    """A file's text, of whatever kind that has problems with positions. Raises TopologyError if it cannot be read."""
    file = str(path)
    try:
        stream = path.open("rb")
    except OSError as error:
        raise _unreadable(file, error) from None
    except ValueError as error:
        raise TopologyError([Problem(quote(file), 1, 1, f"cannot be read: {error} (expected a path)")]) from None
    with stream:
        return text_from(stream, file)


def _unreadable(file: str, error: OSError) -> TopologyError:
    return TopologyError([Problem(file, 1, 1, f"cannot be read: {error.strerror} (expected a YAML file)")])


def text_from(stream: BinaryIO, file: str) -> str:
    """As `text_of`, from an open file; `file` is told as where."""
    try:
        data = stream.read(MOST_BYTES + 4)
    except OSError as error:
        raise _unreadable(file, error) from None
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode(errors="replace")) + 1
        raise TopologyError([Problem(file, line, column, "not UTF-8 (expected text in UTF-8)")]) from None


def load_from(
    stream: BinaryIO, file: str, *, name: str | None = None, workloads: Workloads = _NONE, settings: Sequence[str] = ()
) -> Topology:
    """As `load`, from an open file; `file` is told as where."""
    return loads(text_from(stream, file), file, name=name, workloads=workloads, settings=settings)


def loads(
    text: str,
    filename: str = "<string>",
    *,
    name: str | None = None,
    workloads: Workloads = _NONE,
    settings: Sequence[str] = (),
) -> Topology:
    """As `load`, from a text. Raises UsageError if `name` is no bed's name, or a setting's key leads nowhere."""
    if name is not None and not _BED_NAME.fullmatch(name):
        raise UsageError(f"{quote(name)} is no bed's name (expected [a-z][a-z0-9-]*, at most 31 characters)")
    problems = Problems(filename)
    try:
        tree = parse(text, problems.add)
        change(tree, settings, problems.add)
    except Unreadable as error:
        problems.add(error.mark, error.message)
        raise TopologyError(problems.sorted()) from None
    bed = _bed(tree, problems, workloads, name)
    shapes = () if bed is None else tuple(_shapes(tree, problems, workloads, name))
    if bed is None or problems.found:
        raise TopologyError(problems.sorted())
    return replace(bed, shapes=shapes) if shapes else bed


def _bed(tree: Tree, problems: Problems, workloads: Workloads, name: str | None) -> Topology | None:
    draft = read(tree, problems, workloads, name)
    if draft is not None:
        check.check(draft, problems)
        check_filesystems.check(draft, problems)
    return None if draft is None or problems.found else build(draft, problems.file)


def _shapes(tree: Tree, problems: Problems, workloads: Workloads, name: str | None) -> Iterator[Shape]:
    """The beds of its sweep. What is wrong with several of them is told of the first."""
    told: set[Problem] = set()
    for labels, shape in shaped(tree, problems.add):
        own = Problems(problems.file)
        bed = _bed(shape, own, workloads, name)
        values = ", ".join(f"{key}={value}" for key, value in labels.items())
        for problem in own.found:
            if problem not in told:
                problems.found[problem._replace(message=f"{problem.message}, with {values}")] = None
        told |= set(own.found)
        if bed is not None:
            yield Shape(labels, bed)
