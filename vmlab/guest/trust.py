"""root of one node reaches the others by ssh without being asked: mpirun, pdsh and Lustre's own tests need that.

A node's host key is also root's identity there, and the bed's authority vouches for it in both parts. So a node needs
its own two certificates and the authority's key, however many nodes there are.
"""

from vmlab.guest.block import block_step
from vmlab.shell import script
from vmlab.steps import Step

HOST_CERTIFICATE = "ssh_host_ed25519_key-cert.pub"
SSHD_CONFIG = "etc/ssh/sshd_config.d/00-vmlab.conf"
"""Where the seed puts what these steps want, without the first slash; HOST_CERTIFICATE lies in etc/ssh."""

# A copy: ssh refuses an identity that a group may read, as RHEL lets its ssh_keys. An identity that the image brought
# stays, and whoever put it there has seen to the rest.
_HAS_IDENTITY = "[ -s /root/.ssh/id_ed25519 ]"
_IDENTITY = """
umask 077
mkdir -p /root/.ssh /etc/ssh
[ -s /root/.ssh/id_ed25519 ] || install -m 600 /etc/ssh/ssh_host_ed25519_key /root/.ssh/id_ed25519
"""
_LINES = script(__file__, "lines.sh")
_IS_ROOT = _LINES + script(__file__, "is_root.sh")
# ssh takes it from beside the identity.
_BE_ROOT = """
umask 077
printf '%s\\n' "$1" >/root/.ssh/id_ed25519-cert.pub
"""
_IS_HOST = _LINES + script(__file__, "is_host.sh")
_BE_HOST = script(__file__, "be_host.sh")


def trust_steps(authority: str, host_certificate: str, root_certificate: str) -> tuple[Step, ...]:
    """`authority` is the key that vouches, as the line of a .pub file; the certificates are lines, too."""
    return (
        Step("root's identity", ("sh", "-c", _HAS_IDENTITY, "vmlab"), (("sh", "-c", _IDENTITY),), at_once=True),
        _scripts("root's certificate", _IS_ROOT, _BE_ROOT, root_certificate),
        block_step("known hosts", "/etc/ssh/ssh_known_hosts", known_line(authority)),
        block_step("authorized keys", "/root/.ssh/authorized_keys", authority_line(authority), mode=0o600),
        _scripts("host certificate", _IS_HOST, _BE_HOST, host_certificate),
    )


def known_line(authority: str) -> str:
    """Of ssh_known_hosts: whom it vouches for is who he says."""
    return f"@cert-authority * {authority}"


def authority_line(authority: str) -> str:
    """Of authorized_keys: whom it vouches for may log in."""
    return f"cert-authority {authority}"


def _scripts(name: str, check: str, apply: str, value: str) -> Step:
    return Step(name, ("sh", "-c", check, "vmlab", value), (("sh", "-c", apply, "vmlab", value),), at_once=True)
