"""Guests that stand still because a disk of theirs could not be reached go on when it is there again."""

from collections.abc import Iterable

from vmlab.domainxml.devices import Nbd
from vmlab.lab.ground.progress import Progress
from vmlab.runtime.wait import sleep
from vmlab.virt.connection import Host
from vmlab.virt.faults import pause
from vmlab.virt.observe import domain_state

_STILL = "paused (I/O error)"
_TRIES, _PAUSE_S = 10, 1.0


def go_on(host: Host, domain: str, disks: Iterable[str], node: str, progress: Progress) -> None:
    """Have a node go on whose disks another host exports. `disks` are those of the domain, as places.

    What QEMU asks first makes it connect again, and fails once more: so it is tried again.
    """
    if not any(map(Nbd.of, disks)):
        return
    for _ in range(_TRIES):
        if domain_state(host, domain) != _STILL:
            return
        progress.stage(node, "resume")
        pause(host, domain, paused=False)
        sleep(_PAUSE_S)
