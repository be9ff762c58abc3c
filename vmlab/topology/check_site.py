"""Rules of networks of the site: the addresses that guests get there, and the LNet routers that are there."""

from ipaddress import IPv4Address, IPv4Network

from vmlab.topology import model
from vmlab.topology.parse import Parsed, Problems
from vmlab.topology.read import Draft
from vmlab.values.addresses import AddressRange
from vmlab.values.nid import Nid

_PHYSICAL = ("bridge", "vf", "passthrough")


def check(draft: Draft, problems: Problems) -> None:
    """All fabrics that have either."""
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


def _addresses(
    name: str, fabric: Parsed[model.FabricEntry], span: AddressRange, draft: Draft, problems: Problems
) -> None:
    mark, network = fabric.at("addresses"), fabric.value.network
    if network is None:
        problems.add(mark, f"{span} is in no single /24 (expected `subnet`, for the prefix)")
        return
    outside = [end for end in (span.first, span.last) if not _usable(end, network)]
    if outside:
        problems.add(mark, f"{outside[0]} is no guest's in {network} of fabric `{name}` (expected addresses of it)")
        return
    taken = {address for machine in draft.externals.values() for address in _of(machine.entry.value)}
    taken |= {nid.address for nids in fabric.value.routers.values() for nid in nids}
    room = len(span) - sum(address in span for address in taken)
    uses = (node.entry.value.fabrics.get(name) for node in draft.nodes.values())
    wanted = sum(use.count for use in uses if use is not None)
    if room < wanted:
        problems.add(mark, f"{span} has {room} addresses for guests (expected {wanted})")


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
