"""Folders of the host, mounted in a node and in its fstab, so that they are there after a reboot, too."""

from collections.abc import Iterable

from vmlab.domainxml.metadata import ShareMount
from vmlab.steps import Step

_MOUNTED = """
tag=$1 at=$2 type=$3 mode=$4
grep -q "^$tag $at $type " /etc/fstab || exit 1
awk -v tag="$tag" -v at="$at" -v type="$type" -v mode="$mode" '
    $2 == at { found = $1 == tag && $3 == type && $4 ~ "^" mode "(,|$)" }
    END { exit !found }' /proc/mounts
"""
_MOUNT = """
tag=$1 at=$2 type=$3 options=$4 module=$5 config=$6
modprobe "$module" 2>/dev/null || :
grep -qw "$type" /proc/filesystems || {
    echo "the guest's kernel $(uname -r) has no file system $type (module $module, $config)" >&2
    exit 1
}
mkdir -p "$at"
sed -i "/^$tag /d" /etc/fstab
echo "$tag $at $type $options 0 0" >>/etc/fstab
mount "$at"
"""
# The kernel's module, and what to ask its builder for.
_NEEDS = {"virtiofs": ("virtiofs", "CONFIG_VIRTIO_FS"), "9p": ("9pnet_virtio", "CONFIG_9P_FS, CONFIG_NET_9P_VIRTIO")}
_OPTIONS = {"virtiofs": "", "9p": ",trans=virtio,version=9p2000.L,msize=262144"}


def share_steps(shares: Iterable[ShareMount]) -> tuple[Step, ...]:
    """Each folder is mounted, the outer of two before the inner. A guest that cannot have one boots nevertheless."""
    return tuple(map(_share_step, sorted(shares, key=lambda share: share.at)))


def _share_step(share: ShareMount) -> Step:
    mode = "ro" if share.read_only else "rw"
    options = f"{mode},nofail{_OPTIONS[share.driver]}"
    where = (share.tag, share.at, share.driver)
    return Step(
        f"share {share.at}",
        ("sh", "-c", _MOUNTED, "vmlab", *where, mode),
        (("sh", "-euc", _MOUNT, "vmlab", *where, options, *_NEEDS[share.driver]),),
    )
