"""Look at a host once: domains, networks, volumes, routes, bridges."""

from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import libvirt

from vmlab.domainxml.live import read_live
from vmlab.domainxml.read import (
    DomainFacts,
    Uses,
    VolumeFacts,
    is_file,
    read_domain,
    read_network_xml,
)
from vmlab.plan.observed import Observed, ObservedDomain, ObservedNetwork
from vmlab.plan.overlay import HostLinks
from vmlab.runtime.garbage import uncollected
from vmlab.runtime.log import log
from vmlab.values import identity
from vmlab.virt.connection import Host, missing
from vmlab.virt.pool import BEDS, MARK, locate

T = TypeVar("T")

_NET = Path("/sys/class/net")
_STATES = {
    libvirt.VIR_DOMAIN_NOSTATE: "no state",
    libvirt.VIR_DOMAIN_RUNNING: "running",
    libvirt.VIR_DOMAIN_BLOCKED: "blocked",
    libvirt.VIR_DOMAIN_PAUSED: "paused",
    libvirt.VIR_DOMAIN_SHUTDOWN: "shutting down",
    libvirt.VIR_DOMAIN_SHUTOFF: "shut off",
    libvirt.VIR_DOMAIN_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_PMSUSPENDED: "suspended",
}
_WHY_PAUSED = {
    libvirt.VIR_DOMAIN_PAUSED_IOERROR: "I/O error",
    libvirt.VIR_DOMAIN_PAUSED_STARTING_UP: "starting up",
}


Routes = tuple[tuple[str, IPv4Network], ...]
"""Networks that are reached without a default route, by interface."""


class OfHost(NamedTuple):
    """The networks that the host reaches without a default route, by interface; its bridges; its VXLAN links."""

    routes: Routes
    bridges: frozenset[str]
    links: HostLinks


def observe(host: Host, *, whole: bool = True, leaving: str = "", links: bool = False) -> Observed:
    """What is there now. An object that vanishes while we look is as good as never seen.

    Unless it is the `whole` only domains and networks are looked at: neither the pool's files, nor what QEMUs have
    beyond their definitions, nor what those say of files by name or link only, nor routes and bridges. Nor is that of
    the domains of a bed that is `leaving`, whose needs keep nobody from anything. Metadata that
    cannot be understood is warned of. `links`: what joins networks over several hosts is looked for, too, which is done
    without being asked on another machine, and where it seems to be there. Raises HostError if the pool is somebody
    else's, or another machine's shell is not reached.
    """
    seen = _networks(host, links=links) if whole and not host.simulated else OfHost((), frozenset(), HostLinks())

    def look(connection: "libvirt.virConnect") -> Observed:
        with uncollected():
            return _observe(host, connection, seen, whole=whole, leaving=leaving)

    return host.call(look)


def _networks(host: Host, *, links: bool) -> OfHost:
    from vmlab.virt import overlay  # noqa: PLC0415  slow to import

    if host.local and not links and not overlay.any_here():
        return OfHost(routes_here(), _bridges(), HostLinks())
    return overlay.look_at(host)


def domain_state(host: Host, name: str) -> str:
    """A domain's state in libvirt's words; "undefined" if there is none of this name.

    One that is paused says why where that matters: "paused (I/O error)".
    """

    def act(connection: "libvirt.virConnect") -> str:
        try:
            state, reason = connection.lookupByName(name).state()
            if state == libvirt.VIR_DOMAIN_PAUSED and reason in _WHY_PAUSED:
                return f"paused ({_WHY_PAUSED[reason]})"
            return _STATES.get(state, "unknown")
        except libvirt.libvirtError as error:
            if missing(error):
                return "undefined"
            raise

    return host.call(act)


