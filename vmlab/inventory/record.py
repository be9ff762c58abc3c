"""A host from a record of it: the texts that plain virsh prints there, by file name.

    capabilities.xml        virsh capabilities
    nodedev/*.xml           virsh nodedev-dumpxml, of each PCI and net device, and of vDPA and mediated ones
    domains/*.xml           virsh dumpxml, of each domain; of a running one also --inactive under another name
    facts.json              optional, what virsh does not print: see `facts`

Only the first must be there. A live host is read in the same way, so what is planned from its record is what is
planned on it; only what is free at this moment comes on top, by `with_free`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from vmlab.errors import HostError
from vmlab.inventory.capabilities import read_capabilities
from vmlab.inventory.claims import read_claims
from vmlab.inventory.facts import FILE as FACTS
from vmlab.inventory.facts import Facts, read_facts, with_facts
from vmlab.inventory.model import HostInventory, PagePool, PciFunction
from vmlab.inventory.nodedev import read_nodedevs
from vmlab.inventory.ports import counted
from vmlab.values.pci import PciAddress

CAPABILITIES, NODEDEV, DOMAINS = "capabilities.xml", "nodedev/", "domains/"


def read_record(name: str, files: Mapping[str, str], facts: Facts | None = None) -> HostInventory:
    """The host called `name`; files of other names are passed over. What is free now is not known: None.

    `facts` are used instead of facts.json.

    Raises HostError, naming the file, for what is missing or cannot be understood.
    """
    if CAPABILITIES not in files:
        raise HostError(f"the record of the host {name} has no {CAPABILITIES}", hint="vmlab host capture DIR")
    if facts is None:
        facts = read_facts(files[FACTS]) if FACTS in files else Facts()
    told = read_capabilities(files[CAPABILITIES], memory_kib=facts.memory_kib)
    functions = _needed_through(_counted(with_facts(read_nodedevs(_in(files, NODEDEV)), facts)))
    return HostInventory(
        name=name,
        arch=told.arch,
        cells=told.cells,
        functions=functions,
        claims=read_claims(_in(files, DOMAINS), told.cells, _by_name(functions)),
        no_iommu=_no_iommu(functions.values(), iommu=told.iommu),
        cpu_vendor=told.cpu_vendor,
        isolated=facts.isolated_cpus,
        guest_cpus=facts.guest_cpus,
    )


def with_free(
    inventory: HostInventory, available_kib: Mapping[int, int], free_pages: Mapping[int, Mapping[int, int]]
) -> HostInventory:
    """The host with what is free now: KiB of ordinary memory by cell; numbers of huge pages by cell and size in KiB."""
    return replace(
        inventory,
        cells=tuple(
            replace(
                cell,
                available_kib=available_kib.get(cell.id),
                huge={
                    size: PagePool(size, pool.total, free_pages.get(cell.id, {}).get(size))
                    for size, pool in cell.huge.items()
                },
            )
            for cell in inventory.cells
        ),
    )


def _in(files: Mapping[str, str], folder: str) -> Mapping[str, str]:
    return {name: files[name] for name in sorted(files) if name.startswith(folder) and name.endswith(".xml")}


def _counted(functions: Mapping[PciAddress, PciFunction]) -> Mapping[PciAddress, PciFunction]:
    return {address: replace(f, ports=counted(f.ports, f.generation)) for address, f in functions.items()}


def _by_name(functions: Mapping[PciAddress, PciFunction]) -> Mapping[str, PciAddress]:
    """The functions by all that domains may call what is on them."""
    return {
        name: address
        for address, function in functions.items()
        for name in (*function.names, *(port.interface for port in function.ports if port.interface is not None))
    }


def _needed_through(functions: Mapping[PciAddress, PciFunction]) -> Mapping[PciAddress, PciFunction]:
    """A physical function is needed if one of its virtual functions is."""
    needed = dict(functions)
    for function in functions.values():
        physical = needed.get(function.physical_function) if function.physical_function is not None else None
        if physical is not None and function.used_by is not None and physical.used_by is None:
            reason = f"its virtual function {function.address}: {function.used_by}"
            needed[physical.address] = replace(physical, used_by=reason)
    return needed


def _no_iommu(functions: Iterable[PciFunction], *, iommu: bool | None) -> str | None:
    """libvirt says so, or is too old to (before 4.7) and shows no IOMMU group."""
    if iommu or (iommu is None and any(function.iommu_group is not None for function in functions)):
        return None
    return "its IOMMU is off or missing: switch it on in the firmware, and boot with intel_iommu=on (Intel)"
