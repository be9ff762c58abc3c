"""A file system on a client."""

from collections.abc import Sequence

from vmlab.lustre.target import client_mount_argv, client_source
from vmlab.roles._alone import alone
from vmlab.roles._mount import MOUNT
from vmlab.roles._target import unmounted
from vmlab.shell import script
from vmlab.steps import Step
from vmlab.values.nid import Nid

_MOUNTED = script(__file__, "client_mounted.sh")
# Without an answer from the MGS, mount gives up after 160 s; a ping of LNet after 3 s, and loading takes less.
_MOUNT_S = 240.0


def mount(fsname: str, mgs: Sequence[Sequence[Nid]], point: str, options: str) -> tuple[Step, ...]:
    """It is mounted at that point."""
    # A second mount would come to lie over one that goes on.
    lock = alone(f"{fsname}-client")
    argv = client_mount_argv(client_source(fsname, mgs), point, options)
    return (
        Step(
            name=f"mount {fsname} at {point}",
            check=(*lock, "sh", "-c", _MOUNTED, "vmlab", point, fsname),
            apply=((*lock, "sh", "-c", MOUNT, "vmlab", point, "lustre", *argv),),
            deadline_s=_MOUNT_S,
        ),
    )


def unmount(fsname: str, point: str, *, lost: bool = False) -> tuple[Step, ...]:
    """It is not. `lost`: its servers have forgotten it."""
    return (unmounted(f"{fsname} at {point}", point, lost=lost),)
