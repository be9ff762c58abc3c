"""Programs that a workload needs in guests: who has them, and what would bring them there."""

from collections.abc import Sequence

from vmlab.errors import WorkloadError
from vmlab.steps import Command
from vmlab.values.distribution import read_distribution
from vmlab.values.nodeset import fold
from vmlab.workloads import Node

SYSTEM: Command = ("cat", "/etc/os-release")
"""A fact of this form is what `in_guest` looks for under the name `system`."""

_FIND = 'for tool in "$@"; do command -v "$tool" >/dev/null && echo "$tool"; done; exit 0'


def tools(*names: str) -> Command:
    """The fact command, under the name `tools`, that `has` and `require` read."""
    return ("sh", "-c", _FIND, "vmlab", *names)


def has(node: Node, tool: str) -> bool:
    """The guest has it."""
    return tool in node.facts.get("tools", "").split()


def require(workload: str, tool: str, nodes: Sequence[Node], *, of: str = "") -> None:
    """Raise WorkloadError if one of the nodes lacks it; it is part `of` that program, if not one by itself."""
    refuse(workload, tool, [node for node in nodes if not has(node, tool)], of=of)


def refuse(workload: str, tool: str, without: Sequence[Node], *, of: str = "") -> None:
    """Raise WorkloadError if there are nodes `without` the tool."""
    if without:
        told = fold(node.name for node in without)
        hint = f"use an image that carries {of or tool}, or {in_guest(without[0], of or tool)}"
        raise WorkloadError(f"{workload}: {told} {'has' if len(without) == 1 else 'have'} no {tool}", hint=hint)


def in_guest(node: Node, program: str) -> str:
    """What to do in the guest, as the end of a hint."""
    line = read_distribution(node.facts.get("system", "")).install(program)
    return f"in the guest: {line}" if line else f"install {program} in the guest"
