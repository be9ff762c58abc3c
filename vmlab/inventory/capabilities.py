"""A host's cells, CPUs, pages and distances, from what `virsh capabilities` prints.

The format: https://libvirt.org/formatcaps.html, and libvirt's own capabilities.c for what older versions leave out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from lxml import etree

from vmlab.errors import HostError
from vmlab.inventory.document import cpus as cpu_set
from vmlab.inventory.document import document, kib, natural, number
from vmlab.inventory.model import Cell, Cpu, PagePool
from vmlab.values.cpuset import MOST_CPUS

# A base page is of 4, 8, 16 or 64 KiB; on aarch64 with 4 KiB pages, 64 KiB ones are huge.
_LARGEST_BASE_PAGE_KIB = 64
_HINT = "virsh capabilities"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What `virsh capabilities` tells. `iommu` is None where it does not (libvirt before 4.7)."""

    arch: str
    cells: tuple[Cell, ...]
    iommu: bool | None
    cpu_vendor: str = ""


def read_capabilities(text: str, *, memory_kib: int | None = None) -> Capabilities:
    """Read the text; `memory_kib`, the host's whole memory, is only needed where libvirt tells no cells or no memory.

    Cells are in the order of their numbers. A `<memory>` counts huge pages too, as the kernel's MemTotal does. CPUs
    that are offline, which libvirt lists without a socket, are left out. Where no cells are told, the host is one cell
    0 of so many CPUs as `<cpu><topology>` counts; which of them share a core is not known then: each counts as one.

    Raises HostError with the reason for what cannot be understood or contradicts itself.
    """
    root = document(text, "capabilities", "capabilities")
    host = root.find("host")
    if host is None:
        raise HostError("capabilities: <host> is missing", hint=_HINT)
    found = host.findall("topology/cells/cell")
    bare = all(cpu.get("socket_id") is None for cell in found for cpu in cell.iterfind("cpus/cpu"))
    cells = tuple(sorted((_cell(cell, bare=bare) for cell in found), key=lambda c: c.id)) or (
        _only_cell(host, memory_kib),
    )
    if not any(cell.memory_kib for cell in cells):  # libvirt before 1.0.4
        if len(cells) > 1 or memory_kib is None:
            raise HostError("capabilities: no cell tells its memory", hint="virsh freecell --all")
        cells = (replace(cells[0], memory_kib=memory_kib),)
    _check(cells)
    iommu = host.find("iommu")
    return Capabilities(
        arch=host.findtext("cpu/arch", "").strip() or "unknown",
        cells=cells,
        iommu=None if iommu is None else iommu.get("support") == "yes",
        cpu_vendor=host.findtext("cpu/vendor", "").strip(),
    )


def _cell(element: etree._Element, *, bare: bool) -> Cell:
    number_ = natural(element.get("id"), "capabilities: the number of a cell")
    what = f"capabilities: cell {number_}"
    pages: dict[int, int] = {}
    for page in element.iterfind("pages"):
        size = kib(page, f"{what}: the size of pages", text=page.get("size", ""))
        pages[size] = natural(page.text, f"{what}: the number of {size} KiB pages")
    memory = element.find("memory")
    base = min(pages, default=0)
    return Cell(
        id=number_,
        memory_kib=sum(s * n for s, n in pages.items()) if memory is None else kib(memory, f"{what}: memory"),
        cpus=_cpus(element.findall("cpus/cpu"), what, bare=bare),
        huge={s: PagePool(s, n) for s, n in sorted(pages.items()) if s > base or s > _LARGEST_BASE_PAGE_KIB},
        distances={
            natural(s.get("id"), f"{what}: distance to"): natural(s.get("value"), f"{what}: distance")
            for s in element.iterfind("distances/sibling")
        },
    )


