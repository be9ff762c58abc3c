"""Which nodes NODES mean, those on hosts that are away included: as the last `up` noted them."""

import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from vmlab.errors import HostError, UsageError
from vmlab.lab.ground.bed_folder import roles_on
from vmlab.lab.ground.hosts import Hosts
from vmlab.plan.observed import over_all
from vmlab.values import nodeset
from vmlab.values.libvirt_uri import Way
from vmlab.virt.connection import Away


@dataclass(frozen=True, slots=True)
class Choice:
    """`here` are nodes that can be asked; `away` those that cannot, by their host: none where nobody noted any."""

    bed: str
    here: tuple[str, ...]
    away: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    hint: str = ""

    def refuse_rest(self) -> None:
        """Raise HostError if there are others than those `here`, when all is done that can be done without them."""
        if self.away:
            told = [f"{nodeset.fold(names) or 'what is'} on {host}" for host, names in self.away.items()]
            raise HostError(f"{self.bed}: nothing is known of {'; '.join(told)}, which is away", hint=self.hint)


def choose(hosts: Hosts, bed: str, nodes: str, there: Mapping[str, Collection[str]]) -> Choice:
    """The nodes that a node set, `@role` or pattern means; `there` are the roles of those that can be asked.

    A host that is away counts where a node of it is meant, or may be. Raises UsageError where nobody is called so, and
    HostError where all who are meant are on such a host.
    """
    from vmlab.topology.select import select  # noqa: PLC0415  slow to import

    if hosts.whole:
        return Choice(bed, select(nodes, there))
    noted = {host: roles_on(hosts.keeper, bed, host) for host in hosts.away}
    absent = {node: host for host, found in noted.items() for node in found or () if node not in there}
    known = {node: roles for found in noted.values() for node, roles in (found or {}).items()} | dict(there)
    unknown = [host for host, found in noted.items() if found is None]
    hint = f"does it answer? {'; '.join(f'virsh -c {shlex.quote(away.uri)} list' for away in hosts.away.values())}"
    try:
        names = select(nodes, known)
    except UsageError as error:
        if not unknown:
            raise
        told = f"{error.message}; what is on {', '.join(unknown)}, which is away, is not known"
        raise HostError(told, hint=hint) from error
    away: dict[str, tuple[str, ...]] = {}
    for host in hosts.away:
        meant = tuple(name for name in names if absent.get(name) == host)
        if meant or nodes == "*" or (host in unknown and not _names_only(nodes)):
            away[host] = meant
    choice = Choice(bed, tuple(name for name in names if name in there), away, hint)
    if not choice.here:
        choice.refuse_rest()
    return choice


def spared(ways: Mapping[str, Way], bed: str, nodes: str) -> frozenset[str]:
    """The bed's hosts that need not be asked for nodes that are all named, as the last `up` noted where they are.

    None where that is not noted of all: what was noted may be old, so whoever does not find them there asks all.
    """
    try:
        names = set(nodeset.expand(nodes))
    except ValueError:  # a role, a pattern
        return frozenset()
    (home, way), *_ = ways.items()
    keeper = Away(home, way.uri, HostError(""))
    try:
        noted = {host: roles_on(keeper, bed, host) for host in ways}
    except HostError:  # told by who needs it
        return frozenset()
    known = {host: found.keys() for host, found in noted.items() if found is not None}
    if len(known) < len(ways) or not names <= {node for found in known.values() for node in found}:
        return frozenset()
    return frozenset(host for host, found in known.items() if names.isdisjoint(found))


def all_there(hosts: Hosts, bed: str, nodes: str) -> bool:
    """The named nodes are on the hosts that were asked."""
    return over_all(bed, hosts.look(whole=False)).nodes.keys() >= set(nodeset.expand(nodes))


def _names_only(nodes: str) -> bool:
    """It names each node that it means: neither a role nor a pattern is among them."""
    return not any(part.startswith("@") or "*" in part or "?" in part for part in nodeset.parts(nodes))
