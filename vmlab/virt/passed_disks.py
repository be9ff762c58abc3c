"""Disks of a host that nodes are given as they are: refused before anything is done where that cannot be."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from vmlab.errors import HostError
from vmlab.virt.machine import Machine

_ASK_S = 30.0
_COLUMNS = "NAME,TYPE,SUBSYSTEMS,MOUNTPOINT,FSTYPE"
# What has parts of a disk without a device of its own that lsblk could show above it.
_MEMBERS = ("zfs_member", "ceph_bluestore", "VMFS_volume_member")


def refuse_disks(machine: Machine, devices: Iterable[str]) -> None:
    """Raise HostError for a device that is none, no SCSI disk, or in use by the host itself."""
    for device in dict.fromkeys(devices):
        asked = machine.run(("lsblk", "--json", "--output", _COLUMNS, "--", device), deadline_s=_ASK_S)
        if not asked.ok:
            raise HostError(f"{device}: {asked.last_line}", hint="lsblk --scsi")
        found = json.loads(asked.stdout)["blockdevices"]
        why = why_not(found[0]) if found else "nothing is behind it"
        if why is not None:
            raise HostError(f"{device} cannot be passed to a node: {why}", hint="lsblk --scsi; lsblk -f")


def why_not(disk: Mapping[str, Any]) -> str | None:
    """Why a disk, as lsblk tells of it, cannot be passed; None if it can."""
    if disk["type"] not in ("disk", "mpath") or (
        disk["type"] == "disk" and "scsi" not in disk["subsystems"].split(":")
    ):
        return f"{disk['name']} is no SCSI disk ({disk['type']}, {disk['subsystems']})"
    for part in _all(disk):
        if part["mountpoint"]:
            return f"{part['name']} is mounted at {part['mountpoint']}"
        if part["type"] not in (disk["type"], "part"):
            return f"the host has built {part['name']} on it ({part['type']})"
        if part["fstype"] in _MEMBERS:
            return f"{part['name']} belongs to a {part['fstype'].partition('_')[0]} of somebody's"
    return None


def _all(disk: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield disk
    for child in disk.get("children", ()):
        yield from _all(child)
