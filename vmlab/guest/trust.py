"""root of one node reaches the others by ssh without being asked: mpirun, pdsh and Lustre's own tests need that.

A node's host key is also root's identity there, so that public keys are all that has to be brought to the nodes.
"""

from collections.abc import Mapping
from ipaddress import IPv4Address

from vmlab.guest.block import block_step
from vmlab.steps import Step

# A copy: ssh refuses an identity that a group may read, as RHEL lets its ssh_keys. An identity that the image brought
# stays, and whoever put it there has seen to the rest.
_IDENTITY = """
umask 077
mkdir -p /root/.ssh /etc/ssh
[ -s /root/.ssh/id_ed25519 ] || install -m 600 /etc/ssh/ssh_host_ed25519_key /root/.ssh/id_ed25519
"""


def trust_steps(nodes: Mapping[str, tuple[IPv4Address, str]]) -> tuple[Step, ...]:
    """By the nodes' names: their management addresses, and their host keys as the lines of .pub files."""
    keys = {name: " ".join(public.split()[:2]) for name, (_, public) in nodes.items()}
    known = "\n".join(f"{name},{nodes[name][0]} {key}" for name, key in keys.items())
    authorized = "\n".join(f"{key} root@{name}" for name, key in keys.items())
    return (
        Step("root's identity", ("test", "-s", "/root/.ssh/id_ed25519"), (("sh", "-c", _IDENTITY),)),
        block_step("known hosts", "/etc/ssh/ssh_known_hosts", known),
        block_step("authorized keys", "/root/.ssh/authorized_keys", authorized, mode="600"),
    )
