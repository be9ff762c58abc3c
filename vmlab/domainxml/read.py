"""What a domain's, network's and volume's XML says, as values."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Network
from typing import TypeVar

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
_NOTHING: tuple[etree._Element, ...] = ()
_KIB = {"b": 1 / 1024, "bytes": 1 / 1024, "k": 1, "kib": 1, "m": 1024, "mib": 1024, "g": 1024**2, "gib": 1024**2}


_BOOT = ("kernel", "initrd", "dtb")


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
class DomainDetails:
    """What is decided by when a domain is to change, or others are to find room beside it.

    `sources` are networks and bridges, `uses` the files that it needs. `links` are the names of disks in the guest's
    /dev/disk/by-id, `paths` the links of those that it has several paths to, `boot_args` those of a kernel that is
    booted directly. `gdb`: a debugger can be joined. `preserved`: libvirt keeps it as it is when its kernel crashes.
    `pins` has the host CPUs of each vCPU that is pinned, `emulator_cpus` those of QEMU's own threads, `nodeset` the
    host cells that its memory is bound to, `page_kib` the size of its huge pages if it has such.
    """

    sources: tuple[str, ...] = ()
    kernel: str = ""
    boot_args: str = ""
    gdb: bool = False
    pins: Mapping[int, frozenset[int]] = field(default_factory=dict)
    emulator_cpus: frozenset[int] = frozenset()
    nodeset: frozenset[int] = frozenset()
    page_kib: int | None = None
    uses: Uses = Uses()
    links: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    preserved: bool = False


@dataclass(frozen=True)
class DomainFacts:
    """A domain as it is defined: ours if it has `metadata`. `disks` are source paths in the domain's order.

    `hostdevs` are the host's PCI functions in the domain's order, `ports` those of them that are a guest's interface.
    `unreadable` says why the metadata of vmlab's form that it has could not be understood; "" if there is nothing of
    that kind. `xml` is all of it.
    """

    name: str
    uuid: str
    kind: str
    vcpus: int
    memory_kib: int
    disks: tuple[str, ...]
    serials: tuple[str, ...]
    metadata: NodeMetadata | None
    hostdevs: tuple[PciAddress, ...] = ()
    ports: Mapping[str, PciAddress] = field(default_factory=dict)
    unreadable: str = ""
    xml: str = field(default="", repr=False)

    @cached_property
    def details(self) -> DomainDetails:
        """Read when it is first asked for: who only looks at many domains wants nothing of it."""
        return _details(etree.fromstring(self.xml, PARSER)) if self.xml else DomainDetails()


class _Element:
    """An element's children of these names.

    One walk finds all that is asked for, where a path for each thing begins anew; and what nobody asks for, of which
    there is most, never becomes an object of Python's.
    """

    __slots__ = ("_children",)

    def __init__(self, element: etree._Element | None, *names: str) -> None:
        self._children: dict[str, list[etree._Element]] = {}
        for child in _NOTHING if element is None else element.iterchildren(*names):
            self._children.setdefault(child.tag, []).append(child)

    def all(self, name: str) -> Sequence[etree._Element]:
        """The children of this name, in their order."""
        return self._children.get(name, _NOTHING)

    def one(self, name: str) -> etree._Element | None:
        """The first of them; None if there is none."""
        found = self._children.get(name)
        return None if found is None else found[0]

    def text(self, name: str, default: str = "") -> str:
        """What stands in the first of them; `default` if there is none."""
        found = self._children.get(name)
        return default if found is None else found[0].text or ""


class _Disks:
    """What a domain's disks are made of, and what they are called in the guest."""

    def __init__(self, disks: Iterable[etree._Element]) -> None:
        self.virtio: list[str] = []
        self.scsi: list[str] = []
        self.wwns: list[str] = []
        self.files: set[str] = set()
        self.layered: set[str] = set()
        self.volumes: set[tuple[str, str]] = set()
        for disk in disks:
            self._read(disk)

    def _read(self, disk: etree._Element) -> None:
        serials: list[str] = []
        wwns: list[str] = []
        buses, kinds = set[str](), set[str]()
        for part in disk.iterchildren("driver", "target", "serial", "wwn"):
            if part.tag == "driver":
                kinds.add(part.get("type", "raw"))
            elif part.tag == "target":
                buses.add(part.get("bus", ""))
            elif part.text:
                (serials if part.tag == "serial" else wwns).append(part.text)
        self.wwns += wwns
        self.virtio += serials if "virtio" in buses else ()
        self.scsi += serials if "scsi" in buses and not wwns else ()
        # Those of backing chains and of copies in progress lie deeper.
        for source in disk.iter("source"):
            file, volume = source.get("file") or source.get("dev"), source.get("volume")
            if file:
                self.files.add(file)
            if file and kinds - {"raw"}:
                self.layered.add(file)
            if volume is not None:
                self.volumes.add((source.get("pool", ""), volume))

    def uses(self, system: _Element) -> Uses:
        """What a domain of these disks needs; `system` is its `<os>`."""
        boot = (file.text for name in _BOOT for file in system.all(name))
        return Uses(
            files=frozenset(self.files),
            layered=frozenset(self.layered),
            volumes=frozenset(self.volumes),
            boot=frozenset(file for file in boot if file),
        )

    def links(self) -> tuple[str, ...]:
        """As udev names disks, those that are passed excepted: what they are called only the guest knows."""
        return (
            *(f"virtio-{serial}" for serial in self.virtio),
            *(f"scsi-0QEMU_QEMU_HARDDISK_{serial}" for serial in self.scsi),
            *(f"wwn-0x{wwn}" for wwn in self.wwns),
        )


