"""Look at a host once: domains, networks, volumes, routes, bridges."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import libvirt

from vmlab.domainxml.live import read_live
from vmlab.domainxml.metadata import NAMESPACE
from vmlab.domainxml.read import (
    DomainFacts,
    Uses,
    VolumeFacts,
    is_file,
    read_domain,
    read_network_xml,
)
from vmlab.plan.observed import RUNNING, Observed, ObservedDomain, ObservedFolder, ObservedNetwork
from vmlab.plan.overlay import HostLinks
from vmlab.runtime.garbage import uncollected
from vmlab.runtime.log import log
from vmlab.values import identity
from vmlab.virt.connection import Host, gone_is_fine, missing
from vmlab.virt.pool import BEDS, MARK, locate
from vmlab.virt.shared_folder import ours

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


class _Domain(NamedTuple):
    """One domain's answers: its definition, how it runs if that was asked, its state and where its memory is saved."""

    name: str
    xml: str
    live: str
    state: str
    saved: str


class Answers(NamedTuple):
    """What a host's libvirt and kernel say, before anything of it is read. `networks` are with whether they are on.

    `volumes` are names and XML of those in the beds' pool, `folders` each with those in it, `pools` the names of all.
    """

    domains: tuple[_Domain, ...]
    networks: tuple[tuple[str, bool], ...]
    volumes: tuple[tuple[str, str], ...]
    pool_path: str
    of_host: OfHost
    folders: tuple[tuple[ObservedFolder, tuple[tuple[str, str], ...]], ...] = ()
    pools: frozenset[str] = frozenset()


def observe(host: Host, *, whole: bool = True, leaving: str = "", links: bool = False) -> Observed:
    """What is there now. An object that vanishes while we look is as good as never seen.

    Unless it is the `whole` only domains and networks are looked at: neither the pool's files, nor what QEMUs have
    beyond their definitions, nor what those say of files by name or link only, nor routes and bridges. Nor is that of
    the domains of a bed that is `leaving`, whose needs keep nobody from anything. Metadata that
    cannot be understood is warned of. `links`: what joins networks over several hosts is looked for, too, which is done
    without being asked on another machine, and where it seems to be there. Raises HostError if the pool is somebody
    else's, or another machine's shell is not reached.
    """
    told = answers(host, whole=whole, leaving=leaving, links=links)
    seen = read(host, told, whole=whole, leaving=leaving)
    return followed(host, seen, leaving=leaving) if whole else seen


def answers(host: Host, *, whole: bool, leaving: str, links: bool) -> Answers:
    """The first part of `observe`: it waits for the host, and reads nothing."""
    of_host = _networks(host, links=links) if whole and not host.simulated else OfHost((), frozenset(), HostLinks())

    def ask(connection: "libvirt.virConnect") -> Answers:
        pool, path = locate(connection, BEDS)
        pools = connection.listAllStoragePools() if whole else []
        active = {network.UUID() for network in connection.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE)}
        return Answers(
            tuple(_still_there(lambda domain: _domain(domain, leaving, live=whole), connection.listAllDomains())),
            tuple(_still_there(lambda net: (net.XMLDesc(), net.UUID() in active), connection.listAllNetworks())),
            tuple(_volumes(pool)) if whole else (),
            path,
            of_host,
            tuple((found, tuple(_volumes(pool))) for pool, found in ours(pools)),
            frozenset(other.name() for other in pools),
        )

    return host.call(ask)


def read(host: Host, told: Answers, *, whole: bool, leaving: str) -> Observed:
    """The second part: nobody is asked. Many hosts' answers are best read by one thread.

    Threads that read at once hand the interpreter to and fro at each XML that is parsed.
    """
    with uncollected():
        domains = [_read_domain(domain, host.name, leaving, whole=whole) for domain in told.domains]
        networks = [ObservedNetwork(read_network_xml(xml), active) for xml, active in told.networks]
        observed = Observed(
            domains={domain.facts.name: domain for domain in domains},
            networks={network.facts.name: network for network in networks},
            volumes={name: VolumeFacts(name, f"{told.pool_path}/{name}", xml) for name, xml in told.volumes}
            | {
                name: VolumeFacts(name, f"{folder.path}/{name}", xml, folder.name)
                for folder, volumes in told.folders
                for name, xml in volumes
            },
            folders=tuple(folder for folder, _ in told.folders),
            other_pools=told.pools - {folder.name for folder, _ in told.folders},
            routes=told.of_host.routes,
            bridges=told.of_host.bridges,
            pool_path=told.pool_path,
            links=told.of_host.links,
        )
    for line in observed.unreadable:
        log.warning("%s", line)
    return observed


