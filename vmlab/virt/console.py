"""A guest's serial console: what it printed so far, and live."""

import os
import select
import sys
import termios
import tty
from pathlib import Path

import libvirt

from vmlab.errors import HostError, UsageError
from vmlab.virt.connection import Host, connected, missing
from vmlab.virt.pool import BEDS, find_pool, refresh

_TAIL = 16_384
_ESCAPE = b"\x1d"  # Ctrl+], as in virsh console and telnet
_WOULD_BLOCK = -2


def console_text(host: Host, pool_path: str, volume: str) -> str:
    """The end of what the console printed since the guest's last start; "" if it has printed nothing."""
    path = Path(pool_path) / volume
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    except PermissionError:
        return host.call(lambda connection: _download(connection, volume)).decode(errors="replace")


def _download(connection: "libvirt.virConnect", name: str) -> bytes:
    """The console's file belongs to root; libvirt reads it for those who may use libvirt."""
    pool = find_pool(connection, BEDS)
    if pool is None:
        return b""
    try:
        refresh(pool)
        volume = pool.storageVolLookupByName(name)
        size = volume.info()[1]
        stream = connection.newStream()
        volume.download(stream, max(0, size - _TAIL), 0)
        parts = []
        while part := stream.recv(65_536):
            parts.append(part)
        stream.finish()
    except libvirt.libvirtError as error:
        if missing(error):
            return b""
        raise
    return b"".join(parts)


def attach(uri: str, domain: str) -> None:
    """Join the terminal with the guest's console until Ctrl+] is typed or the guest goes off."""
    if not sys.stdin.isatty():
        raise UsageError("`vmlab console` needs a terminal", hint="`vmlab status BED -o json` names the console's log")
    with connected(uri) as host:
        stream = host.call(lambda connection: _open(connection, domain))
        sys.stderr.write(f"Connected to {domain}; leave with Ctrl+]\r\n")
        before = termios.tcgetattr(sys.stdin)
        try:
            tty.setraw(sys.stdin)
            _join(stream)
        finally:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
            stream.abort()


def _open(connection: "libvirt.virConnect", domain: str) -> "libvirt.virStream":
    found = connection.lookupByName(domain)
    if not found.isActive():
        bed, _, node = domain.partition(".")
        raise HostError(f"{node} is not running", hint=f"vmlab power on {bed} {node}")
    stream = connection.newStream(libvirt.VIR_STREAM_NONBLOCK)
    found.openConsole(None, stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
    return stream


def _join(stream: "libvirt.virStream") -> None:
    keyboard = sys.stdin.fileno()
    while True:
        received = stream.recv(4096)
        if received == b"":
            return  # the guest went off
        if received != _WOULD_BLOCK:
            os.write(sys.stdout.fileno(), received)
            continue
        if select.select((keyboard,), (), (), 0.05)[0]:
            typed = os.read(keyboard, 1024)
            if _ESCAPE in typed or not typed:
                return
            stream.send(typed)