def _cpus(elements: Iterable[etree._Element], what: str, *, bare: bool) -> tuple[Cpu, ...]:
    """The online CPUs. `bare`: an old libvirt that tells nothing but numbers, so that none can be called offline."""
    told: dict[int, tuple[tuple[int, ...], frozenset[int]]] = {}
    for element in elements:
        id_ = natural(element.get("id"), f"{what}: the number of a CPU")
        if id_ >= MOST_CPUS:
            raise HostError(f"{what}: CPU {id_}: no kernel numbers so many", hint=_HINT)
        if id_ in told:
            raise HostError(f"{what}: CPU {id_} is listed twice", hint=_HINT)
        if bare:
            told[id_] = ((0, 0, 0, id_), frozenset((id_,)))
        elif element.get("socket_id") is not None:
            # On aarch64 a kernel without the ACPI tables for it says -1.
            place = tuple(
                max(0, number(element.get(f"{part}_id", str(id_) if part == "core" else "0"), f"{what}: CPU {id_}"))
                for part in ("socket", "die", "cluster", "core")
            )
            told[id_] = (place, cpu_set(element.get("siblings"), f"{what}: siblings of CPU {id_}"))
    cores = _cores(told)
    return tuple(
        Cpu(id_, socket=place[0], die=place[1], core=place[3], siblings=cores[id_])
        for id_, (place, _) in sorted(told.items())
    )


def _cores(told: Mapping[int, tuple[tuple[int, ...], frozenset[int]]]) -> Mapping[int, frozenset[int]]:
    """The threads of each CPU's core: as listed, else those at the same place. Every CPU is in exactly one core."""
    core_of = {cpu: {cpu} for cpu in told}
    by_place: dict[tuple[int, ...], list[int]] = {}
    for cpu, (place, siblings) in told.items():
        if not siblings:
            by_place.setdefault(place, []).append(cpu)
        for group in (siblings, by_place[place] if not siblings else ()):
            for other in group:
                if other in core_of and core_of[other] is not core_of[cpu]:
                    core_of[cpu] |= core_of[other]
                    for member in core_of[other]:
                        core_of[member] = core_of[cpu]
    return {cpu: frozenset(core) for cpu, core in core_of.items()}


def _only_cell(host: etree._Element, memory_kib: int | None) -> Cell:
    """A host without cells: libvirt was built, or runs, without NUMA."""
    topology = host.find("cpu/topology")
    if topology is None:
        raise HostError(
            "capabilities: neither <cells> nor <cpu><topology>: the host's CPUs cannot be known", hint="virsh nodeinfo"
        )
    count = 1
    for part in ("sockets", "dies", "clusters", "cores", "threads"):
        count *= natural(topology.get(part, "1"), f"capabilities: {part} of <cpu><topology>")
    if not 0 < count <= MOST_CPUS:
        raise HostError(f"capabilities: <cpu><topology> counts {count} CPUs", hint="virsh nodeinfo")
    if memory_kib is None:
        raise HostError("capabilities: no <cells>: the host's memory cannot be known", hint="virsh nodeinfo")
    cpus = tuple(Cpu(id_, socket=0, die=0, core=id_, siblings=frozenset((id_,))) for id_ in range(count))
    return Cell(id=0, memory_kib=memory_kib, cpus=cpus)


def _check(cells: Iterable[Cell]) -> None:
    """No cell and no CPU twice, and at least one CPU."""
    where: dict[int, int] = {}
    seen: set[int] = set()
    for cell in cells:
        if cell.id in seen:
            raise HostError(f"capabilities: cell {cell.id} is listed twice", hint=_HINT)
        seen.add(cell.id)
        for cpu in cell.cpus:
            if cpu.id in where:
                raise HostError(f"capabilities: CPU {cpu.id} is in the cells {where[cpu.id]} and {cell.id}", hint=_HINT)
            where[cpu.id] = cell.id
    if not where:
        raise HostError("capabilities: no cell has an online CPU: nothing can run there", hint=_HINT)
