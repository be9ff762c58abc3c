"""What virsh does not print: SR-IOV's numbers, RDMA ports, what the host needs, which CPUs it keeps guests off.

In a recorded host it is the optional file facts.json, as `vmlab host capture` writes it:

    {"memory_kib": 50331648, "isolated_cpus": "2-11", "guest_cpus": "0-11",
     "devices": {"0000:41:00.0": {"total_vfs": 16, "sriov_offset": 1, "sriov_stride": 1,
                                  "ports": [{"number": 1, "link_layer": "infiniband", "interface": "ib0",
                                             "rdma": "mlx5_0", "mac": null, "guid": "0002:c903:000e:b19d",
                                             "state": "ACTIVE", "sm_lid": 1}],
                                  "used_by": null, "opened_by": null, "broken": null}}}

Every key may be missing. `memory_kib`, the whole host's, is only needed where libvirt names no cells. `isolated_cpus`
are those of the kernel's isolcpus, `guest_cpus` those that the guests' cgroup may use (absent: all). `ports` are all
ports of the function: they replace those that node devices tell; of a port at least `number` is given.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, get_args

from vmlab.errors import HostError
from vmlab.inventory.document import cpus as number_set
from vmlab.inventory.model import LinkLayer, PciFunction, Port
from vmlab.topology.wording import quote
from vmlab.values.cpuset import cpu_list
from vmlab.values.pci import PciAddress

FILE = "facts.json"
_GUID = re.compile(r"[0-9a-f]{4}(:[0-9a-f]{4}){3}")


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """The facts of one PCI function; the fields are those of PciFunction. `ports` None: not known here."""

    total_vfs: int | None = None
    sriov_offset: int | None = None
    sriov_stride: int | None = None
    ports: tuple[Port, ...] | None = None
    used_by: str | None = None
    opened_by: str | None = None
    broken: str | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of one host."""

    memory_kib: int | None = None
    devices: Mapping[PciAddress, DeviceFacts] = field(default_factory=dict)
    isolated_cpus: frozenset[int] = frozenset()
    guest_cpus: frozenset[int] | None = None


