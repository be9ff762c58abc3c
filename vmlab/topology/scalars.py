"""What a single value of a topology file may be: names, sizes, addresses, words, and lists of them.

Each type has its message, which names what was expected, and its part of the JSON Schema.
"""

import re
import shlex
from collections import Counter
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, StrictStr, WithJsonSchema

from vmlab.topology.bed import Numa, Role
from vmlab.topology.tree import NO_VALUE
from vmlab.topology.wording import quote
from vmlab.values import addresses
from vmlab.values.addresses import AddressRange
from vmlab.values.nid import Nid, parse_net
from vmlab.values.pci import PciAddress
from vmlab.values.size import Bytes
from vmlab.values.ssh_uri import SshUri

MIB = Bytes(1 << 20)
_MOST_CELLS = 64
_NUMA_WORDS = ("strict", "preferred", "none")
_EXTERNAL_ROLES = ("client", "fta", "build")


def _matching(pattern: str, wanted: str) -> Any:
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise ValueError(f"{quote(value)} is not possible (expected {wanted})")
        return value

    return AfterValidator(check)


def _one_or_many(value: object) -> object:
    return tuple(value) if isinstance(value, list) else (value,)


def as_uses(value: object) -> object:
    """`[ib0]` and `ib0` mean `{ib0: {count: 1}}`; what is neither is left to the schema to refuse."""
    if isinstance(value, dict):
        return {name: {} if use is NO_VALUE else use for name, use in value.items()}
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list):
        return value
    for name in names:
        if not isinstance(name, str):
            raise ValueError(f"{quote(name)} is no fabric's name (expected [ib0], or {{ib0: {{count: 2}}}})")  # noqa: TRY004
    for name, count in Counter(names).items():
        if count > 1:
            raise ValueError(f"fabric {quote(name)} is given twice (expected {{NAME: {{count: 2}}}} for two ports)")
    return {name: {} for name in names}


def at_least(least: Bytes, unit: Bytes = MIB) -> Any:
    """A size that is large enough and a multiple of `unit`."""

    def check(value: Bytes) -> Bytes:
        if value < least:
            raise ValueError(f"{value} is too small (expected at least {least})")
        if value % unit:
            raise ValueError(f"{value} is uneven (expected a whole number of {str(unit).lstrip('1')})")
        return value

    return AfterValidator(check)


def _page(value: Bytes) -> Bytes:
    if value.bit_count() != 1 or not 1 << 16 <= value <= 1 << 34:
        raise ValueError(f"{value} is no page size (expected one that the host has, such as 2MiB or 1GiB)")
    return value


def _sector(value: Bytes) -> Bytes:
    if value not in (512, 4096):
        raise ValueError(f"{value} is no sector size (expected 512B or 4KiB)")
    return value


def _wwn(value: object) -> str:
    # Sixteen digits without a letter among them are a number in YAML.
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not re.fullmatch(r"[0-9a-fA-F]{16}", text):
        raise ValueError(f"{quote(value)} is no WWN (expected 16 hexadecimal digits, such as 5000c500a1b2c3d4)")
    return text.lower()


def _subnet(value: object) -> IPv4Network:
    if not isinstance(value, str):
        raise ValueError(f"{quote(value)} is no subnet (expected IPv4 such as 10.77.1.0/24)")  # noqa: TRY004
    try:
        network = IPv4Network(value, strict=False)
    except ValueError:
        raise ValueError(f"{quote(value)} is no subnet (expected IPv4 such as 10.77.1.0/24)") from None
    if "/" not in value:
        raise ValueError(f"{quote(value)} has no prefix length (expected IPv4 such as 10.77.1.0/24)")
    if str(network) != value:
        raise ValueError(f"{quote(value)} is a host's address (expected its network, such as {network})")
    if network.is_loopback or network.is_multicast or network.is_link_local or network.network_address.packed[0] == 0:
        raise ValueError(f"{value} is not for networks (expected a private range such as 10.77.1.0/24)")
    if not 8 <= network.prefixlen <= 29:  # noqa: PLR2004
        raise ValueError(f"{value} has no fitting size (expected a prefix from /8 to /29)")
    return network


def _host_address(value: object) -> IPv4Address:
    try:
        address = IPv4Address(value if isinstance(value, str) else str(value))
    except ValueError:
        raise ValueError(f"{quote(value)} is no IPv4 address (expected the form 10.1.0.1)") from None
    if address.is_loopback or address.is_multicast or address.is_unspecified:
        raise ValueError(f"{address} is no address that other hosts reach (expected the form 10.1.0.1)")
    return address


def _command(value: object) -> tuple[str, ...]:
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"{quote(value)} is no command (expected one line)")
    try:
        words = tuple(shlex.split(value))
    except ValueError as error:
        raise ValueError(f"{quote(value)} is no command: {str(error).lower()} (expected words as in a shell)") from None
    if not words:
        raise ValueError(f"{quote(value)} is no command (expected a program and its options)")
    return words


