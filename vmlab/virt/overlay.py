"""What a host has and gets for networks over several hosts, by iproute2, here or by ssh: libvirt knows no VXLAN."""

import json
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from vmlab.domainxml.devices import Nbd
from vmlab.errors import HostError
from vmlab.plan.overlay import HostLinks, ObservedLink, Overlay
from vmlab.shell import script
from vmlab.values import identity
from vmlab.virt.connection import Host
from vmlab.virt.export import EXPORTERS
from vmlab.virt.machine import machine_of
from vmlab.virt.observe import OfHost, read_routes

_LOOK = EXPORTERS + script(__file__, "network_of_host.sh")
_JOIN = script(__file__, "join_network.sh")
_ASK_S = 30.0
_FLOOD = "00:00:00:00:00:00"
_NET = Path("/sys/class/net")


def any_here() -> bool:
    """There are links here that look like ours."""
    return any(_NET.glob(f"{identity.OVERLAY}*"))


def look_at(host: Host) -> OfHost:
    """Raises HostError if it cannot be asked."""
    asked = machine_of(host).run(("sh", "-c", _LOOK), deadline_s=_ASK_S)
    lines = asked.stdout.splitlines()
    if not asked.ok or len(lines) != 7:  # noqa: PLR2004 (one for each question)
        raise HostError(f"the networks of {host.uri} are not known: {asked.last_line}", hint="iproute2 is needed there")
    routes, addresses, links, forwarding = (json.loads(line) for line in lines[:4])
    known = replace(
        _links(addresses, links, forwarding),
        exports={volume: Nbd(address, int(port)) for volume, address, port in (e.split(",") for e in lines[5].split())},
        listening=frozenset(int(port, 16) for port in lines[6].split()),
    )
    return OfHost(read_routes(routes), frozenset(lines[4].split()), known)


def _links(addresses: list[dict[str, Any]], links: list[dict[str, Any]], forwarding: list[dict[str, Any]]) -> HostLinks:
    peers: dict[str, set[IPv4Address]] = {}
    for entry in forwarding:
        if entry.get("mac") == _FLOOD and "dst" in entry and ":" not in entry["dst"]:
            peers.setdefault(entry.get("ifname", ""), set()).add(IPv4Address(entry["dst"]))
    found = {}
    for link in filter(None, links):
        data = link.get("linkinfo", {}).get("info_data", {})
        found[link["ifname"]] = ObservedLink(
            name=link["ifname"],
            alias=link.get("ifalias", ""),
            vni=data.get("id", -1),
            local=IPv4Address(data["local"]) if "local" in data else None,
            peers=frozenset(peers.get(link["ifname"], ())),
            mtu=link.get("mtu", 0),
            bridge=link.get("master", ""),
            up="UP" in link.get("flags", ()),
        )
    mtus = {
        IPv4Address(address["local"]): link.get("mtu", 0)
        for link in filter(None, addresses)
        for address in link.get("addr_info", ())
    }
    return HostLinks(mtus, found)


def join(host: Host, overlay: Overlay) -> None:
    """Make the link what it is to be. Raises HostError."""
    bridge = identity.bridge_name(overlay.bed, overlay.fabric)
    told = (overlay.link, overlay.alias, str(overlay.vni), str(overlay.local), str(overlay.mtu), bridge)
    peers = map(str, sorted(overlay.peers))
    done = machine_of(host).run(("sh", "-c", _JOIN, "vmlab", *told, *peers), deadline_s=_ASK_S)
    if not done.ok:
        raise HostError(f"{host.name}: {done.last_line}", hint="modprobe vxlan; ip -d link show type vxlan")


def leave(host: Host, link: str) -> None:
    """Remove a link; one that is not there is fine. Raises HostError."""
    gone = ("sh", "-c", '[ ! -e "/sys/class/net/$1" ] || ip link delete dev "$1"', "vmlab", link)
    done = machine_of(host).run(gone, deadline_s=_ASK_S)
    if not done.ok:
        raise HostError(f"{host.name}: {done.last_line}", hint=f"ip link delete {link}")
