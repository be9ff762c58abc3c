"""Rules of what a single node has of its own: disks, its kernel, folders of the host."""

from collections.abc import Callable, Iterator

from vmlab.topology import model
from vmlab.topology.parse import Parsed, Problems
from vmlab.topology.read import Draft
from vmlab.topology.wording import quote

# Serial numbers of the disks that every node has.
_TAKEN_DISKS = {"root", "seed"}


def check(entry: Parsed[model.NodeEntry], problems: Problems) -> None:
    """Everything that one node says by itself."""
    if entry.sound("disks"):
        _disks(entry, problems)
    if entry.sound("share"):
        _shares(entry, problems)
    if entry.value.kernel == model.KernelEntry():
        problems.add(entry.at("kernel"), "`kernel` says nothing (expected image, initrd or args)")


def check_devices(draft: Draft, problems: Problems) -> None:
    """A target tells initiators apart by their paths: guests that come over one path of the host are one to it."""
    first: dict[tuple[str, str | None], str] = {}
    for name, node in draft.nodes.items():
        entry = node.entry
        for number, disk in enumerate(entry.value.disks if entry.sound("disks", "host") else ()):
            if disk.device is None or not disk.reservations:
                continue
            other = first.setdefault((disk.device, entry.value.host), name)
            if other != name:
                message = (
                    f"{name} reserves {disk.device} over the path of {other}: the disk takes them for one "
                    "(expected a path of its own for each node of a host, such as another /dev/disk/by-path)"
                )
                problems.add(entry.at("disks", number, "device"), message)


def _disks(entry: Parsed[model.NodeEntry], problems: Problems) -> None:
    seen: set[str] = set()
    for number, disk in enumerate(entry.value.disks):
        if disk.name in _TAKEN_DISKS:
            message = f"a disk cannot be called `{disk.name}`: every node has that one (expected another name)"
            problems.add(entry.at("disks", number, "name"), message)
        if disk.name in seen:
            message = f"disk `{disk.name}` is given twice (expected each name once)"
            problems.add(entry.at("disks", number, "name"), message)
        seen.add(disk.name)
        for key, message in _disk(disk):
            problems.add(entry.at("disks", number, *key), message)
    _each_once(entry, "serial", lambda disk: disk.label, problems)
    _each_once(entry, "wwn", lambda disk: disk.wwn, problems)


Wrong = Iterator[tuple[tuple[str, ...], str]]
"""Which key of a disk is wrong, and the message."""


def _disk(disk: model.DiskEntry) -> Wrong:
    name = f"disk {quote(disk.name)}"
    if disk.serial in _TAKEN_DISKS:
        yield ("serial",), f"serial `{disk.serial}`: every node has that one (expected another)"
    if disk.size is None and disk.device is None:
        yield (), f"{name} has no `size` (expected size: 1GiB, or device: /dev/... of the host)"
    if disk.reservations and disk.device is None:
        wanted = "device: /dev/... of a SCSI disk of the host, whose target keeps them"
        yield ("reservations",), f"{name} is a file, and QEMU emulates no persistent reservations (expected {wanted})"
    if disk.device is not None:
        yield from _passed(disk, name)
    if disk.kind != "scsi":
        yield from _of_scsi(disk, name)


def _of_scsi(disk: model.DiskEntry, name: str) -> Wrong:
    asks = {"wwn": disk.wwn is not None, "multipath": disk.multipath > 1, "device": disk.device is not None}
    for key in (key for key, asked in asks.items() if asked):
        yield (key,), f"{name} has a `{key}`, which only SCSI disks have (expected kind: scsi)"


def _passed(disk: model.DiskEntry, name: str) -> Wrong:
    if disk.size is not None:
        yield ("device",), f"{name} has a size and a device (expected one of them)"
    for key in ("serial", "wwn", "sector"):
        if getattr(disk, key) is not None:
            yield (key,), f"{name} is passed as it is, with a {key} of its own (expected no `{key}`)"
    if disk.multipath > 1:
        yield ("multipath",), f"{name} is passed as it is, with one path (expected a disk for each path)"


def _each_once(
    entry: Parsed[model.NodeEntry], key: str, of: Callable[[model.DiskEntry], str | None], problems: Problems
) -> None:
    """Guests find disks by these: two of one node must not have the same. Of names that is told already."""
    seen: dict[str, str] = {}
    for number, disk in enumerate(entry.value.disks):
        value = of(disk)
        if value is not None and seen.setdefault(value, disk.name) != disk.name:
            message = f"{key} `{value}` is that of disk {quote(seen[value])}, too (expected another)"
            problems.add(entry.at("disks", number, key), message)


def _shares(entry: Parsed[model.NodeEntry], problems: Problems) -> None:
    seen: set[str] = set()
    for number, share in enumerate(entry.value.share):
        if share.at in seen:
            message = f"two folders at {share.at} (expected each mount point once)"
            problems.add(entry.at("share", number, "at"), message)
        seen.add(share.at)
