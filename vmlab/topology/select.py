"""NODES on the command line: folded node sets, `@role`, shell patterns, in any combination with commas."""

import contextlib
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase

from vmlab.errors import UsageError
from vmlab.topology.wording import expected
from vmlab.values import nodeset


def select(expression: str, nodes: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """The named nodes in the expression's order, each once. `nodes` are the roles of each node of the bed.

    Raises UsageError for an unknown node or role, for a pattern that fits nothing, and for an empty expression.
    """
    chosen: dict[str, None] = {}
    for part in nodeset.parts(expression):
        chosen.update(dict.fromkeys(_part(part, nodes)))
    return tuple(chosen)


def powered(node: str, powers: str, nodes: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """Whom `node` may switch by its `powers`: those of the written ones that there are, never itself."""
    chosen: dict[str, None] = {}
    for part in nodeset.parts(powers) if powers else ():
        # Of a set of names those that there are: select refuses the whole for one that is not.
        with contextlib.suppress(UsageError, ValueError):
            pattern = part.startswith("@") or "*" in part or "?" in part
            found = select(part, nodes) if pattern else [name for name in nodeset.expand(part) if name in nodes]
            chosen.update(dict.fromkeys(found))
    chosen.pop(node, None)
    return tuple(chosen)


def refuse_external(expression: str, externals: Collection[str]) -> None:
    """Raise UsageError if a node set names one of the machines that are no guests, where only guests will do."""
    for part in nodeset.parts(expression):
        try:
            names = nodeset.expand(part)
        except ValueError:  # a role, a pattern, or `select` refuses it
            continue
        for name in names:
            if name in externals:
                raise UsageError(f"{name} is no guest: vmlab neither makes nor powers it, and has no console of it")


def _part(part: str, nodes: Mapping[str, Collection[str]]) -> Collection[str]:
    if part.startswith("@"):
        found = [name for name, roles in nodes.items() if part[1:] in roles]
        if not found:
            known = sorted({role for roles in nodes.values() for role in roles})
            raise UsageError(f"no node has the role `{part[1:]}` ({expected(part[1:], known)})")
        return found
    if "*" in part or "?" in part:
        found = [name for name in nodes if fnmatchcase(name, part)]
        if not found:
            raise UsageError(f"no node is called `{part}` ({expected(part, nodes)})")
        return found
    if not part:
        raise UsageError("an empty node set (expected a form such as oss1, oss[1-4], @oss or '*')")
    try:
        names = nodeset.expand(part)
    except ValueError as error:
        raise UsageError(str(error)) from None
    for name in names:
        if name not in nodes:
            raise UsageError(f"no node is called `{name}` ({expected(name, nodes)})")
    return names
