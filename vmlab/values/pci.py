"""PCI addresses, as libvirt's `<address>` and sysfs write them."""

import re
from typing import NamedTuple, Self

_ADDRESS = re.compile(r"([0-9a-fA-F]{4}):([0-9a-fA-F]{2}):([01][0-9a-fA-F])\.([0-7])")


class PciAddress(NamedTuple):
    """Where a function sits. Sorts in bus order."""

    domain: int
    bus: int
    slot: int
    function: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `0000:41:00.1`. Raises ValueError that names the expected form."""
        match = _ADDRESS.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r:.60} is no PCI address (expected the form 0000:41:00.0)")
        return cls(*(int(part, 16) for part in match.groups()))

    def __str__(self) -> str:
        return f"{self.domain:04x}:{self.bus:02x}:{self.slot:02x}.{self.function}"
