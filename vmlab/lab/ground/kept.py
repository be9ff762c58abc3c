"""What is kept of a bed in files of its own: snapshots, and the mark of a bed on its way back to one.

Each of a bed's hosts has the files of its nodes and disks, and descriptions and marks of its own beside them.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vmlab.lab.ground.hosts import Hosts
from vmlab.values import identity
from vmlab.virt.bed_files import names_of, refresh_files
from vmlab.virt.connection import Host
from vmlab.virt.console import file_whole
from vmlab.virt.pool import BEDS, pool_path

if TYPE_CHECKING:
    from vmlab.plan.snapshots import Reverting, Snapshot

FileNames = Mapping[str, frozenset[str]]
"""Of a bed, by host."""
_ASKED = "not all hosts could be asked"


def file_names(hosts: Hosts, bed: str) -> FileNames:
    """All files of the bed on the hosts that answer, as they are now."""

    def there(host: Host) -> frozenset[str]:
        refresh_files(host, bed)
        return names_of(host, bed)

    return hosts.each(there, failed=_ASKED)


def snapshots_of(hosts: Hosts, bed: str) -> "list[Snapshot]":
    """The whole snapshots of a bed, the oldest first; of one over several hosts who asks one of them sees its part."""
    from vmlab.plan.snapshots import complete, joined, read_snapshot  # noqa: PLC0415  who only looks does not pay

    names = file_names(hosts, bed)

    def parts(host: Host) -> "list[Snapshot]":
        there = names[host.name]
        described = [
            name
            for name in there
            if (snapshot := identity.snapshot_of(name)) is not None
            and name == identity.snapshot_description(bed, snapshot)
        ]
        found = (read_snapshot(content(host, name)) for name in described)
        return [part for part in found if part is not None and complete(part, there)]

    found = hosts.each(parts, failed=_ASKED)
    return joined((part for there in found.values() for part in there), whole=not hosts.several)


def reverting(hosts: Hosts, bed: str) -> "Reverting | None":
    """The way back to a snapshot that the bed is on, if any; unknown, and none, where its first host is away."""
    if hosts.first in hosts.away:
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
