"""What a domain takes of the host, from its XML: CPUs, memory and huge pages by cell, PCI functions.

Of memory it takes all that it can have: what is plugged in later, or let out of its balloon, must still be there.
libvirt checks none of it: two domains with the same function, or the same CPU, define without complaint.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from lxml import etree

from vmlab.domainxml.metadata import read_node
from vmlab.errors import HostError
from vmlab.inventory.document import cpus as number_set
from vmlab.inventory.document import document, kib, natural, pci_address
from vmlab.inventory.model import Cell, Claim
from vmlab.inventory.scrub import NO_UUID
from vmlab.values.pci import PciAddress

# Huge pages of no stated size are of the kernel's default size: 2 MiB, unless it was booted otherwise.
_DEFAULT_HUGE_KIB = 2048
_LARGEST_BASE_PAGE_KIB = 64
# Memory devices that are the host's memory: files and processors' own (nvdimm, virtio-pmem, sgx-epc) are not.
_RAM = ("dimm", "virtio-mem")
# Memory that stays in its nodeset, or is spread over it; with "preferred" it may be anywhere.
_BINDING = ("strict", "restrictive", "interleave")
_PINS = ("vcpu[@cpuset]", "cputune/vcpupin")
_HOST_DEVICES = (
    "devices/hostdev[@type='pci']",
    "devices/interface[@type='hostdev']",
    "devices/interface/actual[@type='hostdev']",
    "devices/disk[@type='nvme']",
)
NO_NAMES: Mapping[str, PciAddress] = MappingProxyType({})
# How a guest uses a function by what is on it: the attribute or element that names that, and the words for it.
_THROUGH = (
    ("devices/interface[@type='vdpa']/source", "dev", "the vDPA device"),
    ("devices/disk[@type='vhostvdpa']/source", "dev", "the vDPA device"),
    ("devices/interface[@type='direct']/source", "dev", "macvtap on"),
    ("devices/interface[@type='network']/source", "dev", "macvtap on"),
    ("devices/interface/actual[@type='direct']/source", "dev", "macvtap on"),
    ("devices/interface[@type='ethernet']/source", "dev", "an interface on"),
    ("devices/interface[@type='user']/source", "dev", "passt on"),
    ("devices/hostdev[@type='mdev']/source/address", "uuid", "the mediated device"),
)
_CONTAINER_INTERFACE = "devices/hostdev[@mode='capabilities'][@type='net']/source/interface"


def read_claims(
    texts: Mapping[str, str], cells: Iterable[Cell], functions: Mapping[str, PciAddress] = NO_NAMES
) -> tuple[Claim, ...]:
    """The claims of all domains, by name; `texts` are documents of `virsh dumpxml` by a name for errors.

    `functions` are those of the host by the interfaces, vDPA and mediated devices that are on them.

    Of a running domain there may be two documents, as it runs and as it is defined (`--inactive`): it holds the
    functions of both, CPUs as it runs, and the more of memory. A running domain is known by its `id`.
    Raises HostError for a document that cannot be understood.
    """
    known = tuple(cells)
    claims: dict[str, Claim] = {}
    for name, text in texts.items():
        claim = _claim(document(text, name, "domain"), name, known, functions)
        other = claims.get(claim.domain)
        if other is not None:
            runs, rests = (claim, other) if claim.running else (other, claim)
            most = max(runs, rests, key=_kib)
            claim = replace(
                runs,
                memory_kib=most.memory_kib,
                huge_kib=most.huge_kib,
                later_kib=most.later_kib,
                devices=claim.devices | other.devices,
                behind={**other.behind, **claim.behind},
                lost=tuple(dict.fromkeys((*claim.lost, *other.lost))),
            )
        claims[claim.domain] = claim
    return tuple(claims[name] for name in sorted(claims))


def _kib(claim: Claim) -> int:
    return sum(claim.memory_kib.values()) + sum(claim.huge_kib.values())


def _claim(root: etree._Element, name: str, cells: tuple[Cell, ...], functions: Mapping[str, PciAddress]) -> Claim:
    domain = root.findtext("name", "").strip()
    if not domain:
        raise HostError(f"{name}: <name> is missing")
    node, unreadable = None, ""
    try:
        node = read_node(root, scrubbed=root.findtext("uuid") in (None, NO_UUID))
    except ValueError as error:  # what it takes of the host it takes all the same
        unreadable = str(error)
    where = f"{name}: domain {domain}"
    now, later = list(_pieces(root, where)), _later(root, where)
    memory, huge = _by_cell((*now, *later), cells)
    through = dict(_through(root))
    found = {what: address for what in through if (address := _function(what, functions)) is not None}
    return Claim(
        domain=domain,
        bed=None if node is None else node.bed,
        node=None if node is None else node.node,
        running=root.get("id") is not None,
        cpus=_cpus(root, name, frozenset(cpu.id for cell in cells for cpu in cell.cpus), ours=node is not None),
        memory_kib=memory,
        huge_kib=huge,
        later_kib=sum(piece.kib for piece in later),
        devices=frozenset(_devices(root, name)),
        behind={address: f"{through[what]} {what}" for what, address in found.items()},
        lost=tuple(f"{how} {what}" for what, how in through.items() if what not in found and what.startswith("/dev/")),
        unreadable=unreadable,
    )


def _cpus(root: etree._Element, name: str, host: frozenset[int], *, ours: bool) -> frozenset[int]:
    """All CPUs that vCPUs are pinned to; a pin to every CPU of the host is none.

    A vCPU of ours that may run on several CPUs shares them, and leaves them to whoever wants one for itself. QEMU's
    other threads, pinned or not, run where there is room.
    """
    pinned: set[int] = set()
    pins = (pin for path in _PINS for pin in root.iterfind(path))
    for pin in pins:
        at = number_set(pin.get("cpuset"), f"{name}: <{pin.tag}>") & host
        if at < host and not (ours and len(at) > 1):
            pinned |= at
    return frozenset(pinned)


class _Piece(NamedTuple):
    """Memory of one kind: so much, in huge pages of this size or None, bound to these host cells or to none."""

    kib: int
    page_kib: int | None
    nodeset: frozenset[int]


def _by_cell(
    pieces: Iterable[_Piece], cells: tuple[Cell, ...]
) -> tuple[dict[int | None, int], dict[tuple[int | None, int], int]]:
    """Ordinary memory by host cell, and that in huge pages by host cell and page size.

    What is bound to several cells is split evenly between them, what is bound to none or to all of them stands under
    None.
    """
    memory: dict[int | None, int] = {}
    huge: dict[tuple[int | None, int], int] = {}
    ids = frozenset(cell.id for cell in cells)
    for piece in pieces:
        bound = piece.nodeset & ids
        targets: list[int | None] = [*sorted(bound)] if bound and (bound < ids or len(ids) == 1) else [None]
        for index, cell in enumerate(targets):
            share = piece.kib // len(targets) + (index < piece.kib % len(targets))
            if piece.page_kib is None:
                memory[cell] = memory.get(cell, 0) + share
            else:
                huge[cell, piece.page_kib] = huge.get((cell, piece.page_kib), 0) + share
    return memory, huge


def _pieces(root: etree._Element, what: str) -> Iterator[_Piece]:
    """All memory that the guest has: its cells, and its dimms.

    A balloon (<currentMemory>) does not count: it is let out again at any time.
    """
    dimms = _dimms(root, what)
    for guest_cell, amount in _guest_cells(root, what, sum(dimms.values())):
        yield _Piece(amount, _page_kib(root, what, guest_cell), _nodeset(root, what, guest_cell))
    yield from (_plugged(root, what, dimm, size) for dimm, size in dimms.items() if dimm.get("model") in _RAM)


def _later(root: etree._Element, what: str) -> tuple[_Piece, ...]:
    """What can still be plugged in while the guest runs: up to <maxMemory>, if a slot is free."""
    most, dimms = root.find("maxMemory"), _dimms(root, what)
    if most is None or natural(most.get("slots", "0"), f"{what}: slots of <maxMemory>") <= len(dimms):
        return ()
    plugged = sum(dimms.values())
    more = kib(most, f"{what}: <maxMemory>") - plugged - sum(a for _, a in _guest_cells(root, what, plugged))
    return (_Piece(more, _page_kib(root, what, 0), frozenset()),) if more > 0 else ()


def _dimms(root: etree._Element, what: str) -> dict[etree._Element, int]:
    """The memory devices, of all models, and their sizes."""
    return {dimm: _dimm_kib(dimm, what) for dimm in root.iterfind("devices/memory")}


def _dimm_kib(dimm: etree._Element, what: str) -> int:
    size = dimm.find("target/size")
    if size is None:
        raise HostError(f"{what}: a <memory> device has no <size>")
    return kib(size, f"{what}: size of a <memory> device")


def _plugged(root: etree._Element, what: str, dimm: etree._Element, size: int) -> _Piece:
    """A dimm: where it says nothing of pages or host cells, those of its guest cell hold."""
    guest_cell = natural(dimm.findtext("target/node", "0"), f"{what}: <node> of a <memory> device")
    page, nodes = dimm.find("source/pagesize"), dimm.findtext("source/nodemask")
    page_kib = _page_kib(root, what, guest_cell) if page is None else _huge(kib(page, f"{what}: <pagesize>"))
    nodeset = _nodeset(root, what, guest_cell) if nodes is None else number_set(nodes, f"{what}: <nodemask>")
    return _Piece(size, page_kib, nodeset)


def _guest_cells(root: etree._Element, what: str, plugged: int) -> Iterator[tuple[int, int]]:
    """The guest's cells and their memory in KiB, without what is `plugged`; a guest without cells is one cell 0."""
    found = root.findall("cpu/numa/cell")
    for position, cell in enumerate(found):
        id_ = min(number_set(cell.get("id", str(position)), f"{what}: guest cell"), default=position)
        yield id_, kib(cell, f"{what}: memory of guest cell {id_}", text=cell.get("memory", ""))
    memory = root.find("memory")
    if not found and memory is not None:
        yield 0, max(0, kib(memory, f"{what}: <memory>") - plugged)


