"""The file's tree as a draft of the bed: each entry checked by itself, node sets unfolded, nothing compared yet."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from vmlab.topology import model
from vmlab.topology.bed import TargetKind, Workload
from vmlab.topology.parse import Parsed, Problems, describe, locate, mapping_of, parse
from vmlab.topology.sweep import CASES, expand
from vmlab.topology.table import with_rows
from vmlab.topology.tree import NO_VALUE, Entry, Mark, Scalar, Sequence, Tree, plain
from vmlab.topology.tree import Mapping as TreeMapping
from vmlab.topology.wording import among, nearest, quote
from vmlab.values import nodeset
from vmlab.values.nid import Nid

SECTIONS = ("hosts", "fabrics", "nodes", "filesystems", "workloads")

_HOST_NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
# What the kernel takes for an interface, without the signs that mean something to a shell, LNet or udev.
_FABRIC_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
_FSNAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,7}")
# The guest's other interface, its loopback, and what its kernel calls an interface before it is renamed.
_TAKEN_INTERFACES = re.compile(r"mgmt|lo|local|all|default|bonding_masters|eth[0-9]+")
_FOR_EACH = "ssh://root@cn[1-4]"
_TAKEN_NODES = {"localhost", "ip6-localhost", "ip6-loopback"}


@dataclass(frozen=True, slots=True)
class NodeDraft:
    """One node of an entry that may stand for many."""

    name: str
    entry: Parsed[model.NodeEntry]


@dataclass(frozen=True, slots=True)
class ExternalDraft:
    """One machine of an entry that may stand for many: the one at `place` of them."""

    name: str
    entry: Parsed[model.ExternalEntry]
    place: int


@dataclass(frozen=True, slots=True)
class TargetDraft:
    """One `mgt`, or one item of `mdts` or `osts`."""

    kind: TargetKind
    entry: Parsed[model.TargetEntry] | Parsed[model.MgtEntry]


@dataclass(frozen=True, slots=True)
class FileSystemDraft:
    """A file system. `complete`: all its targets could be told apart, so that their numbers mean something."""

    name: str
    entry: Parsed[model.FileSystemHead] | Parsed[model.ExternalFileSystemEntry]
    targets: tuple[TargetDraft, ...]
    complete: bool

    @property
    def external(self) -> tuple[Nid, ...]:
        """The NIDs of its MGS, if it exists without vmlab."""
        value = self.entry.value
        return value.external if isinstance(value, model.ExternalFileSystemEntry) else ()


@dataclass(slots=True)
class Draft:
    """All that could be read.

    `blurred` are the sections in which a name may be missing because it was unreadable; `misspelt` are the names that
    were refused, reduced by `reduced`: who refers to one by what it should be called is right.
    """

    head: Parsed[model.Head]
    hosts: dict[str, Parsed[model.HostEntry]] = field(default_factory=dict)
    fabrics: dict[str, Parsed[model.FabricEntry]] = field(default_factory=dict)
    nodes: dict[str, NodeDraft] = field(default_factory=dict)
    externals: dict[str, ExternalDraft] = field(default_factory=dict)
    filesystems: list[FileSystemDraft] = field(default_factory=list)
    workloads: list[Workload] = field(default_factory=list)
    blurred: set[str] = field(default_factory=set)
    misspelt: set[str] = field(default_factory=set)


def read(
    tree: Tree, problems: Problems, workloads: Mapping[str, type[BaseModel]], name: str | None = None
) -> Draft | None:
    """None: the file is not even a mapping."""
    file = mapping_of(tree, "the keys name, nodes, ...", problems)
    if file is None:
        return None
    if name is not None:
        file.entries["name"] = Entry(file.mark, Scalar(file.mark, name, name))
    draft = Draft(parse(model.Head, Entry(file.mark, file), "the topology", problems, also=SECTIONS))
    unknown = [key for key in file.entries if key not in model.TopologyFile.model_fields]
    draft.blurred |= {nearest(key, SECTIONS) or "" for key in unknown}
    for key, entry in _named(file, "hosts", draft, problems):
        if not _HOST_NAME.fullmatch(key):
            problems.add(entry.mark, f"{quote(key)} is no host's name (expected lower-case letters, digits and -)")
        draft.hosts[key] = parse(model.HostEntry, entry, f"host {quote(key)}", problems)
    for key, entry in _named(file, "fabrics", draft, problems):
        if not _fabric_name(key, entry.mark, problems):
            draft.misspelt.add(reduced(key))
        draft.fabrics[key] = parse(model.FabricEntry, entry, f"fabric {quote(key)}", problems)
    _read_nodes(file, draft, problems)
    for key, entry in _named(file, "filesystems", draft, problems):
        if not _FSNAME.fullmatch(key):
            wanted = "letters, digits, - and _, at most 8 characters"
            problems.add(entry.mark, f"{quote(key)} is no file system's name (expected {wanted})")
        draft.filesystems.append(_read_filesystem(key, entry, problems))
    _read_workloads(file, draft, problems, workloads)
    return draft


def _named(tree: TreeMapping, section: str, draft: Draft, problems: Problems) -> Iterator[tuple[str, Entry]]:
    entry = tree.entries.get(section)
    if entry is None or (isinstance(entry.value, Scalar) and entry.value.value is NO_VALUE):
        return
    if isinstance(entry.value, TreeMapping):
        yield from entry.value.entries.items()
        return
    draft.blurred.add(section)
    problems.add(entry.value.mark, f"`{section}` is {quote(plain(entry.value))} (expected a mapping of names)")


def reduced(name: str) -> str:
    """What is left of a name when one forgets case and signs."""
    return re.sub("[^a-z0-9]", "", name.lower())


def _fabric_name(name: str, mark: Mark, problems: Problems) -> bool:
    if not _FABRIC_NAME.fullmatch(name):
        wanted = "letters, digits, -, _ and ., at most 15 characters: guests name their interface so"
        problems.add(mark, f"{quote(name)} is no fabric's name (expected {wanted})")
    elif _TAKEN_INTERFACES.fullmatch(name):
        problems.add(mark, f"a fabric cannot be called `{name}`: the guest has that already (expected another name)")
    else:
        return True
    return False


def _read_nodes(tree: TreeMapping, draft: Draft, problems: Problems) -> None:
    before = len(problems.found)
    twice: dict[tuple[Mark, str], list[str]] = {}
    for key, entry in _named(tree, "nodes", draft, problems):
        machine = _read_external(key, entry, problems) if _is_external(entry) else None
        guest = parse(model.NodeEntry, entry, f"node {quote(key)}", problems) if machine is None else None
        names = _node_names(key, entry, draft, problems)
        if machine is not None and names:
            _as_many(machine, len(names), problems)
        for place, name in enumerate(names):
            first = draft.nodes.get(name) or draft.externals.get(name)
            if first is not None:
                twice.setdefault((entry.mark, str(first.entry.mark.line)), []).append(name)
            elif guest is not None:
                draft.nodes[name] = NodeDraft(name, guest)
            elif machine is not None:
                draft.externals[name] = ExternalDraft(name, machine, place)
        if len(draft.nodes) + len(draft.externals) > nodeset.MOST_NODES:
            problems.add(entry.mark, f"too many nodes (expected at most {nodeset.MOST_NODES})")
            draft.blurred.add("nodes")
            break
    for (mark, line), again in twice.items():
        what = f"node {quote(again[0])} is" if len(again) == 1 else f"nodes {quote(nodeset.fold(again))} are"
        problems.add(mark, f"{what} given twice (first at line {line}; expected each name once)")
    if not draft.nodes and len(problems.found) == before and "nodes" not in draft.blurred:
        _no_guest(tree, draft, problems)


def _no_guest(tree: TreeMapping, draft: Draft, problems: Problems) -> None:
    if draft.externals:
        message = "all nodes are external (expected at least one guest: a bed is what vmlab makes beside them)"
        problems.add(tree.entries["nodes"].mark, message)
    else:
        problems.add(tree.mark, "the topology has no nodes (expected the key `nodes` with at least one)")
        draft.blurred.add("nodes")


def _node_names(key: str, entry: Entry, draft: Draft, problems: Problems) -> tuple[str, ...]:
    """The names that an entry stands for; none if that cannot be told."""
    try:
        names = nodeset.expand(key)
    except ValueError as error:
        problems.add(entry.mark, str(error))
        draft.blurred.add("nodes")
        return ()
    bad = [name for name in names if not _HOST_NAME.fullmatch(name) or name in _TAKEN_NODES]
    if bad:
        wanted = "a letter, then letters, digits and inner -, lower case, at most 63 characters"
        problems.add(entry.mark, f"{quote(bad[0])} is no valid host name (expected {wanted})")
        draft.misspelt.update(map(reduced, bad))
    return names


def _is_external(entry: Entry) -> bool:
    return isinstance(entry.value, TreeMapping) and "external" in entry.value.entries


def _read_external(key: str, entry: Entry, problems: Problems) -> Parsed[model.ExternalEntry]:
    """What only a guest can have is told as that, and not as unknown."""
    own = model.ExternalEntry.model_fields
    kept = TreeMapping(entry.value.mark)
    for name, found in entry.value.entries.items() if isinstance(entry.value, TreeMapping) else ():
        if name in model.NodeEntry.model_fields and name not in own:
            message = f"`{name}` is for guests, and {quote(key)} is external (expected only {', '.join(own)})"
            problems.add(found.mark, message)
        else:
            kept.entries[name] = found
    return parse(model.ExternalEntry, Entry(entry.mark, kept), f"external node {quote(key)}", problems)


def _as_many(entry: Parsed[model.ExternalEntry], nodes: int, problems: Problems) -> None:
    """As many machines, and on each fabric as many addresses, as the entry stands for nodes."""
    machines = len(entry.value.external.hosts)
    if entry.sound("external") and machines != nodes:
        message = f"{_counted(machines, 'machine')} for {_counted(nodes, 'node')} (expected one for each: {_FOR_EACH})"
        problems.add(entry.at("external"), message)
    for fabric, use in entry.value.fabrics.items():
        if len(use.address) != nodes:
            has = _counted(len(use.address), "address")
            message = (
                f"{has} on `{fabric}` for {_counted(nodes, 'node')} (expected one for each, such as 10.1.0.[7-10])"
            )
            problems.add(entry.at("fabrics", fabric, "address"), message)


def _counted(number: int, what: str) -> str:
    if number == 1:
        return f"1 {what}"
    return f"{number} {what}{'es' if what.endswith('s') else 's'}"


def _read_filesystem(name: str, entry: Entry, problems: Problems) -> FileSystemDraft:
    what = f"file system {quote(name)}"
    if isinstance(entry.value, TreeMapping) and "external" in entry.value.entries:
        return _read_external_filesystem(name, entry, problems)
    head = parse(model.FileSystemHead, entry, what, problems, also=("mgt", "mdts", "osts"))
    targets: list[TargetDraft] = []
    complete = isinstance(entry.value, TreeMapping)
    for key in ("mgt", "mdts", "osts"):
        found = entry.value.entries.get(key) if isinstance(entry.value, TreeMapping) else None
        if found is None:
            # Reported where the key was misspelt, if it was.
            if head.sound(key) and key != "mgt":
                problems.add(entry.mark, f"{what} has no {key.upper()[:-1]} (expected the key `{key}`)")
            complete = complete and head.sound(key) and key == "mgt"
        elif key == "mgt":
            targets.append(TargetDraft("MGT", parse(model.MgtEntry, found, "`mgt`", problems)))
        elif isinstance(found.value, Sequence) and found.value.items:
            for item in found.value.items:
                parsed = parse(model.TargetEntry, Entry(item.mark, item), f"an item of `{key}`", problems)
                targets.append(TargetDraft("MDT" if key == "mdts" else "OST", parsed))
        else:
            complete = False
            problems.add(found.value.mark, f"`{key}` is {_odd(found.value)} (expected a list of targets)")
    return FileSystemDraft(name, head, tuple(targets), complete)


def _read_external_filesystem(name: str, entry: Entry, problems: Problems) -> FileSystemDraft:
    kept = TreeMapping(entry.value.mark)
    for key, found in entry.value.entries.items() if isinstance(entry.value, TreeMapping) else ():
        if key in model.OF_TARGETS:
            message = f"`{key}` beside `external` (expected none: vmlab makes nothing of a file system that exists)"
            problems.add(found.mark, message)
        else:
            kept.entries[key] = found
    known = [key for key in model.ExternalFileSystemEntry.model_fields if key not in model.OF_TARGETS]
    what = f"external file system {quote(name)}"
    for key in [key for key in kept.entries if key not in known]:
        found = kept.entries.pop(key)
        problems.add(found.mark, f"unknown key {quote(key)} in {what} ({among(key, known)})")
    head = parse(model.ExternalFileSystemEntry, Entry(entry.mark, kept), what, problems)
    return FileSystemDraft(name, head, (), complete=False)


def _odd(tree: Tree) -> str:
    return "empty" if not isinstance(tree, Scalar) and tree.size == 1 else quote(plain(tree))


def _read_workloads(tree: TreeMapping, draft: Draft, problems: Problems, known: Mapping[str, type[BaseModel]]) -> None:
    entry = tree.entries.get("workloads")
    if entry is None or (isinstance(entry.value, Scalar) and entry.value.value is NO_VALUE):
        return
    if not isinstance(entry.value, Sequence):
        problems.add(entry.value.mark, "`workloads` is no list (expected - {rdma: {...}} and so on)")
        return
    for item in entry.value.items:
        if isinstance(item, TreeMapping) and len(item.entries) == 1:
            ((name, found),) = item.entries.items()
            _read_workload(name, found, draft, problems, known)
        else:
            problems.add(item.mark, "a workload that is not one name with its options (expected {rdma: {...}})")


def _read_workload(
    name: str, entry: Entry, draft: Draft, problems: Problems, known: Mapping[str, type[BaseModel]]
) -> None:
    options = plain(entry.value, None)
    if options is None:
        options = {}
    if not isinstance(options, dict):
        message = f"the options of workload {quote(name)} are {quote(options)} (expected a mapping)"
        problems.add(entry.value.mark, message)
        return
    if name in known:
        options = _with_rows(name, options, entry, problems, known[name])
        check_options(name, options, entry, problems, known[name])
    draft.workloads.append(Workload(name, options))


def _with_rows(
    name: str, options: dict[str, Any], entry: Entry, problems: Problems, kind: type[BaseModel]
) -> dict[str, Any]:
    try:
        return with_rows(kind, options, Path(problems.file).parent, problems.add)
    except ValueError as error:
        problems.add(locate(entry.value, (CASES,), entry.mark), f"workload `{name}`: {error}")
        return {key: value for key, value in options.items() if key != CASES}


def check_options(name: str, options: dict[str, Any], entry: Entry, problems: Problems, kind: type[BaseModel]) -> None:
    """Tell what is wrong with a workload's options, all points of a sweep included."""
    what = f"workload `{name}`"
    try:
        points = expand(kind, options)
    except ValueError as error:
        problems.add(entry.value.mark, f"{what}: {error}")
        return
    told: dict[tuple[Mark, str], None] = {}
    for point in points:
        try:
            kind.model_validate(point.settings)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                told[describe(detail, entry, what, kind, list(kind.model_fields))] = None
    for mark, message in told:
        problems.add(mark, message)
