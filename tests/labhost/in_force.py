"""Where a running guest really is: its threads' CPUs and its memory's cells, from /proc."""

import re
from typing import Any

from vmlab.values.cpuset import parse_cpu_list

from .conftest import Lab

_SMALL_KIB = 4


def as_planned(lab: Lab, bed: str, node: Any) -> None:
    """What `plan -o json` says of a node is so: each virtual CPU's thread and QEMU's own, and where its memory lies.

    The memory of a cell is QEMU's largest mapping that is bound to it. All of it is there if it is of huge pages, or
    locked for a device.
    """
    pid = lab.run("pgrep", "-f", f"guest={bed}.{node['name']},").split()[0]
    allowed = threads(lab, pid)
    maps = lab.get(f"/proc/{pid}/numa_maps").splitlines()
    for cell in node["cells"]:
        on = cell["host_cell"]
        for number, cpus in cell["vcpus"].items():
            (thread,) = (name for name in allowed if name.startswith(f"CPU {number}/"))
            assert parse_cpu_list(allowed[thread]) == set(cpus)
        bound = [by_cell(line) for line in maps if f" bind:{on} " in line]
        largest = max(bound, key=lambda mapping: sum(kib for kib, _ in mapping.values()))
        assert largest.keys() == {on}
        kib, page_kib = largest[on]
        assert page_kib == cell["page_kib"]
        assert kib <= cell["memory_mib"] * 1024
        assert kib == cell["memory_mib"] * 1024 or (page_kib == _SMALL_KIB and not node["devices"])
    assert parse_cpu_list(allowed["qemu-system-x86"]) == set(node["emulator_cpus"])


def threads(lab: Lab, pid: str) -> dict[str, str]:
    """The CPUs that each of a process's threads may use, by the thread's name."""
    told = lab.sh(
        f"for task in /proc/{pid}/task/*; do "
        "echo $(awk '/Cpus_allowed_list/ {print $2}' $task/status) $(cat $task/comm); done"
    )
    return {line.partition(" ")[2]: line.partition(" ")[0] for line in told.splitlines()}


def by_cell(line: str) -> dict[int, tuple[int, int]]:
    """A line of numa_maps, proc(5): KiB, and the size of a page in KiB, by cell."""
    facts = dict(word.split("=", 1) for word in line.split() if "=" in word)
    size = int(facts.get("kernelpagesize_kB", str(_SMALL_KIB)))
    return {int(name[1:]): (int(n) * size, size) for name, n in facts.items() if re.fullmatch(r"N\d+", name)}
