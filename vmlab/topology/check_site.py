"""Rules of networks of the site: the addresses that guests get there, and the LNet routers that are there."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from ipaddress import IPv4Address, IPv4Network

from vmlab.topology import model
from vmlab.topology.parse import Parsed, Problems
from vmlab.topology.read import Draft
from vmlab.values.addresses import RANGE, AddressRange
from vmlab.values.nid import Nid

_PHYSICAL = ("bridge", "vf", "passthrough")


def check(draft: Draft, problems: Problems) -> None:
    """All fabrics that have either, and the management network where it is the site's."""
    for name, fabric in draft.fabrics.items():
        for key in ("addresses", "routers"):
            attach = fabric.value.attach
            if getattr(fabric.value, key) and fabric.sound("attach") and attach not in _PHYSICAL:
                wanted = f"expected attach: {', '.join(_PHYSICAL[:-1])} or {_PHYSICAL[-1]}"
                message = f"`{key}` of fabric `{name}` are the site's, but its attach is `{attach}` ({wanted})"
                problems.add(fabric.at(key), message)
        if fabric.value.addresses is not None and fabric.sound("subnet"):
            _addresses(name, fabric, fabric.value.addresses, draft, problems)
        _routers(name, fabric, problems)
    _management(draft, problems)
    _routed(draft, problems)


def _addresses(
    name: str, fabric: Parsed[model.FabricEntry], span: AddressRange, draft: Draft, problems: Problems
) -> None:
    taken = {address for machine in draft.externals.values() for address in _of(machine.entry.value)}
    taken |= {nid.address for nids in fabric.value.routers.values() for nid in nids}
    uses = (node.entry.value.fabrics.get(name) for node in draft.nodes.values())
    wanted = sum(use.count for use in uses if use is not None)
    if complaint := _span(span, fabric.value.network, f"fabric `{name}`", taken, wanted):
        problems.add(fabric.at("addresses"), complaint)


def _span(
    span: AddressRange, network: IPv4Network | None, what: str, taken: AbstractSet[IPv4Address], wanted: int
) -> str:
    """What is wrong with addresses for so many guests; "" for nothing."""
    if network is None:
        return f"{span} is in no single /24 (expected `subnet`, for the prefix)"
    outside = [end for end in (span.first, span.last) if not _usable(end, network)]
    if outside:
        return f"{outside[0]} is no guest's in {network} of {what} (expected addresses of it)"
    room = len(span) - sum(address in span for address in taken)
    return f"{span} has {room} addresses for guests (expected {wanted})" if room < wanted else ""


def _management(draft: Draft, problems: Problems) -> None:
    if not draft.head.sound("management"):
        return
    entry = draft.head.value.management
    for key, message in _of_management(entry, len(draft.nodes)):
        problems.add(draft.head.at("management", key), message)
    network = entry.network if entry.bridge is not None else None
    for fabric in draft.fabrics.values():
        other = fabric.value.network if fabric.sound("subnet", "addresses") else None
        if network is not None and other is not None and other.overlaps(network):
            message = f"subnet {other} overlaps {network} of `management` (expected another network)"
            problems.add(fabric.at("subnet" if fabric.has("subnet") else "addresses"), message)


def _routed(draft: Draft, problems: Problems) -> None:
    ranges = {name: host.value.routed for name, host in draft.hosts.items() if host.sound("routed")}
    if not any(ranges.values()):
        return
    earlier: dict[IPv4Network, str] = {}
    for name, found in ranges.items():
        host = draft.hosts[name]
        if found is None:
            problems.add(host.mark, f"host `{name}` has no `routed`, and others have (expected a range of each host)")
            continue
        taken = next((f"that of host `{other}`" for net, other in earlier.items() if net.overlaps(found)), "")
        taken = taken or ("what vmlab leases itself" if found.overlaps(RANGE) else "")
        if taken:
            problems.add(host.at("routed"), f"{found} overlaps {taken} (expected a range of its own)")
        earlier[found] = name
    if draft.head.sound("management") and draft.head.value.management.bridge is not None:
        problems.add(draft.head.at("management", "bridge"), "`bridge` beside hosts' `routed` (expected one of both)")
    for node in draft.nodes.values() if len(draft.hosts) > 1 else ():
        if node.entry.value.host is None and node.entry.sound("host"):
            problems.add(
                node.entry.mark, f"node `{node.name}` has no `host` (expected one: its address is of that host)"
            )


def _of_management(entry: model.ManagementEntry, guests: int) -> Iterator[tuple[str, str]]:
    """What is wrong with it by itself, with the key."""
    if entry.bridge is None:
        for key in ("addresses", "subnet", "gateway", "nameserver"):
            if getattr(entry, key) is not None:
                yield key, f"`{key}` of a management network of the bed's own (expected `bridge` beside it)"
        return
    if entry.addresses is None:
        yield "bridge", "`bridge` is in a network of the site (expected `addresses` of it, for the guests)"
        return
    own = {address for address in (entry.gateway, entry.nameserver) if address is not None}
    if complaint := _span(entry.addresses, entry.network, "`management`", own, guests):
        yield "addresses", complaint
    elif entry.network is not None and entry.gateway is not None and not _usable(entry.gateway, entry.network):
        yield "gateway", f"{entry.gateway} is no gateway's in {entry.network} (expected an address of it)"


def _of(entry: model.ExternalEntry) -> list[IPv4Address]:
    return [address for use in entry.fabrics.values() for address in use.address]


def _usable(address: IPv4Address, network: IPv4Network) -> bool:
    return address in network and address not in (network.network_address, network.broadcast_address)


def _routers(name: str, fabric: Parsed[model.FabricEntry], problems: Problems) -> None:
    lnet = fabric.value.lnet
    if not fabric.value.routers or not fabric.sound("routers", "lnet"):
        return
    if lnet is None:
        problems.add(fabric.at("routers"), f"routers on fabric `{name}`, which has no `lnet` (expected its network)")
        return
    for net, nids in fabric.value.routers.items():
        mark = fabric.at("routers", net)
        if net == lnet:
            problems.add(mark, f"`{net}` is the network of fabric `{name}` itself (expected one beyond the routers)")
        for nid in nids:
            if complaint := _router(nid, lnet, fabric.value.network):
                problems.add(mark, complaint)


def _router(nid: Nid, lnet: str, network: IPv4Network | None) -> str:
    if nid.net != lnet:
        return f"router {nid} is not on `{lnet}` of its fabric (expected its NID on this side: ADDRESS@{lnet})"
    if network is not None and not _usable(nid.address, network):
        return f"router {nid} is not in {network} of its fabric (expected an address of it)"
    return ""
