"""A guest's memory as QEMU dumps it, made here: page tables, and the kernel's log as printk keeps it."""

import struct
from collections.abc import Mapping, Sequence

IMAGE, PHYS_BASE = 0xFFFFFFFF80000000, 0x1C00000
DIRECT = 0xFFFF96C000000000  # where memory is mapped as a whole, by a large page
TABLES = 0x2000000  # physical
PRB = DIRECT + 0x1000
DESCRIPTORS, INFOS, TEXTS = DIRECT + 0x2000, DIRECT + 0x4000, DIRECT + 0x6000
COUNT_BITS, SIZE_BITS = 3, 8
FINALIZED, REUSABLE = 2 << 62, 3 << 62
TOLD = {
    "NUMBER(phys_base)": str(PHYS_BASE),
    "SYMBOL(init_top_pgt)": f"{IMAGE + TABLES - PHYS_BASE:x}",
    "NUMBER(pgtable_l5_enabled)": "0",
}
RING = {
    "SYMBOL(prb)": f"{PRB - 8:x}",
    "OFFSET(printk_ringbuffer.desc_ring)": "0",
    "OFFSET(printk_ringbuffer.text_data_ring)": "48",
    "OFFSET(prb_desc_ring.count_bits)": "0",
    "OFFSET(prb_desc_ring.descs)": "8",
    "OFFSET(prb_desc_ring.infos)": "16",
    "OFFSET(prb_desc_ring.head_id)": "24",
    "OFFSET(prb_desc_ring.tail_id)": "32",
    "OFFSET(prb_data_ring.size_bits)": "0",
    "OFFSET(prb_data_ring.data)": "8",
    "OFFSET(prb_desc.state_var)": "0",
    "OFFSET(prb_desc.text_blk_lpos)": "8",
    "OFFSET(prb_data_blk_lpos.begin)": "0",
    "OFFSET(prb_data_blk_lpos.next)": "8",
    "OFFSET(atomic_long_t.counter)": "0",
    "OFFSET(printk_info.ts_nsec)": "8",
    "OFFSET(printk_info.text_len)": "16",
    "SIZE(prb_desc)": "24",
    "SIZE(printk_info)": "32",
}


class Guest:
    """64 KiB of memory from 0 on, seen at DIRECT by a page of 2 MiB, and the kernel's tables elsewhere."""

    def __init__(self) -> None:
        self.memory = bytearray(64 << 10)
        self.tables = bytearray(3 * 4096)
        at = [(DIRECT >> shift) & 0x1FF for shift in (39, 30)]
        struct.pack_into("<Q", self.tables, at[0] * 8, (TABLES + 4096) | 1)
        struct.pack_into("<Q", self.tables, 4096 + at[1] * 8, (TABLES + 8192) | 1)
        struct.pack_into("<Q", self.tables, 8192, 0x81)

    def put(self, address: int, *numbers: int, form: str = "Q") -> None:
        struct.pack_into(f"<{len(numbers)}{form}", self.memory, address - DIRECT, *numbers)

    def write(self, address: int, text: bytes) -> None:
        self.memory[address - DIRECT : address - DIRECT + len(text)] = text

    def dump(self, told: Mapping[str, str]) -> bytes:
        content = "\n".join(f"{key}={value}" for key, value in told.items()).encode()
        notes = note(b"CORE\0", b"registers") + note(b"VMCOREINFO\0", content)
        begin = 64 + 3 * 56
        header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 4, 62, 1, 0, 64, 0, 0, 64, 56, 3, 0, 0, 0)
        parts = (4, 0, notes), (1, 0, self.memory), (1, TABLES, self.tables)
        programs, at = b"", begin
        for kind, physical, data in parts:
            programs += struct.pack("<IIQQQQQQ", kind, 0, at, 0, physical, len(data), len(data), 0)
            at += len(data)
        return header + programs + b"".join(bytes(data) for _, _, data in parts)


def note(name: bytes, content: bytes) -> bytes:
    padded = [part + bytes(-len(part) % 4) for part in (name, content)]
    return struct.pack("<III", len(name), len(content), 0) + b"".join(padded)


def ring(texts: Sequence[bytes], *, first: int = 0) -> Guest:
    """Its log, as printk writes it: `first` is the id that the oldest of all records had."""
    guest = Guest()
    guest.put(PRB - 8, PRB)
    head, tail = first + len(texts) - 1, max(first, first + len(texts) - (1 << COUNT_BITS))
    guest.put(PRB, COUNT_BITS, DESCRIPTORS, INFOS, head, tail, 0, SIZE_BITS, TEXTS)
    lpos = 0
    for number, text in enumerate(texts, first):
        place, size = number % (1 << COUNT_BITS), (8 + len(text) + 7) & ~7
        following = lpos + size
        if lpos >> SIZE_BITS != following >> SIZE_BITS:
            following = (following >> SIZE_BITS << SIZE_BITS) + size
        at = lpos % (1 << SIZE_BITS) if lpos >> SIZE_BITS == following >> SIZE_BITS else 0
        guest.write(TEXTS + at, number.to_bytes(8, "little") + text)
        guest.put(DESCRIPTORS + place * 24, FINALIZED | number, *((1, 1) if not text else (lpos, following)))
        guest.put(INFOS + place * 32, number, number * 1_000_000_000)
        guest.put(INFOS + place * 32 + 16, len(text), form="H")
        lpos = following
    return guest
