"""LNet networks (`tcp`, `o2ib2`) and NIDs (`10.77.1.11@o2ib`)."""

import re
from ipaddress import IPv4Address
from typing import NamedTuple, Self

_NET = re.compile(r"(tcp|o2ib)(0|[1-9][0-9]{0,4})?")
_HIGHEST_NET = 65535


def parse_net(text: str) -> str:
    """The network as LNet itself prints it: `tcp0` is `tcp`. Raises ValueError that names the expected form."""
    match = _NET.fullmatch(text)
    if match is None or int(match[2] or 0) > _HIGHEST_NET:
        raise ValueError(f"{text!r:.60} is no LNet network (expected tcp or o2ib and a number, such as tcp1 or o2ib)")
    return match[1] if match[2] in (None, "0") else text


class Nid(NamedTuple):
    """One LNet address. `net` is normalised."""

    address: IPv4Address
    net: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `10.77.1.11@o2ib`. Raises ValueError."""
        address, _, net = text.partition("@")
        return cls(IPv4Address(address), parse_net(net))

    def __str__(self) -> str:
        return f"{self.address}@{self.net}"
