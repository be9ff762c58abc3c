"""A node's disks, under the names by which Lustre and people find them."""

from collections.abc import Sequence

from vmlab.steps import Step

_SEEN = """
for link; do
    [ -b "/dev/disk/by-id/$link" ] || { echo "no disk $link in /dev/disk/by-id" >&2; exit 1; }
done
"""
# multipathd makes the map of a disk as udev tells of its paths. Without it each path stays a disk of its own.
_JOINED = """
command -v multipathd >/dev/null || exit 0
for link; do
    case $(readlink -f "/dev/disk/by-id/$link") in
    /dev/dm-*) ;;
    *) echo "multipath has no map of $link" >&2; exit 1 ;;
    esac
done
"""
_JOIN = """
modprobe dm-multipath
[ -e /etc/multipath.conf ] || cat >/etc/multipath.conf <<END
defaults {
    find_multipaths yes
    user_friendly_names yes
}
END
if [ -d /run/systemd/system ]; then systemctl enable --now multipathd; else pgrep -x multipathd || multipathd; fi
multipath -v2
udevadm trigger --subsystem-match=block
udevadm settle
"""


def disk_steps(links: Sequence[str], paths: Sequence[str]) -> tuple[Step, ...]:
    """Every disk is a block device under /dev/disk/by-id; those with several `paths` are joined where the image can."""
    seen = Step(
        "disks",
        ("sh", "-c", _SEEN, "vmlab", *links),
        (("udevadm", "trigger", "--subsystem-match=block"), ("udevadm", "settle")),
    )
    if not paths:
        return (seen,)
    return seen, Step("multipath", ("sh", "-c", _JOINED, "vmlab", *paths), (("sh", "-euc", _JOIN),))
