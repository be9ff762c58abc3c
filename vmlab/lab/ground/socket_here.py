"""A socket on a bed's host, as one that is reached from here."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from vmlab.guest.control import ControlPlace
from vmlab.lab.ground.images_elsewhere import elsewhere
from vmlab.virt.brought import brought
from vmlab.virt.connection import Host
from vmlab.virt.machine import machine_of


@contextlib.contextmanager
def socket_here(host: Host, path: str, folder: Path) -> Iterator[str]:
    """Where the socket `path` of the host is for the `with` block; `folder` is the bed's, for what leads there.

    Raises HostError if another machine does not lead to it.
    """
    if not elsewhere(host):
        yield path
        return
    place = ControlPlace(folder)
    try:
        with brought(machine_of(host), path, place.socket):
            yield place.socket
    finally:
        place.remove()
