"""What OpenSSH and the cryptography library make of the keys and certificates that are written here."""

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key
from cryptography.hazmat.primitives.serialization.ssh import (
    SSHCertificate,
    SSHCertificateType,
    load_ssh_public_identity,
)

from vmlab.guest.openssh import KeyPair, certificate, key_pair, p256_pair

AUTHORITY, NODE = bytes(range(32)), bytes(range(32, 64))
NAMES = ("oss1", "10.77.0.11", "10.77.1.11")


def shown(folder: Path, text: str) -> list[str]:
    path = folder / "x-cert.pub"
    path.write_text(f"{text}\n")
    done = subprocess.run(["ssh-keygen", "-L", "-f", path], capture_output=True, text=True, check=True)
    return [line.strip() for line in done.stdout.splitlines()]


# Of many seeds, since numbers of some have a byte more or less.
PAIRS = [key_pair(NODE, "oss1.ha"), *(p256_pair(bytes([number]) * 32, "oss1.ha") for number in range(12))]
pairs = pytest.mark.parametrize("pair", PAIRS, ids=[str(number) for number, _ in enumerate(PAIRS)])


@pairs
def test_openssh_reads_the_pair(tmp_path: Path, pair: KeyPair) -> None:
    path = tmp_path / "key"
    path.touch(mode=0o600)
    path.write_text(pair.private)
    done = subprocess.run(["ssh-keygen", "-y", "-f", path], capture_output=True, text=True, check=True)
    assert done.stdout == f"{pair.public}\n"


@pairs
def test_cryptography_reads_the_pair(pair: KeyPair) -> None:
    key = load_ssh_private_key(pair.private.encode(), None)
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    assert pair.public == f"{public} oss1.ha"


def test_openssh_reads_the_certificates(tmp_path: Path) -> None:
    host = shown(tmp_path, certificate(AUTHORITY, NODE, "host", "oss1", NAMES))
    assert "Type: ssh-ed25519-cert-v01@openssh.com host certificate" in host
    assert 'Key ID: "oss1"' in host
    assert "Valid: forever" in host
    assert host[host.index("Principals:") + 1 :][:3] == list(NAMES)
    user = shown(tmp_path, certificate(AUTHORITY, NODE, "user", "root@oss1", ("root",)))
    assert "Type: ssh-ed25519-cert-v01@openssh.com user certificate" in user
    assert user[user.index("Principals:") + 1] == "root"
    assert "permit-pty" in user


@pytest.mark.parametrize("number", range(12))
def test_the_signature_is_the_authoritys(number: int) -> None:
    line = certificate(AUTHORITY, NODE, "host", f"oss{number}", NAMES)
    read = load_ssh_public_identity(line.encode())
    assert isinstance(read, SSHCertificate)
    read.verify_cert_signature()
    assert read.type is SSHCertificateType.HOST
    signer = read.signature_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    assert p256_pair(AUTHORITY, "").public.startswith(signer)
    assert key_pair(NODE, "").public.startswith(
        read.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    )


def test_the_same_is_always_the_same() -> None:
    one, other = (certificate(AUTHORITY, NODE, "host", "oss1", NAMES) for _ in range(2))
    assert one == other
    assert one != certificate(AUTHORITY, NODE, "host", "oss1", NAMES[:2])
