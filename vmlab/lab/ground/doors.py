"""The doors to a bed's guests, each watched: who waits behind one hears at once that its guest is dead."""

from collections.abc import Callable, Mapping
from functools import cache

from vmlab.guest.external import External
from vmlab.guest.lookout import Lookout
from vmlab.guest.patience import Advance, Patience
from vmlab.guest.ssh import Door, Guest
from vmlab.lab.ground.guests import guests
from vmlab.lab.ground.hosts import Hosts
from vmlab.plan.observed import ObservedBed, ObservedDomain
from vmlab.runtime.files import own_state_dir
from vmlab.runtime.load import overloaded
from vmlab.runtime.wait import Deadline
from vmlab.topology import Topology
from vmlab.values import identity
from vmlab.virt.connection import Host
from vmlab.virt.console import console_text
from vmlab.virt.observe import domain_state
from vmlab.virt.pool import BEDS, pool_path
from vmlab.virt.usage import usage

_SOCKETS = "externals"
_CONNECT_S, _CONNECT_AT_MOST_S = 60.0, 600.0


NONE_OPEN: Mapping[str, Guest] = {}
"""Of who has no connections yet."""


def doors(hosts: Hosts, bed: ObservedBed, there: Mapping[str, Guest] = NONE_OPEN) -> dict[str, Guest]:
    """A door to each node of the bed; those that are `there` are the caller's, who closes them."""
    folder = _folders(hosts)
    found = guests(hosts, bed)
    found |= {name: guest for name, guest in there.items() if name in found}
    for name, guest in found.items():
        _watch(guest, hosts, bed.nodes[name], folder)
    return found


def external_doors(topology: Topology | None) -> dict[str, Door]:
    """A door to each machine that is no guest. Raises HostError if there is no safe place for sockets of ours."""
    if topology is None or not topology.externals:
        return {}
    sockets = own_state_dir() / _SOCKETS
    sockets.mkdir(mode=0o700, exist_ok=True)
    return {
        name: External(name, machine.user, machine.host, machine.port, sockets)
        for name, machine in topology.externals.items()
    }


def open_door(guest: Door, gets_on: Advance) -> None:
    """Connect to a guest that is up; one that is merely slow, and gets on, is waited for. Raises GuestError."""
    guest.connect(Patience.of(_CONNECT_S, Deadline.after(_CONNECT_AT_MOST_S), gets_on))


def open_outside(machine: Door) -> None:
    """Connect to a machine that is no guest, and that is up or not. Raises GuestError."""
    machine.connect(Deadline.after(_CONNECT_S))


def advance(host: Host, domain: str, kind: str, console: Callable[[], str]) -> Advance:
    """Whether a guest gets on, beyond its usual time; an emulated one's `kind` is "qemu"."""
    return Advance(console=console, usage=lambda: usage(host, domain), slow=lambda: kind == "qemu" or overloaded())


def console_of(hosts: Hosts, bed: ObservedBed, node: str) -> Callable[[], str]:
    """What its console printed since its last start; its end will do."""
    host, folder = hosts.of(bed.nodes[node]), _folders(hosts)
    log = identity.console_volume(bed.name, node)
    return lambda: console_text(host, folder(host), log)


def advances(hosts: Hosts, bed: ObservedBed) -> dict[str, Advance]:
    """Of each node of the bed."""

    def of(node: str, domain: ObservedDomain) -> Advance:
        console = console_of(hosts, bed, node)
        return advance(hosts.of(domain), domain.facts.name, domain.facts.kind, console)

    return {name: of(name, domain) for name, domain in bed.nodes.items()}


def _folders(hosts: Hosts) -> Callable[[Host], str]:
    """Where the consoles' logs of a host lie: asked when it is needed, once."""

    @cache
    def folder(name: str) -> str:
        return hosts[name].call(lambda connection: pool_path(connection, BEDS))

    return lambda host: folder(host.name)


def _watch(guest: Guest, hosts: Hosts, domain: ObservedDomain, folder: Callable[[Host], str]) -> None:
    host = hosts.of(domain)
    log = identity.console_volume(guest.bed, guest.node)
    lookout = Lookout(
        guest,
        console=lambda: console_text(host, folder(host), log),
        domain_state=lambda: domain_state(host, domain.facts.name),
    )
    guest.watch, guest.look = lookout, lookout.look
