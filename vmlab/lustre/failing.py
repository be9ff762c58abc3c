"""A target's disk that can be told to fail: the device mapper's device on it, in the guest.

Until something goes wrong on purpose it passes everything on (`linear`). What it does then is told by its table, which
the kernel exchanges under a target that is mounted: dm-flakey for reads or writes that fail, a thin pool without a free
block for a disk that is full. A udev rule makes the device whenever the disk appears: also after a loss of power.
"""

from collections.abc import Iterator

from vmlab.shell import script
from vmlab.steps import Command
from vmlab.values.fault import Kind

_NAME = "vmlab-"
_FOLDER = "/dev/mapper/"
_DO = script(__file__, "failing.sh")

NOT_MADE_TO = 3
"""The status of `fault` for a disk that cannot be told to fail."""
SHOW: Command = ("dmsetup", "table")
"""What it prints is read by `read_failing`."""

_KINDS = {Kind.READS: "error_reads", Kind.WRITES: "error_writes"}
_TOLD = {Kind.READS: "reads fail", Kind.WRITES: "writes fail", Kind.FULL: "writes find no space"}


def device(label: str) -> str:
    """What is formatted and mounted in place of the disk of the target that has the label."""
    return f"{_FOLDER}{_NAME}{label}"


def rule_file(label: str) -> str:
    """Where udev finds `rule`, behind all that name disks."""
    return f"/etc/udev/rules.d/99-{_NAME}{label}.rules"


def rule(label: str, disk: str) -> str:
    """The device is made when the disk appears; where it is there already dmsetup fails, and nothing is changed."""
    name = disk.removeprefix("/dev/")
    which = f'SYMLINK=="{name}"' if "/" in name else f'KERNEL=="{name}"'
    table = "0 $attr{size} linear $major:$minor 0"
    make = f"/usr/sbin/dmsetup --noudevsync create {_NAME}{label} --table '{table}'"
    return f'SUBSYSTEM=="block", {which}, ACTION!="remove", RUN+="{make}"\n'


def fault(what: Kind | None, label: str) -> Command:
    """The disk of the target fails so from now on, None: not any more."""
    return _do("linear" if what is None else _KINDS.get(what, "full"), label)


def look(what: Kind, label: str) -> Command:
    """Whether the guest can do that to the disk; nothing is changed."""
    return _do(f"look-{'full' if what is Kind.FULL else 'flakey'}", label)


def _do(what: str, label: str) -> Command:
    return ("sh", "-c", _DO, "vmlab", what, f"{_NAME}{label}")


def read_failing(text: str) -> dict[str, tuple[Kind, str]]:
    """What is done to each disk that something is done to, with words for it, by its target's label."""
    return {label: (kind, _TOLD[kind]) for label, kind in _failing(text)}


def _failing(text: str) -> Iterator[tuple[str, Kind]]:
    features = {feature: kind for kind, feature in _KINDS.items()}
    for line in text.splitlines():
        name, colon, table = line.partition(": ")
        words = table.split()
        if not colon or not name.startswith(_NAME) or len(words) < _FEWEST:
            continue
        kind = Kind.FULL if words[2] == "thin" else features.get(words[-1]) if words[2] == "flakey" else None
        if kind is not None and not name.endswith(_FILL):
            yield name.removeprefix(_NAME), kind


_FEWEST = 4
_FILL = "-fill"
"""What a killed command may leave of filling a pool."""
