"""What a guest is told at its first boot without cloud-init: files, in an archive behind its seed.

The image has a unit that unpacks them before udev, networkd and sshd begin (store/recipes/first-boot). What depends on
the image, such as a user's home or a file that may be there, lies below /run/vmlab for it to put in place. Files that
role steps want, too, are as those would write them: then the steps hold already.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vmlab.guest.block import block
from vmlab.guest.openssh import KeyPair
from vmlab.guest.seed import SeedInterface
from vmlab.guest.trust import HOST_CERTIFICATE, SSHD_CONFIG, authority_line, known_line
from vmlab.runtime.archive import File, archive

_PRIVATE = 0o600
_NETWORK = "etc/systemd/network/10-vmlab"
# By its type, too: a VLAN or a bridge on the interface has the same address.
_LINK = """\
[Match]
MACAddress={mac}
Type=ether

[Link]
Name={name}
"""
_NOBODYS = """\
[Match]
Type=ether

[Link]
Unmanaged=yes
"""


@dataclass(frozen=True, slots=True)
class Trust:
    """What the bed's authority says: its own key, and its word on the node's as a host's and as root's, as lines."""

    authority: str
    host: str
    root: str


@dataclass(frozen=True, slots=True)
class Identity:
    """All that makes a clone this node. `machine_id` is told apart from that of the machine that the clone was.

    `grow`: its disk is larger than its image.
    """

    node: str
    user: str
    machine_id: str
    authorized_key: str
    host_key: KeyPair
    trust: Trust
    interfaces: Sequence[SeedInterface]
    grow: bool = False


def first_boot(identity: Identity) -> bytes:
    """The archive: always the same for the same identity."""
    return archive(_files(identity), private=("root/.ssh", "run/vmlab"))


def template(key: KeyPair, *, grow: bool) -> bytes:
    """The archive of a template, which is nobody: its memory is kept, and clones of it become nodes."""
    return archive(_of_template(key, grow=grow), private=("run/vmlab",))


def _of_template(key: KeyPair, *, grow: bool) -> Iterator[File]:
    yield File("etc/hostname", "template\n")
    yield File("etc/vmlab/machine-id", f"{'0' * 32}\n")
    yield File("etc/ssh/ssh_host_ed25519_key", key.private, _PRIVATE)
    yield File("etc/ssh/ssh_host_ed25519_key.pub", f"{key.public}\n")
    yield File("run/vmlab/template", "")
    # An image's own file may ask DHCP on whatever card there is: nobody answers, and a clone could not rename it.
    yield File(f"{_NETWORK}-template.network", _NOBODYS)
    if grow:
        yield File("run/vmlab/grow", "")


def _files(identity: Identity) -> Iterator[File]:
    key, trust = identity.host_key, identity.trust
    yield File("etc/hostname", f"{identity.node}\n")
    yield File("etc/vmlab/machine-id", f"{identity.machine_id}\n")
    yield File("etc/ssh/ssh_host_ed25519_key", key.private, _PRIVATE)
    yield File("etc/ssh/ssh_host_ed25519_key.pub", f"{key.public}\n")
    yield File(f"etc/ssh/{HOST_CERTIFICATE}", f"{trust.host}\n")
    yield File(SSHD_CONFIG, f"HostCertificate /etc/ssh/{HOST_CERTIFICATE}\n")
    yield File("run/vmlab/known_hosts", block(known_line(trust.authority)))
    yield File("run/vmlab/root-cert", f"{trust.root}\n")
    yield File("run/vmlab/user", f"{identity.user}\n")
    yield File("run/vmlab/key", f"{identity.authorized_key}\n")
    yield File("run/vmlab/authority", block(authority_line(trust.authority)))
    if identity.user != "root":
        yield File("etc/sudoers.d/90-vmlab", f"{identity.user} ALL=(ALL) NOPASSWD:ALL\n", 0o440)
    if identity.grow:
        yield File("run/vmlab/grow", "")
    for interface in identity.interfaces:
        yield File(f"{_NETWORK}-{interface.name}.link", _LINK.format(mac=interface.mac, name=interface.name))
        yield File(f"{_NETWORK}-{interface.name}.network", _network(interface))
    yield File("run/vmlab/interfaces", "".join(f"{line}\n" for line in _batch(identity.interfaces)))
    if servers := [interface.nameserver for interface in identity.interfaces if interface.nameserver is not None]:
        yield File("run/vmlab/resolv.conf", "".join(f"nameserver {server}\n" for server in servers))


def _batch(interfaces: Sequence[SeedInterface]) -> Iterator[str]:
    """What `ip -batch` does in the clone of a template, whose interfaces are eth0 and so on, in the same order."""
    for number, interface in enumerate(interfaces):
        mtu = f" mtu {interface.mtu}" if interface.mtu is not None else ""
        yield f"link set eth{number} address {interface.mac} name {interface.name}{mtu}"
        yield f"address add {interface.address} brd + dev {interface.name}"
        yield f"link set {interface.name} up"
        if interface.gateway is not None:
            yield f"route add default via {interface.gateway} dev {interface.name} proto static"


def _network(interface: SeedInterface) -> str:
    lines = ["[Match]", f"Name={interface.name}", ""]
    if interface.mtu is not None:
        lines += ["[Link]", f"MTUBytes={interface.mtu}", ""]
    lines += ["[Network]", f"Address={interface.address}", "IPv6AcceptRA=no"]
    if interface.gateway is not None:
        lines.append(f"Gateway={interface.gateway}")
    if interface.nameserver is not None:
        lines.append(f"DNS={interface.nameserver}")
    return "\n".join((*lines, ""))
