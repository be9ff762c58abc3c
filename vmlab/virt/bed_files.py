"""The names of the beds' files, in their pool and in folders on storage that hosts share."""

import libvirt

from vmlab.values import identity
from vmlab.virt.connection import Host, missing
from vmlab.virt.pool import BEDS, find_pool, refresh_pool
from vmlab.virt.shared_folder import folders, refresh_folders


def refresh_files(host: Host, bed: str) -> None:
    """See files of the bed that others made, such as console logs. Raises HostError where a folder of it is away."""
    refresh_pool(host, BEDS)
    refresh_folders(host, bed)


def files_of_beds(host: Host) -> list[str]:
    """Those of all users; no directory's."""

    def act(connection: "libvirt.virConnect") -> list[str]:
        volumes = (volume for pool in _pools(connection) for volume in pool.listAllVolumes())
        ours = (volume for volume in volumes if identity.owner_of(volume.name()) is not None)
        return [volume.name() for volume in ours if _is_file(volume)]

    return host.call(act)


def names_of(host: Host, bed: str) -> frozenset[str]:
    """Those of a bed, as libvirt saw them last."""

    def act(connection: "libvirt.virConnect") -> list[str]:
        return [name for pool in _pools(connection, bed) for name in pool.listVolumes()]

    found = ((name, identity.owner_of(name)) for name in host.call(act) if name.startswith(f"{bed}."))
    return frozenset(name for name, owner in found if owner is not None and owner.bed == bed)


def beds_with_folders(host: Host) -> list[str]:
    """The beds that have such folders, as long as anything of these is left."""
    return host.call(lambda connection: [found.bed for _, found in folders(connection)])


def _pools(connection: "libvirt.virConnect", bed: str = "") -> "list[libvirt.virStoragePool]":
    """The beds' and the folders', as far as they are on."""
    pool = find_pool(connection, BEDS)
    beds = [pool] if pool is not None and pool.isActive() else []
    return [*beds, *(pool for pool, found in folders(connection, bed) if found.active)]


def _is_file(volume: "libvirt.virStorageVol") -> bool:
    try:
        return bool(volume.info()[0] == libvirt.VIR_STORAGE_VOL_FILE)
    except libvirt.libvirtError as error:
        if missing(error):
            return False
        raise
