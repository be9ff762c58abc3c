"""Where a running guest really is: its threads' CPUs and its memory's cells, from /proc."""

import re
from typing import Any

from vmlab.values.cpuset import parse_cpu_list

from .conftest import Lab


def as_planned(lab: Lab, bed: str, node: Any) -> None:
    """What `plan -o json` says of a node is so. Its memory lies in its cells, and is all there if VFIO locks it."""
    pid = lab.run("pgrep", "-f", f"guest={bed}.{node['name']},").split()[0]
    allowed = threads(lab, pid)
    for cell in node["cells"]:
        pinned = {n: parse_cpu_list(allowed[f"CPU {n}/KVM"]) for n in cell["vcpus"]}
        assert pinned == {n: set(cpus) for n, cpus in cell["vcpus"].items()}
    assert parse_cpu_list(allowed["qemu-system-x86"]) == set(node["emulator_cpus"])
    mappings = [by_cell(line) for line in lab.get(f"/proc/{pid}/numa_maps").splitlines()]
    for cell in node["cells"]:
        wanted = cell["memory_mib"] * 1024
        there = [m for m in mappings if set(m) == {cell["host_cell"]} and sum(kib for kib, _ in m.values()) <= wanted]
        kib, page_kib = max(there, key=lambda m: m[cell["host_cell"]])[cell["host_cell"]]
        assert page_kib == cell["page_kib"]
        assert kib == wanted or not node["devices"]
        assert kib > wanted // 4


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
    size = int(facts.get("kernelpagesize_kB", "4"))
    return {int(name[1:]): (int(n) * size, size) for name, n in facts.items() if re.fullmatch(r"N\d+", name)}
