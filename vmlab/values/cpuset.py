"""Sets of host CPUs in the kernel's list form: `0-3,8`."""

from collections.abc import Iterable


def cpu_list(cpus: Iterable[int]) -> str:
    """Fold CPU numbers: [0, 1, 2, 5] is "0-2,5"."""
    runs: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if runs and runs[-1][1] == cpu - 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
