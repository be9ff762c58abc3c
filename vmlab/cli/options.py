"""The arguments and options that several commands share: one spelling, one help text, one environment variable each."""

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vmlab.cli import complete

if TYPE_CHECKING:
    from vmlab.lustre.target import Recovery
    from vmlab.values.rate import Rate


class Form(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    JSON = "json"


class Accel(StrEnum):
    """What guests run on."""

    AUTO = "auto"
    KVM = "kvm"
    TCG = "tcg"


class Warm(StrEnum):
    """Whether nodes go on from a template's memory."""

    AUTO = "auto"
    NEVER = "never"
    ONLY = "only"


def option(*names: str, help: str, **more: Any) -> Any:  # noqa: A002 (Typer's own word)
    """An option whose environment variable is VMLAB_ and its first long name.

    Not --set, which means something else for each command.
    """
    long = next(name for name in names if name.startswith("--"))
    variable = "VMLAB_" + long.split("/")[0].removeprefix("--").replace("-", "_").upper()
    return typer.Option(*names, help=help, envvar=None if long == "--set" else variable, **more)


_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def duration(text: str | float) -> float:
    """Seconds from `90`, `90s`, `10m` or `1.5h`."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smh]?)", str(text))
    if match is None or not float(match[1]):
        raise typer.BadParameter(f"{str(text)!r:.40} is no duration (expected a form such as 90s, 10m or 1h)")
    return float(match[1]) * _UNITS[match[2]]


def rate(text: str, hint: str) -> "Rate":
    """Read `25GB/s`. Raises UsageError with this hint."""
    from vmlab.errors import UsageError
    from vmlab.values.rate import Rate

    try:
        return Rate.parse(text)
    except ValueError as error:
        raise UsageError(str(error), hint=hint) from None


File = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="Topology file, or - for standard input; a bare name is also looked up among those that ship with vmlab.",
        autocompletion=complete.topologies,
    ),
]
Bed = Annotated[
    str, typer.Argument(metavar="BED", help="A bed's name, or its topology file.", autocompletion=complete.beds)
]
Node = Annotated[str, typer.Argument(metavar="NODE", help="A node's name.", autocompletion=complete.nodes)]
Nodes = Annotated[
    str | None,
    typer.Argument(
        metavar="[NODES]",
        help="A node set: oss1, oss[1-4], @oss, '*'. Needed to switch off, and for nmi.",
        autocompletion=complete.nodes,
    ),
]
Output = Annotated[Form, option("--output", "-o", help="How to print the result.")]
Yes = Annotated[bool, option("--yes", "-y", help="Do not ask.")]
Name = Annotated[str | None, option("--name", help="Name of the bed, instead of the file's.")]
Settings = Annotated[
    list[str] | None,
    option(
        "--set",
        metavar="KEY=VALUE",
        help="Over what the file says: image=rocky9, nodes.oss1.memory=4GiB, nodes.@oss.cpus=4. May be repeated.",
    ),
]
Acceleration = Annotated[
    Accel, option("--accel", help="kvm, tcg (emulation: slow, works anywhere), or auto: kvm if a guest runs under it.")
]
WarmStart = Annotated[
    Warm | None,
    option(
        "--warm",
        help="New nodes go on from the memory of a template that was booted once, which is made if it is not there: "
        "auto (where they can), never, only. Absent: as the file says, or auto.",
    ),
]
Restart = Annotated[
    bool,
    option(
        "--restart",
        help="Apply changes that need a running node to stop: it is shut down, and killed if it has not gone off after "
        "90 s (emulated: 300 s).",
    ),
]
KeepDisks = Annotated[
    bool,
    option(
        "--keep-disks",
        help="Keep disks and ssh keys; the next `up` takes them up again. Nodes are shut down, as by `up --restart`.",
    ),
]
KeepWarm = Annotated[
    bool | None,
    option(
        "--keep-warm/--no-keep-warm",
        help="Keep all, the memory of the nodes, too: they are off, and the next `up` goes on from there. "
        "As the file says by default (`keep: warm`).",
    ),
]
KeepNew = Annotated[
    bool,
    option(
        "--keep-new",
        help="Keep the bed as it is then, in a snapshot `new`: the next rebuild goes back to it, if the topology, the "
        "images and QEMU are the same, and keeps another if not.",
    ),
]
HardEnd = Annotated[
    float | None,
    option(
        "--timeout",
        help="Give up after this time (90s, 10m, 1h). Absent: 10m, 20m for file systems; none for emulated guests.",
        metavar="TIME",
        parser=duration,
    ),
]
Timeout = Annotated[
    float, option("--timeout", help="Give up after this time (90s, 10m, 1h).", metavar="TIME", parser=duration)
]
On = Annotated[
    str | None,
    option(
        "--on",
        help="Hosts: libvirt's URI of one, or a bed or topology file, all of whose are meant. Absent: this machine.",
        metavar="URI|BED|FILE",
    ),
]
_MOST_JOBS = 1024
Jobs = Annotated[int, option("--jobs", "-j", help="Nodes that are worked on at the same time.", min=1, max=_MOST_JOBS)]


def at_once(text: str | int) -> int:
    """A number, or 0 for `auto`."""
    if text == "auto":
        return 0
    if re.fullmatch(r"[0-9]{1,4}", str(text)) and 1 <= int(text) <= _MOST_JOBS:
        return int(text)
    raise typer.BadParameter(f"{str(text)!r:.40} is neither auto nor a number from 1 to {_MOST_JOBS}")


StartJobs = Annotated[
    int,
    option(
        "--jobs",
        "-j",
        help="Nodes that are worked on at the same time; auto: as many as the host has CPUs for.",
        metavar="N|auto",
        parser=at_once,
    ),
]
RecoveryTime = Annotated[
    float | None,
    option(
        "--recovery-time",
        help="Lustre targets mounted now wait at most so long for their clients, and half of it at least.",
        metavar="TIME",
        parser=duration,
    ),
]


def window(longest_s: float | None) -> "Recovery | None":
    """What --recovery-time means to a target."""
    from vmlab.lustre.target import Recovery

    return None if longest_s is None else Recovery(max(1, int(longest_s / 2)), max(1, int(longest_s)))