def _machines(value: object) -> SshUri:
    return SshUri.parse(value if isinstance(value, str) else str(value))


def _bridges(value: object) -> str | dict[str, str]:
    if isinstance(value, dict) and value:
        return {str(host): _bridge(name) for host, name in value.items()}
    return _bridge(value)


def _bridge(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{quote(value)} is no bridge (expected its name as text, or {{HOST: NAME, ...}})")  # noqa: TRY004
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}", value):
        raise ValueError(f"{quote(value)} is not possible (expected a host bridge's name, at most 15 characters)")
    return value


def _shell(value: object) -> SshUri:
    if not isinstance(value, str):
        raise ValueError(f"{quote(value)} is no way to log in (expected the form root@HOST or root@HOST:PORT)")  # noqa: TRY004
    return SshUri.of_one(value)


def _machine_addresses(value: object) -> tuple[IPv4Address, ...]:
    return addresses.expand(value if isinstance(value, str) else str(value))


def _address_range(value: object) -> AddressRange:
    return AddressRange.parse(value if isinstance(value, str) else str(value))


def _nids(value: object) -> tuple[Nid, ...]:
    """As in what is mounted: a colon between servers, a comma between the NIDs of one."""
    found: dict[Nid, None] = {}
    for item in value if isinstance(value, list) else [value]:
        for text in re.split("[:,]", item if isinstance(item, str) else str(item)):
            try:
                found[Nid.parse(text.strip())] = None
            except ValueError:
                raise ValueError(f"{quote(text)} is no NID (expected the form 10.1.0.1@o2ib)") from None
    if not found:
        raise ValueError("no NID at all (expected [10.1.0.1@o2ib])")
    return tuple(found)


def _external_roles(value: tuple[Role, ...]) -> tuple[Role, ...]:
    for role in value:
        if role not in _EXTERNAL_ROLES:
            wanted = ", ".join(_EXTERNAL_ROLES)
            raise ValueError(f"{quote(role)} is for guests only (expected one of {wanted})")
    return value


def _pci_id(value: object) -> int:
    if not isinstance(value, str) or not re.fullmatch(r"0x[0-9a-fA-F]{4}", value):
        raise ValueError(f"{quote(value)} is no PCI id (expected the form 0x15b3)")
    return int(value, 16)


def _address(value: object) -> PciAddress:
    if isinstance(value, PciAddress):
        return value
    return PciAddress.parse(value if isinstance(value, str) else str(value))


def _function(value: object) -> PciAddress | str:
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,63}", value):
        return value
    return _address(value)


def _numa(value: object) -> Numa:
    match value:
        case "strict" | "preferred" | "none":
            return Numa(value)
        case {"cells": int(cells), **rest} if not rest and not isinstance(cells, bool) and 1 <= cells <= _MOST_CELLS:
            return Numa("strict", cells)
    wanted = ", ".join(_NUMA_WORDS)
    raise ValueError(f"{quote(value)} is no NUMA policy (expected {wanted}, or {{cells: 2}} with 1 to {_MOST_CELLS})")


def as_tuple(value: object) -> object:
    """What is strictly a tuple is a list in YAML."""
    return tuple(value) if isinstance(value, list) else value


def _items(item: Mapping[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [item, {"type": "array", "items": item, "minItems": 1}]})


