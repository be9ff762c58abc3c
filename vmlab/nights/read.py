"""The file of a night, read with positions: each entry with each combination of its matrix, and all that is wrong."""

import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from vmlab.errors import Problem, TopologyError, UsageError
from vmlab.nights.model import EntryHead, FaultEntry, Head, StepHead
from vmlab.nights.night import Entry, Fault, Night, Step
from vmlab.nights.paths import anchored
from vmlab.nights.shares import undividable
from vmlab.topology import Topology
from vmlab.topology.change import change
from vmlab.topology.loader import loads, text_of
from vmlab.topology.parse import Parsed, Problems, parse, read_mapping
from vmlab.topology.read import check_options
from vmlab.topology.select import select
from vmlab.topology.tree import Entry as TreeEntry
from vmlab.topology.tree import Mapping as TreeMapping
from vmlab.topology.tree import Mark, Tree, Unreadable, plain
from vmlab.topology.tree import Sequence as TreeSequence
from vmlab.topology.tree import parse as parse_tree
from vmlab.topology.wording import expected, quote
from vmlab.values.fault import FAILING, Kind

Workloads = Mapping[str, type[BaseModel]]
Find = Callable[[str], Path]
"""The file that a topology's name means. Raises UsageError if there is none."""

FAULT = "fault"
_BESIDE = ("name", "limit")
_LONGEST_BED = 31
_NAME = re.compile(r"[a-z][a-z0-9-]{0,15}")
_MOST_ENTRIES = 1000
_BACKEND = "backend"
_OF_NET = ("delay", "jitter", "loss", "rate")


def load(path: Path, *, workloads: Workloads, find: Find, name: str | None = None) -> Night:
    """Read a file, and the topologies that it names; `name` replaces the night's.

    Raises TopologyError with all that is wrong with them, UsageError if `name` is no night's name.
    """
    return loads_night(text_of(path), path, workloads=workloads, find=find, name=name)


def loads_night(text: str, path: Path, *, workloads: Workloads, find: Find, name: str | None = None) -> Night:
    """As `load`, from a text that stands for the file at `path`."""
    if name is not None and not _NAME.fullmatch(name):
        raise UsageError(f"{quote(name)} is no night's name (expected [a-z][a-z0-9-]*, at most 16 characters)")
    problems = Problems(str(path))
    tree = read_mapping(text, "the keys name, entries", problems)
    reader = _Reader(path, problems, workloads, find, name)
    night = reader.night(tree)
    if problems.found or reader.elsewhere:
        raise TopologyError([*problems.sorted(), *reader.elsewhere])
    return night


@dataclass(frozen=True, slots=True)
class _Written:
    """One entry as it stands in the file. `choices` are its matrix's combinations, {} alone if it has none."""

    head: Parsed[EntryHead]
    steps: tuple[Step, ...]
    marks: Mapping[str, Mark]
    choices: tuple[Mapping[str, str], ...]


