"""X.509 certificates for libvirt's TLS, under the names by which it finds them in a URI's `pkipath`."""

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

_DAYS = timedelta(days=2)


class Authority:
    """Whom both ends trust."""

    def __init__(self, name: str) -> None:
        self._key = generate_private_key(SECP256R1())
        self._name = _named(name)
        builder = _begun(self._name, self._name, self._key)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self._own = builder.sign(self._key, SHA256())

    def server(self, folder: Path, address: str) -> None:
        """The files of whoever listens at that address."""
        names = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address(address))])
        self._write(folder, "server", ExtendedKeyUsageOID.SERVER_AUTH, names)

    def client(self, folder: Path) -> None:
        """The files of whoever may connect."""
        self._write(folder, "client", ExtendedKeyUsageOID.CLIENT_AUTH)

    def _write(self, folder: Path, what: str, use: ObjectIdentifier, *more: x509.ExtensionType) -> None:
        key = generate_private_key(SECP256R1())
        builder = _begun(_named(what), self._name, key)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        for extension in (x509.ExtendedKeyUsage([use]), *more):
            builder = builder.add_extension(extension, critical=False)
        folder.mkdir(mode=0o700, parents=True)
        for name, certificate in (("ca", self._own), (what, builder.sign(self._key, SHA256()))):
            (folder / f"{name}cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / f"{what}key.pem").write_bytes(private)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _begun(subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    begun = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    return begun.serial_number(x509.random_serial_number()).not_valid_before(now - _DAYS).not_valid_after(now + _DAYS)
