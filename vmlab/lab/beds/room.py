"""Room for what is to be kept of a bed, in the pools of its hosts."""

from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.progress import Progress
from vmlab.plan.snapshots import Room, refuse_short, told_need
from vmlab.virt.pool_files import PoolFiles


def pool_files(hosts: Hosts, bed: str) -> dict[str, PoolFiles]:
    """By host; raises as `PoolFiles.of`."""
    return hosts.each(lambda host: PoolFiles.of(host, bed), failed="not all hosts keep files of ours")


def be_sure_of(
    room: Room, needed: int, what: str, *, told: str, hosts: Hosts, host: str, bed: str, progress: Progress
) -> None:
    """Say how much is needed on a host, at most. Raises HostError if that is not there.

    `what` it is for, and how that is `told` where the bed's name stands before it.
    """
    refuse_short(what, needed, room, bed, on=host if hosts.several else "")
    where = f" on {host}" if hosts.several else ""
    progress.say(f"{bed}: {told} takes{where} {told_need(needed, room)}")
