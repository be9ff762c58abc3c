"""What is kept of a bed in files of its own: snapshots, and the mark of a bed on its way back to one."""

from typing import TYPE_CHECKING

from vmlab.lab.ground.hosts import Hosts
from vmlab.values import identity
from vmlab.virt.connection import Host
from vmlab.virt.console import file_whole
from vmlab.virt.pool import BEDS, names_of, pool_path, refresh_pool

if TYPE_CHECKING:
    from vmlab.plan.snapshots import Reverting, Snapshot


def file_names(hosts: Hosts, bed: str) -> frozenset[str]:
    """All files of the bed on its first host, as they are now; of several none: those have no snapshots."""
    if hosts.several:
        return frozenset()
    refresh_pool(hosts.home, BEDS)
    return names_of(hosts.home, bed)


def snapshots_of(hosts: Hosts, bed: str) -> "list[Snapshot]":
    """The whole snapshots of a bed, the oldest first."""
    from vmlab.plan.snapshots import complete, read_snapshot  # noqa: PLC0415  who only looks does not pay for it

    names = file_names(hosts, bed)
    described = [
        name
        for name in names
        if (snapshot := identity.snapshot_of(name)) is not None and name == identity.snapshot_description(bed, snapshot)
    ]
    found = (read_snapshot(content(hosts.home, name)) for name in described)
    whole = [snapshot for snapshot in found if snapshot is not None and complete(snapshot, names)]
    return sorted(whole, key=lambda snapshot: (snapshot.created, snapshot.name))


def reverting(hosts: Hosts, bed: str) -> "Reverting | None":
    """The way back to a snapshot that the bed is on, if any."""
    if hosts.several:
        return None
    told = content(hosts.home, identity.reverting(bed))
    if not told:
        return None
    from vmlab.plan.snapshots import read_reverting  # noqa: PLC0415  slow to import

    return read_reverting(told)


def content(host: Host, name: str) -> str:
    """What a text file of the pool says; "" if there is none."""
    folder = host.call(lambda connection: pool_path(connection, BEDS))
    return file_whole(host, folder, name).decode(errors="replace")
