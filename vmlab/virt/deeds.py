"""How each action is done to libvirt. It looks first whether it is already so, so that doing it twice is harmless."""

import hashlib
from functools import singledispatch
from pathlib import Path

import libvirt

from vmlab.domainxml.live import placed_disk
from vmlab.domainxml.network import network_xml
from vmlab.domainxml.text import text
from vmlab.domainxml.volume import Volume, volume_xml
from vmlab.errors import HostError
from vmlab.inventory.passable import idle_on_vfio, stranded
from vmlab.inventory.vfs import plan_vfs
from vmlab.plan.actions import (
    Action,
    AttachDisk,
    CreateFolder,
    CreateNetwork,
    CreateVfs,
    CreateVolume,
    DefineDomain,
    DiscardMemory,
    EndExport,
    ExportVolume,
    JoinNetwork,
    LeaveNetwork,
    RemoveFolder,
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
from vmlab.runtime.wait import Deadline
from vmlab.values import identity
from vmlab.virt import overlay, shared_folder, sriov
from vmlab.virt.borrowed import Notes
from vmlab.virt.connection import Host, gone_is_fine, missing
from vmlab.virt.export import end_export, export
from vmlab.virt.inventory import inventory
from vmlab.virt.machine import machine_of
from vmlab.virt.passthrough import give_back
from vmlab.virt.pool import BEDS, find_pool, refresh, write_volume
from vmlab.virt.start import start
from vmlab.virt.sysfs import sysfs_of

_CREATE_S = 180.0  # operators in the field wait two minutes for the links of many VFs
_LIST_S = 60.0

_UNDEFINE = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
)
# The test driver knows no NVRAM and no checkpoints, and refuses their flags.
_UNDEFINE_SIMULATED = libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA


class Place:
    """Where actions are done over one connection."""

    def __init__(self, host: Host, connection: "libvirt.virConnect") -> None:
        self.host = host
        self.connection = connection
        self._pool: libvirt.virStoragePool | None = None
        self._domain: tuple[str, libvirt.virDomain] | None = None

    @property
    def pool(self) -> "libvirt.virStoragePool":
        """The beds' pool, shown to be ours when it is first needed; from then on libvirt takes it by its UUID.

        Raises HostError if it is gone, or somebody else's.
        """
        if self._pool is None:
            self._pool = find_pool(self.connection, BEDS)
        if self._pool is None:
            raise HostError(f"the storage pool {BEDS} is gone", hint="run `vmlab up` again, it makes the pool")
        return self._pool

    def domain(self, name: str) -> "libvirt.virDomain":
        """The node's domain, by its UUID: whoever took the name since we looked is somebody else.

        The next action of a lane has the same, and libvirt finds it by its UUID again with each call.
        """
        last = self._domain  # other threads have other lanes
        if last is None or last[0] != name:
            uuid = identity.domain_uuid(*_parts(name))
            last = self._domain = name, self.connection.lookupByUUIDString(uuid)
        return last[1]


