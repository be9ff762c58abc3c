"""What libvirt's URIs say of where they lead; and the way to a host, which is one of these, and its shell's."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from vmlab.values.ssh_uri import SshUri

_BY_SSH = ("ssh", "libssh", "libssh2")


@dataclass(frozen=True, slots=True)
class Way:
    """How a host is reached. `uri` is what libvirt gets; `ssh` leads to a shell there, None: as the URI does."""

    uri: str
    ssh: SshUri | None = None

    @property
    def has_shell(self) -> bool:
        """One on another machine: ssh leads there, as it leads to its libvirt or by itself."""
        parts = urlsplit(self.uri)
        return self.ssh is not None or (_transport(self.uri) in _BY_SSH and bool(parts.hostname))


def leads_elsewhere(uri: str) -> bool:
    """A URI that names a machine, be it this one by a network's name: qemu+ssh://kvm1/system, qemu+tcp://10.0.0.1/."""
    return bool(urlsplit(uri).netloc) or _transport(uri) not in ("", "unix")


def of_system(uri: str) -> bool:
    """The libvirt of the whole machine, root's."""
    return urlsplit(uri).path == "/system"


def of_session(uri: str) -> bool:
    """The libvirt of one user."""
    return urlsplit(uri).path == "/session"


def _transport(uri: str) -> str:
    return urlsplit(uri).scheme.partition("+")[2]
