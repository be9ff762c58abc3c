"""Facts of PCI functions, memory and CPUs from the texts of sysfs files, by their path below /sys.

Functions are reached through bus/pci/devices, so that the path names the function. The files:
Documentation/ABI/testing/sysfs-bus-pci, sysfs-class-net and stable/sysfs-class-infiniband of the kernel.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from vmlab.inventory.facts import DeviceFacts
from vmlab.inventory.model import Port
from vmlab.inventory.ports import Netdev, interface_ports, own_interfaces
from vmlab.values.cpuset import parse_cpu_list
from vmlab.values.pci import PciAddress

_DEVICE = "bus/pci/devices/*"
# CPUs that the scheduler keeps off: by the kernel's command line, and by a cgroup that has them for itself.
_ISOLATED = ("devices/system/cpu/isolated", "fs/cgroup/cpuset.cpus.isolated")
# The CPUs that libvirt's guests may use: of their slice with systemd and without, else of all; cgroup v2, then v1.
_GUESTS = (
    "fs/cgroup/machine.slice/cpuset.cpus.effective",
    "fs/cgroup/machine/cpuset.cpus.effective",
    "fs/cgroup/cpuset.cpus.effective",
    "fs/cgroup/cpuset/machine.slice/cpuset.effective_cpus",
    "fs/cgroup/cpuset/machine/cpuset.effective_cpus",
    "fs/cgroup/cpuset/cpuset.effective_cpus",
)
# What is read, in one round trip.
PATTERNS = (
    f"{_DEVICE}/sriov_totalvfs",
    f"{_DEVICE}/sriov_offset",
    f"{_DEVICE}/sriov_stride",
    f"{_DEVICE}/infiniband/*/ports/*/state",
    f"{_DEVICE}/infiniband/*/ports/*/link_layer",
    f"{_DEVICE}/infiniband/*/ports/*/sm_lid",
    f"{_DEVICE}/infiniband/*/ports/*/gids/0",
    f"{_DEVICE}/net/*/address",
    f"{_DEVICE}/net/*/dev_port",
    f"{_DEVICE}/net/*/operstate",
    f"{_DEVICE}/net/*/phys_port_name",
    "devices/system/node/node*/meminfo",
    *_ISOLATED,
    *_GUESTS,
)
_PATH = re.compile(r"bus/pci/devices/([^/]+)/(.+)")
_RDMA = re.compile(r"infiniband/([^/]+)/ports/([0-9]{1,3})/(.+)")
_NET = re.compile(r"net/([^/]+)/(.+)")
_MEMINFO = re.compile(r"devices/system/node/node([0-9]{1,6})/meminfo")
_AVAILABLE = ("MemFree", "Active(file)", "Inactive(file)", "SReclaimable")


@dataclass(slots=True)
class _Files:
    sriov: dict[str, str] = field(default_factory=dict)
    rdma: dict[tuple[str, int], dict[str, str]] = field(default_factory=dict)
    net: dict[str, dict[str, str]] = field(default_factory=dict)


def read_devices(files: Mapping[str, str]) -> Mapping[PciAddress, DeviceFacts]:
    """The facts of every function that has any; what a file should not contain is as if it were not there."""
    found: dict[PciAddress, _Files] = {}
    for path, text in files.items():
        match = _PATH.fullmatch(path)
        try:
            address = PciAddress.parse(match[1]) if match is not None else None
        except ValueError:
            address = None
        if match is None or address is None:
            continue
        of_one = found.setdefault(address, _Files())
        rdma, net = _RDMA.fullmatch(match[2]), _NET.fullmatch(match[2])
        if rdma is not None:
            of_one.rdma.setdefault((rdma[1], int(rdma[2])), {})[rdma[3]] = text.strip()
        elif net is not None:
            of_one.net.setdefault(net[1], {})[net[2]] = text.strip()
        else:
            of_one.sriov[match[2]] = text.strip()
    return {
        address: DeviceFacts(
            total_vfs=_number(of_one.sriov.get("sriov_totalvfs")),
            sriov_offset=_number(of_one.sriov.get("sriov_offset")),
            sriov_stride=_number(of_one.sriov.get("sriov_stride")),
            ports=tuple(_ports(of_one)) or None,
        )
        for address, of_one in sorted(found.items())
    }


def available_kib(files: Mapping[str, str]) -> Mapping[int, int]:
    """By cell, what new guests can have without swapping: free memory, page cache, caches that shrink."""
    cells: dict[int, int] = {}
    for path, text in files.items():
        match = _MEMINFO.fullmatch(path)
        if match is not None:
            lines = dict(re.findall(r"^Node [0-9]+ (\S+):\s+([0-9]+) kB", text, re.MULTILINE))
            if "MemFree" in lines:
                cells[int(match[1])] = sum(int(lines.get(name, 0)) for name in _AVAILABLE)
    return cells


def isolated_cpus(files: Mapping[str, str]) -> frozenset[int]:
    """The CPUs that the scheduler puts nothing on by itself."""
    return frozenset[int]().union(*(_cpus(files.get(path)) or () for path in _ISOLATED))


def guest_cpus(files: Mapping[str, str], configured: str = "") -> frozenset[int] | None:
    """The CPUs that guests may use, None where nothing limits them; `configured` is AllowedCPUs of their slice."""
    limits = [cpus for path in _GUESTS if (cpus := _cpus(files.get(path)))][:1]
    limits += filter(None, [_cpus(configured.replace(" ", ","))])
    return frozenset.intersection(*limits) if limits else None


def _cpus(text: str | None) -> frozenset[int] | None:
    """A list such as `0-3,8`; None for what is no such list."""
    try:
        return None if text is None else parse_cpu_list(text.strip())
    except ValueError:
        return None


def _ports(files: _Files) -> Iterable[Port]:
    """RDMA ports with their interfaces; where there is no RDMA, one port for each interface."""
    interfaces = own_interfaces(_interface(name, net) for name, net in files.net.items())
    if not files.rdma:
        return interface_ports(interfaces)
    return [_rdma_port(rdma, number, texts, interfaces) for (rdma, number), texts in sorted(files.rdma.items())]


def _interface(name: str, net: Mapping[str, str]) -> Netdev:
    return Netdev(
        name,
        net.get("address", ""),
        net.get("operstate") or None,
        port_name=net.get("phys_port_name"),
        dev_port=_number(net.get("dev_port")),
    )


def _rdma_port(rdma: str, number: int, texts: Mapping[str, str], interfaces: Iterable[Netdev]) -> Port:
    infiniband = texts.get("link_layer", "InfiniBand") == "InfiniBand"
    guid = _guid(texts.get("gids/0", "")) if infiniband else None
    own = next((i for i in interfaces if _belongs(i, number, guid)), None)
    return Port(
        number=number,
        link_layer="infiniband" if infiniband else "ethernet",
        interface=None if own is None else own.name,
        rdma=rdma,
        mac=own.address or None if own is not None and not infiniband else None,
        guid=guid,
        state=texts.get("state", "").rpartition(":")[2].strip() or None,
        sm_lid=_number(texts.get("sm_lid")) if infiniband else None,
    )


def _belongs(interface: Netdev, number: int, guid: str | None) -> bool:
    if interface.guid is not None:
        return guid == interface.guid
    return guid is None and (interface.dev_port or 0) + 1 == number


def _guid(gid: str) -> str | None:
    """The second half of a GID, fe80:0000:0000:0000:0002:c903:000e:b19d; None where it is not set."""
    half = gid.lower().split(":")[4:]
    return ":".join(half) if len(half) == 4 and any(part.strip("0") for part in half) else None  # noqa: PLR2004


def _number(text: str | None) -> int | None:
    """sm_lid is written as 0x1 by newer kernels."""
    try:
        return None if text is None else int(text, 0)
    except ValueError:
        return None
