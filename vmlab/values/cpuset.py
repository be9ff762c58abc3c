"""Sets of host CPUs and cells in the kernel's list form: `0-3,8`; libvirt adds `^2` for all but this one."""

import re
from collections.abc import Iterable

# More than any kernel can be built for, and few enough to unfold.
MOST_CPUS = 65_536
_PART = re.compile(r"(\^?)([0-9]{1,9})(?:-([0-9]{1,9}))?", re.ASCII)


def cpu_list(cpus: Iterable[int]) -> str:
    """Fold CPU numbers: [0, 1, 2, 5] is "0-2,5"."""
    runs: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if runs and runs[-1][1] == cpu - 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def parse_cpu_list(text: str) -> frozenset[int]:
    """Unfold `0-3,^2,8`; an empty text is no CPU. Raises ValueError that names the expected form."""
    cpus: set[int] = set()
    for part in text.split(",") if text.strip() else ():
        match = _PART.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"{text!r:.60} is no list of CPUs (expected a form such as 0-3,8)")
        first, last = int(match[2]), int(match[3] or match[2])
        if last < first or last >= MOST_CPUS:
            raise ValueError(f"{text!r:.60} is no list of CPUs: {part.strip()} is no range below {MOST_CPUS}")
        if match[1]:
            cpus -= set(range(first, last + 1))
        else:
            cpus |= set(range(first, last + 1))
    return frozenset(cpus)
