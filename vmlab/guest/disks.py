"""A node's disks, under the names by which Lustre and people find them."""

from collections.abc import Sequence

from vmlab.shell import script
from vmlab.steps import Step

_SEEN = """
for link; do
    [ -b "/dev/disk/by-id/$link" ] || { echo "no disk $link in /dev/disk/by-id" >&2; exit 1; }
done
"""
_JOINED, _JOIN = script(__file__, "multipath_joined.sh"), script(__file__, "multipath.sh")


def disk_steps(links: Sequence[str], paths: Sequence[str]) -> tuple[Step, ...]:
    """Every disk is a block device under /dev/disk/by-id; those with several `paths` are joined where the image can."""
    seen = Step(
        "disks",
        ("sh", "-c", _SEEN, "vmlab", *links),
        (("udevadm", "trigger", "--subsystem-match=block"), ("udevadm", "settle")),
        at_once=True,
    )
    if not paths:
        return (seen,)
    return seen, Step("multipath", ("sh", "-c", _JOINED, "vmlab", *paths), (("sh", "-c", _JOIN),))
