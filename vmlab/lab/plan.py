"""What `up` would do: looked at, decided, and nothing done."""

from vmlab.lab.prepare import Prepared, acceleration, images_of, prepare, remarks
from vmlab.lab.progress import Progress
from vmlab.topology import Topology
from vmlab.virt.connection import Host


def look(host: Host, topology: Topology, *, accel: str, restart: bool, progress: Progress) -> Prepared:
    """The decisions of `up` with the same arguments, as the host is now. Subnets are not leased, only looked for."""
    images = images_of(host, topology)
    works_with = acceleration(host, accel, images, progress)
    prepared = prepare(host, topology, accel=works_with, restart=restart, images=images)
    remarks(prepared, images, progress)
    return prepared
