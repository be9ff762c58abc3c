"""Where a guest's CPUs and memory are, on the host and as the guest sees them.

`<iothreads>`, `<cputune>`, `<numatune>`, `<memoryBacking>`, and the topology and cells in `<cpu>`.

No limit on locked memory is written. With VFIO, QEMU locks all guest memory, and libvirt raises RLIMIT_MEMLOCK for it
by itself: to the memory and 1 GiB, or if the template has an `<iommu>`, to the memory for each device and 1 GiB. (Read
in libvirt 9.0 and 11.3: qemuDomainGetMemLockLimitBytes in src/qemu/qemu_domain.c.) `<hard_limit>` would replace that
figure and have the cgroup kill a guest whose QEMU outgrows it. `<locked/>` would lock QEMU's own memory as well, which
VFIO does not need, and lift the limit altogether.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lxml import etree

from vmlab.domainxml.order import CPU, CPUTUNE, DOMAIN, child_of, drop, place
from vmlab.values.cpuset import cpu_list


@dataclass(frozen=True, slots=True)
class GuestCell:
    """One NUMA cell of a guest. `vcpus` maps each vCPU to the host CPUs it may run on; none: wherever the host likes.

    `host_cell` None: its memory is bound to no cell. `page_kib` None: ordinary pages. `distances` are those to each
    guest cell in turn, 10 to itself; () where the host does not tell.
    """

    vcpus: Mapping[int, tuple[int, ...]]
    memory_kib: int
    host_cell: int | None = None
    page_kib: int | None = None
    distances: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Tuning:
    """How a guest lies on its host. Between them the cells have the machine's vCPUs, from 0 on, and its memory.

    `emulator_cpus` are for QEMU's own threads, () where they may run anywhere. `threads` is the number of vCPUs in a
    core of the guest; `guest_threads` tells how many are true to the host. `topoext` is to be set where the host's CPUs
    are AMD's: without that feature their guests see threads as cores, and QEMU leaves it out of host-passthrough.
    """

    cells: tuple[GuestCell, ...]
    emulator_cpus: tuple[int, ...] = ()
    threads: int = 1
    topoext: bool = False

    @property
    def dedicated(self) -> bool:
        """Each vCPU has a host CPU of its own."""
        return all(len(cpus) == 1 for cell in self.cells for cpus in cell.vcpus.values())


def guest_threads(cells: Iterable[GuestCell], siblings: Mapping[int, frozenset[int]]) -> int:
    """The most threads that guest cores can have so that vCPUs of one core are siblings on the host: 1 if none can.

    `siblings` are, for each host CPU, the threads of its core with itself. QEMU numbers threads first: with 2 threads,
    vCPUs 0 and 1 are a core.
    """
    rows = [[cell.vcpus[vcpu] for vcpu in sorted(cell.vcpus)] for cell in cells]
    most = max((len(threads) for threads in siblings.values()), default=1)

    def one_core(pins: list[tuple[int, ...]]) -> bool:
        cpus = {cpu for pin in pins for cpu in pin}
        return all(len(pin) == 1 for pin in pins) and cpus <= siblings.get(pins[0][0], frozenset())

    for threads in range(most, 1, -1):
        if all(
            len(row) % threads == 0 and all(one_core(row[at : at + threads]) for at in range(0, len(row), threads))
            for row in rows
        ):
            return threads
    return 1


def tune(domain: etree._Element, tuning: Tuning) -> None:
    """Write it into the domain; of what the template says about the same things, only scheduling shares stay."""
    vcpu = child_of(domain, "vcpu", DOMAIN)
    vcpu.attrib.clear()  # of CPUs in a set of their own, or placed by numad, or offline
    vcpu.set("placement", "static")
    iothreads = _iothreads(domain) if tuning.dedicated else 0
    _cputune(domain, tuning, iothreads)
    _numatune(domain, tuning.cells)
    _memory_backing(domain, tuning.cells)
    _guest_cpu(domain, tuning)


def _iothreads(domain: etree._Element) -> int:
    """One thread for the disks' I/O, or as many as the template has: else QEMU's main loop does all of it."""
    element = child_of(domain, "iothreads", DOMAIN)
    element.text = element.text or "1"
    return int(element.text)


def _cputune(domain: etree._Element, tuning: Tuning, iothreads: int) -> None:
    drop(domain, "cputune/vcpupin", "cputune/emulatorpin", "cputune/iothreadpin")
    pins = [
        ("vcpupin", {"vcpu": str(vcpu)}, cpus) for cell in tuning.cells for vcpu, cpus in sorted(cell.vcpus.items())
    ]
    pins.append(("emulatorpin", {}, tuning.emulator_cpus))
    pins += [("iothreadpin", {"iothread": str(number + 1)}, tuning.emulator_cpus) for number in range(iothreads)]
    for tag, whose, cpus in pins:
        if cpus:
            pin = etree.Element(tag, whose | {"cpuset": cpu_list(cpus)})
            place(child_of(domain, "cputune", DOMAIN), pin, CPUTUNE)


def _numatune(domain: etree._Element, cells: tuple[GuestCell, ...]) -> None:
    """Strict: memory that its cell does not have is refused at the start, not taken from another cell."""
    drop(domain, "numatune")
    bound = {cell.host_cell for cell in cells if cell.host_cell is not None}
    if not bound:
        return
    numatune = child_of(domain, "numatune", DOMAIN)
    etree.SubElement(numatune, "memory", {"mode": "strict", "nodeset": cpu_list(bound)})
    if len(cells) > 1:
        for index, cell in enumerate(cells):
            if cell.host_cell is not None:
                where = {"cellid": str(index), "mode": "strict", "nodeset": str(cell.host_cell)}
                etree.SubElement(numatune, "memnode", where)


def _memory_backing(domain: etree._Element, cells: tuple[GuestCell, ...]) -> None:
    drop(domain, "memoryBacking/hugepages")
    sizes = {cell.page_kib for cell in cells}
    if sizes == {None}:
        return
    alike = len(sizes) == 1

    def with_size(size: int) -> str:
        return cpu_list(index for index, cell in enumerate(cells) if cell.page_kib == size)

    huge_pages(domain, {size: None if alike else with_size(size) for size in sizes if size is not None})


def huge_pages(domain: etree._Element, sizes: Mapping[int, str | None]) -> None:
    """Take the guest's memory from huge pages. Each size, in KiB, with the guest cells it is for; None: for all."""
    drop(domain, "memoryBacking/hugepages")
    pages = etree.Element("hugepages")
    child_of(domain, "memoryBacking", DOMAIN).insert(0, pages)
    for size in sorted(sizes):
        page = etree.SubElement(pages, "page", {"size": str(size), "unit": "KiB"})
        nodeset = sizes[size]
        if nodeset is not None:
            page.set("nodeset", nodeset)


