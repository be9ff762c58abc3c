"""Do one action to libvirt. Each looks first whether it is already so, so that doing it twice is harmless."""

import hashlib
from functools import singledispatch
from pathlib import Path

import libvirt

from vmlab.domainxml.live import placed_disk
from vmlab.domainxml.network import network_xml
from vmlab.domainxml.text import text
from vmlab.domainxml.volume import Volume, volume_xml
from vmlab.errors import HostError, LibvirtError
from vmlab.inventory.passable import idle_on_vfio, stranded
from vmlab.inventory.vfs import plan_vfs
from vmlab.plan.actions import (
    Action,
    AttachDisk,
    CreateNetwork,
    CreateVfs,
    CreateVolume,
    DefineDomain,
    DiscardMemory,
    RemoveNetwork,
    RemoveVolume,
    ReturnDevices,
    SetMemory,
    StartDomain,
    StartNetwork,
    StopDomain,
    TakeDevices,
    UndefineDomain,
    WriteFile,
    WriteSeed,
)
from vmlab.runtime.iso import iso
from vmlab.runtime.log import log
from vmlab.runtime.wait import Deadline
from vmlab.values import identity
from vmlab.virt import sriov
from vmlab.virt.borrowed import Notes
from vmlab.virt.connection import CALL_S, Host, gone_is_fine, missing
from vmlab.virt.inventory import inventory
from vmlab.virt.machine import machine_of
from vmlab.virt.passthrough import give_back
from vmlab.virt.pool import BEDS, find_pool, refresh, write_volume
from vmlab.virt.start import start
from vmlab.virt.sysfs import sysfs_of

_CREATE_S = 180.0  # operators in the field wait two minutes for the links of many VFs
_LIST_S = 60.0
_LONG_S = 900.0  # a start locks all memory of a guest with devices, page by page

_UNDEFINE = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
)
# The test driver knows no NVRAM and no checkpoints, and refuses their flags.
_UNDEFINE_SIMULATED = libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA


def perform(host: Host, action: Action) -> None:
    """Do `action`.

    Raises LibvirtError naming the object, or HostError where the host lacks what it needs.
    """
    log.debug("%s %s (%s)", action.kind, action.name, action.reason)
    try:
        limit_s = _LONG_S if isinstance(action, StartDomain | CreateVfs) else CALL_S
        host.call(lambda connection: _perform(action, host, connection), deadline_s=limit_s)
    except LibvirtError as error:
        raise _explained(action, error) from error


def _explained(action: Action, error: LibvirtError) -> LibvirtError | HostError:
    message = f"{action.kind} {action.name}: {error.message.removeprefix('libvirt: ')}"
    if error.hint:
        return LibvirtError(message, hint=error.hint)
    if "No space left" in error.message:
        return HostError(message, hint="df -h; `vmlab gc` lists what belongs to no bed")
    if "Permission denied" in error.message and "virtio-9p" in error.message:
        hint = "by 9p QEMU opens a shared folder as the guests' user: let all go there and read, or install virtiofsd"
        return HostError(message, hint=hint)
    if "Permission denied" in error.message:
        return HostError(message, hint="vmlab host check")
    return LibvirtError(message)


@singledispatch
def _perform(action: Action, host: Host, connection: "libvirt.virConnect") -> None:
    raise NotImplementedError(action.kind)


@_perform.register
def _create_network(action: CreateNetwork, _host: Host, connection: "libvirt.virConnect") -> None:
    network = connection.networkDefineXML(text(network_xml(action.network)))
    network.setAutostart(1)
    if not network.isActive():
        network.create()


@_perform.register
def _start_network(action: StartNetwork, _host: Host, connection: "libvirt.virConnect") -> None:
    network = connection.networkLookupByName(action.name)
    if not network.isActive():
        network.create()


@_perform.register
def _remove_network(action: RemoveNetwork, _host: Host, connection: "libvirt.virConnect") -> None:
    with gone_is_fine():
        # By its UUID: whoever took the name since we looked is somebody else.
        network = connection.networkLookupByUUIDString(str(identity.network_uuid(*_parts(action.name))))
        if network.isActive():
            network.destroy()
        network.undefine()


@_perform.register
def _create_volume(action: CreateVolume, _host: Host, connection: "libvirt.virConnect") -> None:
    pool = _pool(connection)
    try:
        pool.storageVolLookupByName(action.name)
    except libvirt.libvirtError as error:
        if not missing(error):
            raise
        pool.createXML(text(volume_xml(action.volume)))


