"""libvirt's event loop, on a thread of its own: keepalive and streams that do not block live by it."""

import threading
from functools import cache

import libvirt


@cache
def run_events() -> None:
    """Begin it, once, and before the first connection is opened: those that are older do not know of it."""
    libvirt.virEventRegisterDefaultImpl()
    threading.Thread(target=_run, name="libvirt events", daemon=True).start()


def _run() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()
