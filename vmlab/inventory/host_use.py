"""What the host itself needs of its PCI functions, and which of them are broken: decided from the kernel's own texts.

A function that carries the host's default route, a mounted file system or its swap must never be given to a guest,
whatever lies in between: bonds, bridges, VLANs, IPoIB children, device-mapper, md, multipath, partitions.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import PurePosixPath
from typing import Any

from vmlab.values.pci import PATTERN, PciAddress

_LISTED = 3
# The server of a network mount: in the options of NFS, CIFS and the like, or in the source of Lustre and Ceph.
_SERVER_OPTION = re.compile(r"(?:^|,)(?:addr|ip)=([0-9a-fA-F:.]+)")
_SERVER_IN_SOURCE = re.compile(r"(?:^|[,:])([0-9]{1,3}(?:\.[0-9]{1,3}){3})(?=[@:,])")
_NVME_NAMESPACE = re.compile(r"nvme([0-9]+)n([0-9]+)")
_NVME_PATH = "nvme{0}c[0-9]+n{1}"

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Wiring:
    """How the host's interfaces and block devices hang together.

    `interfaces` and `blocks` are their paths below /sys/devices by name, `below` the names that one is built on.
    `numbers` are block devices by "major:minor", `mapped` by their name in /dev/mapper.
    """

    interfaces: Mapping[str, str]
    blocks: Mapping[str, str]
    below: Mapping[str, frozenset[str]] = field(default_factory=dict)
    numbers: Mapping[str, str] = field(default_factory=dict)
    mapped: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Route:
    to: Network
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Mount:
    number: str
    at: str
    kind: str
    source: str
    options: str


def used_by(wiring: Wiring, *, routes: str, mounts: str, swaps: str) -> Mapping[PciAddress, str]:
    """Why the host needs a function, in words for the user; functions that it can do without are not in it.

    `routes` is what `ip -json route show table all` prints (several may follow each other, one per line), `mounts` is
    /proc/self/mountinfo, `swaps` is /proc/swaps. Text that is cut off tells less; it never raises.
    """
    reasons: dict[PciAddress, list[str]] = {}

    def note(address: PciAddress, reason: str) -> None:
        told = reasons.setdefault(address, [])
        if reason not in told:
            told.append(reason)

    known_routes = tuple(_routes(routes))
    for device in _devices_to(known_routes, None):
        for address, over in _interface_functions(wiring, device):
            note(address, f"the default route, over {_listed(over)}")
    found: dict[tuple[PciAddress, str], set[str]] = {}
    for mount in _mounts(mounts):
        for address, over in _mount_functions(wiring, mount, known_routes):
            found.setdefault((address, _listed(over)), set()).add(mount.at)
    for (address, way), places in found.items():
        what = "the file system" if len(places) == 1 else "the file systems"
        note(address, f"{what} mounted at {_listed(sorted(places))}, over {way}")
    for line in swaps.splitlines()[1:]:
        path = (line.split() or [""])[0]
        for address, over in _block_functions(wiring, _block_name(wiring, path)):
            note(address, f"swap, over {_listed(over)}")
    return {address: " and ".join(reasons[address]) for address in sorted(reasons)}


def carried(wiring: Wiring) -> Mapping[PciAddress, str]:
    """What the host has built on a function's interfaces: bonds, bridges, switches, VLANs, macvlans, macvtaps."""
    found: dict[PciAddress, list[str]] = {}
    for upper, lowers in sorted(wiring.below.items()):
        for lower in sorted(lowers) if upper in wiring.interfaces else ():
            address = PciAddress.last_in(wiring.interfaces.get(lower, ""))
            if address is not None:
                found.setdefault(address, []).append(f"{upper} on {lower}")
    return {address: _listed(told) for address, told in sorted(found.items())}


def opened(text: str, groups: Mapping[str, str], devices: Mapping[str, str]) -> Mapping[PciAddress, str]:
    """The programs that have functions open by way of vfio: "dpdk-testpmd (pid 4711)".

    `text` has lines of a pid, a path in /dev and the program's name. `groups` are the IOMMU groups' numbers by the
    names of functions, `devices` the functions' names by those of their device nodes.
    """
    found: dict[PciAddress, str] = {}
    for line in text.splitlines():
        pid, _, rest = line.partition(" ")
        path, _, program = rest.partition(" ")
        node = PurePosixPath(path).name
        for name in [devices[node]] if node in devices else [n for n, group in groups.items() if group == node]:
            if (address := PciAddress.last_in(name)) is not None:
                found.setdefault(address, f"{program} (pid {pid})")
    return found


_ADDRESS = rf"(?P<address>{PATTERN})"
_BROKEN = re.compile(
    rf"{_ADDRESS}: (?P<what>not ready [0-9]+ms after [^;]+; giving up"
    r"|[Uu]nable to change power state from \S+ to D0, device inaccessible)"
    rf"|vfio-pci {_ADDRESS.replace('address', 'vfio')}: (?P<reset>.*(?:reset.*fail|fail.*reset).*)"
)
_READY_AGAIN = re.compile(rf"{_ADDRESS}: ready [0-9]+ms after ")


def broken(kernel_log: str) -> Mapping[PciAddress, str]:
    """Functions that did not come back from a reset since the host booted, with the kernel's words.

    The log is what `dmesg` prints, oldest line first. A function that was ready after a later reset is not broken.
    """
    found: dict[PciAddress, str] = {}
    for line in kernel_log.splitlines():
        again = _READY_AGAIN.search(line)
        if again is not None:
            found.pop(PciAddress.parse(again["address"]), None)
            continue
        match = _BROKEN.search(line)
        if match is not None:
            address = PciAddress.parse(match["address"] or match["vfio"])
            found[address] = f"its reset failed, as the kernel says: {(match['what'] or match['reset']).strip()}"
    return found