class _Reader:
    def __init__(self, path: Path, problems: Problems, workloads: Workloads, find: Find, name: str | None) -> None:
        self._path, self._problems, self._workloads, self._find = path, problems, workloads, find
        self._name = name
        self.elsewhere: dict[Problem, None] = {}
        """What is wrong in topology files, which have positions of their own."""

    def night(self, tree: TreeMapping) -> Night:
        head = parse(Head, TreeEntry(tree.mark, tree), "the night", self._problems, also=("entries",))
        if self._name is not None:
            head = replace(head, value=head.value.model_copy(update={"name": self._name}))
        written = [self._entry(item, head.value) for item in self._items(tree, head)]
        entries: list[Entry] = []
        for one in written:
            for choice in one.choices:
                made = self._made(one, choice, head.value)
                if made is not None:
                    entries.append(made)
                if len(entries) > _MOST_ENTRIES:
                    self._problems.add(one.head.mark, f"more than {_MOST_ENTRIES} entries (expected fewer)")
                    break
        self._twice(entries, written)
        said = head.value
        listed = None if said.expected is None else self._path.absolute().parent / said.expected
        return Night(said.name, str(self._path), tuple(entries), said.limits.night, said.history, listed)

    def _items(self, tree: TreeMapping, head: Parsed[Head]) -> Sequence[Tree]:
        entry = tree.entries.get("entries")
        if entry is None:
            if not any(key not in Head.model_fields for key in head.broken):  # else it was misspelt
                self._problems.add(tree.mark, "the night has no `entries` (expected the key `entries`)")
            return ()
        return self._list(entry, "entries", "entries: [{topology: ..., steps: [...]}]")

    def _list(self, entry: TreeEntry, key: str, wanted: str) -> Sequence[Tree]:
        if isinstance(entry.value, TreeSequence) and entry.value.items:
            return entry.value.items
        told = "an empty list" if isinstance(entry.value, TreeSequence) else quote(plain(entry.value))
        self._problems.add(entry.value.mark, f"`{key}` is {told} (expected {wanted})")
        return ()

    def _entry(self, item: Tree, night: Head) -> _Written:
        head = parse(EntryHead, TreeEntry(item.mark, item), "an entry", self._problems, also=("steps",))
        limit_s = head.value.limits.step or night.limits.step
        steps: list[Step] = []
        marks: dict[str, Mark] = {}
        found = item.entries.get("steps") if isinstance(item, TreeMapping) else None
        if found is None:
            if head.sound("steps") and isinstance(item, TreeMapping):
                self._problems.add(item.mark, "an entry has no `steps` (expected the key `steps`)")
        else:
            faults: list[tuple[Mark, Fault]] = []
            for one in self._list(found, "steps", "steps: [{command: {...}}]"):
                step = self._step(one, limit_s, faults)
                if step is not None:
                    name = _unique(step.name, marks)
                    marks[name] = one.mark
                    steps.append(Step(name, step.workload, step.options, step.limit_s, tuple(f for _, f in faults)))
                if not _is_fault(one):
                    faults = []
            for mark, _ in faults:
                message = "a fault with no step behind it (expected it before the step in which it happens)"
                self._problems.add(mark, message)
        if head.value.beds > 1:
            for step in steps:
                self._dividable(step, marks[step.name])
        return _Written(head, tuple(steps), marks, _combinations(head.value.matrix))

    def _dividable(self, step: Step, mark: Mark) -> None:
        known = self._workloads.get(step.workload)
        if known is not None and "suites" not in known.model_fields:
            self._problems.add(mark, f"{step.workload} has no suites that `beds` could share (expected beds: 1)")
        elif why := undividable(step):
            self._problems.add(mark, f"{why}, and `beds` share suites (expected suites: [sanity, ...])")
        elif step.faults:
            self._problems.add(mark, "a fault in a step that several beds share (expected beds: 1)")

    def _step(self, item: Tree, limit_s: float, faults: list[tuple[Mark, Fault]]) -> Step | None:
        """None for a fault, which is put to those of the next step, and for what is no step."""
        if not isinstance(item, TreeMapping):
            self._problems.add(item.mark, f"a step is {quote(plain(item))} (expected {{WORKLOAD: {{...}}}})")
            return None
        if _is_fault(item):
            self._fault(item, faults)
            return None
        names = [key for key in item.entries if key not in _BESIDE]
        if len(names) != 1:
            message = "a step that is not one workload with its options (expected {command: {...}}, limit beside it)"
            self._problems.add(item.mark, message)
            return None
        name = names[0]
        head = parse(StepHead, TreeEntry(item.mark, item), "a step", self._problems, also=(name,))
        entry = item.entries[name]
        options = plain(entry.value, None)
        if name not in self._workloads:
            known = [FAULT, *self._workloads]
            self._problems.add(entry.mark, f"there is no workload {quote(name)} ({expected(name, known)})")
        elif options is not None and not isinstance(options, dict):
            message = f"the options of workload {quote(name)} are {quote(options)} (expected a mapping)"
            self._problems.add(entry.value.mark, message)
        else:
            check_options(name, options or {}, entry, self._problems, self._workloads[name])
        settings = options if isinstance(options, dict) else {}
        return Step(head.value.name or name, name, settings, head.value.limit or limit_s)

    def _fault(self, item: TreeMapping, faults: list[tuple[Mark, Fault]]) -> None:
        for key, beside in item.entries.items():
            if key != FAULT:
                self._problems.add(beside.mark, f"{quote(key)} beside a fault (expected it in a step of its own)")
        parsed = parse(FaultEntry, item.entries[FAULT], "a fault", self._problems)
        entry = parsed.value
        if not parsed.broken:
            self._complete(parsed)
        how = {name: getattr(entry, name) for name in ("fabric", "disk", *_OF_NET, "iops")}
        told = {name: str(value) for name, value in how.items() if value is not None}
        fault = Fault(Kind(entry.kind), entry.nodes, told, entry.after or 0.0, entry.lasts)
        faults.append((item.entries[FAULT].mark, fault))

    def _complete(self, parsed: Parsed[FaultEntry]) -> None:
        entry = parsed.value
        if entry.kind in (Kind.LINK, Kind.NET) and entry.fabric is None:
            self._problems.add(parsed.at("kind"), f"{entry.kind} of which fabric? (expected the key `fabric`)")
        if entry.kind is Kind.NET and all(getattr(entry, key) is None for key in _OF_NET):
            message = f"what shall the network do? (expected one of {', '.join(_OF_NET)})"
            self._problems.add(parsed.at("kind"), message)
        if entry.kind is Kind.DISK and (entry.disk is None or (entry.rate is None and entry.iops is None)):
            self._problems.add(parsed.at("kind"), "which disk is slow, and how slow? (expected disk, and rate or iops)")
        if entry.kind in FAILING and entry.disk is None:
            self._problems.add(parsed.at("kind"), f"{entry.kind} of which disk? (expected the key `disk`)")

    def _made(self, written: _Written, choice: Mapping[str, str], night: Head) -> Entry | None:
        head = written.head
        path = self._topology_path(head)
        if path is None:
            return None
        asked = {key: value for key, value in (("image", head.value.image), ("backend", head.value.backend)) if value}
        where = head.at("matrix") if choice else head.at("set") if head.value.set else head.mark
        try:
            text = text_of(path)
            tree = parse_tree(text, lambda *_: None)
            first = plain(tree, None)
            settings = _settings(first, {**asked, **head.value.set, **choice})
            name = _suffixed(head.value.name or _name_of(first, path), choice.values())
            bed = _bed(night.name, name, _LONGEST_BED if head.value.beds == 1 else _LONGEST_BED - 3)
            topology = loads(text, str(path), name=bed, workloads=self._workloads, settings=settings)
            change(tree, settings, lambda *_: None)
        except TopologyError as error:
            self.elsewhere |= dict.fromkeys(error.problems)
            return None
        except Unreadable as error:
            self.elsewhere[Problem(str(path), error.mark.line, error.mark.column, error.message)] = None
            return None
        except (UsageError, ValueError) as error:
            self._problems.add(where, f"{path.name}: {error}")
            return None
        content = anchored(plain(tree, None), path.absolute().parent) | {"name": bed}
        self._faults_fit(written, topology)
        value = head.value
        return Entry(
            name,
            bed,
            topology,
            content,
            _conditions(topology, choice),
            written.steps,
            value.keep or night.keep,
            night.retry if value.retry is None else value.retry,
            value.limits.entry or night.limits.entry,
            value.beds,
            value.whole,
            self._packages(head),
        )

    def _packages(self, head: Parsed[EntryHead]) -> tuple[Path, ...]:
        found = []
        for place, name in enumerate(head.value.packages):
            path = (self._path.absolute().parent / Path(name).expanduser()).absolute()
            if not path.exists():
                wanted = "expected a folder of .rpm or .deb files, or such a file"
                self._problems.add(head.at("packages", place), f"there is no {quote(name)} beside this file ({wanted})")
            found.append(path)
        return tuple(found)

    def _topology_path(self, head: Parsed[EntryHead]) -> Path | None:
        if not head.sound("topology"):
            return None
        name = head.value.topology
        beside = self._path.parent / name
        try:
            return beside if beside.is_file() else self._find(name)
        except (UsageError, OSError, ValueError):
            self._problems.add(
                head.at("topology"), f"there is no topology file {quote(name)} (expected one beside this file)"
            )
            return None

    def _faults_fit(self, written: _Written, topology: Topology) -> None:
        roles: dict[str, tuple[str, ...]] = {name: tuple(node.roles) for name, node in topology.nodes.items()}
        for step in written.steps:
            for fault in step.faults:
                try:
                    select(fault.nodes, roles)
                except UsageError as error:
                    self._problems.add(written.marks[step.name], f"a fault of {quote(step.name)}: {error.message}")
                fabric = fault.how.get("fabric")
                if fabric is not None and fabric not in topology.fabrics:
                    told = f"no fabric {quote(fabric)} ({expected(fabric, topology.fabrics)})"
                    self._problems.add(written.marks[step.name], f"a fault of {quote(step.name)}: {told}")
                disk = fault.how.get("disk", "")
                if fault.kind in FAILING and disk and (why := _sound(disk, topology)):
                    self._problems.add(written.marks[step.name], f"a fault of {quote(step.name)}: {why}")

    def _twice(self, entries: Sequence[Entry], written: Sequence[_Written]) -> None:
        for name, count in Counter(entry.name for entry in entries).items():
            if count > 1:
                message = f"{count} entries are called {quote(name)} (expected a `name` of its own for each)"
                self._problems.add(written[-1].head.mark, message)
        beds = Counter(entry.bed for entry in entries)
        for entry in entries:
            if beds[entry.bed] > 1 and sum(one.name == entry.name for one in entries) == 1:
                self._problems.add(written[-1].head.mark, f"two beds would be called {quote(entry.bed)}")


