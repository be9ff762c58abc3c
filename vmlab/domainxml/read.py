"""What a domain's, network's and volume's XML says, as values."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Network
from typing import TypeVar

from lxml import etree

from vmlab.domainxml.debugger import has_gdb
from vmlab.domainxml.hostdev import interfaces_of
from vmlab.domainxml.metadata import NetworkMetadata, NodeMetadata, node_of, read_network
from vmlab.values.cpuset import parse_cpu_list
from vmlab.values.pci import PciAddress

M = TypeVar("M", NodeMetadata, NetworkMetadata)

# Half of the time of reading goes into what nobody asks for: a table of ids, and the white space between elements.
PARSER = etree.XMLParser(collect_ids=False, remove_blank_text=True, resolve_entities=False)
_ADDRESS = ("domain", "bus", "slot", "function")
_NOTHING: tuple[etree._Element, ...] = ()
_KIB = {"b": 1 / 1024, "bytes": 1 / 1024, "k": 1, "kib": 1, "m": 1024, "mib": 1024, "g": 1024**2, "gib": 1024**2}


_HEAD_ENDS = "</vcpu>"
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

    An export of another host is `nbd://ADDRESS:PORT/NAME`.

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


def read_domain(xml: str, *, disks: bool = True, details: bool = False) -> DomainFacts:
    """Read what `virDomainGetXMLDesc` gives (or what `build` made); no `disks` may be told where nobody wants them.

    Whoever will want the `details` of it saves reading it again.
    """
    root = etree.fromstring(xml, PARSER) if details else _shown(xml, disks=disks)
    parts = {part.tag: part for part in root.iterchildren("name", "uuid", "metadata", "memory", "vcpu", "devices")}
    name, uuid, vcpus = (_text(parts.get(part)) for part in ("name", "uuid", "vcpu"))
    metadata, unreadable = _understood(_node, name, uuid, parts.get("metadata"))
    sources: list[str] = []
    serials: list[str] = []
    functions: dict[PciAddress, tuple[str, ...]] = {}
    for device in _NOTHING if "devices" not in parts else parts["devices"].iterchildren("disk", "hostdev"):
        if device.tag == "disk":
            _read_disk(device, sources, serials)
        else:
            functions.update(_functions(device))
    facts = DomainFacts(
        name=name,
        uuid=uuid,
        kind=root.get("type", ""),
        vcpus=int(vcpus or "1"),
        memory_kib=_memory_kib(parts.get("memory")),
        disks=tuple(sources),
        serials=tuple(serials),
        metadata=metadata,
        hostdevs=tuple(functions),
        ports={interface: address for address, interfaces in functions.items() for interface in interfaces},
        unreadable=unreadable,
        xml=xml,
    )
    if details:
        vars(facts)["details"] = _details(root)  # where the cached property keeps it
    return facts


def _text(element: etree._Element | None) -> str:
    return "" if element is None else element.text or ""


def _shown(xml: str, *, disks: bool) -> etree._Element:
    """The domain with what it is, and of its devices those from the first disk to the last disk or passed function.

    That is a third of it. libvirt tells what it is first, `<vcpu>` last of what is asked here, then the devices, disks
    first of these. Where that does not hold the cuts leave something open, or there is nothing to cut at: what is no
    XML then is all read. Without `disks` a domain that has no passed function is told without devices.
    """
    head = xml.find(_HEAD_ENDS) + len(_HEAD_ENDS)
    devices = ""
    if disks or "<hostdev" in xml:
        first, last = xml.find("<disk ", head), max(xml.rfind("</disk>"), xml.rfind("</hostdev>"))
        if not head < first < last:
            return etree.fromstring(xml, PARSER)
        devices = xml[first : xml.index(">", last) + 1]
    with contextlib.suppress(etree.XMLSyntaxError):
        return etree.fromstring(f"{xml[:head]}<devices>{devices}</devices></domain>", PARSER)
    return etree.fromstring(xml, PARSER)


def _read_disk(disk: etree._Element, sources: list[str], serials: list[str]) -> None:
    for part in disk.iterchildren("source", "serial"):
        if part.tag == "source":
            if place := part.get("file") or part.get("dev") or part.get("volume") or _exported(part):
                sources.append(place)
        elif part.text:
            serials.append(part.text)


def _exported(source: etree._Element) -> str:
    host = source.find("host")
    if source.get("protocol") != "nbd" or host is None:
        return ""
    return f"nbd://{host.get('name', '')}:{host.get('port', '10809')}/{source.get('name', '')}"


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


def _node(name: str, uuid: str, metadata: etree._Element | None) -> NodeMetadata | None:
    node = node_of(name, uuid, metadata)
    if node is not None and not any(address.kind == "management" for address in node.addresses):
        raise ValueError("it has no management address")
    return node


def _understood(read: Callable[..., M | None], *parts: object) -> tuple[M | None, str]:
    """Our metadata, and why it could not be understood. What anybody may write must not keep us from all others."""
    try:
        return read(*parts), ""
    except ValueError as error:
        return None, str(error)


def _cpus(elements: Iterable[etree._Element], attribute: str) -> frozenset[int]:
    """The CPUs, or cells, that any of the elements lists."""
    return frozenset(number for element in elements for number in parse_cpu_list(element.get(attribute, "")))


def _kib(number: str, unit: str) -> int:
    return int(int(number) * _KIB.get(unit.lower(), 1))


def _functions(hostdev: etree._Element) -> Iterator[tuple[PciAddress, tuple[str, ...]]]:
    """The PCI function, if it is one, with the interfaces that its alias names."""
    address, alias = hostdev.find("source/address"), hostdev.find("alias")
    if hostdev.get("type") == "pci" and address is not None:
        serves = () if alias is None else interfaces_of(alias.get("name", ""))
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


@dataclass(frozen=True)
class VolumeFacts:
    """A file in the pool. `xml` is what `virStorageVolGetXMLDesc` gives, read when somebody asks what it says.

    `folder` is as of the volume.
    """

    name: str
    path: str
    xml: str = field(repr=False)
    folder: str = ""

    @property
    def capacity(self) -> int:
        """In bytes."""
        return int(self._volume.text("capacity", "0"))

    @property
    def backing(self) -> str | None:
        """The image that a clone is linked to."""
        below = self._volume.one("backingStore")
        return None if below is None else below.findtext("path") or None

    @cached_property
    def _volume(self) -> _Element:
        return _Element(etree.fromstring(self.xml, PARSER), "capacity", "backingStore")


def is_file(xml: str) -> bool:
    """Whether `virStorageVolGetXMLDesc` tells of a file; what is ours is one, and never a folder."""
    # So libvirt begins. What begins otherwise is read.
    return xml.startswith("<volume type='file'>") or etree.fromstring(xml, PARSER).get("type", "file") == "file"
