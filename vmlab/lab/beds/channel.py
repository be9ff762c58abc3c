"""The bed's power service: a process on this machine that answers the guests which may switch nodes of their bed.

One for each bed, whatever hosts it is on. `up` starts it and `down` ends it; a systemd that is there starts it again
after a reboot or a crash, else the next `up`, `power on` or `status` does.
"""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from vmlab.domainxml.metadata import NodeMetadata
from vmlab.errors import HostError
from vmlab.lab.ground.bed_folder import Named, folder, new_folder, slug
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.progress import Progress
from vmlab.runtime.wait import Deadline, until
from vmlab.service import process, unit
from vmlab.values.libvirt_uri import of_system
from vmlab.virt.connection import Away, Host

_SERVE = "vmlab.lab.beds.serve"
_COMES_S = 20.0
_ENVIRONMENT = ("VMLAB_STATE_DIR", "VMLAB_LOCK_DIR", "VMLAB_POOL_DIR", "PATH", "PYTHONPATH")
_OF_SSH = ("HOME", "SSH_AUTH_SOCK")


def begin(hosts: Hosts, bed: str, nodes: Iterable[NodeMetadata]) -> bool:
    """Start it if one of the nodes has a right, and it is not there. Whether it had to be. Raises HostError.

    One of another version of vmlab, or for other hosts, is replaced.
    """
    if not (_possible(hosts) and any(node.powers for node in nodes)):
        return False
    place = folder(hosts.keeper, bed)
    if _alive(hosts, place):
        return False
    process.end(place)
    argv = (sys.executable, "-m", _SERVE, bed, str(place.absolute()), *_words(hosts))
    if _by_systemd(hosts.keeper):
        names = (*_ENVIRONMENT, *(() if _all_here(hosts) else _OF_SSH))
        variables = {name: os.environ[name] for name in names if name in os.environ}
        unit.install(_unit(hosts.keeper, bed), unit.text(bed, argv, variables, place.absolute() / process.LOG))
    else:
        process.begin(place, argv)
    return True


def ensure(hosts: Hosts, bed: str, nodes: Iterable[NodeMetadata], progress: Progress, *, tell: bool = False) -> None:
    """As `begin`, and it is there afterwards, or a warning says why not; `tell` also of one that was away."""
    asking = sorted(node.node for node in nodes if node.powers)
    try:
        began = begin(hosts, bed, (node for node in nodes if node.powers))
        came = not began or until(lambda: _alive(hosts, folder(hosts.keeper, bed)), Deadline.after(_COMES_S))
        why = "" if came else f"see {folder(hosts.keeper, bed) / process.LOG}"
    except HostError as error:
        began, why = True, error.message
    who = ", ".join(asking)
    if why:
        progress.warn(f"{bed}: the power service is away, and does not come: {why}; {who} can power no node")
    elif asking and _possible(hosts) and os.geteuid() != 0 and any(map(_of_root, hosts.values())):
        progress.warn(f"{bed}: only root may answer {who}, who can power no node: sudo vmlab up FILE")
    elif began and tell:
        progress.warn(f"{bed}: the power service was away; it is started again, {who} can power nodes")


def end(hosts: Hosts, bed: str) -> None:
    """Return when there is none any more, now or after a reboot."""
    if not _possible(hosts):
        return
    if _by_systemd(hosts.keeper):
        unit.remove(_unit(hosts.keeper, bed))
    for place in {folder(hosts.keeper, bed), new_folder(hosts.keeper, bed)}:
        process.end(place)


def _words(hosts: Hosts) -> tuple[str, ...]:
    """Name, URI and ssh of each host of the bed, whether or not they answer: the first, and the others in one order."""
    rest = {host.name: (host.uri, str(host.ssh or "")) for host in _all(hosts)}
    first = hosts.keeper.name
    return first, *rest.pop(first), *(word for name in sorted(rest) for word in (name, *rest[name]))


def _alive(hosts: Hosts, place: Path) -> bool:
    return process.alive(place, process.digest(_words(hosts)))


def _possible(hosts: Hosts) -> bool:
    return hosts.have_guests


def _all_here(hosts: Hosts) -> bool:
    return all(host.local for host in _all(hosts))


def _all(hosts: Hosts) -> list[Host | Away]:
    return [*hosts.values(), *hosts.away.values()]


def _of_root(host: Named) -> bool:
    return host.local and of_system(host.uri)


def _by_systemd(host: Named) -> bool:
    return unit.possible() and of_system(host.uri)


def _unit(host: Named, bed: str) -> str:
    return f"vmlab-power-{slug(host)}-{bed}.service"
