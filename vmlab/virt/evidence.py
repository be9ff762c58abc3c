"""What the host has of a guest: its domain as it runs, QEMU's log, and its memory, whatever state it is in."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import libvirt

from vmlab.errors import HostError
from vmlab.values import identity
from vmlab.values.libvirt_uri import of_system
from vmlab.virt.connection import Host
from vmlab.virt.dump_there import dump_there
from vmlab.virt.machine import machine_of

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_READ_S = 30.0
_DUMP_S = 120.0
_DUMP_S_PER_GIB = 60.0  # 2.5 s were measured; a busy host that emulates takes ten times as long
_SYSTEM_LOGS = "/var/log/libvirt/qemu"


def domain_xml(host: Host, domain: str) -> str:
    """As it runs, or as it is defined if it does not; libvirt leaves passwords out."""
    return _of(host, domain, lambda found: str(found.XMLDesc()))


def qemu_log(host: Host, domain: str, most: int) -> str:
    """The end of QEMU's log, at most so many bytes. Raises HostError where it cannot be read."""
    if host.simulated:
        raise HostError("nobody is behind libvirt's test driver")
    folder = _SYSTEM_LOGS if of_system(host.uri) else f"{_cache()}/libvirt/qemu/log"
    path = f"{folder}/{domain}.log"
    result = machine_of(host).run(("tail", "-c", str(most), path), deadline_s=_READ_S)
    if not result.ok:
        raise HostError(result.last_line or f"{path} cannot be read")
    return result.stdout


def dump_memory(host: Host, domain: str, path: Path) -> None:
    """The guest's memory as an ELF file at `path`, as crash and drgn read it; the guest stands still meanwhile.

    Of another machine it is written there first, and nothing of it stays there. Raises HostError if there is too little
    space, LibvirtError for what libvirt refuses or if it takes too long.
    """
    if host.simulated:
        raise HostError("nobody is behind libvirt's test driver")
    kib = _of(host, domain, lambda found: int(found.info()[1]))
    needed = kib * 1024 * 5 // 4
    room = os.statvfs(path.parent)
    if room.f_bavail * room.f_frsize < needed:
        raise HostError(f"{kib >> 10} MiB of memory do not fit into {path.parent}")
    deadline_s = _DUMP_S + _DUMP_S_PER_GIB * (kib >> 20)

    def write(file: str) -> None:
        raw, flags = libvirt.VIR_DOMAIN_CORE_DUMP_FORMAT_RAW, libvirt.VIR_DUMP_MEMORY_ONLY
        host.call(lambda c: c.lookupByName(domain).coreDumpWithFormat(file, raw, flags), deadline_s=deadline_s)

    if host.local:
        write(str(path))
    else:
        dump_there(host, identity.memory_dump(domain), path, write, room=needed, write_s=deadline_s)


def inject_nmi(host: Host, domain: str) -> None:
    """A non-maskable interrupt. What a kernel makes of it is its own affair (`kernel.unknown_nmi_panic`)."""
    _of(host, domain, lambda found: found.injectNMI(0))


def _of(host: Host, domain: str, act: "Callable[[libvirt.virDomain], T]") -> T:
    return host.call(lambda connection: act(connection.lookupByName(domain)))


def _cache() -> str:
    return os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
