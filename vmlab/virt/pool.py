"""vmlab's own storage pools: `vmlab` for the beds' volumes, `vmlab-images` for the images they are cloned from.

A pool is ours if it lies where we put it, or has our mark: an empty file, made and seen through libvirt, since its
folder may be closed to whoever runs vmlab.
"""

import contextlib
import os
from pathlib import Path

import libvirt
from lxml import etree

from vmlab.domainxml.text import text
from vmlab.domainxml.volume import Volume, volume_xml
from vmlab.errors import HostError
from vmlab.values import identity
from vmlab.virt.connection import Host, missing

BEDS = "vmlab"
IMAGES = "vmlab-images"
MARK = ".vmlab-pool"
_FOLDERS = {BEDS: "beds", IMAGES: "images"}
_PIECE = 262_120  # what libvirt's protocol sends at once
_DEFAULT = Path("/var/lib/libvirt/vmlab")


def folder(name: str) -> Path:
    """Where a pool that does not exist yet is made: below VMLAB_POOL_DIR, else /var/lib/libvirt/vmlab."""
    return Path(os.environ.get("VMLAB_POOL_DIR", _DEFAULT)) / _FOLDERS[name]


def locate(connection: "libvirt.virConnect", name: str) -> "tuple[libvirt.virStoragePool | None, str]":
    """The pool, if it is defined, and its folder, or the one that it will get.

    Raises HostError if a pool of this name is somebody else's.
    """
    try:
        pool = connection.storagePoolLookupByName(name)
    except libvirt.libvirtError as error:
        if missing(error):
            return None, str(folder(name))
        raise
    path = _path(pool, name)
    places = {os.path.realpath(place) for place in (folder(name), _DEFAULT / _FOLDERS[name])}
    if os.path.realpath(path) in places or _is_ours(pool, name):
        return pool, path
    told = f"the storage pool {name} lies in {path}, where vmlab did not put it"
    if not pool.isActive():
        raise HostError(f"{told}, and it is off: nobody can see whose it is", hint=f"virsh pool-start {name}")
    raise HostError(
        f"{told}, and nothing in it says that it is vmlab's: it is left alone",
        hint=f"virsh vol-create-as {name} {MARK} 0, if it is to be vmlab's; if not, it needs another name: "
        f"virsh pool-destroy {name}; virsh pool-undefine {name} (its files stay)",
    )


def find_pool(connection: "libvirt.virConnect", name: str) -> "libvirt.virStoragePool | None":
    """The pool, if it is defined. Raises HostError as `locate` does."""
    return locate(connection, name)[0]


def pool_path(connection: "libvirt.virConnect", name: str) -> str:
    """The folder of a pool, or the one that it will get. Raises HostError as `locate` does."""
    return locate(connection, name)[1]


def _path(pool: "libvirt.virStoragePool", name: str) -> str:
    root = etree.fromstring(pool.XMLDesc())
    if root.get("type") != "dir":
        raise HostError(
            f"the storage pool {name} is of type {root.get('type')}, and vmlab keeps files in it",
            hint=f"rename that pool, or remove it: virsh pool-destroy {name}; virsh pool-undefine {name}",
        )
    return root.findtext("target/path", "")


def _is_ours(pool: "libvirt.virStoragePool", name: str) -> bool:
    """It has our mark, or, from before there were marks, our files."""
    if not pool.isActive():
        return False
    names = {volume.name() for volume in pool.listAllVolumes()}
    if MARK in names:
        return True
    if name == BEDS:
        return any(identity.owner_of(file) is not None for file in names)
    return any(f"{image}.json" in names for file in names if (image := identity.image_of(file)) is not None)


def _mark(pool: "libvirt.virStoragePool") -> None:
    """Wherever pools are put in times to come, this one is known."""
    with contextlib.suppress(libvirt.libvirtError):
        pool.storageVolLookupByName(MARK)
        return
    with contextlib.suppress(libvirt.libvirtError):  # another vmlab was quicker, or the disk is full
        pool.createXML(text(volume_xml(Volume(MARK, 0, "raw"))))


def ensure_pool(host: Host, name: str) -> None:
    """Define and start the pool, and look at its folder again, so that files made by others are seen."""

    def act(connection: "libvirt.virConnect") -> None:
        pool = find_pool(connection, name)
        if pool is None:
            element = etree.Element("pool", {"type": "dir"})
            etree.SubElement(element, "name").text = name
            target = etree.SubElement(element, "target")
            etree.SubElement(target, "path").text = str(folder(name))
            pool = connection.storagePoolDefineXML(etree.tostring(element, encoding="unicode"))
            pool.setAutostart(1)
        if not pool.isActive():
            pool.create(0 if host.simulated else libvirt.VIR_STORAGE_POOL_CREATE_WITH_BUILD)
        elif not host.simulated:
            refresh(pool)
        _mark(pool)

    host.call(act)


def write_volume(pool: "libvirt.virStoragePool", name: str, content: bytes, *, growing: bool = False) -> None:
    """Make a file of this content. One that is `growing` begins empty: until it is whole, its size tells."""
    volume = pool.createXML(text(volume_xml(Volume(name, 0 if growing else len(content), "raw"))))
    stream = pool.connect().newStream()
    volume.upload(stream, 0, len(content))
    sent = 0
    while sent < len(content):
        sent += stream.send(content[sent : sent + _PIECE])
    stream.finish()


def refresh_pool(host: Host, name: str) -> None:
    """See files that others made in the pool's folder, such as console logs, if there is such a pool."""

    def act(connection: "libvirt.virConnect") -> None:
        pool = find_pool(connection, name)
        if pool is not None and pool.isActive():
            if not host.simulated:
                refresh(pool)
            _mark(pool)

    host.call(act)


def refresh(pool: "libvirt.virStoragePool") -> None:
    """Look at the pool's folder again; libvirt refuses that for the moment that it takes to create a volume."""
    from tenacity import (  # noqa: PLC0415  slow to import
        Retrying,
        retry_if_exception_message,
        stop_after_delay,
        wait_fixed,
    )

    patient = Retrying(
        retry=retry_if_exception_message(match=".*asynchronous jobs"),
        wait=wait_fixed(0.05),
        stop=stop_after_delay(30),
        reraise=True,
    )
    patient(pool.refresh)