def read_facts(text: str) -> Facts:
    """Read facts.json. Raises HostError that names the place of what is wrong."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HostError(f"{FILE}: no JSON: {error}") from error
    root = _mapping(data, FILE, known={f.name for f in fields(Facts)})
    devices: dict[PciAddress, DeviceFacts] = {}
    for key, value in _mapping(root.get("devices", {}), f"{FILE}: devices").items():
        try:
            address = PciAddress.parse(key)
        except ValueError as error:
            raise HostError(f"{FILE}: devices: {error}") from error
        devices[address] = _device(value, f"{FILE}: {address}")
    return Facts(
        _natural(root.get("memory_kib"), f"{FILE}: memory_kib"),
        devices,
        _cpus(root.get("isolated_cpus"), f"{FILE}: isolated_cpus") or frozenset(),
        _cpus(root.get("guest_cpus"), f"{FILE}: guest_cpus"),
    )


def facts_text(facts: Facts) -> str:
    """The text of facts.json, from which `read_facts` gives the same facts."""
    devices = {str(address): asdict(device) for address, device in facts.devices.items()}
    told: dict[str, object] = {"memory_kib": facts.memory_kib}
    if facts.isolated_cpus:
        told["isolated_cpus"] = cpu_list(facts.isolated_cpus)
    if facts.guest_cpus is not None:
        told["guest_cpus"] = cpu_list(facts.guest_cpus)
    return json.dumps({**told, "devices": devices}, indent=2) + "\n"


NOBODY: Mapping[PciAddress, str] = MappingProxyType({})


def with_use(
    devices: Mapping[PciAddress, DeviceFacts],
    used_by: Mapping[PciAddress, str],
    broken: Mapping[PciAddress, str],
    opened_by: Mapping[PciAddress, str] = NOBODY,
) -> Mapping[PciAddress, DeviceFacts]:
    """The facts, with what the host needs, what is broken, and what programs have open."""
    return {
        address: replace(
            devices.get(address, DeviceFacts()),
            used_by=used_by.get(address),
            broken=broken.get(address),
            opened_by=opened_by.get(address),
        )
        for address in sorted({*devices, *used_by, *broken, *opened_by})
    }


def with_facts(functions: Mapping[PciAddress, PciFunction], facts: Facts) -> Mapping[PciAddress, PciFunction]:
    """The functions with what the facts tell besides; facts of a function that is not there are passed over."""
    return {
        address: _with(function, facts.devices[address]) if address in facts.devices else function
        for address, function in functions.items()
    }


def _with(function: PciFunction, facts: DeviceFacts) -> PciFunction:
    told: dict[str, Any] = {
        f.name: value for f in fields(facts) if f.name != "ports" and (value := getattr(facts, f.name)) is not None
    }
    if facts.ports is not None:
        told["ports"] = tuple(_merged(port, function.ports) for port in facts.ports)
    return replace(function, **told)


def _merged(port: Port, known: tuple[Port, ...]) -> Port:
    """The port, with what only libvirt told of the same interface."""
    same = next((other for other in known if port.interface is not None and other.interface == port.interface), None)
    if same is None:
        return port
    missing = {f.name: getattr(same, f.name) for f in fields(port) if getattr(port, f.name) is None}
    return replace(port, **missing)


def _device(value: object, what: str) -> DeviceFacts:
    told = _mapping(value, what, known={f.name for f in fields(DeviceFacts)})
    ports = told.get("ports")
    if ports is not None and not isinstance(ports, list):
        raise HostError(f"{what}: ports: {quote(ports)} is no list")
    return DeviceFacts(
        total_vfs=_natural(told.get("total_vfs"), f"{what}: total_vfs"),
        sriov_offset=_natural(told.get("sriov_offset"), f"{what}: sriov_offset"),
        sriov_stride=_natural(told.get("sriov_stride"), f"{what}: sriov_stride"),
        ports=None if ports is None else tuple(_port(port, f"{what}: port {i}") for i, port in enumerate(ports, 1)),
        used_by=_text(told.get("used_by"), f"{what}: used_by"),
        opened_by=_text(told.get("opened_by"), f"{what}: opened_by"),
        broken=_text(told.get("broken"), f"{what}: broken"),
    )


def _port(value: object, what: str) -> Port:
    told = _mapping(value, what, known={f.name for f in fields(Port)})
    link_layer, guid = told.get("link_layer", "infiniband"), _text(told.get("guid"), f"{what}: guid")
    number = _natural(told.get("number"), f"{what}: number")
    if number is None:
        raise HostError(f"{what}: number is missing")
    if link_layer not in get_args(LinkLayer):
        raise HostError(f"{what}: link_layer: {quote(link_layer)} is neither infiniband nor ethernet")
    if guid is not None and _GUID.fullmatch(guid) is None:
        raise HostError(f"{what}: {quote(guid)} is no GUID (expected the form 0002:c903:000e:b19d)")
    return Port(
        number=number,
        link_layer=link_layer,
        interface=_text(told.get("interface"), f"{what}: interface"),
        rdma=_text(told.get("rdma"), f"{what}: rdma"),
        mac=_text(told.get("mac"), f"{what}: mac"),
        guid=guid,
        state=_text(told.get("state"), f"{what}: state"),
        sm_lid=_natural(told.get("sm_lid"), f"{what}: sm_lid"),
    )


def _mapping(value: object, what: str, known: set[str] | None = None) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise HostError(f"{what}: {quote(value)} is no object")
    for key in value:
        if known is not None and key not in known:
            raise HostError(f"{what}: {quote(key)} is not known (expected one of {', '.join(sorted(known))})")
    return value


def _natural(value: object, what: str) -> int | None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise HostError(f"{what}: {quote(value)} is no whole number")
    return value


def _cpus(value: object, what: str) -> frozenset[int] | None:
    text = _text(value, what)
    return None if text is None else number_set(text, what)


def _text(value: object, what: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise HostError(f"{what}: {quote(value)} is no text")
    return value