def _text(**schema: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", **schema})


_ROLE = {"enum": ["mgs", "mds", "oss", "client", "router", "fta", "build"]}
_ABSOLUTE = r"(/(?!\.\.?(/|$))[A-Za-z0-9_.+-]+)+"
_NODE_SET = {"type": "string", "examples": ["oss[1-2]", "mds1,mds2", "@oss"]}

# Neither control characters nor what XML has no way to write.
Text = Annotated[StrictStr, _matching(r"[^\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]*", "text on one line")]
Word = Annotated[StrictStr, _matching(r"[^\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]+", "a name or a path")]
BedName = Annotated[
    StrictStr,
    _matching(r"[a-z][a-z0-9-]{0,30}", "[a-z][a-z0-9-]*, at most 31 characters"),
    _text(pattern="^[a-z][a-z0-9-]{0,30}$"),
]
Uri = Annotated[
    StrictStr, _matching(r"[a-z][a-z0-9+.-]*:///?[^\s\x00-\x1f\x7f]*", "a libvirt URI such as qemu:///system")
]
Bridges = Annotated[
    str | dict[str, str],
    PlainValidator(_bridges),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1},
            ],
            "examples": ["br0", {"kvm1": "br0", "kvm2": "br-data"}],
        }
    ),
]
LnetNet = Annotated[StrictStr, AfterValidator(parse_net), _text(pattern="^(tcp|o2ib)[0-9]*$")]
TcpNet = Annotated[
    StrictStr,
    _matching(r"tcp[0-9]*", "tcp, tcp1 ...: no RDMA is there"),
    AfterValidator(parse_net),
    _text(pattern="^tcp[0-9]*$"),
]
Subnet = Annotated[IPv4Network, PlainValidator(_subnet), _text(examples=["10.77.1.0/24"])]
PciId = Annotated[int, PlainValidator(_pci_id), _text(pattern="^0x[0-9a-fA-F]{4}$")]
Address = Annotated[PciAddress, PlainValidator(_address)]
Addresses = Annotated[
    tuple[Address, ...],
    BeforeValidator(_one_or_many),
    Field(min_length=1),
    _items({"type": "string", "examples": ["0000:41:00.0"]}),
]
DiskName = Annotated[
    StrictStr,
    _matching(r"[A-Za-z0-9][A-Za-z0-9_-]{0,19}", "letters, digits, - and _, at most 20: it is a disk's serial number"),
    _text(pattern="^[A-Za-z0-9][A-Za-z0-9_-]{0,19}$"),
]
DevicePath = Annotated[
    StrictStr,
    _matching(r"/dev/(?!.*\.\.)[A-Za-z0-9_./:@+=,-]+", "a path below /dev in the guest"),
    _text(pattern="^/dev/"),
]
HostDevice = Annotated[
    StrictStr,
    _matching(r"/dev/(?!.*\.\.)[A-Za-z0-9_./:@+=,-]+", "a path below /dev of the host"),
    _text(pattern="^/dev/"),
]
SectorSize = Annotated[Bytes, AfterValidator(_sector)]
Wwn = Annotated[str, PlainValidator(_wwn), _text(pattern="^[0-9a-fA-F]{16}$", examples=["5000c500a1b2c3d4"])]
MountPoint = Annotated[
    StrictStr,
    _matching(_ABSOLUTE, "an absolute path such as /mnt/lustre"),
    _text(pattern="^/"),
]
Sharing = Annotated[
    StrictStr,
    _matching(rf"export|{_ABSOLUTE}", "export, or the path of a folder that the servers' hosts mount"),
    _text(pattern="^(export$|/)", examples=["export", "/srv/lustre"]),
]
Roles = Annotated[tuple[Role, ...], BeforeValidator(_one_or_many), Field(min_length=1), _items(_ROLE)]
ExternalRoles = Annotated[
    tuple[Role, ...],
    BeforeValidator(_one_or_many),
    Field(min_length=1),
    AfterValidator(_external_roles),
    _items({"enum": list(_EXTERNAL_ROLES)}),
]
Machines = Annotated[
    SshUri, PlainValidator(_machines), _text(pattern="^ssh://", examples=["ssh://root@cn1", "ssh://root@cn[1-4]:22"])
]
Shell = Annotated[
    SshUri, PlainValidator(_shell), _text(examples=["root@kvm2", "root@kvm2:2222", "ssh://root@kvm2:2222"])
]
MachineAddresses = Annotated[
    tuple[IPv4Address, ...],
    PlainValidator(_machine_addresses),
    _text(examples=["10.1.0.7", "10.1.0.[7-10]", "10.1.0.7-10.1.0.10"]),
]
HostAddress = Annotated[IPv4Address, PlainValidator(_host_address), _text(format="ipv4", examples=["10.1.0.1"])]
CommandLine = Annotated[
    tuple[str, ...], PlainValidator(_command), _text(examples=["fence_ipmilan -P -a kvm1-bmc -l admin -S /root/bmc"])
]
AddressSpan = Annotated[AddressRange, PlainValidator(_address_range), _text(examples=["10.1.0.50-10.1.0.99"])]
Nids = Annotated[
    tuple[Nid, ...],
    PlainValidator(_nids),
    _items({"type": "string", "examples": ["10.1.0.1@o2ib", "10.1.0.1@o2ib:10.1.0.2@o2ib"]}),
]
NodeSets = Annotated[tuple[Word, ...], BeforeValidator(_one_or_many), Field(min_length=1), _items(_NODE_SET)]
Powers = Annotated[
    tuple[Word, ...],
    BeforeValidator(_one_or_many),
    WithJsonSchema({"anyOf": [_NODE_SET, {"type": "array", "items": _NODE_SET}]}),
]
NumaChoice = Annotated[
    Numa,
    PlainValidator(_numa),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(_NUMA_WORDS)},
                {
                    "type": "object",
                    "properties": {"cells": {"type": "integer", "minimum": 1, "maximum": _MOST_CELLS}},
                    "required": ["cells"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
PageSize = Annotated[Bytes, AfterValidator(_page)]
PhysicalFunction = Annotated[PciAddress | str, PlainValidator(_function), _text()]
