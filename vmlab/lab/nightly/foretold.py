"""What can be told of a night before it begins: what its steps will not do on these beds, by their files alone."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vmlab.errors import VmlabError
from vmlab.nights.night import Entry, Night
from vmlab.workloads import Workload
from vmlab.workloads._options import points


def foretold(night: Night, workloads: Mapping[str, Workload[Any]]) -> dict[str, tuple[str, ...]]:
    """By entry, a line each: `STEP: sanity 24x will be skipped: ...`. Nothing of workloads that are not known."""
    return {entry.name: tuple(dict.fromkeys(_of(entry, workloads))) for entry in night.entries}


def in_lines(lines: Mapping[str, Sequence[str]]) -> list[str]:
    """`ENTRIES: LINE`, what is said of several entries once, in the order of the first of them."""
    entries: dict[str, list[str]] = {}
    for entry, said in lines.items():
        for line in said:
            entries.setdefault(line, []).append(entry)
    return [f"{', '.join(names)}: {line}" for line, names in entries.items()]


def _of(entry: Entry, workloads: Mapping[str, Workload[Any]]) -> Iterator[str]:
    for step in entry.steps:
        workload = workloads.get(step.workload)
        if workload is None:
            continue
        try:
            for point in points(workload, step.options):
                yield from (f"{step.name}: {line}" for line in workload.in_advance(point.options, entry.topology))
        except VmlabError as error:
            yield f"{step.name}: {error.message}"
