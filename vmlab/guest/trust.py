"""root of one node reaches the others by ssh without being asked: mpirun, pdsh and Lustre's own tests need that.

A node's host key is also root's identity there, so that public keys are all that has to be brought to the nodes.
"""

from collections.abc import Mapping
from ipaddress import IPv4Address

from vmlab.guest.block import block_apply, block_check
from vmlab.steps import Step

_KNOWN = "/etc/ssh/ssh_known_hosts"
_AUTHORIZED = "/root/.ssh/authorized_keys"

_CHECK = """
[ -s /root/.ssh/id_ed25519 ] && awk "$1" "$2" "$3" "$4" "$5" check && awk "$1" "$6" "$3" "$4" "$7" check
"""
# A copy: ssh refuses an identity that a group may read, as RHEL lets its ssh_keys. An identity that the image brought
# stays, and whoever put it there has seen to the rest.
_IDENTITY = """
umask 077
mkdir -p /root/.ssh /etc/ssh
[ -s /root/.ssh/id_ed25519 ] || install -m 600 /etc/ssh/ssh_host_ed25519_key /root/.ssh/id_ed25519
"""


def trust_step(nodes: Mapping[str, tuple[IPv4Address, str]]) -> Step:
    """By the nodes' names: their management addresses, and their host keys as the lines of .pub files."""
    keys = {name: " ".join(public.split()[:2]) for name, (_, public) in nodes.items()}
    known = "\n".join(f"{name},{nodes[name][0]} {key}" for name, key in keys.items())
    authorized = "\n".join(f"{key} root@{name}" for name, key in keys.items())
    one, other = block_check(_KNOWN, known), block_check(_AUTHORIZED, authorized)
    return Step(
        "trust",
        ("sh", "-c", _CHECK, "vmlab", *one[1:-1], other[2], other[5]),
        (
            ("sh", "-c", _IDENTITY),
            block_apply(_KNOWN, known),
            block_apply(_AUTHORIZED, authorized, mode="600"),
        ),
    )
