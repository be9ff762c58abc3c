"""RDMA devices of a guest, as the kernel's sysfs shows them.

Read from /sys/class/infiniband (Documentation/ABI/stable/sysfs-class-infiniband) rather than from `rdma link show`:
old guests have no `rdma`, it does not show GIDs, and it shows no interface for InfiniBand's own link layer.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from vmlab.shell import script
from vmlab.steps import Command
from vmlab.values.guid import Guid

SURVEY: Command = ("sh", "-c", script(__file__, "rdma_survey.sh"))

_PORT = re.compile(r"infiniband/([^/]+)/ports/([0-9]{1,9})/(.+)")
_SLAVE = re.compile(r"net/([^/]+)/device/infiniband/([^/]+)")


@dataclass(frozen=True, slots=True)
class RdmaDevice:
    """A port of an RDMA device. `gid_index` is -1 where the link layer is InfiniBand: it needs no GID there."""

    name: str
    port: int
    active: bool
    gid_index: int = -1


@dataclass(frozen=True, slots=True)
class _Gid:
    address: IPv6Address
    kind: str


@dataclass(frozen=True, slots=True)
class _Port:
    device: str
    number: int
    state: str
    link_layer: str
    gids: dict[int, _Gid]

    def found(self, gid_index: int = -1) -> RdmaDevice:
        return RdmaDevice(self.device, self.number, self.state.endswith("ACTIVE"), gid_index)


@dataclass(frozen=True, slots=True)
class RdmaPorts:
    """All RDMA ports of one guest, and the RDMA devices behind its network interfaces."""

    ports: tuple[_Port, ...]
    dev_ports: dict[str, int]
    behind: dict[str, tuple[str, ...]]

    def by_gid(self, ip: IPv4Address) -> RdmaDevice | None:
        """The port that has the IPv4-mapped GID of an address: RoCE, soft or not. RoCE v2 if it speaks both."""
        mapped = IPv6Address(f"::ffff:{ip}")
        found = [
            (gid.kind != "RoCE v2", port.device, index, port)
            for port in self.ports
            for index, gid in port.gids.items()
            if gid.address == mapped and port.link_layer == "Ethernet"
        ]
        if not found:
            return None
        _, _, index, port = min(found, key=lambda entry: entry[:3])
        return port.found(index)

    def by_guid(self, guid: Guid) -> RdmaDevice | None:
        """The InfiniBand port of a GUID, which is the second half of its GID 0."""
        for port in self.ports:
            first = port.gids.get(0)
            if first is not None and port.link_layer == "InfiniBand" and int(first.address) % (1 << 64) == guid.value:
                return port.found()
        return None

    def by_interface(self, interface: str) -> RdmaDevice | None:
        """The InfiniBand port behind an IPoIB interface: of the same PCI function, of which dev_port counts from 0."""
        number = self.dev_ports.get(interface, 0) + 1
        for port in self.ports:
            if port.device in self.behind.get(interface, ()) and port.link_layer == "InfiniBand":
                # A VF's or a one-port function's only port is 1, whatever the interface counts.
                only = sum(p.device == port.device for p in self.ports) == 1
                if only or port.number == number:
                    return port.found()
        return None


def read_survey(text: str) -> RdmaPorts:
    """What `SURVEY` printed. Never fails: lines of another form, such as a cut last one, are left out."""
    attributes: dict[tuple[str, int], dict[str, str]] = {}
    dev_ports: dict[str, int] = {}
    behind: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        path, _, value = line.partition(":")
        if port := _PORT.fullmatch(path):
            attributes.setdefault((port[1], int(port[2])), {})[port[3]] = value.strip()
        elif slave := _SLAVE.fullmatch(path):
            behind[slave[1]] = (*behind.get(slave[1], ()), slave[2])
        elif path.startswith("net/") and path.endswith("/dev_port") and re.fullmatch("[0-9]{1,9}", value.strip()):
            dev_ports[path.split("/")[1]] = int(value)
    ports = tuple(_port(device, number, found) for (device, number), found in sorted(attributes.items()))
    return RdmaPorts(ports, dev_ports, behind)


def _port(device: str, number: int, attributes: dict[str, str]) -> _Port:
    gids: dict[int, _Gid] = {}
    for name, value in attributes.items():
        if not re.fullmatch("gids/[0-9]{1,9}", name):
            continue
        index = name.removeprefix("gids/")
        try:
            address = IPv6Address(value)
        except ValueError:
            continue
        gids[int(index)] = _Gid(address, attributes.get(f"gid_attrs/types/{index}", ""))
    return _Port(device, number, attributes.get("state", ""), attributes.get("link_layer", ""), gids)
