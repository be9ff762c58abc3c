"""ed25519 keys and certificates in OpenSSH's formats, always the same bytes for the same seeds.

Written here because the libraries put random bytes into both, and a seed image or a guest's file that differs each time
would look like a change of the node. Defined in OpenSSH's PROTOCOL.key and PROTOCOL.certkeys.
"""

import base64
import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_KEY_TYPE = b"ssh-ed25519"
_CERTIFICATE_TYPE = b"ssh-ed25519-cert-v01@openssh.com"
_PEM_COLUMNS = 70

_USER, _HOST = 1, 2
_FOR_EVER = (0, 2**64 - 1)
# What a login is allowed to that no certificate restricts, in the order of their names.
_PERMITTED = (
    b"permit-X11-forwarding",
    b"permit-agent-forwarding",
    b"permit-port-forwarding",
    b"permit-pty",
    b"permit-user-rc",
)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An ed25519 pair: `private` is OpenSSH's PEM, `public` one line as in a .pub file."""

    private: str
    public: str


@cache  # a plan asks for a node's several times
def key_pair(seed: bytes, comment: str) -> KeyPair:
    """The pair of a seed of 32 bytes."""
    public = _public(seed)
    check = hashlib.sha256(b"check" + seed).digest()[:4]
    private = check + check + public + _string(seed + _point(seed)) + _string(comment.encode())
    private += bytes(range(1, 1 + -len(private) % 8))
    none = _string(b"none")
    blob = b"openssh-key-v1\0" + none + none + _string(b"") + struct.pack(">I", 1) + _string(public) + _string(private)
    text = base64.b64encode(blob).decode()
    lines = [text[i : i + _PEM_COLUMNS] for i in range(0, len(text), _PEM_COLUMNS)]
    pem = "\n".join(["-----BEGIN OPENSSH PRIVATE KEY-----", *lines, "-----END OPENSSH PRIVATE KEY-----", ""])
    return KeyPair(pem, _line(_KEY_TYPE, public, comment))


def certificate(
    authority: bytes, seed: bytes, of: Literal["host", "user"], name: str, principals: Sequence[str]
) -> str:
    """What the key of `authority` says of the key of `seed`, both given as seeds; one line as in a -cert.pub file.

    `principals` are the names and addresses of a host, or the users that may log in; `name` is what sshd logs. It
    holds for ever. The nonce, which is to keep others from choosing what is signed, may be told: all of it is ours.
    """
    permitted = b"".join(_string(right) + _string(b"") for right in _PERMITTED) if of == "user" else b""
    told = b"".join(
        (
            _string(_CERTIFICATE_TYPE),
            _string(hashlib.sha256(b"nonce" + authority + seed).digest()),
            _string(_point(seed)),
            struct.pack(">QI", 0, _HOST if of == "host" else _USER),
            _string(name.encode()),
            _string(b"".join(_string(principal.encode()) for principal in principals)),
            struct.pack(">QQ", *_FOR_EVER),
            _string(b""),  # critical options
            _string(permitted),
            _string(b""),  # reserved
            _string(_public(authority)),
        )
    )
    signature = _string(_KEY_TYPE) + _string(_key(authority).sign(told))
    return _line(_CERTIFICATE_TYPE, told + _string(signature), name)


def _key(seed: bytes) -> "Ed25519PrivateKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415  slow to import

    return Ed25519PrivateKey.from_private_bytes(seed)


@cache
def _point(seed: bytes) -> bytes:
    return _key(seed).public_key().public_bytes_raw()


def _public(seed: bytes) -> bytes:
    return _string(_KEY_TYPE) + _string(_point(seed))


def _line(kind: bytes, blob: bytes, comment: str) -> str:
    return f"{kind.decode()} {base64.b64encode(blob).decode()} {comment}"


def _string(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value