@_perform.register
def _write_file(action: WriteFile, host: Host, connection: "libvirt.virConnect") -> None:
    """The copy begins empty and grows, so that one that was cut off is known by its size."""
    try:
        content = Path(action.source).read_bytes()
    except OSError as error:
        raise HostError(f"{action.source}: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != action.digest:
        raise HostError(f"{action.source} was changed a moment ago", hint="run `vmlab up` again when it is built")
    pool = _pool(connection)
    with gone_is_fine():
        pool.storageVolLookupByName(action.name).delete()
    if host.simulated:
        pool.createXML(text(volume_xml(Volume(action.name, len(content), "raw"))))
    else:
        write_volume(pool, action.name, content, growing=True)
        refresh(pool)  # libvirt has the size of before


@_perform.register
def _remove_volume(action: RemoveVolume, _host: Host, connection: "libvirt.virConnect") -> None:
    with gone_is_fine():
        _pool(connection).storageVolLookupByName(action.name).delete()


@_perform.register
def _define_domain(action: DefineDomain, host: Host, connection: "libvirt.virConnect") -> None:
    # Without the uuid in place libvirt would take another domain of that name for ours; it refuses that by itself.
    connection.defineXMLFlags(action.xml, 0 if host.simulated else libvirt.VIR_DOMAIN_DEFINE_VALIDATE)


@_perform.register
def _take_devices(_action: TakeDevices, _host: Host, _connection: "libvirt.virConnect") -> None:
    """Told in the plan, and done by the start that follows: nothing starts without it."""


@_perform.register
def _return_devices(action: ReturnDevices, host: Host, _connection: "libvirt.virConnect") -> None:
    """libvirt has done it if all went well. What another domain runs with by now is not ours any more."""
    sysfs, found = sysfs_of(host), inventory(host)
    for function in (*stranded(found), *idle_on_vfio(found)):
        if function.address in action.functions:
            give_back(host, sysfs, function.address)


@_perform.register
def _create_vfs(action: CreateVfs, host: Host, _connection: "libvirt.virConnect") -> None:
    plan = plan_vfs(inventory(host), action.pf, action.count, at_least=True, bed=action.bed)
    made = sriov.create(sysfs_of(host), plan, Deadline.after(_CREATE_S), notes=Notes.of(machine_of(host)))
    sriov.await_listed(host, made, Deadline.after(_LIST_S))


@_perform.register
def _start_domain(action: StartDomain, host: Host, connection: "libvirt.virConnect") -> None:
    start(host, connection, action.name)


@_perform.register
def _stop_domain(action: StopDomain, _host: Host, connection: "libvirt.virConnect") -> None:
    with gone_is_fine():
        domain = _own(connection, action.name)
        if domain.isActive():
            _destroy(domain)


@_perform.register
def _attach_disk(action: AttachDisk, host: Host, connection: "libvirt.virConnect") -> None:
    domain = _own(connection, action.name)
    if host.simulated:  # it knows no plugging in
        return
    if (xml := placed_disk(action.xml, domain.XMLDesc())) is not None:
        domain.attachDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_LIVE)


@_perform.register
def _set_memory(action: SetMemory, _host: Host, connection: "libvirt.virConnect") -> None:
    _own(connection, action.name).setMemoryFlags(action.kib, libvirt.VIR_DOMAIN_AFFECT_LIVE)


@_perform.register
def _discard_memory(action: DiscardMemory, _host: Host, connection: "libvirt.virConnect") -> None:
    with gone_is_fine():
        domain = _own(connection, action.name)
        if domain.hasManagedSaveImage():  # one in a file is worthless after the next start
            domain.managedSaveRemove()


@_perform.register
def _undefine_domain(action: UndefineDomain, host: Host, connection: "libvirt.virConnect") -> None:
    with gone_is_fine():
        _own(connection, action.name).undefineFlags(_UNDEFINE_SIMULATED if host.simulated else _UNDEFINE)


def _own(connection: "libvirt.virConnect", name: str) -> "libvirt.virDomain":
    """The node's domain, by its UUID: whoever took the name since we looked is somebody else."""
    return connection.lookupByUUIDString(str(identity.domain_uuid(*_parts(name))))


def _parts(name: str) -> tuple[str, str]:
    """The bed, and the node or fabric, of a domain's or network's name."""
    bed, _, rest = name.partition(".")
    return bed, rest


def _destroy(domain: "libvirt.virDomain") -> None:
    """Take the power away. libvirt returns when QEMU is gone, and raises if it could not be killed."""
    try:
        domain.destroy()
    except libvirt.libvirtError:
        if domain.isActive():  # otherwise it went off by itself in between
            raise


@_perform.register
def _write_seed(action: WriteSeed, host: Host, connection: "libvirt.virConnect") -> None:
    """Write the seed anew: a half-written one of a killed run has no mark that would tell."""
    pool, content = _pool(connection), iso(action.documents)
    with gone_is_fine():
        pool.storageVolLookupByName(action.name).delete()
    if host.simulated:  # no bytes are behind its volumes
        pool.createXML(text(volume_xml(Volume(action.name, len(content), "raw"))))
    else:
        write_volume(pool, action.name, content)


def _pool(connection: "libvirt.virConnect") -> "libvirt.virStoragePool":
    pool = find_pool(connection, BEDS)
    if pool is None:
        raise HostError(f"the storage pool {BEDS} is gone", hint="run `vmlab up` again, it makes the pool")
    return pool