def _nodeset(root: etree._Element, what: str, guest_cell: int) -> frozenset[int]:
    """The host cells that a guest cell's memory is bound to; none if it is not."""
    for node in root.iterfind("numatune/memnode"):
        if guest_cell in number_set(node.get("cellid"), f"{what}: <memnode>"):
            found = node
            break
    else:
        memory = root.find("numatune/memory")
        if memory is None:
            return frozenset()
        found = memory
    if found.get("mode", "strict") not in _BINDING:
        return frozenset()
    return number_set(found.get("nodeset"), f"{what}: nodeset")


def _page_kib(root: etree._Element, what: str, guest_cell: int) -> int | None:
    """The size of the huge pages behind a guest cell, None for ordinary pages."""
    backing = root.find("memoryBacking/hugepages")
    if backing is None:
        return None
    pages = backing.findall("page")
    if not pages:
        return _DEFAULT_HUGE_KIB
    chosen: int | None = None
    for page in pages:
        size = kib(page, f"{what}: size of huge pages", text=page.get("size", ""))
        nodeset = page.get("nodeset")
        if nodeset is not None and guest_cell in number_set(nodeset, f"{what}: nodeset of huge pages"):
            chosen = size
            break
        if nodeset is None:
            chosen = size
    return None if chosen is None else _huge(chosen)


def _huge(page_kib: int) -> int | None:
    """The size if such pages are huge, None for ordinary ones."""
    return page_kib if page_kib > _LARGEST_BASE_PAGE_KIB else None


def _devices(root: etree._Element, name: str) -> Iterator[PciAddress]:
    """Functions given as such, as a network interface (`type='hostdev'`, or what a network gave) or as an NVMe disk."""
    for path in _HOST_DEVICES:
        for address in root.iterfind(f"{path}/source/address[@bus]"):
            yield pci_address(address, f"{name}: a host device")


def _through(root: etree._Element) -> Iterator[tuple[str, str]]:
    """What is on a function of the host, by the name that the domain gives it, and in words how it uses that."""
    for path, attribute, how in _THROUGH:
        for element in root.iterfind(path):
            if name := element.get(attribute, "").strip():
                yield name, how
    for element in root.iterfind(_CONTAINER_INTERFACE):
        if name := (element.text or "").strip():
            yield name, "the interface"


def _function(name: str, functions: Mapping[str, PciAddress]) -> PciAddress | None:
    """The function under it; a VLAN or an IPoIB child (`eth0.100`, `ib0.8001`) is called by what it is on."""
    return functions.get(name) or functions.get(name.rpartition(".")[0])
