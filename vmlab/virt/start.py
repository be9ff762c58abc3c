"""The one door by which a domain starts: its devices are checked, set up and taken, its last console is kept.

Beside it that of a domain whose memory is put back, which goes on instead.
"""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import libvirt

from vmlab.domainxml.read import DomainFacts, read_domain
from vmlab.errors import LibvirtError
from vmlab.inventory.guids import guids_of
from vmlab.inventory.model import HostInventory
from vmlab.plan.starting import VfIdentity, identities
from vmlab.runtime.wait import Deadline
from vmlab.values import identity
from vmlab.virt import sriov
from vmlab.virt.connection import Host
from vmlab.virt.inventory import inventory
from vmlab.virt.kept_consoles import put_aside
from vmlab.virt.machine import Machine, machine_of
from vmlab.virt.passthrough import check_functions, load_vfio, take
from vmlab.virt.pool import BEDS, pool_path
from vmlab.virt.sysfs import Sysfs, sysfs_of

if TYPE_CHECKING:
    from vmlab.values.pci import PciAddress

_TAKE_S = 60.0


def start(host: Host, connection: "libvirt.virConnect", name: str) -> None:
    """Start a defined domain; one that runs is left alone.

    What it needs stands in its definition, so that nobody can forget to bring it. Raises HostError, before anything is
    changed, with every reason why the host cannot give it a function now.
    """
    domain = connection.lookupByName(name)
    if domain.isActive():
        return
    facts = read_domain(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    if facts.hostdevs:
        _take(host, facts)
    _keep_console(host, connection, facts)
    _forget_clone(host, connection, facts)
    try:
        domain.create()
    except libvirt.libvirtError as error:
        if not domain.hasManagedSaveImage():
            raise
        raise LibvirtError(
            f"it does not go on from its saved memory: {error}",
            hint="vmlab up FILE --restart starts it anew, which loses that memory (another QEMU cannot read it)",
        ) from error


def restore(host: Host, connection: "libvirt.virConnect", name: str, file: str) -> None:
    """Start a defined domain with the memory that is in a file of the host; it stands still then.

    One that runs is left alone. Such a domain has no functions of the host: its memory could not have been saved.
    """
    domain = connection.lookupByName(name)
    if domain.isActive():
        return
    _keep_console(host, connection, read_domain(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)))
    connection.restoreFlags(file, None, libvirt.VIR_DOMAIN_SAVE_PAUSED)


def _keep_console(host: Host, connection: "libvirt.virConnect", facts: DomainFacts) -> None:
    if facts.metadata is not None and not host.simulated:
        put_aside(host, connection, facts.metadata)


def _forget_clone(host: Host, connection: "libvirt.virConnect", facts: DomainFacts) -> None:
    """What the clone of a template is made of, of a node that boots instead: it has a past from now on."""
    if facts.metadata is None or host.simulated or not host.local:
        return
    folder, node = Path(pool_path(connection, BEDS)), facts.metadata
    for name in (identity.clone_memory(node.bed, node.node), identity.clone_disk(node.bed, node.node)):
        with contextlib.suppress(PermissionError):
            (folder / name).unlink(missing_ok=True)


def _take(host: Host, facts: DomainFacts) -> None:
    found = inventory(host)
    functions: tuple[PciAddress, ...] = facts.hostdevs
    check_functions(host, found, functions, facts.name)
    sysfs, machine = sysfs_of(host), machine_of(host)
    load_vfio(sysfs, machine)
    for vf in identities(facts, found):
        _set_up(sysfs, machine, found, vf)
    take(host, sysfs, machine, functions, Deadline.after(_TAKE_S))


def _set_up(sysfs: Sysfs, machine: Machine, found: HostInventory, vf: VfIdentity) -> None:
    which = sriov.Vf(vf.pf, vf.number, vf.address)
    if vf.mac is None:
        sriov.set_guids(sysfs, machine, which, guids_of(found.functions[vf.pf], vf.number))
    else:
        wanted = vf.settings
        settings = sriov.EthernetVf(vf.mac, wanted.vlan, wanted.spoof_check, wanted.trust)
        sriov.set_ethernet(sysfs, machine, which, settings)
