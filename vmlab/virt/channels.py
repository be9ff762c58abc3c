"""The ends of guests' channels on a host, as they are while the guests run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import libvirt

from vmlab.domainxml.channel import power_socket
from vmlab.domainxml.read import read_domain
from vmlab.virt.connection import Host, missing

if TYPE_CHECKING:
    from vmlab.domainxml.metadata import NodeMetadata


@dataclass(frozen=True, slots=True)
class Ends:
    """`sockets` are the paths by node and by the number of its domain's start; `there`: the bed has a domain."""

    there: bool
    sockets: Mapping[tuple[str, int], str]


def power_ends(host: Host, bed: str, known: Mapping[tuple[str, int], str]) -> Ends:
    """Of the domains that metadata, name and UUID prove to be the bed's; what is `known` is not asked again."""

    def act(connection: "libvirt.virConnect") -> Ends:
        there, sockets = False, {}
        for domain in connection.listAllDomains():
            owner, _, node = domain.name().partition(".")
            if owner != bed:
                continue
            there, start = True, (node, domain.ID())
            if start in known:
                sockets[start] = known[start]
            elif domain.ID() > 0 and (path := _end(domain, bed, node)) is not None:
                sockets[start] = path
        return Ends(there, sockets)

    return host.call(act)


def _end(domain: "libvirt.virDomain", bed: str, node: str) -> str | None:
    try:
        xml = domain.XMLDesc()
    except libvirt.libvirtError as error:
        if missing(error):
            return None
        raise
    metadata: NodeMetadata | None = read_domain(xml).metadata
    return power_socket(xml) if metadata is not None and (metadata.bed, metadata.node) == (bed, node) else None
