"""The ELF file that QEMU's `dump-guest-memory` without paging writes: memory by its physical addresses, and notes.

ELF-64 as elf(5) has it; of the notes VMCOREINFO as the kernel's Documentation/admin-guide/kdump/vmcoreinfo.rst.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_IDENT = b"\x7fELF\x02\x01"  # 64 bits, the lowest byte first
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_NOTE = struct.Struct("<III")
_X86_64, _LOAD, _NOTES = 62, 1, 4
_IN_SECTION = 0xFFFF  # more program headers than fit: the first section's sh_info has the number
_NAME = b"VMCOREINFO\0"

Data = bytes | memoryview
"""A whole file; the memoryview of an mmap for one of gigabytes."""


@dataclass(frozen=True, slots=True)
class Core:
    """`parts` are physical address, place in `data` and length, by address; `told` is VMCOREINFO, {} without it."""

    data: Data
    parts: tuple[tuple[int, int, int], ...]
    told: Mapping[str, str]

    def read(self, physical: int, length: int) -> bytes:
        """Raises ValueError for memory that is not in the dump."""
        for start, at, size in self.parts:
            if start <= physical and physical + length <= start + size:
                begin = at + physical - start
                return bytes(self.data[begin : begin + length])
        raise ValueError(f"{length} bytes at {physical:#x} are not in the dump")


def read_core(data: Data) -> Core:
    """Raises ValueError for what is no such file, or is cut off."""
    try:
        return _read(data)
    except struct.error as error:
        raise ValueError("the dump is cut off") from error


def _read(data: Data) -> Core:
    if bytes(data[: len(_IDENT)]) != _IDENT:
        raise ValueError("it is no ELF dump")
    _, _, machine, _, _, programs_at, sections_at, _, _, size, count, *_ = _HEADER.unpack_from(data)
    if machine != _X86_64:
        raise ValueError("it is not of an x86-64 guest")
    if count == _IN_SECTION:
        count = _SECTION.unpack_from(data, sections_at)[7]
    parts, told = [], dict[str, str]()
    for number in range(count):
        kind, _, at, _, physical, in_file, _, _ = _PROGRAM.unpack_from(data, programs_at + number * size)
        if at + in_file > len(data):
            raise ValueError("the dump is cut off")
        if kind == _LOAD:
            parts.append((physical, at, in_file))
        elif kind == _NOTES:
            told |= _vmcoreinfo(bytes(data[at : at + in_file]))
    return Core(data, tuple(sorted(parts)), told)


def _vmcoreinfo(notes: bytes) -> dict[str, str]:
    for name, content in _notes(notes):
        if name == _NAME:
            lines = content.rstrip(b"\0").decode(errors="replace").splitlines()
            return {key: value for key, is_one, value in (line.partition("=") for line in lines) if is_one}
    return {}


def _notes(notes: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + _NOTE.size <= len(notes):
        name_size, size, _ = _NOTE.unpack_from(notes, at)
        begin = at + _NOTE.size + _padded(name_size)
        yield notes[at + _NOTE.size :][:name_size], notes[begin : begin + size]
        at = begin + _padded(size)


def _padded(size: int) -> int:
    return (size + 3) & ~3
