"""What a domain's, network's and volume's XML says, as values."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import TypeVar, cast

from lxml import etree

from vmlab.domainxml.debugger import has_gdb
from vmlab.domainxml.hostdev import interfaces_of
from vmlab.domainxml.metadata import NetworkMetadata, NodeMetadata, read_network, read_node
from vmlab.values.cpuset import parse_cpu_list
from vmlab.values.pci import PciAddress

M = TypeVar("M", NodeMetadata, NetworkMetadata)

# Half of the time of reading goes into what nobody asks for: a table of ids, and the white space between elements.
PARSER = etree.XMLParser(collect_ids=False, remove_blank_text=True, resolve_entities=False)
_ADDRESS = ("domain", "bus", "slot", "function")
_KIB = {"b": 1 / 1024, "bytes": 1 / 1024, "k": 1, "kib": 1, "m": 1024, "mib": 1024, "g": 1024**2, "gib": 1024**2}


def _all(path: str) -> Callable[[etree._Element], Sequence[str]]:
    """The texts or attributes that an XPath finds, compiled once: cheaper than to go from element to element."""
    return cast("Callable[..., Sequence[str]]", etree.XPath(path, smart_strings=False))


_DISKS = _all("devices/disk/source/@*[(name()='file' or name()='dev' or name()='volume') and string()]")
_SERIALS = _all("devices/disk/serial/text()")
_WWNS = _all("devices/disk/wwn/text()")
_VIRTIO = _all("devices/disk[target/@bus='virtio']/serial/text()")
_SCSI = _all("devices/disk[target/@bus='scsi' and not(wwn)]/serial/text()")
_FILES = _all("devices/disk//source/@*[name()='file' or name()='dev']")
_LAYERED = _all("devices/disk[driver/@type[.!='raw']]//source/@*[name()='file' or name()='dev']")
_BOOT = _all("os/*[self::kernel or self::initrd or self::dtb]/text()")


@dataclass(frozen=True, slots=True)
class Uses:
    """What a domain's disks are made of, backing chains and copies in progress included where the XML tells them.

    `files` are paths, and those of them `layered` whose format may have something below it. `volumes` are the (pool,
    volume) of `<disk type='volume'>`, `boot` kernel, initrd and device tree.
    """

    files: frozenset[str] = frozenset()
    layered: frozenset[str] = frozenset()
    volumes: frozenset[tuple[str, str]] = frozenset()
    boot: frozenset[str] = frozenset()

    def __or__(self, other: "Uses") -> "Uses":
        """Both together: as a domain is defined, and as it runs."""
        return Uses(
            self.files | other.files, self.layered | other.layered, self.volumes | other.volumes, self.boot | other.boot
        )


@dataclass(frozen=True, slots=True)
class DomainFacts:
    """A domain as it is defined: ours if it has `metadata`. `disks` are source paths in the domain's order.

    `links` are the names of disks in the guest's /dev/disk/by-id, `paths` the links of those that it has several paths
    to, `boot_args` those of a kernel that is booted directly. `gdb`: a debugger can be joined.
    `unreadable` says why the metadata of vmlab's form that it has could not be understood; "" if there is nothing of
    that kind. `uses` are the files that it needs.
    `pins` has the host CPUs of each vCPU that is pinned, `emulator_cpus` those of QEMU's own threads, `nodeset` the
    host cells that its memory is bound to, `page_kib` the size of its huge pages if it has such,
    `hostdevs` the host's PCI functions in the domain's order, `ports` those of them that are a guest's interface.
    """

    name: str
    uuid: str
    kind: str
    vcpus: int
    memory_kib: int
    disks: tuple[str, ...]
    serials: tuple[str, ...]
    sources: tuple[str, ...]
    kernel: str
    metadata: NodeMetadata | None
    pins: Mapping[int, frozenset[int]] = field(default_factory=dict)
    emulator_cpus: frozenset[int] = frozenset()
    nodeset: frozenset[int] = frozenset()
    page_kib: int | None = None
    hostdevs: tuple[PciAddress, ...] = ()
    ports: Mapping[str, PciAddress] = field(default_factory=dict)
    uses: Uses = Uses()
    unreadable: str = ""
    links: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    boot_args: str = ""
    gdb: bool = False


def read_domain(xml: str) -> DomainFacts:
    """Read what `virDomainGetXMLDesc` gives (or what `build` made)."""
    root = etree.fromstring(xml, PARSER)
    page = root.find("memoryBacking/hugepages/page")
    functions = dict(_functions(root))
    metadata, unreadable = _understood(_node, root)
    links = _links(root)
    return DomainFacts(
        name=root.findtext("name", ""),
        uuid=root.findtext("uuid", ""),
        kind=root.get("type", ""),
        vcpus=int(root.findtext("vcpu", "1")),
        memory_kib=kib_of(root),
        disks=tuple(_DISKS(root)),
        serials=tuple(_SERIALS(root)),
        sources=tuple(
            source.get("network") or source.get("bridge") or "" for source in root.iterfind("devices/interface/source")
        ),
        kernel=root.findtext("os/kernel", ""),
        metadata=metadata,
        pins={
            int(pin.get("vcpu", "0")): parse_cpu_list(pin.get("cpuset", "")) for pin in root.iterfind("cputune/vcpupin")
        },
        emulator_cpus=_cpus(root, "cputune/emulatorpin", "cpuset"),
        nodeset=_cpus(root, "numatune/memory", "nodeset"),
        page_kib=None if page is None else _kib(page.get("size", "0"), page.get("unit", "KiB")),
        hostdevs=tuple(functions),
        ports={interface: address for address, interfaces in functions.items() for interface in interfaces},
        uses=uses_of(root),
        unreadable=unreadable,
        links=tuple(dict.fromkeys(links)),
        paths=tuple(dict.fromkeys(link for link in links if links.count(link) > 1)),
        boot_args=root.findtext("os/cmdline", ""),
        gdb=has_gdb(root),
    )


def _links(root: etree._Element) -> tuple[str, ...]:
    """As udev names disks, those that are passed excepted: what they are called only the guest knows."""
    return (
        *(f"virtio-{serial}" for serial in _VIRTIO(root)),
        *(f"scsi-0QEMU_QEMU_HARDDISK_{serial}" for serial in _SCSI(root)),
        *(f"wwn-0x{wwn}" for wwn in _WWNS(root)),
    )


def kib_of(root: etree._Element) -> int:
    """The memory that a domain may have, in KiB."""
    memory = root.find("memory")
    return 0 if memory is None else _kib(memory.text or "0", memory.get("unit", "KiB"))


def uses_of(root: etree._Element) -> Uses:
    """What the domain of this XML needs."""
    volumes = root.iterfind("devices/disk//source[@volume]")
    return Uses(
        files=frozenset(_FILES(root)),
        layered=frozenset(_LAYERED(root)),
        volumes=frozenset((source.get("pool", ""), source.get("volume", "")) for source in volumes),
        boot=frozenset(_BOOT(root)),
    )


def _node(root: etree._Element) -> NodeMetadata | None:
    node = read_node(root)
    if node is not None and not any(address.kind == "management" for address in node.addresses):
        raise ValueError("it has no management address")
    return node


def _understood(read: Callable[[etree._Element], M | None], root: etree._Element) -> tuple[M | None, str]:
    """Our metadata, and why it could not be understood. What anybody may write must not keep us from all others."""
    try:
        return read(root), ""
    except ValueError as error:
        return None, str(error)


def _cpus(root: etree._Element, path: str, attribute: str) -> frozenset[int]:
    """The CPUs, or cells, that any of the elements lists."""
    return frozenset(number for element in root.iterfind(path) for number in parse_cpu_list(element.get(attribute, "")))


def _kib(number: str, unit: str) -> int:
    return int(int(number) * _KIB.get(unit.lower(), 1))


def _functions(root: etree._Element) -> Iterator[tuple[PciAddress, tuple[str, ...]]]:
    """Each PCI function with the interfaces that its alias names."""
    for hostdev in root.iterfind("devices/hostdev[@type='pci']"):
        address, alias = hostdev.find("source/address"), hostdev.find("alias")
        serves = () if alias is None else interfaces_of(alias.get("name", ""))
        if address is not None:
            yield PciAddress(*(int(address.get(part, "0"), 0) for part in _ADDRESS)), serves


@dataclass(frozen=True, slots=True)
class NetworkFacts:
    """A libvirt network: ours if it has `metadata`. `subnets` are those that the host has an address in.

    `unreadable` is as that of a domain.
    """

    name: str
    uuid: str
    bridge: str
    mtu: int | None
    subnets: tuple[IPv4Network, ...]
    metadata: NetworkMetadata | None
    unreadable: str = ""


def read_network_xml(xml: str) -> NetworkFacts:
    """Read what `virNetworkGetXMLDesc` gives (or what `network_xml` made)."""
    root = etree.fromstring(xml, PARSER)
    bridge, mtu = root.find("bridge"), root.find("mtu")
    subnets = tuple(
        IPv4Network(f"{ip.get('address')}/{ip.get('prefix') or ip.get('netmask') or 24}", strict=False)
        for ip in root.findall("ip")
        if ip.get("family", "ipv4") == "ipv4"
    )
    metadata, unreadable = _understood(read_network, root)
    return NetworkFacts(
        name=root.findtext("name", ""),
        uuid=root.findtext("uuid", ""),
        bridge="" if bridge is None else bridge.get("name", ""),
        mtu=None if mtu is None else int(mtu.get("size", "1500")),
        subnets=subnets,
        metadata=metadata,
        unreadable=unreadable,
    )


@dataclass(frozen=True, slots=True)
class VolumeFacts:
    """A volume in the pool. `capacity` in bytes; `backing` is the image that a clone is linked to.

    `kind` is "file" for what is ours, and never that of a folder.
    """

    name: str
    path: str
    capacity: int
    format: str
    backing: str | None
    kind: str = "file"


def read_volume(xml: str) -> VolumeFacts:
    """Read what `virStorageVolGetXMLDesc` gives."""
    root = etree.fromstring(xml, PARSER)
    form = root.find("target/format")
    return VolumeFacts(
        name=root.findtext("name", ""),
        path=root.findtext("target/path", ""),
        capacity=int(root.findtext("capacity", "0")),
        format="raw" if form is None else form.get("type", "raw"),
        backing=root.findtext("backingStore/path") or None,
        kind=root.get("type", "file"),
    )
