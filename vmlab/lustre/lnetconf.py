"""The LNet configuration of each node of a bed, and the two files that say it to LNet.

`lnetctl import` takes this YAML (net, route, routing) since Multi-Rail came with 2.10, and up to 2.17 at least: read in
lnet/utils of b2_10 and of 2.17.57. 2.10 may have been built without it; its unit then does `lctl network up`, which
takes the module's options. Those are written for every version, because modules that are loaded before LNet is
configured would otherwise take the first Ethernet interface, which is the management network.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import yaml

from vmlab.lustre import lnet
from vmlab.values.nid import Nid


@dataclass(frozen=True, slots=True)
class LnetInterface:
    """A network interface that LNet uses: its name in the guest, its MAC address and its NID."""

    name: str
    mac: str
    nid: Nid


@dataclass(frozen=True, slots=True)
class Via:
    """A network that is reached through a router; `hops` counts the routers on the path.

    With a wrong count LNet would take the path for down: with 1, it expects the gateway to be on `net`.
    """

    net: str
    gateway: Nid
    hops: int


@dataclass(frozen=True, slots=True)
class Lnet:
    """One node's configuration. Several interfaces on one network are Multi-Rail."""

    interfaces: tuple[LnetInterface, ...] = ()
    routes: tuple[Via, ...] = ()
    forwarding: bool = False

    @property
    def nets(self) -> Mapping[str, tuple[LnetInterface, ...]]:
        """The interfaces by network, both in the order of the node's fabrics."""
        found: dict[str, list[LnetInterface]] = {}
        for interface in self.interfaces:
            found.setdefault(interface.nid.net, []).append(interface)
        return {net: tuple(interfaces) for net, interfaces in found.items()}

    @property
    def nids(self) -> tuple[Nid, ...]:
        """All NIDs, the first one first."""
        return tuple(interface.nid for interface in self.interfaces)

    def gateways(self, here: str, net: str) -> tuple[Nid, ...]:
        """The routers on the network `here` that lead to `net`."""
        return tuple(route.gateway for route in self.routes if route.net == net and route.gateway.net == here)

    def reaches(self, nid: Nid) -> bool:
        """By an interface on that network, or by a route."""
        return nid.net in self.nets or any(route.net == nid.net for route in self.routes)


@dataclass(frozen=True, slots=True)
class Path:
    """One way to talk: from a NID of the node to a NID of another one, over any of `gateways` if not directly."""

    source: Nid
    nid: Nid
    gateways: tuple[Nid, ...] = ()


def configure(
    places: Mapping[str, Sequence[LnetInterface]],
    routers: Collection[str],
    site: Mapping[Nid, Collection[str]] = MappingProxyType({}),
) -> dict[str, Lnet]:
    """Each node's configuration, from the interfaces of all.

    `site` are routers that are no nodes, by their NID on this side, with the networks beyond them. From those networks
    nobody has a route back over them: their NIDs there are not known.

    Of a router with several interfaces on a network the first is the gateway. LNet since 2.13 finds the others and uses
    all; a second route to them would be "already there" as soon as it has found out whose they are.
    """
    memberships = {node: {place.nid.net for place in on} for node, on in places.items()}
    foreign = {str(nid): nid for nid in site}
    memberships |= {str(nid): {nid.net, *beyond} for nid, beyond in site.items()}
    routes: dict[str, list[Via]] = {node: [] for node in places}
    for route in lnet.routes(memberships, [*routers, *foreign]):
        if route.node in foreign:
            continue
        for router, net in route.gateways:
            nids = (foreign[router],) if router in foreign else (place.nid for place in places[router])
            gateway = next((nid for nid in nids if nid.net == net), None)
            if gateway is not None:
                routes[route.node].append(Via(route.net, gateway, route.hops))
    return {node: Lnet(tuple(on), tuple(routes[node]), node in routers and bool(on)) for node, on in places.items()}


def import_text(config: Lnet) -> str:
    """The YAML for `lnetctl import` and /etc/lnet.conf, in the form of `lnetctl export --backup`."""
    content: dict[str, object] = {
        "net": [
            {
                "net type": net,
                "local NI(s)": [{"interfaces": {0: place.name}} for place in interfaces],
            }
            for net, interfaces in config.nets.items()
        ]
    }
    if config.routes:
        content["route"] = [{"net": r.net, "gateway": str(r.gateway), "hop": r.hops} for r in config.routes]
    if config.forwarding:
        content["routing"] = {"enable": 1}
    return yaml.safe_dump(content, sort_keys=False, default_flow_style=False)


def modprobe_text(config: Lnet) -> str:
    """The same as a line for /etc/modprobe.d, as the Lustre manual writes it ("LNet module parameters")."""
    networks = ",".join(f"{net}({','.join(i.name for i in on)})" for net, on in config.nets.items())
    words = [f'networks="{networks}"']
    if config.routes:
        words.append('routes="{}"'.format("; ".join(f"{r.net} {r.hops} {r.gateway}" for r in config.routes)))
    if config.forwarding:
        words.append('forwarding="enabled"')
    return f"options lnet {' '.join(words)}\n"


def pings(
    configs: Mapping[str, Lnet], servers: Collection[str] | None = None
) -> dict[str, dict[str, tuple[Path, ...]]]:
    """Over which paths each node should reach each other one: by node, then by the other.

    With `servers`, two nodes only if one of them is a server or forwards: clients do not talk to each other.
    """
    talkers = None if servers is None else {*servers, *(node for node, config in configs.items() if config.forwarding)}
    return {
        node: {
            other: found
            for other, theirs in configs.items()
            if other != node
            and (talkers is None or node in talkers or other in talkers)
            and (found := paths(config, theirs))
        }
        for node, config in configs.items()
    }


def paths(near: Lnet, far: Lnet) -> tuple[Path, ...]:
    """From each NID of one node to each of another: on the same network, or over routers, there and back.

    Neither end may be on the other's network if the path is routed: an answer leaves from the NID that was asked, and
    nobody has a route to a network that it is on. So the far side of a router is none of the paths to it: LNet asks
    it at the near side, and asked at the far one it drops the message as one for "my nid but on a different network".
    """
    found = []
    for source in near.nids:
        for nid in far.nids:
            gateways = near.gateways(source.net, nid.net)
            if source.net == nid.net:
                found.append(Path(source, nid))
            elif gateways and far.gateways(nid.net, source.net):
                found.append(Path(source, nid, gateways))
    return tuple(found)