def _guest_cpu(domain: etree._Element, tuning: Tuning) -> None:
    """A socket for each cell, as the guest's kernel expects; cells of different sizes have a socket for each core."""
    cpu = child_of(domain, "cpu", DOMAIN)
    drop(cpu, "topology", "numa")
    sizes = [len(cell.vcpus) for cell in tuning.cells]
    sockets = len(sizes) if len(set(sizes)) == 1 else sum(sizes) // tuning.threads
    topology = {
        "sockets": str(sockets),
        "dies": "1",
        "cores": str(sum(sizes) // (sockets * tuning.threads)),
        "threads": str(tuning.threads),
    }
    place(cpu, etree.Element("topology", topology), CPU)
    if tuning.topoext and tuning.threads > 1 and cpu.find("feature[@name='topoext']") is None:
        place(cpu, etree.Element("feature", {"policy": "require", "name": "topoext"}), CPU)
    if len(tuning.cells) > 1:
        numa = place(cpu, etree.Element("numa"), CPU)
        for index, cell in enumerate(tuning.cells):
            numa.append(_cell(index, cell))


def _cell(index: int, cell: GuestCell) -> etree._Element:
    memory = {"memory": str(cell.memory_kib), "unit": "KiB"}
    element = etree.Element("cell", {"id": str(index), "cpus": cpu_list(cell.vcpus)} | memory)
    if cell.distances:
        distances = etree.SubElement(element, "distances")
        for other, distance in enumerate(cell.distances):
            etree.SubElement(distances, "sibling", {"id": str(other), "value": str(distance)})
    return element
