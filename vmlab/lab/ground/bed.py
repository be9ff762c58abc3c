"""Hosts that are opened, and a bed on them, found again from libvirt alone and held; `guests` has what is in it."""

import contextlib
import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from vmlab.errors import BusyError, HostError, UsageError, VmlabError, together
from vmlab.lab.ground.bed_folder import place, slug, slug_there, spread_beds, ways_of
from vmlab.lab.ground.hosts import Hosts
from vmlab.plan.observed import Observed, ObservedBed, ObservedDomain, over_all
from vmlab.runtime.log import log
from vmlab.runtime.parallel import each
from vmlab.values.libvirt_uri import Way
from vmlab.values.ssh_uri import SshUri
from vmlab.virt.borrowed import possible_here
from vmlab.virt.connection import Away, Host, connected
from vmlab.virt.elsewhere import refuse_without_shell
from vmlab.virt.host import machine_uuid

if TYPE_CHECKING:
    from vmlab.topology import Topology
    from vmlab.virt.held_there import LockThere

DEFAULT_URI = "qemu:///system"


def default_uri() -> str:
    """The host that is meant where none is named: LIBVIRT_DEFAULT_URI, else the system's libvirt."""
    return os.environ.get("LIBVIRT_DEFAULT_URI") or DEFAULT_URI


@contextlib.contextmanager
def hosts_of(topology: "Topology", *, tolerant: bool = False) -> Iterator[Hosts]:
    """The hosts that a topology names, for the `with` block; the `tolerant` does without those that are away.

    Raises HostError for a host that is away, or all that are, and for one to whose machine no ssh is known to lead.
    """
    with hosts_at(ways_in(topology), tolerant=tolerant) as it:
        yield it


def ways_in(topology: "Topology") -> dict[str, Way]:
    """The ways to the hosts that a topology names."""
    return {name: Way(asked.uri or default_uri(), asked.ssh) for name, asked in topology.hosts.items()}


@contextlib.contextmanager
def hosts_at(ways: Mapping[str, Way], *, tolerant: bool = False, spared: Collection[str] = ()) -> Iterator[Hosts]:
    """The hosts to which these ways lead, by name, as `hosts_of`; all are asked at once, but for the `spared`."""
    _refuse_one_twice(ways)
    if len(ways) == 1:
        ((name, way),) = ways.items()
        refuse_without_shell(way)
        with opened(way.uri, name=name, ssh=way.ssh, anywhere=True) as host:
            yield Hosts({name: host}, first=name)
        return
    with contextlib.ExitStack() as stack:
        guard = threading.Lock()

        def come(name: str) -> Host | Away:
            way = ways[name]
            if name in spared:
                return Away(name, way.uri, HostError(f"the host {name} was not asked"), asked=False, ssh=way.ssh)
            try:
                refuse_without_shell(way)
                host = Host(way.uri, name, way.ssh)
            except VmlabError as error:
                return Away(name, way.uri, error, ssh=way.ssh)
            with guard:
                stack.callback(host.close)
            return host

        came = each(come, ways, jobs=len(ways), failed="not all hosts answer")
        away = {one.name: one for one in came if isinstance(one, Away)}
        silent = [one.why for one in away.values() if one.asked]
        if silent and (not tolerant or len(away) == len(ways)):
            raise together(silent, "not all hosts answer")
        here = {one.name: one for one in came if isinstance(one, Host)}
        for host in here.values():
            _put_back_if_free(host)
        yield Hosts(here, away, next(iter(ways)))


def _refuse_one_twice(ways: Mapping[str, Way]) -> None:
    names: dict[str, str] = {}
    for name, way in ways.items():
        other = names.setdefault(place(way.uri), name)
        if other != name:
            raise UsageError(f"the hosts {other} and {name} are one: {way.uri}", hint="give each its `uri`")


