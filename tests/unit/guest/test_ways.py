"""What leads to a guest on another machine: nothing, or its host."""

from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vmlab.domainxml.metadata import Address, NodeMetadata
from vmlab.lab.ground import guests
from vmlab.lab.ground.guests import guest_of
from vmlab.values.libvirt_uri import Way

WAY = Way("qemu+ssh://root@kvm2/system")
FAR = SimpleNamespace(local=False, simulated=False, name="kvm2", uri=WAY.uri, way=WAY, ssh=None)
HERE = SimpleNamespace(local=True, simulated=False, name="kvm1", uri="qemu:///system")
NEAR, BEYOND = IPv4Network("10.1.0.0/24"), IPv4Network("10.2.0.0/24")


@pytest.mark.parametrize(
    ("attach", "routed", "route", "direct"),
    [
        ("virtio", True, BEYOND, True),  # one of the bed's hosts is this machine: VXLAN leads there
        ("virtio", False, NEAR, False),  # what has the same addresses here is another bed's
        ("bridge", True, NEAR, True),
        ("bridge", True, BEYOND, False),
        ("routed", False, NEAR, True),
        ("routed", True, BEYOND, False),
    ],
)
def test_which_guests_are_reached_without_their_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attach: str, route: IPv4Network, *, routed: bool, direct: bool
) -> None:
    monkeypatch.setenv("VMLAB_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(guests, "routes_here", lambda: (("br0", route),))
    hosts: Any = SimpleNamespace(routed=routed, keeper=HERE)
    place = Address("mgmt", "management", attach, "mgmt", "52:54:00:00:00:01", IPv4Interface("10.1.0.50/24"))
    node = NodeMetadata("bed", "n1", ("client",), "demo", "root", "", (place,))

    def asks(host: Any) -> bool:
        return "ProxyCommand" in " ".join(guest_of(hosts, host, node).argv(()))

    assert asks(FAR) is not direct
    assert not asks(HERE)
