"""A bed's ssh identity: one secret in the bed's folder, from which the client's and every guest's key derive."""

import base64
import contextlib
import hashlib
import hmac
import secrets
import struct
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from vmlab.errors import HostError
from vmlab.runtime.files import write_atomically

_KEY_TYPE = b"ssh-ed25519"
_SECRET_BYTES = 32
_PEM_COLUMNS = 70

IDENTITY = "id_ed25519"
KNOWN_HOSTS = "known_hosts"


@dataclass(frozen=True, slots=True)
class HostKey:
    """An ed25519 pair: `private` is OpenSSH's PEM, `public` one line as in a .pub file."""

    private: str
    public: str


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
        return self._pair(b"client", "vmlab").public

    def host_key(self, node: str) -> HostKey:
        """The host key of a node: always the same bytes for the same secret and node."""
        return self._pair(b"host/" + node.encode(), f"{node}.{self.folder.name}")

    def write(self, nodes: Collection[str]) -> None:
        """Keep the secret, and put the client's key and the host keys of `nodes` where ssh reads them.

        Files that are right stay as they are. Raises HostError if the folder cannot be made or written.
        """
        _write_secret(self.folder, self._secret)
        known = "".join(f"{host_alias(self.folder.name, n)} {_bare(self.host_key(n).public)}\n" for n in nodes)
        _write(self.folder / IDENTITY, self._pair(b"client", "vmlab").private)
        _write(self.folder / KNOWN_HOSTS, known)

    def _pair(self, purpose: bytes, comment: str) -> HostKey:
        seed = hmac.new(self._secret, purpose, hashlib.sha256).digest()
        return _openssh(seed, comment)


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


@cache  # every node is told the keys of all
def _openssh(seed: bytes, comment: str) -> HostKey:
    """The pair of an ed25519 seed in OpenSSH's format (PROTOCOL.key of OpenSSH).

    Written here because the libraries put a random check integer into it, and a seed image that differs each time
    would look like a change of the node.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415  slow to import
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

    point = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    public = _string(_KEY_TYPE) + _string(point)
    check = hashlib.sha256(b"check" + seed).digest()[:4]
    private = check + check + public + _string(seed + point) + _string(comment.encode())
    private += bytes(range(1, 1 + -len(private) % 8))
    none = _string(b"none")
    blob = b"openssh-key-v1\0" + none + none + _string(b"") + struct.pack(">I", 1) + _string(public) + _string(private)
    text = base64.b64encode(blob).decode()
    lines = [text[i : i + _PEM_COLUMNS] for i in range(0, len(text), _PEM_COLUMNS)]
    pem = "\n".join(["-----BEGIN OPENSSH PRIVATE KEY-----", *lines, "-----END OPENSSH PRIVATE KEY-----", ""])
    return HostKey(pem, f"{_KEY_TYPE.decode()} {base64.b64encode(public).decode()} {comment}")


def _string(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value
