"""Programs that a workload needs in guests: who has them, and what would bring them there."""

from collections.abc import Sequence

from vmlab.errors import WorkloadError
from vmlab.steps import Command
from vmlab.values.distribution import read_distribution
from vmlab.workloads import Node
from vmlab.workloads._nodes import called, there

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
        told = called(without)
        many = len(without) > 1 and told != called(without[:1])
        there = in_guest(without[0], of or tool)
        hint = f"use an image that carries {of or tool}, or {there}" if without[0].where == "vm" else there
        raise WorkloadError(f"{workload}: {told} {'have' if many else 'has'} no {tool}", hint=hint)


def in_guest(node: Node, program: str) -> str:
    """What to do in the guest, as the end of a hint."""
    line = read_distribution(node.facts.get("system", "")).install(program)
    return f"{there(node)}: {line}" if line else f"install {program} {there(node)}"
