"""A dump of a guest's memory: one made here, with page tables and a log in it, then cut off and broken."""

import struct
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmlab.dumps.core import read_core
from vmlab.dumps.kernel_log import kernel_log
from vmlab.dumps.memory import Memory

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


def lines(dump: bytes) -> list[str]:
    return list(kernel_log(Memory(read_core(dump))))


@given(st.lists(st.text("abc xyz", max_size=24).map(str.encode), min_size=1, max_size=30), st.integers(0, 100))
def test_the_last_records_of_the_ring_are_read_whole(texts: list[bytes], first: int) -> None:
    kept = list(enumerate(texts, first))[-(1 << COUNT_BITS) :]
    assert lines(ring(texts, first=first).dump(TOLD | RING)) == [
        f"[{number:5}.000000] {text.decode()}" for number, text in kept
    ]


def test_what_is_overwritten_or_half_written_is_left_out() -> None:
    guest = ring([b"one", b"two", b"three"])
    guest.put(DESCRIPTORS, REUSABLE | 0)
    guest.put(DESCRIPTORS + 24, 1)  # reserved: somebody was about to write it
    assert lines(guest.dump(TOLD | RING)) == ["[    2.000000] three"]


def test_several_lines_of_a_record_have_its_time_each() -> None:
    assert lines(ring([b"Call Trace:\n panic"]).dump(TOLD | RING)) == [
        "[    0.000000] Call Trace:",
        "[    0.000000]  panic",
    ]


def test_the_buffer_of_older_kernels() -> None:
    """As Linux 4.18 has it: records one after the other, and an empty one where it goes on at the beginning."""
    guest = Guest()
    buffer = DIRECT + 0x8000
    told = {
        "SYMBOL(log_buf)": f"{PRB:x}",
        "SYMBOL(log_first_idx)": f"{PRB + 8:x}",
        "SYMBOL(log_next_idx)": f"{PRB + 16:x}",
        "OFFSET(printk_log.ts_nsec)": "0",
        "OFFSET(printk_log.len)": "8",
        "OFFSET(printk_log.text_len)": "10",
        "SIZE(printk_log)": "16",
    }
    guest.put(PRB, buffer, 64, 32)
    for at, second, text in ((64, 1, b"older"), (0, 2, b"newer")):
        guest.put(buffer + at, second * 1_000_000_000)
        guest.put(buffer + at + 8, 32, len(text), form="H")
        guest.write(buffer + at + 16, text)
    assert lines(guest.dump(TOLD | told)) == ["[    1.000000] older", "[    2.000000] newer"]
    guest.put(buffer, 0, 0)
    with pytest.raises(ValueError, match="begins with nothing"):
        lines(guest.dump(TOLD | told))


def test_what_is_missing_is_told() -> None:
    whole = ring([b"one"])
    with pytest.raises(ValueError, match="had not loaded qemu_fw_cfg"):
        lines(whole.dump({}))
    with pytest.raises(ValueError, match=r"no SYMBOL\(init_top_pgt\)"):
        lines(whole.dump({"NUMBER(phys_base)": "0"}))
    with pytest.raises(ValueError, match=r"no OFFSET\(printk_ringbuffer.desc_ring\)"):
        lines(whole.dump(TOLD | {"SYMBOL(prb)": f"{PRB - 8:x}"}))
    with pytest.raises(ValueError, match="nothing is mapped"):
        lines(whole.dump(TOLD | RING | {"SYMBOL(prb)": f"{DIRECT + (1 << 30):x}"}))
    with pytest.raises(ValueError, match="no ELF dump"):
        read_core(b"KDUMP   ")


@given(st.integers(0, 64 + 3 * 56 + 2000))
def test_a_dump_that_is_cut_off_is_told(length: int) -> None:
    with pytest.raises(ValueError, match=r"cut off|no ELF dump"):
        read_core(ring([b"one"]).dump(TOLD | RING)[:length])


@given(st.binary(min_size=64, max_size=64), st.integers(0, 63))
def test_a_log_that_does_not_hold_together_ends(noise: bytes, at: int) -> None:
    guest = ring([b"one", b"two"])
    guest.write(PRB + 8 + at, noise)
    dump = guest.dump(TOLD | RING)
    try:
        lines(dump)
    except ValueError as error:
        assert str(error)  # noqa: PT017 - any end will do, but not another kind of error