def known_hosts(bed: str) -> dict[str, Way] | None:
    """The ways, by name, to the hosts of a bed of which only the name is told, where it is not just on the default one.

    Raises UsageError if there are several of that name.
    """
    found = [ways_of(folder) for folder in spread_beds(bed)]
    if (asked := os.environ.get("LIBVIRT_DEFAULT_URI")) is not None:
        found = [ways for ways in found if any(way.uri == asked for way in ways.values())]
    if len(found) > 1:
        raise UsageError(
            f"beds of the name {bed} are on {' and on '.join(', '.join(ways) for ways in found)}",
            hint="name the topology file of the one that is meant",
        )
    return found[0] if found else None


@contextlib.contextmanager
def locked(hosts: Hosts, bed: str) -> Iterator[None]:
    """Hold the bed against other vmlabs, on all its hosts; BusyError names who has it."""
    with _held(_in_order(hosts), bed, lambda _: f"the bed {bed}"):
        yield


def _in_order(hosts: Hosts) -> list[Host]:
    """One order for all who hold something of several hosts, whatever they call them; each host once.

    Raises HostError for two ways to one libvirt, whose locks would keep us from ourselves.
    """
    by_slug = {slug(host): host for host in hosts.values()}
    if len(by_slug) == 1:
        return list(by_slug.values())
    machines = hosts.each(
        lambda host: host.call(lambda connection: connection.getHostname()), failed="not all hosts could be asked"
    )
    _refuse_twice(by_slug.values(), machines)
    return sorted(by_slug.values(), key=lambda host: (machines[host.name], slug(host)))


def _refuse_twice(hosts: Iterable[Host], machines: Mapping[str, str]) -> None:
    known: dict[tuple[str, str], Host] = {}
    for host in hosts:
        if host.simulated:
            continue
        its_own = slug(host) if host.local else slug_there(host)
        other = known.setdefault((machines[host.name], its_own), host)
        if other is not host and machine_uuid(other) == machine_uuid(host):
            raise HostError(
                f"{other.name} and {host.name} are one host, {machines[host.name]}: {other.uri}, {host.uri}",
                hint="one entry under `hosts` for each machine",
            )


@contextlib.contextmanager
def _held(hosts: list[Host], name: str, what: Callable[[Host], str], *, wait_s: float = 0.0) -> Iterator[None]:
    """A lock of each host, here and, for another machine, there: a vmlab that runs on it takes the same.

    They are taken one after another; the ways to other machines are made for all at once.
    """
    from vmlab.runtime import lock  # noqa: PLC0415  who only looks does not pay for it

    with contextlib.ExitStack() as stack:
        there: dict[str, LockThere] = {}
        for host in hosts:
            if not (host.local or host.simulated):
                from vmlab.virt import held_there  # noqa: PLC0415  rarely needed

                there[host.name] = held_there.LockThere(host, f"{slug_there(host)}.{name}", what=what(host))
                stack.callback(there[host.name].end)
        for host in hosts:
            stack.enter_context(lock.held(f"{slug(host)}.{name}", what=what(host), wait_s=wait_s))
            if host.name in there:
                stack.enter_context(there[host.name].held(wait_s))
        try:
            yield
        finally:
            for one in there.values():
                one.let_go()


@contextlib.contextmanager
def leasing(hosts: Hosts) -> Iterator[None]:
    """Hold what beds share of hosts from choosing it until it is seen in libvirt: subnets, CPUs, PCI functions.

    What a killed vmlab left changed on a host is put back first.
    """
    ordered = _in_order(hosts)
    with _leases(ordered, wait_s=60):
        if len(ordered) == 1:  # no thread for that
            _put_back(ordered[0])
        else:  # which ends before the locks are let go of
            failed = "not all hosts could be put back"
            each(_put_back, ordered, jobs=len(ordered), failed=failed, cut_short=lambda: None)
        yield


@contextlib.contextmanager
def opened(uri: str, *, name: str = "local", ssh: SshUri | None = None, anywhere: bool = False) -> Iterator[Host]:
    """A host for the `with` block, as `connected`; on this machine with what a killed vmlab left changed put back."""
    with connected(uri, name=name, ssh=ssh, anywhere=anywhere) as host:
        _put_back_if_free(host)
        yield host


