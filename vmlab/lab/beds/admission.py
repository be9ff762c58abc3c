"""The memory of hosts: a bed that would drive one out of it is refused before anything is started.

What a guest is given it may take at any time, so all that is to be started is asked for at once, and no host is filled
in the hope that guests will not: neither would any guest give back what it has so that the next could start. What is
waited for is memory of guests that are about to be gone by themselves.
"""

import shlex
from collections.abc import Callable, Mapping
from typing import TypeVar

from vmlab.errors import HostError
from vmlab.lab.beds.decide import Part, Prepared
from vmlab.lab.beds.template import PREFIX
from vmlab.lab.ground.bed_folder import slug
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.progress import Progress
from vmlab.plan.actions import StartDomain, StopDomain
from vmlab.runtime import lock
from vmlab.runtime.wait import Deadline, sleep
from vmlab.topology import Topology
from vmlab.virt.connection import Host
from vmlab.virt.host import GuestMemory, available_memory, guests_memory

_WAIT_S = 180.0
_AGAIN_S = 1.0

T = TypeVar("T")


class TooLittleMemory(HostError):
    """A host has not what a bed wants. `going`: whose memory would do who are about to be gone, "" if nobody's."""

    def __init__(self, message: str, going: str) -> None:
        super().__init__(message, hint="take other beds down (`vmlab list`), or give the nodes less `memory`")
        self.going = going

    @property
    def waiting(self) -> str:
        """What is told while it is waited for those."""
        return f"{self.message}: waits for the memory of {self.going}"


def admit(hosts: Hosts, prepared: Prepared) -> None:
    """Raise TooLittleMemory unless each host has what nodes that are to be started want."""
    starting = {host: found for host, part in prepared.parts.items() if (found := _starting(part, prepared.topology))}
    if not starting:
        return
    asked = Hosts({host: hosts[host] for host in starting})
    available = asked.each(available_memory, failed="not all hosts could be asked")
    for host, memory in starting.items():
        wanted, free = sum(memory), available[host]
        if free is None or wanted <= free:
            continue
        guests = guests_memory(hosts[host])
        # What is stopped first gives its memory to what it is started as.
        ends = _ending(prepared.parts[host])
        free += sum(guest.kib for guest in guests if guest.domain in ends)
        if wanted <= free:
            continue
        going = _going(hosts[host], [guest for guest in guests if guest.domain not in ends])
        which = f"the host {host}" if hosts.several else "the host"
        raise TooLittleMemory(
            f"{len(memory)} nodes want {wanted // 1024} MiB of memory, and {which} has {free // 1024} MiB available",
            ", ".join(going) if wanted <= free + sum(going.values()) else "",
        )


def when_admitted(claim: Callable[[], T], overall: Deadline, progress: Progress) -> T:
    """What `claim` returns, which admits a bed; it is tried again while whoever is about to go has the memory."""
    deadline, told = overall.capped(_WAIT_S), ""
    while True:
        try:
            return claim()
        except TooLittleMemory as short:
            if not short.going:
                raise
            if deadline.passed:
                told = f"{short.message}; {_WAIT_S:.0f} s were not enough for {short.going} to go"
                raise TooLittleMemory(told, "") from short
            if short.going != told:
                progress.say(short.waiting)
            told = short.going
        sleep(_AGAIN_S)


def _starting(part: Part, topology: Topology) -> list[int]:
    """The memory in KiB of each node that is to be started there; huge pages are nobody else's, and placement's."""
    return [
        node.memory_kib
        for name, node in part.desired.nodes.items()
        if topology.nodes[name].hugepages is None
        and any(isinstance(action, StartDomain) for action in part.plan.lanes.get(name, ()))
    ]


def _ending(part: Part) -> frozenset[str]:
    """The domains that are stopped there before they are started, or gone."""
    lanes = part.plan.lanes.values()
    return frozenset(action.name for lane in lanes for action in lane if isinstance(action, StopDomain))


def _going(host: Host, guests: list[GuestMemory]) -> Mapping[str, int]:
    """What guests have that are about to be gone, KiB by the words for them."""
    found: dict[str, int] = {}
    downs: dict[str, bool] = {}

    def words(guest: GuestMemory) -> str:
        bed, dot, _ = guest.domain.partition(".")
        if guest.domain.startswith(PREFIX):
            return f"the template {guest.domain.removeprefix(PREFIX)}"
        if bed not in downs:
            downs[bed] = bool(dot) and _goes_down(host, bed)
        if downs[bed]:
            return f"the bed {bed}"
        return guest.domain if guest.ends else ""

    for guest in guests:
        if told := words(guest):
            found[told] = found.get(told, 0) + guest.kib
    return found


def _goes_down(host: Host, bed: str) -> bool:
    """A `vmlab down` has the bed, as whoever holds its lock says of himself."""
    try:
        words = shlex.split(lock.holder(f"{slug(host)}.{bed}"))
    except ValueError:
        return False
    return next((word for word in words[1:] if not word.startswith("-")), "") == "down"
