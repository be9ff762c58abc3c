"""Join a debugger to a node: gdb's command line, with the symbols that can be found."""

import os
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vmlab.errors import HostError, UsageError
from vmlab.guest.child import attached, no_watch
from vmlab.lab.beds.execute import one
from vmlab.lab.ground.bed import existing
from vmlab.lab.ground.hosts import Hosts
from vmlab.plan.observed import ObservedDomain
from vmlab.runtime.log import log
from vmlab.virt.connection import Host
from vmlab.virt.debugger import let_run, socket_of

_DEBUG = Path("/usr/lib/debug")
# The pointer to the kernel's version in a bzImage (Documentation/arch/x86/boot.rst: kernel_version).
_VERSION_AT = 0x20E
_LONGEST = 128


@dataclass(frozen=True, slots=True)
class Session:
    """gdb's command line at a node's domain. `may`: we may open the socket; otherwise root may."""

    host: Host
    domain: str
    argv: tuple[str, ...]
    may: bool


def session(hosts: Hosts, bed: str, node: str, vmlinux: Path | None) -> Session:
    """How to join a running node; `vmlinux` has its symbols, None: look for them.

    Raises HostError if it does not run, UsageError if it was started without a socket for gdb.
    """
    found = existing(hosts, bed)
    name = one(hosts, found, node)
    domain = found.nodes[name]
    if not domain.running:
        raise HostError(f"{name} is not running", hint=f"vmlab power on {bed} {name}")
    host = hosts.of(domain)
    if not host.local:
        raise HostError(f"{name} is on {host.uri}, and gdb is joined there", hint=f"there: vmlab gdb {bed} {name}")
    socket = socket_of(host, domain.facts.name)
    if socket is None:
        hint = "write `gdb: true` into the node, then: vmlab up FILE --restart"
        raise UsageError(f"{name} was started without a socket for gdb", hint=hint)
    source = booted(domain)
    version = _version(domain.facts.details.kernel)
    symbols = vmlinux or next((path for path in candidates(source, version) if _is(path)), None)
    argv = ("gdb", *(() if symbols is None else (str(symbols),)), "-ex", f"target remote {socket}")
    return Session(host, domain.facts.name, argv, os.access(socket, os.W_OK))


def booted(domain: ObservedDomain) -> Path | None:
    """The kernel's file as its user named it, or the image's; None where the image boots from its own disk."""
    metadata = domain.facts.metadata
    kernel = (metadata.kernel if metadata is not None else "") or domain.facts.details.kernel
    return Path(kernel) if kernel else None


def candidates(kernel: Path | None, version: str) -> Iterator[Path]:
    """Where a vmlinux may lie: with the image, in the tree that a user's kernel was built in, where packages put it."""
    if kernel is not None:
        yield kernel.with_suffix(".vmlinux")
        yield kernel.parent / "vmlinux"
        if kernel.parent.name == "boot" and len(kernel.parents) > 3:  # noqa: PLR2004 - TREE/arch/x86/boot/bzImage
            yield kernel.parents[3] / "vmlinux"
        if version:
            yield kernel.parent / f"vmlinux-{version}"
    if version:
        yield _DEBUG / "boot" / f"vmlinux-{version}"
        yield _DEBUG / "lib/modules" / version / "vmlinux"


def join(found: Session) -> int | None:
    """Run gdb with our terminal; its status, or None if it cannot be run. A guest that it leaves stopped goes on."""
    if shutil.which(found.argv[0]) is None or not found.may:
        return None
    try:
        return attached(found.argv, no_watch)
    finally:
        if let_run(found.host, found.domain):
            log.warning("gdb left %s stopped: it goes on", found.domain)


def _version(kernel: str) -> str:
    """The version that a bzImage says of itself; "" for another file, and for one that cannot be read."""
    try:
        with Path(kernel).open("rb") as file:
            head = file.read(1 << 16)
    except OSError:
        return ""
    if head[0x202:0x206] != b"HdrS":
        return ""
    (at,) = struct.unpack_from("<H", head, _VERSION_AT)
    words = head[at + 0x200 : at + 0x200 + _LONGEST].split(b"\0")[0].split()
    return words[0].decode(errors="replace") if words else ""


def _is(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False