def _interface_functions(
    wiring: Wiring, name: str, over: tuple[str, ...] = ()
) -> Iterator[tuple[PciAddress, tuple[str, ...]]]:
    """The functions under an interface, with the interfaces on the way."""
    if name in over:
        return
    way = (*over, name)
    address = PciAddress.last_in(wiring.interfaces.get(name, ""))
    if address is not None:
        yield address, way
    lower = wiring.below.get(name, frozenset())
    if address is None and not lower and not over and name != "lo":
        # A port inside Open vSwitch is tied to nothing: any interface of the switch may carry it.
        lower = frozenset({"ovs-system"})
    for other in sorted(lower):
        yield from _interface_functions(wiring, other, way)


def _block_functions(
    wiring: Wiring, name: str | None, over: tuple[str, ...] = ()
) -> Iterator[tuple[PciAddress, tuple[str, ...]]]:
    """The functions under a block device, with the devices on the way."""
    if name is None or name in over:
        return
    way = (*over, name)
    path = wiring.blocks.get(name, "")
    address = PciAddress.last_in(path)
    if address is not None:
        yield address, way
        return
    lower = set(wiring.below.get(name, frozenset()))
    parent = PurePosixPath(path).parent.name
    if parent in wiring.blocks:  # a partition of a device that is itself virtual
        lower.add(parent)
    namespace = _NVME_NAMESPACE.fullmatch(name)
    if namespace is not None:  # NVMe multipath: the paths have names of their own
        path_name = re.compile(_NVME_PATH.format(*namespace.groups()))
        lower |= {other for other in wiring.blocks if path_name.fullmatch(other)}
    for other in sorted(lower):
        yield from _block_functions(wiring, other, way)


def _mount_functions(
    wiring: Wiring, mount: _Mount, routes: tuple[_Route, ...]
) -> Iterator[tuple[PciAddress, tuple[str, ...]]]:
    block = wiring.numbers.get(mount.number) or _block_name(wiring, mount.source)
    if block is not None:
        yield from _block_functions(wiring, block)
        return
    servers = _SERVER_OPTION.findall(mount.options)
    if not mount.source.startswith("/"):
        servers += _SERVER_IN_SOURCE.findall(mount.source)
    for server in dict.fromkeys(servers):
        for device in _devices_to(routes, server):
            yield from _interface_functions(wiring, device)


def _block_name(wiring: Wiring, path: str) -> str | None:
    """The block device's kernel name from its path in /dev; None for what is none, such as a swap file."""
    if not path.startswith("/dev/"):
        return None
    name = PurePosixPath(path).name
    return name if name in wiring.blocks else wiring.mapped.get(name)


def _devices_to(routes: Iterable[_Route], server: str | None) -> tuple[str, ...]:
    """The interfaces of the most specific routes to an address; of all default routes for None."""
    if server is None:
        chosen = [route for route in routes if route.to.prefixlen <= 1]  # a VPN's two halves of everything, too
    else:
        try:
            address: IPv4Address | IPv6Address = ip_address(server)
        except ValueError:
            return ()
        fitting = [route for route in routes if route.to.version == address.version and address in route.to]
        longest = max((route.to.prefixlen for route in fitting), default=0)
        chosen = [route for route in fitting if route.to.prefixlen == longest]
    return tuple(dict.fromkeys(device for route in chosen for device in route.devices))


def _routes(text: str) -> Iterator[_Route]:
    for line in text.splitlines():
        try:
            listed = json.loads(line or "[]")
        except (ValueError, RecursionError):
            continue
        for route in listed if isinstance(listed, list) else ():
            if isinstance(route, dict) and route.get("type", "unicast") == "unicast":
                to, devices = _destination(route), tuple(_route_devices(route))
                yield from (_Route(one, devices) for one in to)


def _destination(route: dict[str, Any]) -> tuple[Network, ...]:
    to = str(route.get("dst", ""))
    if to == "default":
        # Which of the two families does not matter for a default route.
        return (ip_network("::/0"),) if ":" in str(route.get("gateway", "")) else (ip_network("0.0.0.0/0"),)
    try:
        return (ip_network(to, strict=False),)
    except ValueError:
        return ()


def _route_devices(route: dict[str, Any]) -> Iterator[str]:
    hops = route.get("nexthops")
    for hop in (route, *(hops if isinstance(hops, list) else ())):
        if isinstance(hop, dict) and isinstance(hop.get("dev"), str):
            yield hop["dev"]


def _mounts(text: str) -> Iterator[_Mount]:
    """The lines of mountinfo, whose format proc(5) gives: the number of optional fields varies."""
    for line in text.splitlines():
        before, dash, after = line.partition(" - ")
        left, right = before.split(" "), after.split(" ")
        if dash and len(left) >= 6 and len(right) >= 3:  # noqa: PLR2004 - the fields of proc(5)
            yield _Mount(left[2], _plain(left[4]), right[0], _plain(right[1]), right[2])


def _plain(text: str) -> str:
    """Blanks and the like are written as a backslash and three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _listed(names: Iterable[str]) -> str:
    known = list(names)
    if len(known) > _LISTED + 1:
        known = [*known[:_LISTED], f"{len(known) - _LISTED} more"]
    return known[0] if len(known) == 1 else f"{', '.join(known[:-1])} and {known[-1]}"
