"""GUIDs of InfiniBand ports and nodes: EUI-64, in the two forms that the kernel writes."""

import re
from dataclasses import dataclass
from typing import Self

_WORDS = re.compile(r"[0-9a-fA-F]{4}(:[0-9a-fA-F]{4}){3}")
_OCTETS = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){7}")
_ALL_ONES = (1 << 64) - 1


@dataclass(frozen=True, slots=True, order=True)
class Guid:
    """64 bits. `str` gives the form of the kernel's `node_guid`: 0011:2233:4455:6677."""

    value: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `0011:2233:4455:6677` or `00:11:22:33:44:55:66:77`. Raises ValueError that names the expected form."""
        if not _WORDS.fullmatch(text) and not _OCTETS.fullmatch(text):
            raise ValueError(f"{text!r:.60} is no GUID (expected the form 0011:2233:4455:6677)")
        return cls(int(text.replace(":", ""), 16))

    @property
    def valid(self) -> bool:
        """Neither all zeros nor all ones: those mean "none" to drivers and subnet managers."""
        return 0 < self.value < _ALL_ONES

    @property
    def octets(self) -> str:
        """As `ip link` and the tail of an IPoIB interface's address have it: 00:11:22:33:44:55:66:77."""
        return self.value.to_bytes(8).hex(":")

    def __str__(self) -> str:
        return self.value.to_bytes(8).hex(":", 2)


NO_GUID = Guid(_ALL_ONES)
"""What takes a GUID away from a virtual function again, in all three of the drivers' interfaces."""
