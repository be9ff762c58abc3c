"""IPv4 addresses, several at once: ranges `10.1.0.50-10.1.0.99`, and sets as of nodes, `10.1.0.[7-10]`."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from itertools import islice
from typing import Self

from vmlab.values import nodeset

RANGE = IPv4Network("10.77.0.0/16")
"""Whence vmlab leases subnets by itself."""


@dataclass(frozen=True, slots=True)
class AddressRange:
    """From the first to the last, both included."""

    first: IPv4Address
    last: IPv4Address

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `10.1.0.50-10.1.0.99`. Raises ValueError that names the expected form."""
        first, dash, last = text.partition("-")
        try:
            found = cls(IPv4Address(first.strip()), IPv4Address(last.strip()))
        except ValueError:
            dash = ""
        if not dash:
            raise ValueError(f"{text!r:.60} is no range of addresses (expected the form 10.1.0.50-10.1.0.99)")
        if found.last < found.first:
            raise ValueError(f"{text!r:.60} ends before it begins (expected the lower address first)")
        return found

    def __contains__(self, address: object) -> bool:
        return isinstance(address, IPv4Address) and self.first <= address <= self.last

    def __len__(self) -> int:
        return int(self.last) - int(self.first) + 1

    def __iter__(self) -> Iterator[IPv4Address]:
        return map(IPv4Address, range(int(self.first), int(self.last) + 1))

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


def expand(text: str) -> tuple[IPv4Address, ...]:
    """The addresses in the order in which they are written. Raises ValueError that names the expected forms."""
    found: list[IPv4Address] = []
    for part in nodeset.parts(text):
        found += _expand_part(part, text)
        if len(found) > nodeset.MOST_NODES:
            raise ValueError(f"{text!r:.60} are too many addresses (expected at most {nodeset.MOST_NODES})")
    return tuple(found)


def _expand_part(part: str, whole: str) -> list[IPv4Address]:
    try:
        if "-" in part and "[" not in part:
            return list(islice(AddressRange.parse(part), nodeset.MOST_NODES + 1))
        return [IPv4Address(one) for one in nodeset.expand(part)]
    except ValueError:
        wanted = "expected IPv4 such as 10.1.0.7, for several 10.1.0.[7-10] or 10.1.0.7-10.1.0.10"
        raise ValueError(f"{whole!r:.60} is no address ({wanted})") from None
