"""What is kept of a bed in files of its own: snapshots, and the mark of a bed on its way back to one."""

from vmlab.lab.ground.hosts import Hosts
from vmlab.plan.snapshots import Reverting, Snapshot, complete, read_reverting, read_snapshot
from vmlab.values import identity
from vmlab.virt.connection import Host
from vmlab.virt.console import file_whole
from vmlab.virt.pool import BEDS, names_of, pool_path, refresh_pool


def file_names(hosts: Hosts, bed: str) -> frozenset[str]:
    """All files of the bed, as they are now."""
    refresh_pool(hosts.home, BEDS)
    return names_of(hosts.home, bed)


def snapshots_of(hosts: Hosts, bed: str) -> list[Snapshot]:
    """The whole snapshots of a bed, the oldest first."""
    names = file_names(hosts, bed)
    described = [
        name
        for name in names
        if (snapshot := identity.snapshot_of(name)) is not None and name == identity.snapshot_description(bed, snapshot)
    ]
    found = (read_snapshot(content(hosts.home, name)) for name in described)
    whole = [snapshot for snapshot in found if snapshot is not None and complete(snapshot, names)]
    return sorted(whole, key=lambda snapshot: (snapshot.created, snapshot.name))


def reverting(hosts: Hosts, bed: str) -> Reverting | None:
    """The way back to a snapshot that the bed is on, if any."""
    mark = identity.reverting(bed)
    return read_reverting(content(hosts.home, mark))


def content(host: Host, name: str) -> str:
    """What a text file of the pool says; "" if there is none."""
    folder = host.call(lambda connection: pool_path(connection, BEDS))
    return file_whole(host, folder, name).decode(errors="replace")
