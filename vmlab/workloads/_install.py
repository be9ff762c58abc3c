"""What would bring a program into a guest, by the names of the guest's distribution."""

from vmlab.values.distribution import read_distribution
from vmlab.workloads import Node

SYSTEM = ("cat", "/etc/os-release")
"""A fact of this form is what `in_guest` looks for under the name `system`."""


def in_guest(node: Node, program: str) -> str:
    """What to do in the guest, as the end of a hint."""
    line = read_distribution(node.facts.get("system", "")).install(program)
    return f"in the guest: {line}" if line else f"install {program} in the guest"
