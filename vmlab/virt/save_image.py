"""A domain's saved memory, as libvirt keeps it in a file: whose it is stands in its head, and can be told anew.

The format is libvirt's (src/qemu/qemu_saveimage.h, version 2, since 0.9): a head of 92 bytes, the domain's XML, a
cookie of libvirt's own about it, and QEMU's stream. Numbers are in the host's byte order.
"""

import os
import shutil
import struct
from pathlib import Path

from vmlab.errors import LibvirtError

_HEAD = struct.Struct("=16s5I56x")  # magic, version, length of XML and cookie, it ran, compression, the cookie's place
_MAGIC, _VERSION = b"LibvirtQemudSave", 2
_XML = 256 << 10  # bytes for it; one of a node with 60 devices has 40 KiB


def make_room(file: Path) -> None:
    """Have room in the file for the XML of any domain, so that `address` need not copy what follows it.

    Raises LibvirtError for a file of another version.
    """
    wide = file.with_name(f"{file.name}.wide")
    with file.open("rb") as source, wide.open("wb") as to:
        magic, version, length, ran, compression, cookie_at = _HEAD.unpack(_read(source.read(_HEAD.size)))
        if (magic, version) != (_MAGIC, _VERSION):
            raise LibvirtError(f"{file} is no saved memory of version {_VERSION}")
        told = source.read(length)
        cookie = told[cookie_at:] if cookie_at else b""
        place = _XML if cookie else 0
        to.write(_HEAD.pack(magic, version, _XML + len(cookie), ran, compression, place))
        to.write(told[: cookie_at or length].ljust(_XML, b"\0") + cookie)
        shutil.copyfileobj(source, to, 1 << 20)
    wide.replace(file)


def address(file: Path, xml: str) -> None:
    """Let the memory in a file that has room be that of this domain."""
    text = xml.encode()
    if len(text) >= _XML:
        raise LibvirtError(f"the domain's XML has {len(text)} bytes, more than there is room for")
    descriptor = os.open(file, os.O_WRONLY)
    try:
        os.pwrite(descriptor, text.ljust(_XML, b"\0"), _HEAD.size)
    finally:
        os.close(descriptor)


def _read(head: bytes) -> bytes:
    return head.ljust(_HEAD.size, b"\0")
