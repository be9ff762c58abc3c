"""A dump of a guest's memory: one made here, with page tables and a log in it, then cut off and broken."""

import pytest
from dumped_memory import COUNT_BITS, DESCRIPTORS, DIRECT, PRB, REUSABLE, RING, TOLD, Guest, ring
from hypothesis import given
from hypothesis import strategies as st

from vmlab.dumps.core import read_core
from vmlab.dumps.kernel_log import kernel_log
from vmlab.dumps.memory import Memory


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