def _sound(disk: str, topology: Topology) -> str:
    """Why this disk cannot be told to fail; "" if it can."""
    targets = {target.label: target for target in topology.targets}
    if disk not in targets:
        return f"no target {quote(disk)} ({expected(disk, targets)})"
    return "" if targets[disk].faults else f"{disk} cannot be told to fail (expected `faults: true` beside its size)"


def _is_fault(item: Tree) -> bool:
    return isinstance(item, TreeMapping) and FAULT in item.entries


def _combinations(matrix: Mapping[str, tuple[str, ...]]) -> tuple[Mapping[str, str], ...]:
    """The last key changes fastest."""
    return tuple(dict(zip(matrix, values, strict=True)) for values in product(*matrix.values()))


def _unique(name: str, taken: Mapping[str, object]) -> str:
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    return found


def _settings(content: object, asked: Mapping[str, str]) -> list[str]:
    """Behind `--set`. Raises ValueError where a backend is asked for, and there is no file system to have it."""
    found: list[str] = []
    for key, value in asked.items():
        if key != _BACKEND:
            found.append(f"{key}={value}")
            continue
        names = [
            name
            for name, one in _mapping(_mapping(content).get("filesystems")).items()
            if "external" not in _mapping(one)
        ]
        if not names:
            raise ValueError(f"there is no file system for the backend {value} (expected one in `filesystems`)")
        found += [f"filesystems.{name}.backend={value}" for name in names]
    return found


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _name_of(content: object, path: Path) -> str:
    name = _mapping(content).get("name")
    return name if isinstance(name, str) else path.stem


def _suffixed(name: str, values: Iterator[str] | Any) -> str:
    parts = (re.sub(r"[^a-z0-9]+", "-", str(value).rpartition("/")[2].lower()).strip("-") for value in values)
    return "-".join((name, *filter(None, parts)))


def _bed(night: str, entry: str, most: int) -> str:
    """A bed's name, for ever the same: of one that is too long the end is replaced by a checksum."""
    name = re.sub(r"[^a-z0-9-]", "-", f"{night}-{entry}".lower())
    if len(name) <= most:
        return name
    return f"{name[: most - 9]}-{zlib.crc32(name.encode()):08x}"


def _conditions(topology: Topology, choice: Mapping[str, str]) -> dict[str, str]:
    images = dict.fromkeys(node.image for node in topology.nodes.values())
    backends = dict.fromkeys(one.backend for one in topology.filesystems.values())
    told = {"image": ", ".join(images), "backend": ", ".join(backends)}
    return {name: value for name, value in (told | dict(choice)).items() if value}
