"""What a node is: its name, addresses, MTU, routes, who vouches for it, whom it knows, and who may log in."""

import re

from .conftest import Vmlab

_ASK = """
hostname
ip -o -4 address show scope global | awk '{print $2, $4}' | sort
cat /sys/class/net/tcp0/mtu /sys/class/net/tcp0/address
ip -4 route | sort
grep -v '^#' /etc/hosts | sort -u
sha256sum </root/.ssh/authorized_keys
sed -n 's/^nameserver //p' /etc/resolv.conf
stat -c '%a %U %n' /etc/ssh/ssh_host_ed25519_key /root/.ssh/authorized_keys /root/.ssh/id_ed25519
cat /etc/ssh/ssh_host_ed25519_key.pub
"""


def told(vmlab: Vmlab, bed: str, node: str) -> list[str]:
    """What the node itself says of that; its fabric is tcp0."""
    return vmlab.run("ssh", bed, node, "--", _ASK).splitlines()


def check(lines: list[str], node: str, address: str, members: set[str]) -> None:
    """It is who it should be, one of these, with an MTU of 1400."""
    assert lines[0] == node
    assert f"tcp0 {address}" in lines
    assert "1400" in lines
    assert any(re.match(r"default via 10\.\S+\.1 dev mgmt", line) for line in lines)
    assert {found[1] for line in lines if (found := re.match(r"10\.\S+ ([a-z0-9-]+)$", line))} == members
    assert "600 root /etc/ssh/ssh_host_ed25519_key" in lines
    assert "600 root /root/.ssh/authorized_keys" in lines


def host_key(lines: list[str]) -> str:
    """The only one that it has."""
    (key,) = (line for line in lines if line.startswith("ssh-ed25519 "))
    return key
