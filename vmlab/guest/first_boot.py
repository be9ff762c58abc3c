"""What a guest is told at its first boot without cloud-init: files, in an archive behind its seed.

The image has a unit that puts them there before udev, networkd and sshd begin (store/recipes/first-boot). What depends
on the image, such as a user's home or a file that may be there, it is told to put in place. Files that role steps want,
too, are as those would write them: then the steps hold already.

The archive's first file is a program for the unit's shell that says all of it: to unpack the others takes an emulated
guest twice as long. They are for images of earlier builds.
"""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from vmlab.guest.block import block
from vmlab.guest.openssh import KeyPair
from vmlab.guest.seed import SeedInterface
from vmlab.guest.trust import HOST_CERTIFICATE, SSHD_CONFIG, authority_line, known_line
from vmlab.runtime.archive import File, archive
from vmlab.runtime.iso import TOLD

_PRIVATE = 0o600
_BLOCK = 512
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
    told = _told(_words(identity), _cards(identity.interfaces), _named(identity))
    return archive((*_named(identity), *_files(identity)), private=("root/.ssh", "run/vmlab"), first=told)


def template(key: KeyPair, *, user: str, cards: Sequence[str], grow: bool) -> bytes:
    """The archive of a template, which is nobody: its memory is kept, and clones of it become nodes.

    Its `cards` are called as those of most of them will be.
    """
    named = tuple(_of_template(key))
    more = (
        File("run/vmlab/template", f"{' '.join(cards)}\n"),
        # Its first card's own name: a clone with a card of that name puts its own in this place.
        File(f"{_NETWORK}-{cards[0]}.network", _NOBODYS),
    )
    words = {"template": "1", "user": user, "grow": "1" if grow else ""}
    told = _told(words, (), (*named, *more))
    before = (*named, File("run/vmlab/template", ""), File(f"{_NETWORK}-template.network", _NOBODYS))
    grows = (File("run/vmlab/grow", ""),) if grow else ()
    return archive((*before, *grows), private=("run/vmlab",), first=told)


def _told(words: Mapping[str, str], cards: Iterable[Sequence[str]], files: Iterable[File]) -> File:
    """The program that an image's script evaluates: values of variables, and calls of two of its functions."""
    lines = [f"{name}={shlex.quote(value)}" for name, value in words.items()]
    lines += [shlex.join(("card", *card)) for card in cards]
    lines += [shlex.join(("put", f"{0o777 & ~file.mode:03o}", file.path, file.text)) for file in files]
    text = "\n".join((*lines, "whole=1", ""))
    return File(TOLD, text + "\n" * (-len(text.encode()) % _BLOCK), _PRIVATE)


def _words(identity: Identity) -> Mapping[str, str]:
    trust = identity.trust
    servers = [interface.nameserver for interface in identity.interfaces if interface.nameserver is not None]
    return {
        "user": identity.user,
        "machine_id": identity.machine_id,
        "authorized": identity.authorized_key,
        "host_key": identity.host_key.private,
        "root_cert": f"{trust.root}\n",
        "known_hosts": block(known_line(trust.authority)),
        "authority": block(authority_line(trust.authority)),
        "resolv": "".join(f"nameserver {server}\n" for server in servers),
        "grow": "1" if identity.grow else "",
    }


def _cards(interfaces: Sequence[SeedInterface]) -> Iterator[Sequence[str]]:
    for interface in interfaces:
        mtu = "-" if interface.mtu is None else str(interface.mtu)
        gateway = "-" if interface.gateway is None else str(interface.gateway)
        yield interface.mac, interface.name, mtu, str(interface.address), gateway


def _of_template(key: KeyPair) -> Iterator[File]:
    yield File("etc/hostname", "template\n")
    yield File("etc/vmlab/machine-id", f"{'0' * 32}\n")
    yield File("etc/ssh/ssh_host_ed25519_key", key.private, _PRIVATE)
    yield File("etc/ssh/ssh_host_ed25519_key.pub", f"{key.public}\n")


def _named(identity: Identity) -> Iterator[File]:
    """What lies where it belongs."""
    key, trust = identity.host_key, identity.trust
    yield File("etc/hostname", f"{identity.node}\n")
    yield File("etc/vmlab/machine-id", f"{identity.machine_id}\n")
    yield File("etc/ssh/ssh_host_ed25519_key", key.private, _PRIVATE)
    yield File("etc/ssh/ssh_host_ed25519_key.pub", f"{key.public}\n")
    yield File(f"etc/ssh/{HOST_CERTIFICATE}", f"{trust.host}\n")
    yield File(SSHD_CONFIG, f"HostCertificate /etc/ssh/{HOST_CERTIFICATE}\n")
    if identity.user != "root":
        yield File("etc/sudoers.d/90-vmlab", f"{identity.user} ALL=(ALL) NOPASSWD:ALL\n", 0o440)
    for interface in identity.interfaces:
        yield File(f"{_NETWORK}-{interface.name}.link", _LINK.format(mac=interface.mac, name=interface.name))
        yield File(f"{_NETWORK}-{interface.name}.network", _network(interface))


def _files(identity: Identity) -> Iterator[File]:
    """What the script of an image of an earlier build puts in its place."""
    trust = identity.trust
    yield File("run/vmlab/known_hosts", block(known_line(trust.authority)))
    yield File("run/vmlab/root-cert", f"{trust.root}\n")
    yield File("run/vmlab/user", f"{identity.user}\n")
    yield File("run/vmlab/key", f"{identity.authorized_key}\n")
    yield File("run/vmlab/authority", block(authority_line(trust.authority)))
    if identity.grow:
        yield File("run/vmlab/grow", "")
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
