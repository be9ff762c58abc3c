"""Folders of the host, mounted in a node and in its fstab, so that they are there after a reboot, too."""

from collections.abc import Iterable

from vmlab.domainxml.metadata import ShareMount
from vmlab.shell import script
from vmlab.steps import Step

_MOUNTED, _MOUNT = script(__file__, "share_mounted.sh"), script(__file__, "share_mount.sh")
# The kernel's modules, and what to ask its builder for.
_NEEDS = {"virtiofs": ("virtiofs", "CONFIG_VIRTIO_FS"), "9p": ("9p 9pnet_virtio", "CONFIG_9P_FS, CONFIG_NET_9P_VIRTIO")}
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
        (("sh", "-c", _MOUNT, "vmlab", *where, options, *_NEEDS[share.driver]),),
    )
