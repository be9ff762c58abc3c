"""A guest's serial console: what it printed so far, and live."""

import contextlib
import os
import select
import sys
import termios
import tty
from collections.abc import Callable
from pathlib import Path

import libvirt

from vmlab.errors import HostError, UsageError
from vmlab.virt.connection import Host, missing
from vmlab.virt.pool import BEDS, find_pool, refresh

_TAIL = 16_384
_MOST = 1 << 20
_ESCAPE = b"\x1d"  # Ctrl+], as in virsh console and telnet
_WOULD_BLOCK = -2


def console_text(host: Host, pool_path: str, volume: str) -> str:
    """The end of what the console printed since the guest's last start; "" if it has printed nothing."""
    return _read(host, pool_path, volume, lambda size: size - _TAIL)[1].decode(errors="replace")


def console_lines(host: Host, pool_path: str, volume: str, position: int) -> tuple[str, int]:
    """The whole lines that came since `position`, and the position after them; from its beginning if it began anew."""
    start, data = _read(
        host, pool_path, volume, lambda size: max(position, size - _MOST) if size >= position else size - _MOST
    )
    whole = data[: data.rfind(b"\n") + 1]
    return whole.decode(errors="replace"), start + len(whole)


def file_whole(host: Host, pool_path: str, volume: str) -> bytes:
    """All that is in a file of the pool, such as a console's log; nothing if there is none."""
    return _read(host, pool_path, volume, lambda _: 0)[1]


def console_end(host: Host, pool_path: str, volume: str) -> int:
    """The position after all that the console printed so far."""
    start, data = _read(host, pool_path, volume, lambda size: size)
    return start + len(data)


def _read(host: Host, pool_path: str, volume: str, start: Callable[[int], int]) -> tuple[int, bytes]:
    """Where it was read from, and all from there: `start` tells that from the size."""
    if not host.local and not host.simulated:  # a file of that name here is another one
        return host.call(lambda connection: _download(connection, volume, start))
    path = Path(pool_path) / volume
    try:
        with path.open("rb") as file:
            position = max(0, start(path.stat().st_size))
            file.seek(position)
            return position, file.read()
    except FileNotFoundError:
        return 0, b""
    except PermissionError:
        return host.call(lambda connection: _download(connection, volume, start))


def _download(connection: "libvirt.virConnect", name: str, start: Callable[[int], int]) -> tuple[int, bytes]:
    """The console's file belongs to root; libvirt reads it for those who may use libvirt."""
    pool = find_pool(connection, BEDS)
    if pool is None:
        return 0, b""
    try:
        volume = _volume(pool, name)
        position = max(0, start(volume.info()[1]))
        stream = connection.newStream()
        volume.download(stream, position, 0)
        parts = []
        while part := stream.recv(65_536):
            parts.append(part)
        stream.finish()
    except libvirt.libvirtError as error:
        if missing(error):
            return 0, b""
        raise
    return position, b"".join(parts)


def _volume(pool: "libvirt.virStoragePool", name: str) -> "libvirt.virStorageVol":
    """By its name; libvirt has not seen yet what virtlogd has made."""
    with contextlib.suppress(libvirt.libvirtError):
        return pool.storageVolLookupByName(name)
    refresh(pool)
    return pool.storageVolLookupByName(name)


def attach(host: Host, domain: str) -> None:
    """Join the terminal with the guest's console until Ctrl+] is typed or the guest goes off."""
    if not sys.stdin.isatty():
        raise UsageError("`vmlab console` needs a terminal", hint="what it printed: vmlab console BED NODE --log")
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
