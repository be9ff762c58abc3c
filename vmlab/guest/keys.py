"""A bed's ssh identity: one secret in the bed's folder, from which the client's and every guest's key derive.

So does the key of the bed's authority, which vouches for the nodes: they know it, and not the keys of all others.
"""

import contextlib
import hashlib
import hmac
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from vmlab.errors import HostError
from vmlab.guest.openssh import KeyPair, certificate, key_pair, p256_pair
from vmlab.runtime.files import write_atomically

_SECRET_BYTES = 32

IDENTITY = "id_ecdsa"
KNOWN_HOSTS = "known_hosts"
_EARLIER = "id_ed25519"


def identity(folder: Path) -> Path:
    """The client's key in a bed's folder. Guests of a bed that an earlier vmlab brought up know another kind."""
    earlier = folder / _EARLIER
    return earlier if earlier.exists() else folder / IDENTITY


@dataclass(frozen=True, slots=True)
class BedKeys:
    """The keys of the bed whose folder this is; the folder's name is the bed's."""

    folder: Path
    _secret: bytes

    @classmethod
    def fresh(cls, folder: Path) -> "BedKeys":
        """New keys for the bed in `folder`; nothing is written before `write`."""
        return cls(folder, secrets.token_bytes(_SECRET_BYTES))

    @classmethod
    def of(cls, folder: Path) -> "BedKeys":
        """The keys of the bed in `folder`. Raises HostError if there is no usable secret, or if it cannot be read."""
        path = folder / "secret"
        rebuild = f"vmlab rebuild {folder.name}"
        try:
            secret = path.read_bytes()
        except FileNotFoundError:
            told = f"bed {folder.name} has no ssh secret here: {path} is absent; whoever brought the bed up has it"
            raise HostError(told, hint=rebuild) from None
        except OSError as error:
            raise HostError(f"ssh secret {path}: {error.strerror}", hint=f"ls -ld {folder}") from error
        if len(secret) != _SECRET_BYTES:
            raise HostError(f"{path} is no ssh secret of vmlab: {len(secret)} bytes", hint=f"rm {path}; {rebuild}")
        return cls(folder, secret)

    @property
    def public_key(self) -> str:
        """The key that guests authorize, as one line of `authorized_keys`."""
        return self._client.public

    def host_key(self, node: str) -> KeyPair:
        """The host key of a node: always the same bytes for the same secret and node."""
        return key_pair(self._host(node), f"{node}.{self.folder.name}")

    @property
    def authority(self) -> str:
        """The public key that vouches for the nodes' keys, as the line of a .pub file."""
        return p256_pair(self._seed(b"authority"), self.folder.name).public

    def host_certificate(self, node: str, names: Sequence[str]) -> str:
        """The authority's word that the node's host key is that of `names`, its names and addresses: one line."""
        return certificate(self._seed(b"authority"), self._host(node), "host", node, names)

    def root_certificate(self, node: str) -> str:
        """Its word that whoever has the node's host key, that is root there, may log in as root: one line."""
        return certificate(self._seed(b"authority"), self._host(node), "user", f"root@{node}", ("root",))

    def machine_id(self, node: str) -> str:
        """A node's machine-id(5): not drawn in the guest, where a restored one may draw what another did."""
        return UUID(bytes=self._seed(b"machine/" + node.encode())[:16], version=4).hex

    def write(self, nodes: Collection[str]) -> None:
        """Keep the secret, and put the client's key and the host keys of `nodes` where ssh reads them.

        Files that are right stay as they are. Raises HostError if the folder cannot be made or written.
        """
        _write_secret(self.folder, self._secret)
        known = "".join(f"{host_alias(self.folder.name, n)} {_bare(self.host_key(n).public)}\n" for n in nodes)
        _write(identity(self.folder), self._client.private)
        _write(self.folder / KNOWN_HOSTS, known)

    @property
    def _client(self) -> KeyPair:
        pair = p256_pair if identity(self.folder).name == IDENTITY else key_pair
        return pair(self._seed(b"client"), "vmlab")

    def _host(self, node: str) -> bytes:
        return self._seed(b"host/" + node.encode())

    def _seed(self, purpose: bytes) -> bytes:
        return hmac.new(self._secret, purpose, hashlib.sha256).digest()


def host_alias(bed: str, node: str) -> str:
    """The name under which a node's host key is pinned. Addresses are leased again, this name is not."""
    return f"{node}.{bed}"


def _bare(public: str) -> str:
    return " ".join(public.split()[:2])


def _write_secret(folder: Path, secret: bytes) -> None:
    path = folder / "secret"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            write_atomically(path, secret, mode=0o600)
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}", hint=f"ls -ld {folder}") from error


def _write(path: Path, content: str) -> None:
    try:
        with contextlib.suppress(FileNotFoundError, UnicodeDecodeError):
            if path.read_text() == content and not path.stat().st_mode & 0o077:
                return
        write_atomically(path, content, mode=0o600)
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}", hint=f"ls -ld {path.parent}") from error