def followed(host: Host, seen: Observed, *, leaving: str) -> Observed:
    """The last part, of what was looked at as a whole: the files that domains need beyond those they name."""
    from vmlab.virt.disks import needed  # noqa: PLC0415  slow to import

    staying = {name: domain for name, domain in seen.domains.items() if not _of(domain.facts, leaving)}
    files = {volume.path: volume for volume in seen.volumes.values()}

    def ask(connection: "libvirt.virConnect") -> dict[str, frozenset[str]]:
        uses = {
            name: domain.facts.details.uses | _while_it_runs(connection, domain) for name, domain in staying.items()
        }
        return needed(host, connection, uses, files=files, pool_path=seen.pool_path)

    needs = host.call(ask)
    changed = {name: replace(seen.domains[name], also_needs=files) for name, files in needs.items()}
    return replace(seen, domains={**seen.domains, **changed})


def _while_it_runs(connection: "libvirt.virConnect", domain: ObservedDomain) -> Uses:
    """What its QEMU needs; asked now of one that was taken for one that leaves."""
    if domain.live is None and domain.running:
        with gone_is_fine():
            return read_live(connection.lookupByName(domain.facts.name).XMLDesc()).uses
    return domain.live.uses if domain.live is not None else Uses()


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


def _volumes(pool: "libvirt.virStoragePool | None") -> Iterator[tuple[str, str]]:
    """The files in the pool, and their XML; directories, and the file that marks the pool, are none."""
    if pool is not None and pool.isActive():
        for name, xml in _still_there(lambda volume: (volume.name(), volume.XMLDesc()), pool.listAllVolumes()):
            if name != MARK and is_file(xml):
                yield name, xml


def _still_there(read: Callable[[Any], T], objects: Iterable[Any]) -> Iterator[T]:
    for item in objects:
        try:
            yield read(item)
        except libvirt.libvirtError as error:
            if not missing(error):
                raise


def _of(facts: DomainFacts, bed: str) -> bool:
    return facts.metadata is not None and facts.metadata.bed == bed


def _leaves(name: str, bed: str) -> bool:
    """It has the name of one of that bed's, which is not yet to be one."""
    return bool(bed) and name.startswith(identity.domain_name(bed, ""))


def _domain(domain: "libvirt.virDomain", leaving: str, *, live: bool) -> _Domain:
    """A domain as it is defined, which is what was asked for; and as it runs, as that may have other disks attached.

    One that is not defined is told as it runs.
    """
    xml = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    code, reason = domain.state()
    state, saved = _STATES.get(code, "unknown"), ""
    if code == libvirt.VIR_DOMAIN_SHUTOFF and NAMESPACE in xml:
        known = "file" if reason == libvirt.VIR_DOMAIN_SHUTOFF_SAVED else ""
        saved = "libvirt" if domain.hasManagedSaveImage() else known
    asked = live and state in RUNNING and not _leaves(domain.name(), leaving)
    return _Domain(domain.name(), xml, domain.XMLDesc() if asked else "", state, saved)


def _read_domain(told: _Domain, host: str, leaving: str, *, whole: bool) -> ObservedDomain:
    """What is `leaving` is told without its disks: those of the bed are known by their names."""
    goes = _leaves(told.name, leaving)
    facts = read_domain(told.xml, disks=not goes, details=whole and not goes)
    if goes and not _of(facts, leaving):  # it only has such a name
        facts = read_domain(told.xml, details=whole)
    live = read_live(told.live) if told.live else None
    return ObservedDomain(facts, told.state, frozenset(), host, told.saved if facts.metadata is not None else "", live)


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
