"""Nodes that one part of the file names in another: what a reference means, and whether it can be known."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple

from vmlab.topology.read import Draft, reduced
from vmlab.topology.wording import expected, quote
from vmlab.values import nodeset

_GUESTS = "expected guests: vmlab places, mounts and changes nothing on other machines"


class Named(NamedTuple):
    """A node that the item number `item` of a list means."""

    item: int
    node: str


class Unknown(NamedTuple):
    """Why the item number `item` means nothing."""

    item: int
    message: str


def look_up(sets: tuple[str, ...], draft: Draft) -> Iterator[Named | Unknown]:
    """All nodes in the written order; nothing for what may be one of the nodes that could not be read."""
    seen: set[str] = set()
    for item, text in enumerate(sets):
        for part in nodeset.parts(text):
            if part == "*" and part in seen:
                continue
            seen.add(part)
            if part.startswith("@") or "*" in part:
                yield from _by_pattern(item, part, draft)
            else:
                yield from _by_name(item, part, draft)


def nodes(sets: tuple[str, ...], draft: Draft) -> tuple[str, ...]:
    """Only the nodes, each once."""
    return tuple(dict.fromkeys(found.node for found in look_up(sets, draft) if isinstance(found, Named)))


def known(sets: tuple[str, ...], draft: Draft) -> bool:
    """Each name is understood and there."""
    certain = "nodes" not in draft.blurred
    return certain and all(isinstance(found, Named) for found in look_up(sets, draft))


def _by_pattern(item: int, part: str, draft: Draft) -> Iterator[Named | Unknown]:
    if part.startswith("@"):
        found = [name for name, node in draft.nodes.items() if part[1:] in node.entry.value.role]
        certain = all(node.entry.sound("role") for node in draft.nodes.values())
        roles = {role for node in draft.nodes.values() for role in node.entry.value.role}
        message = f"no node has the role {quote(part[1:])} ({expected(part[1:], sorted(roles))})"
        others = [name for name, machine in draft.externals.items() if part[1:] in machine.entry.value.role]
    else:
        found = [name for name in draft.nodes if fnmatchcase(name, part)]
        certain = True
        message = f"no node is called {quote(part)} ({expected(part, draft.nodes)})"
        others = [name for name in draft.externals if fnmatchcase(name, part)]
    if others:
        message = f"{quote(part)} means external nodes only: {nodeset.fold(others)} ({_GUESTS})"
    if not found and certain and "nodes" not in draft.blurred:
        yield Unknown(item, message)
    yield from (Named(item, name) for name in found)


def _by_name(item: int, part: str, draft: Draft) -> Iterator[Named | Unknown]:
    try:
        names = nodeset.expand(part)
    except ValueError as error:
        yield Unknown(item, str(error))
        return
    unknown = []
    external = [name for name in names if name in draft.externals]
    if external:
        what = "is external" if len(external) == 1 else "are external"
        yield Unknown(item, f"{quote(nodeset.fold(external))} {what} ({_GUESTS})")
    for name in names:
        if name in draft.nodes:
            yield Named(item, name)
        elif name in draft.externals:
            continue
        elif "nodes" not in draft.blurred and reduced(name) not in draft.misspelt:
            unknown.append(name)
    if unknown:
        what = "node" if len(unknown) == 1 else "nodes"
        yield Unknown(item, f"unknown {what} {quote(nodeset.fold(unknown))} ({expected(unknown[0], draft.nodes)})")
