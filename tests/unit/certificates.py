"""Certificate authorities of the tests' own, and servers that stand under them."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_PEM = serialization.Encoding.PEM


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Authority:
    """`pem`: what those trust who trust it."""

    def __init__(self) -> None:
        self._key, self._subject = ec.generate_private_key(ec.SECP256R1()), _name("an authority")
        self._identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        made = self._about(self._subject, self._key).add_extension(x509.BasicConstraints(True, 0), True)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        self._certificate = made.add_extension(usage, True).sign(self._key, hashes.SHA256())
        self.pem = self._certificate.public_bytes(_PEM).decode()
        self.fingerprint = self._certificate.fingerprint(hashes.SHA256()).hex()

    def _about(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)  # noqa: TID251 - certificates hold by the machine's clock
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=2))
            .not_valid_after(now + timedelta(days=2))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self._identifier), False)
        )

    def context(self, folder: Path, *names: str) -> ssl.SSLContext:
        """Of a server of these names, else of localhost."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives = [x509.DNSName(name) for name in names or ("localhost",)]
        both = x509.SubjectAlternativeName(
            [*alternatives, *([] if names else [x509.IPAddress(ip_address("127.0.0.1"))])]
        )
        certificate = self._about(_name("a server"), key).add_extension(both, False).sign(self._key, hashes.SHA256())
        file = folder / "server.pem"
        private = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        file.write_bytes(private + certificate.public_bytes(_PEM))
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(file)
        return made