class Places:
    """A host's place for all calls over a connection: whose the pool is, is asked once, not in each call."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._last: Place | None = None

    def over(self, connection: "libvirt.virConnect") -> Place:
        """The place, another one if libvirtd went away in between."""
        place = self._last
        if place is None or place.connection is not connection:
            place = self._last = Place(self.host, connection)
        return place


@singledispatch
def act(action: Action, _place: Place) -> None:
    """Do `action`. Raises libvirtError, or HostError where the host lacks what it needs."""
    raise NotImplementedError(action.kind)


@act.register
def _create_network(action: CreateNetwork, place: Place) -> None:
    network = place.connection.networkDefineXML(text(network_xml(action.network)))
    network.setAutostart(1)
    if not network.isActive():
        network.create()


@act.register
def _start_network(action: StartNetwork, place: Place) -> None:
    network = place.connection.networkLookupByName(action.name)
    if not network.isActive():
        network.create()


@act.register
def _remove_network(action: RemoveNetwork, place: Place) -> None:
    with gone_is_fine():
        # By its UUID: whoever took the name since we looked is somebody else.
        network = place.connection.networkLookupByUUIDString(identity.network_uuid(*_parts(action.name)))
        if network.isActive():
            network.destroy()
        network.undefine()


@act.register
def _join_network(action: JoinNetwork, place: Place) -> None:
    if not place.host.simulated:
        overlay.join(place.host, action.overlay)


@act.register
def _leave_network(action: LeaveNetwork, place: Place) -> None:
    overlay.leave(place.host, action.link)


@act.register
def _create_folder(action: CreateFolder, place: Place) -> None:
    shared_folder.make(place.host, place.connection, action.name, action.path)


@act.register
def _remove_folder(action: RemoveFolder, place: Place) -> None:
    shared_folder.remove(place.host, place.connection, action.name)


@act.register
def _create_volume(action: CreateVolume, place: Place) -> None:
    folder = action.volume.folder
    pool = shared_folder.folder(place.connection, folder) if folder else place.pool
    try:
        pool.storageVolLookupByName(action.name)
    except libvirt.libvirtError as error:
        if not missing(error):
            raise
        pool.createXML(text(volume_xml(action.volume)))


@act.register
def _export_volume(action: ExportVolume, place: Place) -> None:
    if not place.host.simulated:
        end_export(place.host, action.name)  # done twice, the first one would be in the way
        export(place.host, action.name, place.pool.storageVolLookupByName(action.name).path(), action.place)


@act.register
def _end_export(action: EndExport, place: Place) -> None:
    end_export(place.host, action.name)


@act.register
def _write_file(action: WriteFile, place: Place) -> None:
    """The copy begins empty and grows, so that one that was cut off is known by its size."""
    try:
        content = Path(action.source).read_bytes()
    except OSError as error:
        raise HostError(f"{action.source}: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != action.digest:
        raise HostError(f"{action.source} was changed a moment ago", hint="run `vmlab up` again when it is built")
    pool = place.pool
    with gone_is_fine():
        pool.storageVolLookupByName(action.name).delete()
    if place.host.simulated:
        pool.createXML(text(volume_xml(Volume(action.name, len(content), "raw"))))
    else:
        write_volume(pool, action.name, content, growing=True)
        refresh(pool)  # libvirt has the size of before


@act.register
def _remove_volume(action: RemoveVolume, place: Place) -> None:
    with gone_is_fine():
        place.pool.storageVolLookupByName(action.name).delete()
    if (filesystem := identity.filesystem_of(action.name)) is not None:
        with gone_is_fine():
            bed, _ = _parts(action.name)
            shared = shared_folder.folder(place.connection, identity.folder_name(bed, filesystem))
            if shared.isActive():
                shared.storageVolLookupByName(action.name).delete()


@act.register
def _define_domain(action: DefineDomain, place: Place) -> None:
    # Without the uuid in place libvirt would take another domain of that name for ours; it refuses that by itself.
    place.connection.defineXMLFlags(action.xml, 0 if place.host.simulated else libvirt.VIR_DOMAIN_DEFINE_VALIDATE)


@act.register
def _take_devices(_action: TakeDevices, _place: Place) -> None:
    """Told in the plan, and done by the start that follows: nothing starts without it."""


@act.register
def _return_devices(action: ReturnDevices, place: Place) -> None:
    """libvirt has done it if all went well. What another domain runs with by now is not ours any more."""
    sysfs, found = sysfs_of(place.host), inventory(place.host)
    for function in (*stranded(found), *idle_on_vfio(found)):
        if function.address in action.functions:
            give_back(place.host, sysfs, function.address)


@act.register
def _create_vfs(action: CreateVfs, place: Place) -> None:
    plan = plan_vfs(inventory(place.host), action.pf, action.count, at_least=True, bed=action.bed)
    made = sriov.create(sysfs_of(place.host), plan, Deadline.after(_CREATE_S), notes=Notes.of(machine_of(place.host)))
    sriov.await_listed(place.host, made, Deadline.after(_LIST_S))


@act.register
def _start_domain(action: StartDomain, place: Place) -> None:
    start(place.host, place.connection, action.name)


@act.register
def _stop_domain(action: StopDomain, place: Place) -> None:
    with gone_is_fine():
        _destroy(place.domain(action.name))


@act.register
def _attach_disk(action: AttachDisk, place: Place) -> None:
    domain = place.domain(action.name)
    if place.host.simulated:  # it knows no plugging in
        return
    if (xml := placed_disk(action.xml, domain.XMLDesc())) is not None:
        domain.attachDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_LIVE)


@act.register
def _set_memory(action: SetMemory, place: Place) -> None:
    place.domain(action.name).setMemoryFlags(action.kib, libvirt.VIR_DOMAIN_AFFECT_LIVE)


@act.register
def _discard_memory(action: DiscardMemory, place: Place) -> None:
    with gone_is_fine():
        domain = place.domain(action.name)
        if domain.hasManagedSaveImage():  # one in a file is worthless after the next start
            domain.managedSaveRemove()


@act.register
def _undefine_domain(action: UndefineDomain, place: Place) -> None:
    with gone_is_fine():
        place.domain(action.name).undefineFlags(_UNDEFINE_SIMULATED if place.host.simulated else _UNDEFINE)


def _parts(name: str) -> tuple[str, str]:
    """The bed, and the node or fabric, of a domain's or network's name."""
    bed, _, rest = name.partition(".")
    return bed, rest


def _destroy(domain: "libvirt.virDomain") -> None:
    """Take the power away. libvirt returns when QEMU is gone, and raises if it could not be killed."""
    try:
        domain.destroy()
    except libvirt.libvirtError:
        if domain.isActive():  # otherwise it is off already
            raise


@act.register
def _write_seed(action: WriteSeed, place: Place) -> None:
    """Write the seed anew: a half-written one of a killed run has no mark that would tell."""
    pool, content = place.pool, iso(action.documents, action.archive)
    with gone_is_fine():
        pool.storageVolLookupByName(action.name).delete()
    if place.host.simulated:  # no bytes are behind its volumes
        pool.createXML(text(volume_xml(Volume(action.name, len(content), "raw"))))
    else:
        write_volume(pool, action.name, content)
