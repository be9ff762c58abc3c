"""The doors to a bed's guests, each watched: who waits behind one hears at once that its guest is dead."""

from collections.abc import Callable
from functools import cache

from vmlab.domainxml.metadata import NodeMetadata
from vmlab.guest.lookout import Lookout
from vmlab.guest.patience import Advance, Patience
from vmlab.guest.ssh import Guest
from vmlab.lab.ground.bed import guest_of
from vmlab.plan.observed import ObservedBed
from vmlab.runtime.load import overloaded
from vmlab.runtime.wait import Deadline
from vmlab.values import identity
from vmlab.virt.connection import Host
from vmlab.virt.console import console_text
from vmlab.virt.observe import domain_state
from vmlab.virt.pool import BEDS, pool_path
from vmlab.virt.usage import usage

_CONNECT_S, _CONNECT_AT_MOST_S = 60.0, 600.0


def doors(host: Host, bed: ObservedBed) -> dict[str, Guest]:
    """A door to each node of the bed."""

    @cache
    def folder() -> str:
        return host.call(lambda connection: pool_path(connection, BEDS))

    return {name: _door(host, metadata, bed.nodes[name].facts.name, folder) for name, metadata in bed.metadata.items()}


def open_door(guest: Guest, gets_on: Advance) -> None:
    """Connect to a guest that is up; one that is merely slow, and gets on, is waited for. Raises GuestError."""
    guest.connect(Patience.of(_CONNECT_S, Deadline.after(_CONNECT_AT_MOST_S), gets_on))


def advance(host: Host, domain: str, kind: str, console: Callable[[], str]) -> Advance:
    """Whether a guest gets on, beyond its usual time; an emulated one's `kind` is "qemu"."""
    return Advance(console=console, usage=lambda: usage(host, domain), slow=lambda: kind == "qemu" or overloaded())


def advances(host: Host, bed: ObservedBed) -> dict[str, Advance]:
    """Of each node of the bed."""

    def console(node: str) -> Callable[[], str]:
        log = identity.console_volume(bed.name, node)
        return lambda: console_text(host, host.call(lambda connection: pool_path(connection, BEDS)), log)

    return {
        name: advance(host, domain.facts.name, domain.facts.kind, console(name)) for name, domain in bed.nodes.items()
    }


def _door(host: Host, metadata: NodeMetadata, domain: str, folder: Callable[[], str]) -> Guest:
    guest = guest_of(host, metadata)
    log = identity.console_volume(metadata.bed, metadata.node)
    lookout = Lookout(
        guest,
        console=lambda: console_text(host, folder(), log),
        domain_state=lambda: domain_state(host, domain),
    )
    guest.watch, guest.look = lookout, lookout.look
    return guest
