"""What a guest says of itself that an image's manifest has to tell."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from vmlab.shell import script
from vmlab.steps import Command

_LOOK = script(__file__, "facts.sh")
LOOK: Command = ("sh", "-c", _LOOK)
"""Run as root before packages are installed, and once more afterwards: what `Facts.read` understands."""


@dataclass(frozen=True, slots=True)
class Facts:
    """`boots` is the release of the running kernel, `kernels` are the releases that a kernel is there of.

    `lacks`: what mke2fs is known not to know, of what Lustre needs.
    """

    boots: str
    machine: str
    cmdline: str
    distribution: str
    programs: frozenset[str]
    kernels: frozenset[str]
    lacks: frozenset[str]

    @classmethod
    def read(cls, output: str) -> "Facts":
        """The facts from what LOOK printed."""
        found: dict[str, list[str]] = {}
        for line in output.splitlines():
            key, _, value = line.partition(" ")
            found.setdefault(key, []).append(value)
        boots, machine, cmdline, distribution = (
            "".join(found.get(key, ())) for key in ("boots", "machine", "cmdline", "distribution")
        )
        kernels = frozenset(map(_release, map(PurePosixPath, found.get("kernel", ()))))
        programs, lacks = (frozenset(found.get(key, ())) for key in ("program", "lacks"))
        return cls(boots, machine, cmdline, distribution, programs, kernels, lacks)


def _release(kernel: PurePosixPath) -> str:
    return kernel.parent.name if kernel.name == "vmlinuz" else kernel.name.removeprefix("vmlinuz-")


def direct_cmdline(told: str) -> str:
    """The command line of a kernel that is booted directly, from one that a boot loader gave; with a serial console."""
    words = [word for word in told.split() if not word.startswith(("BOOT_IMAGE=", "initrd="))]
    if not any(word.startswith("console=ttyS0") for word in words):
        words.append("console=ttyS0")
    return " ".join(words)