def _observe(host: Host, connection: "libvirt.virConnect", of_host: OfHost, *, whole: bool, leaving: str) -> Observed:
    runs_with: dict[str, Uses] = {}

    def seen(defined: "_Defined") -> ObservedDomain:
        domain = _domain(defined, host.name, leaving)
        # What runs may have other disks attached than it is defined with.
        if whole and domain.running and not _of(domain.facts, leaving):
            runs_with[domain.facts.name], live = read_live(defined[0].XMLDesc())
            return replace(domain, live=live if domain.facts.metadata is not None else None)
        return domain

    pool, path = locate(connection, BEDS)
    # All of libvirt's answers first: their XML and what is read from it would push each other out of the CPU's caches.
    defined = list(_still_there(_defined, connection.listAllDomains()))
    domains = {domain.facts.name: domain for domain in _still_there(seen, defined)}
    active = {network.UUID() for network in connection.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE)}
    networks = list(_still_there(lambda network: _network(network, active), connection.listAllNetworks()))
    files = {volume.name: volume for volume in _volumes(pool, path)} if whole else {}
    if whole:
        from vmlab.virt.disks import needed  # noqa: PLC0415  slow to import

        files_at = {volume.path: volume for volume in files.values()}
        staying = {name: domain.facts for name, domain in domains.items() if not _of(domain.facts, leaving)}
        uses = {name: facts.details.uses | runs_with.get(name, Uses()) for name, facts in staying.items()}
        needs = needed(host, connection, uses, files=files_at, pool_path=path)
        domains |= {name: replace(domains[name], also_needs=files) for name, files in needs.items()}
    observed = Observed(
        domains=domains,
        networks={n.facts.name: n for n in networks},
        volumes=files,
        routes=of_host.routes,
        bridges=of_host.bridges,
        pool_path=path,
        links=of_host.links,
    )
    for line in observed.unreadable:
        log.warning("%s", line)
    return observed


def _volumes(pool: "libvirt.virStoragePool | None", folder: str) -> Iterator[VolumeFacts]:
    """The files in the pool, which lies in this folder; directories, and the file that marks the pool, are none."""
    if pool is not None and pool.isActive():
        for name, xml in _still_there(lambda volume: (volume.name(), volume.XMLDesc()), pool.listAllVolumes()):
            if name != MARK and is_file(xml):
                yield VolumeFacts(name, f"{folder}/{name}", xml)


def _still_there(read: Callable[[Any], T], objects: Iterable[Any]) -> Iterator[T]:
    for item in objects:
        try:
            yield read(item)
        except libvirt.libvirtError as error:
            if not missing(error):
                raise


def _of(facts: DomainFacts, bed: str) -> bool:
    return facts.metadata is not None and facts.metadata.bed == bed


_Defined = tuple["libvirt.virDomain", str]


def _defined(domain: "libvirt.virDomain") -> _Defined:
    return domain, domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)


def _domain(defined: _Defined, host: str, leaving: str) -> ObservedDomain:
    """A domain as it is defined, which is what was asked for, and its state.

    One that is not defined is told as it runs. What is `leaving` is told without its disks: those of the bed are known
    by their names.
    """
    domain, xml = defined
    goes = bool(leaving) and domain.name().startswith(identity.domain_name(leaving, ""))
    facts = read_domain(xml, disks=not goes)
    if goes and not _of(facts, leaving):  # it only has such a name
        facts = read_domain(xml)
    state, reason = domain.state()
    saved = ""
    if state == libvirt.VIR_DOMAIN_SHUTOFF and facts.metadata is not None:
        known = "file" if reason == libvirt.VIR_DOMAIN_SHUTOFF_SAVED else ""
        saved = "libvirt" if domain.hasManagedSaveImage() else known
    return ObservedDomain(facts, _STATES.get(state, "unknown"), frozenset(), host, saved)


def _network(network: "libvirt.virNetwork", active: Container[bytes]) -> ObservedNetwork:
    return ObservedNetwork(read_network_xml(network.XMLDesc()), network.UUID() in active)


def _bridges() -> frozenset[str]:
    return frozenset(path.parent.name for path in _NET.glob("*/bridge"))


def routes_here() -> Routes:
    """The networks that this machine reaches without a default route, by interface."""
    import json  # noqa: PLC0415  slow to import

    from vmlab.runtime.process import run  # noqa: PLC0415  slow to import

    listed = run(("ip", "-json", "-4", "route", "show"), deadline_s=10)
    return read_routes(json.loads(listed.stdout or "[]"))


def near(routes: Routes, address: IPv4Address) -> bool:
    """One of the routes leads to it, or into its network: a default route says nothing of what is behind it."""
    return any(address in network for _, network in routes)


def read_routes(listed: list[dict[str, Any]]) -> Routes:
    """From `ip -json -4 route show`."""
    return tuple(
        (route.get("dev", ""), IPv4Network(route["dst"], strict=False))
        for route in listed
        if route.get("dst", "default") != "default"
    )
