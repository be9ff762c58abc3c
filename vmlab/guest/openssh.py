"""Keys and certificates in OpenSSH's formats, always the same bytes for the same seeds.

Written here because the libraries put random bytes into both, and a seed image or a guest's file that differs each time
would look like a change of the node. Defined in OpenSSH's PROTOCOL.key and PROTOCOL.certkeys, RFC 4253 and RFC 5656.

Hosts have ed25519 keys. Who logs in and who vouches has P-256: sshd checks what they sign, and for an emulated guest
that takes 50 ms by OpenSSH's own ed25519, and a tenth of it by libcrypto's P-256.
"""

import base64
import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_KEY_TYPE = b"ssh-ed25519"
_P256_TYPE, _CURVE = b"ecdsa-sha2-nistp256", b"nistp256"
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # FIPS 186-5
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
    """`private` is OpenSSH's PEM, `public` one line as in a .pub file."""

    private: str
    public: str


@cache  # a plan asks for a node's several times
def key_pair(seed: bytes, comment: str) -> KeyPair:
    """The ed25519 pair of a seed of 32 bytes."""
    return _pair(_KEY_TYPE, seed, _public(seed), _string(seed + _point(seed)), comment)


@cache
def p256_pair(seed: bytes, comment: str) -> KeyPair:
    """The ECDSA pair of a seed."""
    secret = _p256(seed).private_numbers().private_value
    return _pair(_P256_TYPE, seed, _p256_public(seed), _number(secret), comment)


def _pair(kind: bytes, seed: bytes, public: bytes, secret: bytes, comment: str) -> KeyPair:
    check = hashlib.sha256(b"check" + seed).digest()[:4]
    private = check + check + public + secret + _string(comment.encode())
    private += bytes(range(1, 1 + -len(private) % 8))
    none = _string(b"none")
    blob = b"openssh-key-v1\0" + none + none + _string(b"") + struct.pack(">I", 1) + _string(public) + _string(private)
    text = base64.b64encode(blob).decode()
    lines = [text[i : i + _PEM_COLUMNS] for i in range(0, len(text), _PEM_COLUMNS)]
    pem = "\n".join(["-----BEGIN OPENSSH PRIVATE KEY-----", *lines, "-----END OPENSSH PRIVATE KEY-----", ""])
    return KeyPair(pem, _line(kind, public, comment))


def certificate(
    authority: bytes, seed: bytes, of: Literal["host", "user"], name: str, principals: Sequence[str]
) -> str:
    """What the P-256 key of `authority` says of the ed25519 key of `seed`, both seeds; one line as in a -cert.pub file.

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
            _string(_p256_public(authority)),
        )
    )
    signature = _string(_P256_TYPE) + _string(_signed(authority, told))
    return _line(_CERTIFICATE_TYPE, told + _string(signature), name)


def _key(seed: bytes) -> "Ed25519PrivateKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415  slow to import

    return Ed25519PrivateKey.from_private_bytes(seed)


@cache
def _p256(seed: bytes) -> "EllipticCurvePrivateKey":
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415  slow to import

    # Of so many bits that none of the order's numbers is likelier than another.
    wide = int.from_bytes(hashlib.sha512(b"p256" + seed).digest(), "big")
    return ec.derive_private_key(wide % (_P256_ORDER - 1) + 1, ec.SECP256R1())


def _p256_public(seed: bytes) -> bytes:
    point = _p256(seed).public_key().public_numbers()
    both = b"\x04" + point.x.to_bytes(32, "big") + point.y.to_bytes(32, "big")
    return _string(_P256_TYPE) + _string(_CURVE) + _string(both)


def _signed(authority: bytes, told: bytes) -> bytes:
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415  slow to import
    from cryptography.hazmat.primitives.asymmetric import ec, utils  # noqa: PLC0415  slow to import

    how = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
    return b"".join(map(_number, utils.decode_dss_signature(_p256(authority).sign(told, how))))


@cache
def _point(seed: bytes) -> bytes:
    return _key(seed).public_key().public_bytes_raw()


def _public(seed: bytes) -> bytes:
    return _string(_KEY_TYPE) + _string(_point(seed))


def _line(kind: bytes, blob: bytes, comment: str) -> str:
    return f"{kind.decode()} {base64.b64encode(blob).decode()} {comment}"


def _number(value: int) -> bytes:
    return _string(value.to_bytes(value.bit_length() // 8 + 1, "big"))  # mpint: the sign has a bit of its own


def _string(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value
