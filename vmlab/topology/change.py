"""`KEY=VALUE` over a file: what `--set` changes in a topology's tree before it is read.

A key is a path with dots, `fabrics.ib0.mtu` or `filesystems.lustre.osts.0.size`; below `nodes` comes a node set, @role
or `*`. Where it means some nodes of a folded key only, that is split, in the order of its nodes: addresses follow it.
"""

from collections.abc import Sequence as SequenceOf
from copy import deepcopy
from itertools import groupby

from vmlab.errors import UsageError
from vmlab.topology.select import refuse_external, select
from vmlab.topology.tree import START, Entry, Mapping, Mark, Report, Scalar, Sequence, Tree, Unreadable, parse, plain
from vmlab.topology.wording import quote
from vmlab.values import nodeset

_NODES = "nodes"
_OF_EXTERNALS = ("external", "role", "fabrics")


def change(tree: Tree, settings: SequenceOf[str], report: Report) -> None:
    """Apply the settings in their order. Raises UsageError for a key that leads nowhere; `report` is as in `parse`."""
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not all(key.split(".")):
            raise UsageError(f"--set {quote(setting)} (expected KEY=VALUE, such as nodes.oss1.memory=4GiB)")
        value = _value(setting, text, len(key) + 1, report)
        if isinstance(tree, Mapping):
            put(tree, key, value, f"--set {quote(setting)}")


def put(tree: Mapping, key: str, value: Tree, told: str) -> None:
    """Set one key, a path with dots. Raises UsageError, which calls it `told`, if it leads nowhere."""
    path = key.split(".")
    if path[0] != _NODES or len(path) == 1:
        _put(tree, path, value, told)
        return
    nodes = tree.entries.get(_NODES)
    if len(path) < 3 or nodes is None or not isinstance(nodes.value, Mapping):  # noqa: PLR2004 - nodes, which, what
        raise UsageError(f"{told} (expected nodes.NODES.KEY=VALUE)")
    roles, externals = _roles(nodes.value), _externals(nodes.value)
    if path[2] in _OF_EXTERNALS:
        chosen = set(select(path[1], roles))
    else:
        refuse_external(path[1], externals)
        chosen = set(select(path[1], {name: has for name, has in roles.items() if name not in externals}))
    entries: dict[str, Entry] = {}
    for folded, entry in nodes.value.entries.items():
        for name, meant in _split(folded, chosen):
            part = Entry(entry.mark, deepcopy(entry.value))
            if meant:
                if isinstance(part.value, Scalar):
                    part = Entry(entry.mark, Mapping(part.value.mark))
                _put(part.value, path[2:], value, told)
            entries[name] = part
    nodes.value.entries = entries


def _value(setting: str, text: str, before: int, report: Report) -> Tree:
    """Problems of it are told where it stands on the command line."""

    def placed(mark: Mark) -> Mark:
        return Mark(mark.line, mark.column + (before if mark.line == 1 else 0), f"--set {setting}")

    try:
        found = parse(text, lambda mark, message: report(placed(mark), message))
    except Unreadable as error:
        raise UsageError(f"--set {quote(setting)}: {error.message}") from error
    _place(found, placed(START))
    return found


def _place(tree: Tree, mark: Mark) -> None:
    tree.mark = mark
    if isinstance(tree, Mapping):
        tree.entries = {key: Entry(mark, entry.value) for key, entry in tree.entries.items()}
    parts = [entry.value for entry in tree.entries.values()] if isinstance(tree, Mapping) else []
    for part in tree.items if isinstance(tree, Sequence) else parts:
        _place(part, mark)


def _roles(nodes: Mapping) -> dict[str, tuple[str, ...]]:
    """The roles of each node, as far as the file is sound: what is not is told when it is read."""
    found: dict[str, tuple[str, ...]] = {}
    for key, entry in nodes.entries.items():
        told = plain(entry.value)
        role = told.get("role", ()) if isinstance(told, dict) else ()
        roles = (role,) if isinstance(role, str) else tuple(map(str, role)) if isinstance(role, list) else ()
        found |= dict.fromkeys(_expanded(key), roles)
    return found


def _externals(nodes: Mapping) -> set[str]:
    """The nodes that are no guests."""
    return {
        name
        for key, entry in nodes.entries.items()
        if isinstance(entry.value, Mapping) and "external" in entry.value.entries
        for name in _expanded(key)
    }


def _split(key: str, chosen: set[str]) -> list[tuple[str, bool]]:
    """The key's parts, each with whether its nodes are meant; the key itself where there is only one."""
    runs = [(list(names), meant) for meant, names in groupby(_expanded(key), lambda name: name in chosen)]
    if len(runs) < 2:  # noqa: PLR2004
        return [(key, bool(runs) and runs[0][1])]
    return [(_folded(names), meant) for names, meant in runs]


def _folded(names: list[str]) -> str:
    folded = nodeset.fold(names)
    return folded if list(nodeset.expand(folded)) == names else ",".join(names)


def _expanded(key: str) -> tuple[str, ...]:
    try:
        return nodeset.expand(key)
    except ValueError:
        return ()


def _put(tree: Tree, path: SequenceOf[str], value: Tree, told: str) -> None:
    """Set what is at `path` below `tree`; mappings on the way that are not there are made."""
    if isinstance(tree, Sequence):
        number = int(path[0]) if path[0].isdecimal() else len(tree.items)
        if number >= len(tree.items):
            last = len(tree.items) - 1
            raise UsageError(f"{told}: there is no item {quote(path[0])} (expected 0 to {last})")
        if len(path) == 1:
            tree.items[number] = value
        else:
            _put(tree.items[number], path[1:], value, told)
        return
    if not isinstance(tree, Mapping):
        raise UsageError(f"{told}: {quote(path[0])} is below {quote(plain(tree))}, which has no keys")
    # A fabric's name may have dots in it.
    length = next((n for n in range(len(path), 0, -1) if ".".join(path[:n]) in tree.entries), 1)
    key, rest = ".".join(path[:length]), path[length:]
    if not rest:
        tree.entries[key] = Entry(value.mark, value)
        return
    below = tree.entries.get(key)
    if below is None:
        below = tree.entries[key] = Entry(value.mark, Mapping(value.mark))
    _put(below.value, rest, value, told)
