"""The header of a qcow2 file, read before QEMU is told of it: whoever opens an image opens what its header refers to.

The format is docs/interop/qcow2.txt of QEMU's sources.
"""

import struct
from dataclasses import dataclass

HEAD = 2 << 20
"""Bytes at a file's beginning that hold the header and its extensions: the largest cluster."""

_MAGIC = b"QFI\xfb"
_FIXED = struct.Struct(">4sIQIIQI")
_SHORT, _LONG = 72, 104  # a header of version 2, and the shortest one of version 3
_INCOMPATIBLE, _HEADER_LENGTH = 72, 100
_HAS_DATA_FILE = 1 << 2
_DATA_FILE = 0x44415441

_OTHERS = {
    b"KDMV": "vmdk",
    b"# Disk DescriptorFile": "vmdk",
    b"COWD": "vmdk",
    b"conectix": "vpc",
    b"vhdxfile": "vhdx",
    b"<<< ": "vdi",
    b"QED\0": "qed",
    b"LUKS": "luks",
    b"WithoutFreeSpace": "parallels",
    b"WithouFreSpacExt": "parallels",
}
_PACKED = {b"\x1f\x8b": "gzip", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"PK\3\4": "unzip"}


@dataclass(frozen=True, slots=True)
class Header:
    """`refers_to` says what the image needs besides itself: a backing file, an external data file; "" if nothing."""

    size: int
    encrypted: bool
    refers_to: str


def parse(head: bytes) -> Header:
    """Read the header from a file's first `HEAD` bytes. Raises ValueError if that is no qcow2 of version 2 or 3."""
    if len(head) < _SHORT:
        raise ValueError("it is too short")
    magic, version, backing, backing_length, _, size, crypt = _FIXED.unpack_from(head)
    if magic != _MAGIC:
        raise ValueError("it does not begin as one")
    if version not in {2, 3}:
        raise ValueError(f"its version is {version}")
    if version == 3 and len(head) < _LONG:  # noqa: PLR2004 (the version)
        raise ValueError("it is too short")
    (features,) = struct.unpack_from(">Q", head, _INCOMPATIBLE) if version == 3 else (0,)  # noqa: PLR2004
    (length,) = struct.unpack_from(">I", head, _HEADER_LENGTH) if version == 3 else (_SHORT,)  # noqa: PLR2004
    data_file = _extension(head, length, _DATA_FILE)
    if features & _HAS_DATA_FILE or data_file is not None:
        return Header(size, bool(crypt), _named("an external data file", data_file or b""))
    if backing:
        return Header(size, bool(crypt), _named("a backing file", head[backing : backing + backing_length]))
    return Header(size, bool(crypt), "")


def format_of(head: bytes) -> str:
    """The format that qemu-img calls so, as far as a file's first bytes tell; else "raw"."""
    return next((name for magic, name in _OTHERS.items() if head.startswith(magic)), "raw")


def unpacked_by(head: bytes) -> str:
    """The program that unpacks such a file; "" if it is not packed."""
    return next((name for magic, name in _PACKED.items() if head.startswith(magic)), "")


def _extension(head: bytes, at: int, wanted: int) -> bytes | None:
    while at + 8 <= len(head):
        kind, length = struct.unpack_from(">II", head, at)
        if not kind:
            return None
        if kind == wanted:
            return head[at + 8 : at + 8 + length]
        at += 8 + (length + 7) // 8 * 8
    return None


def _named(what: str, name: bytes) -> str:
    return f"{what}, {name.decode(errors='backslashreplace')}" if name else what
