"""A night as values: what its file has become, with all that is checked and unfolded."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from vmlab.topology import Topology
from vmlab.values.fault import Kind

Keep = Literal["never", "on-failure", "always"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong on purpose, so long after the beginning of its step; `for_s` None: until its end.

    `how` are the options of `vmlab fault add`.
    """

    kind: Kind
    nodes: str
    how: Mapping[str, str]
    after_s: float
    for_s: float | None

    @property
    def told(self) -> str:
        """In the words of the command that does it."""
        return " ".join((self.kind, self.nodes, *(f"--{name} {value}" for name, value in self.how.items())))


@dataclass(frozen=True, slots=True)
class Step:
    """One workload with its options as written, and what goes wrong meanwhile. Names are unique in an entry."""

    name: str
    workload: str
    options: Mapping[str, Any]
    limit_s: float
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One bed, and what is done on it. `content` is its topology file with all overrides, `conditions` those by name.

    With several `beds` these are BED-1 and so on, and share the suites of its steps, of which `whole` are not cut.
    `content` has no path that is relative: it may be written anywhere. `packages` are to be in its image.
    """

    name: str
    bed: str
    topology: Topology
    content: Mapping[str, Any]
    conditions: Mapping[str, str]
    steps: tuple[Step, ...]
    keep: Keep
    retry: int
    limit_s: float
    beds: int = 1
    whole: tuple[str, ...] = ()
    packages: tuple[Path, ...] = ()

    @property
    def memory_kib(self) -> int:
        """Of all its guests."""
        return self.beds * sum(int(node.memory) for node in self.topology.nodes.values()) // 1024

    def each_bed(self) -> tuple["Entry", ...]:
        """Its beds, each as an entry of one."""
        if self.beds == 1:
            return (self,)
        names = [f"{self.bed}-{number}" for number in range(1, self.beds + 1)]
        return tuple(replace(self, bed=name, content={**self.content, "name": name}, beds=1) for name in names)

    @property
    def host(self) -> str:
        """Where it is: libvirt's URI, or "" for the default one."""
        return next((host.uri or "" for host in self.topology.hosts.values()), "")


@dataclass(frozen=True, slots=True)
class Night:
    """All of it. `expected` is a file of expected results; `history`: so many nights before count."""

    name: str
    file: str
    entries: tuple[Entry, ...]
    limit_s: float
    history: int
    expected: Path | None = None
