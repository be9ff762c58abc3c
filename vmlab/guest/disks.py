"""A node's disks, under the names by which Lustre and people find them."""

from collections.abc import Sequence

from vmlab.steps import Step

_SEEN = """
for serial; do
    [ -b "/dev/disk/by-id/virtio-$serial" ] || { echo "no disk with the serial $serial" >&2; exit 1; }
done
"""


def disks_step(serials: Sequence[str]) -> Step:
    """Every disk is a block device under /dev/disk/by-id; udev may still be about to name it."""
    return Step(
        "disks",
        ("sh", "-c", _SEEN, "vmlab", *serials),
        (("udevadm", "trigger", "--subsystem-match=block"), ("udevadm", "settle")),
    )