def put_back_elsewhere(hosts: Hosts) -> None:
    """As `opened`, on the other machines of a bed, where to look for it takes ssh; what fails is told."""
    from vmlab.virt.borrowed import Notes  # noqa: PLC0415  rarely needed
    from vmlab.virt.machine import machine_of  # noqa: PLC0415

    def look(host: Host) -> None:
        try:
            if Notes.of(machine_of(host)).there:
                _put_back_now(host)
        except HostError as error:
            log.warning("what a killed vmlab may have left changed on %s stays so: %s", host.name, error.message)

    others = [host for host in hosts.values() if not host.local and not host.simulated]
    each(look, others, jobs=max(1, len(others)), failed="not all hosts could be put back")


def _put_back_if_free(host: Host) -> None:
    if host.local and not host.simulated and possible_here():
        _put_back_now(host)


def _put_back_now(host: Host) -> None:
    with contextlib.suppress(BusyError), _leases([host], wait_s=0):  # whoever has them is at work, or does it
        _put_back(host)


def _leases(hosts: list[Host], *, wait_s: float) -> AbstractContextManager[None]:
    return _held(hosts, "leases", lambda host: f"the choice of subnets, CPUs and devices on {host.uri}", wait_s=wait_s)


def _put_back(host: Host) -> None:
    if host.simulated:
        return
    from vmlab.virt.borrowed import Notes, put_back  # noqa: PLC0415  rarely needed
    from vmlab.virt.machine import machine_of  # noqa: PLC0415
    from vmlab.virt.sysfs import sysfs_of  # noqa: PLC0415

    notes = Notes.of(machine_of(host))
    if not notes.possible:
        return
    for path in put_back(sysfs_of(host), notes):
        log.warning("%s was left changed by a vmlab that was killed: put back", path)


def existing(hosts: Hosts, bed: str) -> ObservedBed:
    """The bed as it is. UsageError if no node of it exists, naming those that do; HostError if one may, far away."""
    looks = hosts.look(whole=False)
    found = over_all(bed, looks)
    if not found.nodes:
        from vmlab.topology.wording import nearest  # noqa: PLC0415  slow to import

        where = ", ".join(host.uri for host in hosts.values())
        if hosts.away:
            names = ", ".join(hosts.away)
            raise HostError(f"no node of {bed} is on {where}, and {names} is away", hint=f"when {names} answers")
        there = {name for look in looks.values() for name in look.beds}
        if bed in there:
            raise UsageError(f"the bed {bed} has no nodes on {where}, only what is left of them", hint="vmlab up FILE")
        close = nearest(bed, there)
        meant = f"vmlab status {close}, if that is meant" if close else "vmlab up FILE"
        raise UsageError(f"there is no bed {bed} on {where} ({beds_there(looks)})", hint=meant)
    return found


def beds_there(looks: Mapping[str, Observed]) -> str:
    """`beds: ha, test`: what is told to who names a bed that is not there."""
    return f"beds: {', '.join(sorted({name for look in looks.values() for name in look.beds})) or 'none'}"


def chosen(bed: ObservedBed, nodes: str) -> dict[str, ObservedDomain]:
    """The nodes that a node set, `@role` or `*` means."""
    from vmlab.topology.select import select  # noqa: PLC0415  slow to import

    names = select(nodes, {name: metadata.roles for name, metadata in bed.metadata.items()})
    return {name: bed.nodes[name] for name in names}


def everybody(bed: ObservedBed, topology: "Topology | None") -> dict[str, tuple[str, ...]]:
    """The roles of all that can be reached: guests, and the machines beside them that the topology tells of."""
    guests = {name: metadata.roles for name, metadata in bed.metadata.items()}
    machines = {} if topology is None else {name: machine.roles for name, machine in topology.externals.items()}
    return machines | guests
