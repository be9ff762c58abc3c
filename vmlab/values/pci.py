"""PCI addresses, as libvirt's `<address>` and sysfs write them."""

import re
from pathlib import PurePosixPath
from typing import NamedTuple, Self

# Domains have 32 bits (Intel's VMD numbers its own from 10000 on), written with four digits or as many as it takes.
PATTERN = r"(?<![0-9a-fA-F])(?:[1-9a-fA-F][0-9a-fA-F]{4,7}|[0-9a-fA-F]{4}):[0-9a-fA-F]{2}:[01][0-9a-fA-F]\.[0-7]"
"""An address in a longer text: never the end of one whose domain has more digits."""

_ADDRESS = re.compile(PATTERN)


class PciAddress(NamedTuple):
    """Where a function sits. Sorts in bus order."""

    domain: int
    bus: int
    slot: int
    function: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `0000:41:00.1` or `10000:01:00.0`. Raises ValueError that names the expected form."""
        if _ADDRESS.fullmatch(text) is None:
            raise ValueError(f"{text!r:.60} is no PCI address (expected the form 0000:41:00.0)")
        return cls(*(int(part, 16) for part in re.split("[:.]", text)))

    @classmethod
    def last_in(cls, path: str) -> Self | None:
        """The function that a path below /sys/devices leads through last; None if it leads through none."""
        parts = (part for part in reversed(PurePosixPath(path).parts) if _ADDRESS.fullmatch(part))
        return next((cls.parse(part) for part in parts), None)

    def __str__(self) -> str:
        return f"{self.domain:04x}:{self.bus:02x}:{self.slot:02x}.{self.function}"