def read_domain(xml: str) -> DomainFacts:
    """Read what `virDomainGetXMLDesc` gives (or what `build` made)."""
    root = etree.fromstring(xml, PARSER)
    domain = _Element(root, "name", "uuid", "vcpu", "memory", "devices")
    devices = _Element(domain.one("devices"), "disk", "hostdev")
    disks, serials = _disks(devices.all("disk"))
    functions = dict(_functions(devices.all("hostdev")))
    metadata, unreadable = _understood(_node, root)
    return DomainFacts(
        name=domain.text("name"),
        uuid=domain.text("uuid"),
        kind=root.get("type", ""),
        vcpus=int(domain.text("vcpu", "1")),
        memory_kib=_memory_kib(domain.one("memory")),
        disks=disks,
        serials=serials,
        metadata=metadata,
        hostdevs=tuple(functions),
        ports={interface: address for address, interfaces in functions.items() for interface in interfaces},
        unreadable=unreadable,
        xml=xml,
    )


def _disks(disks: Iterable[etree._Element]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Source paths and serials."""
    sources: list[str] = []
    serials: list[str] = []
    for disk in disks:
        for part in disk.iterchildren("source", "serial"):
            if part.tag == "serial":
                serials += (part.text,) if part.text else ()
            elif place := part.get("file") or part.get("dev") or part.get("volume"):
                sources.append(place)
    return tuple(sources), tuple(serials)


def _details(root: etree._Element) -> DomainDetails:
    domain = _Element(root, "devices", "os", "cputune", "numatune", "memoryBacking", "on_crash")
    devices = _Element(domain.one("devices"), "disk", "interface", "channel")
    system = _Element(domain.one("os"), "cmdline", *_BOOT)
    tuning = _Element(domain.one("cputune"), "vcpupin", "emulatorpin")
    disks = _Disks(devices.all("disk"))
    links = disks.links()
    return DomainDetails(
        sources=tuple(
            source.get("network") or source.get("bridge") or ""
            for interface in devices.all("interface")
            for source in interface.iterchildren("source")
        ),
        kernel=system.text("kernel"),
        boot_args=system.text("cmdline"),
        gdb=bool(devices.all("channel")) and has_gdb(root),
        pins={int(pin.get("vcpu", "0")): parse_cpu_list(pin.get("cpuset", "")) for pin in tuning.all("vcpupin")},
        emulator_cpus=_cpus(tuning.all("emulatorpin"), "cpuset"),
        nodeset=_cpus(_Element(domain.one("numatune"), "memory").all("memory"), "nodeset"),
        page_kib=_page_kib(domain.one("memoryBacking")),
        uses=disks.uses(system),
        links=tuple(dict.fromkeys(links)),
        paths=tuple(dict.fromkeys(link for link in links if links.count(link) > 1)),
        preserved=domain.text("on_crash") == "preserve",
    )


def kib_of(root: etree._Element) -> int:
    """The memory that a domain may have, in KiB."""
    return _memory_kib(root.find("memory"))


def _memory_kib(memory: etree._Element | None) -> int:
    return 0 if memory is None else _kib(memory.text or "0", memory.get("unit", "KiB"))


def uses_of(root: etree._Element) -> Uses:
    """What the domain of this XML needs."""
    return _Disks(root.iterfind("devices/disk")).uses(_Element(root.find("os"), *_BOOT))


def _page_kib(backing: etree._Element | None) -> int | None:
    page = None if backing is None else backing.find("hugepages/page")
    return None if page is None else _kib(page.get("size", "0"), page.get("unit", "KiB"))


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


def _cpus(elements: Iterable[etree._Element], attribute: str) -> frozenset[int]:
    """The CPUs, or cells, that any of the elements lists."""
    return frozenset(number for element in elements for number in parse_cpu_list(element.get(attribute, "")))


def _kib(number: str, unit: str) -> int:
    return int(int(number) * _KIB.get(unit.lower(), 1))


def _functions(hostdevs: Iterable[etree._Element]) -> Iterator[tuple[PciAddress, tuple[str, ...]]]:
    """Each PCI function with the interfaces that its alias names."""
    for hostdev in hostdevs:
        if hostdev.get("type") != "pci":
            continue
        address, alias = hostdev.find("source/address"), hostdev.find("alias")
        serves = () if alias is None else interfaces_of(alias.get("name", ""))
        if address is not None:
            yield PciAddress(*(int(address.get(part, "0"), 0) for part in _ADDRESS)), serves


@dataclass(frozen=True, slots=True)
class NetworkFacts:
    """A libvirt network: ours if it has `metadata`. `subnets` are those that the host has an address in.

    `unreadable` is as that of a domain, `gateway` the first address of the host in it.
    """

    name: str
    uuid: str
    bridge: str
    mtu: int | None
    subnets: tuple[IPv4Network, ...]
    metadata: NetworkMetadata | None
    unreadable: str = ""
    gateway: str = ""


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
        gateway=next((ip.get("address", "") for ip in root.findall("ip") if ip.get("family", "ipv4") == "ipv4"), ""),
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
    volume = _Element(root, "name", "capacity", "target", "backingStore")
    target, below = _Element(volume.one("target"), "path", "format"), volume.one("backingStore")
    form = target.one("format")
    return VolumeFacts(
        name=volume.text("name"),
        path=target.text("path"),
        capacity=int(volume.text("capacity", "0")),
        format="raw" if form is None else form.get("type", "raw"),
        backing=None if below is None else below.findtext("path") or None,
        kind=root.get("type", "file"),
    )
