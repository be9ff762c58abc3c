"""A host's inventory, from its libvirt and the few files of its sysfs that libvirt does not tell."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple
from weakref import WeakKeyDictionary

import libvirt

from vmlab.domainxml.metadata import not_understood
from vmlab.inventory import sysfs as sysfs_texts
from vmlab.inventory.facts import Facts, with_use
from vmlab.inventory.model import Cell, HostInventory
from vmlab.inventory.record import CAPABILITIES, DOMAINS, NODEDEV, read_record, with_free
from vmlab.runtime.log import log
from vmlab.runtime.shared import Shared
from vmlab.virt.connection import Host, missing
from vmlab.virt.host_use import read_host_use
from vmlab.virt.machine import Machine, machine_of
from vmlab.virt.sysfs import sysfs_of

_DEVICES = (
    libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV
    | libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_NET
    | libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_MDEV
    | libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_VDPA
)
# What the drivers say that cannot tell: the test driver of domains, a cell without pages of a size.
_UNTOLD = (libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_OPERATION_FAILED, libvirt.VIR_ERR_INVALID_ARG)

_SLICE = "systemctl show --property AllowedCPUs --value machine.slice 2>/dev/null || :"
_ASK_S = 30.0


class Record(NamedTuple):
    """What was read of a host: libvirt's texts by file name, and the facts besides. `available_kib` by cell."""

    files: Mapping[str, str]
    facts: Facts
    available_kib: Mapping[int, int]


_shared: WeakKeyDictionary[Host, Shared[HostInventory]] = WeakKeyDictionary()


def inventory(host: Host) -> HostInventory:
    """The host as it is now. Raises HostError for what cannot be read or understood.

    Threads that start guests at once share one: it may take seconds, and so would each start.
    """
    return _shared.setdefault(host, Shared())(lambda: _inventory(host))


def _inventory(host: Host) -> HostInventory:
    record = read_host(host)
    found = read_record(host.name, record.files, record.facts)
    for claim in found.claims:
        if claim.unreadable:
            log.warning("%s", not_understood(f"domain {claim.domain}", claim.unreadable))
    free_pages = host.call(lambda connection: _free_pages(connection, found.cells))
    available = record.available_kib or host.call(lambda connection: _free_memory(connection, found.cells))
    return with_free(found, available, free_pages)


def read_host(host: Host) -> Record:
    """The host's record; libvirt's test driver has neither a sysfs nor a kernel."""
    files = host.call(_files)
    memory_kib = host.call(lambda connection: int(connection.getInfo()[1]) * 1024)
    if host.simulated:
        return Record(files, Facts(memory_kib), {})
    sysfs = sysfs_of(host)
    texts = sysfs.read_many(sysfs_texts.PATTERNS)
    use = read_host_use(machine_of(host), sysfs)
    devices = with_use(sysfs_texts.read_devices(texts), use.used_by, use.broken, use.opened_by)
    facts = Facts(
        memory_kib, devices, sysfs_texts.isolated_cpus(texts), sysfs_texts.guest_cpus(texts, _slice(machine_of(host)))
    )
    return Record(files, facts, sysfs_texts.available_kib(texts))


def _slice(machine: Machine) -> str:
    """The CPUs that systemd gives to guests; the cgroup that shows it is only there once a guest has run."""
    return machine.run(("sh", "-c", _SLICE), deadline_s=_ASK_S).stdout


def _files(connection: "libvirt.virConnect") -> dict[str, str]:
    return {
        CAPABILITIES: str(connection.getCapabilities()),
        **dict(_nodedevs(connection)),
        **dict(_domains(connection)),
    }


def _nodedevs(connection: "libvirt.virConnect") -> Iterator[tuple[str, str]]:
    for device in connection.listAllDevices(_DEVICES):
        try:
            yield f"{NODEDEV}{device.name()}.xml", str(device.XMLDesc())
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_NODE_DEVICE:  # it went away while we looked
                raise


def _domains(connection: "libvirt.virConnect") -> Iterator[tuple[str, str]]:
    """Each domain as it runs, or as it is defined; both where it runs and is defined."""
    for domain in connection.listAllDomains():
        try:
            name, active = domain.name(), bool(domain.isActive())
            yield f"{DOMAINS}{name}.xml", str(domain.XMLDesc())
            if active and domain.isPersistent():
                yield f"{DOMAINS}{name}.inactive.xml", str(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
        except libvirt.libvirtError as error:
            if not missing(error):
                raise


def _free_pages(connection: "libvirt.virConnect", cells: Iterable[Cell]) -> dict[int, dict[int, int]]:
    """Free huge pages by cell and size in KiB; what libvirt does not tell is missing."""
    found: dict[int, dict[int, int]] = {}
    for cell in cells:
        if cell.huge:
            try:
                told = connection.getFreePages(list(cell.huge), cell.id, 1, 0)
            except libvirt.libvirtError as error:
                if error.get_error_code() not in _UNTOLD:
                    raise
            else:
                found |= told
    return found


def _free_memory(connection: "libvirt.virConnect", cells: Iterable[Cell]) -> dict[int, int]:
    """Free KiB by cell where no sysfs tells: without the page cache that the kernel would give up."""
    found: dict[int, int] = {}
    for cell in cells:
        try:
            found[cell.id] = int(connection.getMemoryStats(cell.id)["free"])
        except libvirt.libvirtError as error:
            if error.get_error_code() not in _UNTOLD:
                raise
    return found
