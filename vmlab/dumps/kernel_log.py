"""The kernel's log out of a dump: what `dmesg` would have said, the lines included that no console has printed yet.

Formats: kernel/printk/printk_ringbuffer.h from Linux 5.10 on; struct printk_log of kernel/printk/printk.c before that
(RHEL 8 has it).
"""

from collections.abc import Iterator

from vmlab.dumps.memory import Memory

_COMMITTED, _FINALIZED = 1, 2
_STATE = 62  # the two highest bits of a descriptor's state are what became of it, the others are its id
_ID = (1 << _STATE) - 1
_DATALESS = 1
_LONG = 8
_MOST_BITS = 40
_MOST = 1 << 20


def kernel_log(memory: Memory) -> Iterator[str]:
    """Lines as dmesg prints them, from the oldest on. Raises ValueError where the dump does not hold together."""
    records = _ring(memory) if "SYMBOL(prb)" in memory.told else _buffer(memory)
    for nanoseconds, text in records:
        stamp = f"[{nanoseconds / 1e9:12.6f}] "
        for line in text.decode(errors="replace").split("\n"):
            yield stamp + line


def _ring(memory: Memory) -> Iterator[tuple[int, bytes]]:
    descriptors = _Descriptors(memory)
    records = ((descriptors.head - descriptors.tail) & _ID) + 1
    if records > min(descriptors.count, _MOST):
        raise ValueError("the kernel's log has more records than it has room for")
    for number in range(descriptors.tail, descriptors.tail + records):
        if (record := descriptors.record(number & _ID)) is not None:
            yield record


class _Descriptors:
    """prb_desc_ring: of each record its state, where its text is, and what is told of it."""

    def __init__(self, memory: Memory) -> None:
        offset, read = memory.offset, memory.unsigned
        ring = read(memory.symbol("prb"))
        descriptors = ring + offset("printk_ringbuffer.desc_ring")
        texts = ring + offset("printk_ringbuffer.text_data_ring")
        counter = offset("atomic_long_t.counter")
        self.count = _power(read(descriptors + offset("prb_desc_ring.count_bits"), 4))
        self.head = read(descriptors + offset("prb_desc_ring.head_id") + counter) & _ID
        self.tail = read(descriptors + offset("prb_desc_ring.tail_id") + counter) & _ID
        self._descriptors = read(descriptors + offset("prb_desc_ring.descs"))
        self._infos = read(descriptors + offset("prb_desc_ring.infos"))
        self._texts = read(texts + offset("prb_data_ring.data"))
        self._size = _power(read(texts + offset("prb_data_ring.size_bits"), 4))
        self._memory = memory
        self._state = offset("prb_desc.state_var") + counter
        where = offset("prb_desc.text_blk_lpos")
        self._begin = where + offset("prb_data_blk_lpos.begin")
        self._next = where + offset("prb_data_blk_lpos.next")

    def record(self, number: int) -> tuple[int, bytes] | None:
        """Its time in ns since the boot, and its text; None for one that is not whole, or not there any more."""
        read, place = self._memory.unsigned, number % self.count
        descriptor = self._descriptors + place * self._memory.size("prb_desc")
        info = self._infos + place * self._memory.size("printk_info")
        state = read(descriptor + self._state)
        if state & _ID != number or state >> _STATE not in (_COMMITTED, _FINALIZED):
            return None
        begin, following = read(descriptor + self._begin), read(descriptor + self._next)
        nanoseconds = read(info + self._memory.offset("printk_info.ts_nsec"))
        if begin & _DATALESS:
            return nanoseconds, b""
        length = read(info + self._memory.offset("printk_info.text_len"), 2)
        # A text is never torn: one that would not fit before the end lies whole at the beginning.
        at = begin % self._size if begin // self._size == following // self._size else 0
        return nanoseconds, self._memory.read(self._texts + at + _LONG, length)


def _power(bits: int) -> int:
    if bits > _MOST_BITS:
        raise ValueError(f"2**{bits} is no size of the kernel's log")
    return 1 << bits


def _buffer(memory: Memory) -> Iterator[tuple[int, bytes]]:
    read, offset = memory.unsigned, memory.offset
    buffer = read(memory.symbol("log_buf"))
    at, end = read(memory.symbol("log_first_idx"), 4), read(memory.symbol("log_next_idx"), 4)
    header = memory.size("printk_log")
    for _ in range(_MOST):
        if at == end:
            return
        length = read(buffer + at + offset("printk_log.len"), 2)
        if length == 0:  # from here on there was no room: it goes on at the beginning
            if at == 0:
                raise ValueError("the kernel's log begins with nothing")
            at = 0
            continue
        text = memory.read(buffer + at + header, read(buffer + at + offset("printk_log.text_len"), 2))
        yield read(buffer + at + offset("printk_log.ts_nsec")), text
        at += length
