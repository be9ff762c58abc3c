"""Folders on storage that hosts share, as pools of libvirt's on the host that made them: `plan.shared` says why.

A pool is ours by its name and UUID together. It is set to start with its host when its folder is there, and no more as
soon as that is about to go.
"""

import errno
from collections.abc import Iterable, Iterator

import libvirt
from lxml import etree

from vmlab.domainxml.text import text
from vmlab.errors import HostError
from vmlab.plan.observed import ObservedFolder
from vmlab.values import identity
from vmlab.virt.connection import Host, gone_is_fine, missing
from vmlab.virt.pool import refresh

_REMOVE_S = 300.0

Found = tuple["libvirt.virStoragePool", ObservedFolder]


def folders(connection: "libvirt.virConnect", bed: str = "") -> Iterator[Found]:
    """Those of a bed, or of all."""
    return ours(connection.listAllStoragePools(), bed)


def ours(pools: Iterable["libvirt.virStoragePool"], bed: str = "") -> Iterator[Found]:
    """Those of a bed, or of all, among these pools."""
    for pool in pools:
        owner, dot, filesystem = pool.name().partition(".")
        if dot and bed in ("", owner) and pool.UUIDString() == identity.folder_uuid(owner, filesystem):
            with gone_is_fine():
                path = etree.fromstring(pool.XMLDesc()).findtext("target/path", "")
                yield pool, ObservedFolder(owner, filesystem, path, bool(pool.autostart()), bool(pool.isActive()))


def folder(connection: "libvirt.virConnect", name: str) -> "libvirt.virStoragePool":
    """The pool of that name, by its UUID: whoever took the name since we looked is somebody else."""
    bed, _, filesystem = name.partition(".")
    return connection.storagePoolLookupByUUIDString(identity.folder_uuid(bed, filesystem))


def refresh_folders(host: Host, bed: str) -> None:
    """See what others made or removed in a bed's folders. Raises HostError for one that is not there any more."""

    def act(connection: "libvirt.virConnect") -> None:
        for pool, found in folders(connection, bed):
            if host.simulated:
                continue
            if found.active:
                refresh(pool)
            elif found.whole:
                _start(host, pool, found)

    host.call(act)


def _start(host: Host, pool: "libvirt.virStoragePool", found: ObservedFolder) -> None:
    try:
        pool.create(0)
    except libvirt.libvirtError as error:
        raise HostError(
            f"{found.path}, which has disks of {found.bed}, is not there on {host.name}: {error.get_error_message()}",
            hint=f"mount what it lies in; if that is no more: virsh pool-undefine {found.name}",
        ) from error


def make(host: Host, connection: "libvirt.virConnect", name: str, path: str) -> None:
    """Make a folder, or what is left of that. Raises libvirtError."""
    try:
        pool = folder(connection, name)
    except libvirt.libvirtError as error:
        if not missing(error):
            raise
        element = etree.Element("pool", {"type": "dir"})
        etree.SubElement(element, "name").text = name
        bed, _, filesystem = name.partition(".")
        etree.SubElement(element, "uuid").text = identity.folder_uuid(bed, filesystem)
        etree.SubElement(etree.SubElement(element, "target"), "path").text = path
        pool = connection.storagePoolDefineXML(text(element))
    if not pool.isActive():
        if not host.simulated:
            pool.build(0)
        pool.create(0)
    pool.setAutostart(1)


def remove_volume(host: Host, connection: "libvirt.virConnect", name: str, volume: str) -> None:
    """Remove a file from a folder; where it is not, or the folder is not on, that is fine. Raises HostError."""
    from vmlab.virt.machine import machine_of  # noqa: PLC0415  slow to import

    with gone_is_fine():
        pool = folder(connection, name)
        if not pool.isActive():
            return
        found = pool.storageVolLookupByName(volume)
        if host.simulated:
            found.delete()
            return
        # By NFS libvirt does it as the file's owner, QEMU's user, whose the folder is not.
        done = machine_of(host).run(("rm", "-f", "--", found.path()), deadline_s=_REMOVE_S)
        if not done.ok:
            raise HostError(f"{host.name}: {done.last_line}", hint=f"ls -l {found.path()}; then the same again")


def remove(host: Host, connection: "libvirt.virConnect", name: str) -> None:
    """Remove an empty folder. Raises HostError, and leaves it, where others' files are in it."""
    with gone_is_fine():
        pool = folder(connection, name)
        path = etree.fromstring(pool.XMLDesc()).findtext("target/path", "")
        pool.setAutostart(0)
        if pool.isActive():
            pool.destroy()
        try:
            pool.delete(0)
        except libvirt.libvirtError as error:
            if not host.simulated and error.get_int1() != errno.ENOENT:
                raise HostError(
                    f"{host.name}: the folder {path} is left: {error.get_error_message()}",
                    hint=f"ls -A {path}: what is not vmlab's is yours to move; then the same again",
                ) from error
        pool.undefine()
