"""The kernel's memory by its virtual addresses: x86-64's page tables, from the one that VMCOREINFO names.

Formats: Intel SDM volume 3, 4.5 (4-level and 5-level paging); arch/x86/kernel/vmcore_info.c.
"""

import struct

from vmlab.dumps.core import Core

_IMAGE = 0xFFFFFFFF80000000  # __START_KERNEL_map: the kernel's image, which lies at phys_base
_PRESENT, _LARGE = 1 << 0, 1 << 7
_ADDRESS = 0x000FFFFFFFFFF000
_INDEX, _ENTRIES, _PAGE = 9, 0x1FF, 12
_LARGEST = 16 << 20


class Memory:
    """What the kernel sees. `told` is VMCOREINFO."""

    def __init__(self, core: Core) -> None:
        """Raises ValueError if the dump has no VMCOREINFO, or it does not say where the page tables are."""
        if not core.told:
            raise ValueError("it has no VMCOREINFO: the guest had not loaded qemu_fw_cfg")
        self.told = core.told
        self._core = core
        self._top = self.symbol("init_top_pgt") - _IMAGE + self.number("NUMBER(phys_base)")
        self._levels = 5 if core.told.get("NUMBER(pgtable_l5_enabled)") == "1" else 4

    def number(self, key: str, base: int = 10) -> int:
        """Of VMCOREINFO. Raises ValueError if it is not there, or none."""
        try:
            return int(self.told[key], base)
        except KeyError:
            raise ValueError(f"VMCOREINFO has no {key}") from None

    def symbol(self, name: str) -> int:
        """Where it lies. Raises ValueError as `number` does."""
        return self.number(f"SYMBOL({name})", 16)

    def offset(self, member: str) -> int:
        """`member` is STRUCT.MEMBER. Raises ValueError as `number` does."""
        return self.number(f"OFFSET({member})")

    def size(self, struct_name: str) -> int:
        """Raises ValueError as `number` does."""
        return self.number(f"SIZE({struct_name})")

    def read(self, address: int, length: int) -> bytes:
        """Raises ValueError for memory that is not there, and for more than anybody wants."""
        if not 0 <= length <= _LARGEST:
            raise ValueError(f"{length} bytes are no length")
        found = bytearray()
        while len(found) < length:
            physical, left = self._translated(address + len(found))
            found += self._core.read(physical, min(left, length - len(found)))
        return bytes(found)

    def unsigned(self, address: int, length: int = 8) -> int:
        """A number of 2, 4 or 8 bytes. Raises ValueError as `read` does."""
        return int.from_bytes(self.read(address, length), "little")

    def _translated(self, address: int) -> tuple[int, int]:
        """The physical address, and how many bytes follow it in the same page."""
        table = self._top
        for level in range(self._levels - 1, -1, -1):
            shift = _PAGE + level * _INDEX
            at = table + ((address >> shift) & _ENTRIES) * 8
            (entry,) = struct.unpack("<Q", self._core.read(at, 8))
            if not entry & _PRESENT:
                break
            if level == 0 or (entry & _LARGE and level < 3):  # noqa: PLR2004 - pages of 2 MiB and 1 GiB
                within = address & ((1 << shift) - 1)
                return (entry & _ADDRESS & ~((1 << shift) - 1)) + within, (1 << shift) - within
            table = entry & _ADDRESS
        raise ValueError(f"nothing is mapped at {address:#x}")
