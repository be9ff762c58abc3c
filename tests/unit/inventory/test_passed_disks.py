"""Which disks of a host may be given to a node, as lsblk tells of them."""

from typing import Any

import pytest

from vmlab.errors import HostError
from vmlab.virt.machine import Machine
from vmlab.virt.passed_disks import refuse_disks, why_not


def told(name: str = "sdb", kind: str = "disk", *children: dict[str, Any], **more: str | None) -> dict[str, Any]:
    """As `lsblk --json` has it."""
    blank = {"name": name, "type": kind, "subsystems": "block:scsi:pci", "mountpoint": None, "fstype": None}
    return {**blank, **more, **({"children": list(children)} if children else {})}


@pytest.mark.parametrize(
    ("disk", "why"),
    [
        (told(), None),
        (told("sdb", "disk", told("sdb1", "part", fstype="ext4")), None),
        (told("mpatha", "mpath", subsystems="block"), None),
        (told("vda", subsystems="block:virtio:pci"), "vda is no SCSI disk (disk, block:virtio:pci)"),
        (told("loop0", "loop", subsystems="block"), "loop0 is no SCSI disk (loop, block)"),
        (told("sdb1", "part"), "sdb1 is no SCSI disk (part, block:scsi:pci)"),
        (told(mountpoint="/data"), "sdb is mounted at /data"),
        (told("sdb", "disk", told("sdb2", "part", mountpoint="[SWAP]")), "sdb2 is mounted at [SWAP]"),
        (told("sdb", "disk", told("mpatha", "mpath")), "the host has built mpatha on it (mpath)"),
        (told("sdb", "disk", told("sdb1", "part", told("vg-root", "lvm"))), "the host has built vg-root on it (lvm)"),
        (told("sdb", "disk", told("sdb1", "part", fstype="zfs_member")), "sdb1 belongs to a zfs of somebody's"),
    ],
)
def test_a_disk_is_passed_that_is_scsi_and_that_nobody_uses(disk: dict[str, Any], why: str | None) -> None:
    assert why_not(disk) == why


def test_a_device_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(HostError, match=r"/dev/vmlab-absent: .*not a block device"):
        refuse_disks(Machine(), ["/dev/vmlab-absent"])
