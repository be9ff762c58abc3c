"""vmlab's own storage pools: `vmlab` for the beds' volumes, `vmlab-images` for the images they are cloned from."""

import os
from pathlib import Path

import libvirt
from lxml import etree
from tenacity import Retrying, retry_if_exception_message, stop_after_delay, wait_fixed

from vmlab.errors import HostError
from vmlab.virt.connection import Host, missing

BEDS = "vmlab"
IMAGES = "vmlab-images"
_FOLDERS = {BEDS: "beds", IMAGES: "images"}


def folder(name: str) -> Path:
    """Where a pool that does not exist yet is made: below VMLAB_POOL_DIR, else /var/lib/libvirt/vmlab."""
    return Path(os.environ.get("VMLAB_POOL_DIR", "/var/lib/libvirt/vmlab")) / _FOLDERS[name]


def find_pool(connection: "libvirt.virConnect", name: str) -> "libvirt.virStoragePool | None":
    """The pool, if it is defined."""
    try:
        return connection.storagePoolLookupByName(name)
    except libvirt.libvirtError as error:
        if missing(error):
            return None
        raise


def pool_path(connection: "libvirt.virConnect", name: str) -> str:
    """The folder of a pool, or the one that it will get."""
    pool = find_pool(connection, name)
    if pool is None:
        return str(folder(name))
    root = etree.fromstring(pool.XMLDesc())
    if root.get("type") != "dir":
        raise HostError(
            f"the storage pool {name} is of type {root.get('type')}, and vmlab keeps files in it",
            hint=f"rename that pool, or remove it: virsh pool-destroy {name}; virsh pool-undefine {name}",
        )
    return root.findtext("target/path", "")


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

    host.call(act)


def refresh_pool(host: Host, name: str) -> None:
    """See files that others made in the pool's folder, such as console logs, if there is such a pool."""

    def act(connection: "libvirt.virConnect") -> None:
        pool = find_pool(connection, name)
        if pool is not None and pool.isActive() and not host.simulated:
            refresh(pool)

    host.call(act)


def refresh(pool: "libvirt.virStoragePool") -> None:
    """Look at the pool's folder again; libvirt refuses that for the moment that it takes to create a volume."""
    patient = Retrying(
        retry=retry_if_exception_message(match=".*asynchronous jobs"),
        wait=wait_fixed(0.05),
        stop=stop_after_delay(30),
        reraise=True,
    )
    patient(pool.refresh)
