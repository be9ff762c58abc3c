"""A host while something is measured on it: what it is, where memory was taken, what its guests do per second.

Counters of the kernel's allocator: Documentation/admin-guide/numastat.rst; of libvirt's: virConnectGetAllDomainStats.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from vmlab.values.cpuset import parse_cpu_list

_MIB = 1 << 20


@dataclass(slots=True)
class HostLook:
    """What `virt/running.sh` printed: CPUs and the allocator's counters by cell, KiB of each domain by cell."""

    cpu: str = ""
    cpus: int = 0
    memory_kib: int = 0
    kernel: str = ""
    hcas: dict[str, str] = field(default_factory=dict)
    cells: dict[int, frozenset[int]] = field(default_factory=dict)
    numastat: dict[int, dict[str, int]] = field(default_factory=dict)
    domains: dict[str, dict[int, int]] = field(default_factory=dict)


def read_look(text: str) -> HostLook:
    """Lines that are not understood are passed over: a figure that is absent is told as such."""
    look = HostLook()
    for line in text.splitlines():
        match line.split(None, 3):
            case ["cpu", *_]:
                look.cpu = line.removeprefix("cpu ").strip()
            case ["cpus", number] if number.isdecimal():
                look.cpus = int(number)
            case ["memory", number] if number.isdecimal():
                look.memory_kib = int(number)
            case ["kernel", release]:
                look.kernel = release
            case ["hca", name, *more]:
                look.hcas[name] = " ".join(more).strip(" ,")
            case ["cell", cell, "cpus", *cpus] if cell.isdecimal():
                look.cells[int(cell)] = frozenset(parse_cpu_list(cpus[0]) if cpus else ())
            case ["cell", cell, counter, number] if cell.isdecimal() and number.isdecimal():
                look.numastat.setdefault(int(cell), {})[counter] = int(number)
            case ["domain", name, cell, number] if cell.isdecimal() and number.isdecimal():
                look.domains.setdefault(name, {})[int(cell)] = int(number)
    return look


def grown(before: HostLook, after: HostLook) -> dict[str, dict[str, int]]:
    """How much each counter of the allocator grew, by cell."""
    return {
        str(cell): {name: value - before.numastat[cell].get(name, 0) for name, value in counters.items()}
        for cell, counters in after.numastat.items()
        if cell in before.numastat
    }


def remote_share(look: HostLook, domain: str, cpus: frozenset[int]) -> float | None:
    """Of a QEMU's memory, what is in cells of whose CPUs its vCPUs may use none: from 0 to 1; None if nobody tells."""
    kib = look.domains.get(domain, {})
    total = sum(kib.values())
    if not total or not cpus:
        return None
    return sum(size for cell, size in kib.items() if not cpus & look.cells.get(cell, frozenset())) / total


class Counters(NamedTuple):
    """What a domain has used since it was started: seconds of CPU, and bytes."""

    cpu_s: float
    received: int
    sent: int
    read: int
    written: int


class Rates(NamedTuple):
    """What it used in between: CPUs (1 is a whole one), and MiB/s."""

    cpus: float
    received: float
    sent: float
    read: float
    written: float


def counters(stats: Mapping[str, Any]) -> Counters | None:
    """Of libvirt's record of a domain, all its interfaces and disks together; None where nothing is counted.

    What a guest moves through a function that was passed to it is seen by no host.
    """
    if "cpu.time" not in stats:
        return None

    def total(kind: str, what: str) -> int:
        return sum(int(stats.get(f"{kind}.{place}.{what}", 0)) for place in range(int(stats.get(f"{kind}.count", 0))))

    moved = (total("net", "rx.bytes"), total("net", "tx.bytes"), total("block", "rd.bytes"), total("block", "wr.bytes"))
    return Counters(stats["cpu.time"] / 1e9, *moved)


def rates(before: Counters, after: Counters, seconds: float) -> Rates:
    """Per second; a domain that was started anew in between has used nothing."""
    cpus, *moved = (max(0.0, late - early) / seconds for early, late in zip(before, after, strict=True))
    return Rates(cpus, *(amount / _MIB for amount in moved))
