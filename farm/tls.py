"""The farm's own certificate authority, and the certificate of its server: made, renewed and replaced by itself.

HOME/tls, for the farm's user alone: `authority.pem` (its key and certificate), `ca.pem` (what others trust; no secret),
`cross.pem` (the new authority under the one before it, so that who still trusts that one gets on), `server.pem` (key
and chain of the server).
"""

import hashlib
import logging
import os
import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm.clock import Clock

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate, CertificateBuilder, Name

log = logging.getLogger(__name__)

CA_LIFE = timedelta(days=3650)
CA_SPARE = timedelta(days=180)  # so long before its end an authority is replaced; until then it is good enough
LIFE = timedelta(days=90)  # of the server's certificate; a third before its end it is renewed
OVERLAP = timedelta(days=30)  # for so long the authority before this one is good enough
EARLIER = timedelta(days=1)  # clocks elsewhere may be slow
_MAKING = threading.RLock()  # several stand for the same folder: who serves, and who is asked to rotate


@dataclass(frozen=True, slots=True)
class Rotated:
    """`until` is when those who trust only the old authority are cut off; None: at once."""

    old: str
    new: str
    until: datetime | None


class Authority:
    """The certificate authority in a folder. Raises OSError where that can't be read or written."""

    def __init__(self, folder: Path, farm: str, clock: Clock, life: timedelta = LIFE) -> None:
        self._folder, self._farm, self._clock, self._life = folder, farm, clock, life
        self.server_file = folder / "server.pem"
        self._own_file, self._ca_file = folder / "authority.pem", folder / "ca.pem"
        self._cross_file = folder / "cross.pem"

    def ready(self, names: Collection[str]) -> bool:
        """Make or renew what is missing, near its end or made for other names; whether the server's is another."""
        with _MAKING:
            self._make()
            self._succeed()
            if self._fits(names):
                return False
            self._issue(names)
            return True

    def ca(self) -> str:
        """What others have to trust, in PEM."""
        with _MAKING:
            self._make()
            return self._ca_file.read_text()

    def fingerprint(self) -> str:
        return fingerprint(self.ca())

    def rotate(self, overlap: timedelta = OVERLAP) -> Rotated:
        """A new authority. For `overlap` it also stands under the old one; with none, who trusts that is cut off.

        The server's certificate is made by `ready`.
        """
        with _MAKING:
            return self._rotate(overlap)

    def _succeed(self) -> None:
        """The authority itself has an end: nobody should be cut off because nobody thought of it for ten years. Nor
        because a clock was years ahead for a moment: one that seems to have ended may count again."""
        end = _certificate(self._own_file).not_valid_after_utc
        if end - self._now() < CA_SPARE:
            made = self._rotate(CA_SPARE)
            ends = f"the one before counts until {end:%Y-%m-%d}" if end > self._now() else "the one before has ended"
            log.warning("the authority neared its end, there is another one now: %s; %s", made.new, ends)

    def _rotate(self, overlap: timedelta) -> Rotated:
        self._make()
        old, old_key = _both(self._own_file)
        crosses = self._crosses() if overlap else []
        new, key = self._new_authority()
        until = min(self._now() + overlap, old.not_valid_after_utc) if overlap else None
        if until:
            cross = self._about(new.subject, key, until, authority=True)
            crosses.insert(0, _signed(cross, old.subject, old_key))
        _write(self._cross_file, b"".join(map(_pem, crosses)), 0o600)
        self._keep(new, key)
        return Rotated(fingerprint(_pem(old).decode()), self.fingerprint(), until)

    def ends(self) -> datetime:
        """When the server's certificate ends, if nobody renews it."""
        return _certificate(self.server_file).not_valid_after_utc

    def _make(self) -> None:
        """The authority, where there is none; also after a power cut in the middle of it."""
        self._folder.mkdir(exist_ok=True, mode=0o700)
        self._folder.chmod(0o700)
        if not self._own_file.exists():
            self._keep(*self._new_authority())
        own = _pem(_certificate(self._own_file))
        if not self._ca_file.exists() or self._ca_file.read_bytes() != own:
            _write(self._ca_file, own, 0o644)

    def _keep(self, certificate: "Certificate", key: "EllipticCurvePrivateKey") -> None:
        """Both in one file: one without the other would be worth nothing."""
        _write(self._own_file, _private(key) + _pem(certificate), 0o600)
        _write(self._ca_file, _pem(certificate), 0o644)

    def _new_authority(self) -> "tuple[Certificate, EllipticCurvePrivateKey]":
        key = _new_key()
        name = _name(f"Farm {self._farm} CA {os.urandom(4).hex()}")
        return _signed(self._about(name, key, self._now() + CA_LIFE, authority=True), name, key), key

    def _fits(self, names: Collection[str]) -> bool:
        try:
            found = _certificate(self.server_file)
            own = _certificate(self._own_file)
        except (OSError, ValueError):
            return False
        enough = found.not_valid_after_utc - self._now() > self._life / 3
        shown = self.server_file.read_bytes()
        return (
            enough
            and found.issuer == own.subject
            and set(names) <= _names_of(found)
            and all(_pem(cross) in shown for cross in self._crosses())
        )

    def _issue(self, names: Collection[str]) -> None:
        (authority, authority_key), key = _both(self._own_file), _new_key()
        about = self._about(_name(f"Farm {self._farm}"), key, self._now() + self._life, names=names)
        chain = [_signed(about, authority.subject, authority_key), *self._crosses()]
        _write(self.server_file, _private(key) + b"".join(map(_pem, chain)), 0o600)

    def _crosses(self) -> "list[Certificate]":
        """Those that still hold, the newest first."""
        from cryptography.x509 import load_pem_x509_certificates

        if not self._cross_file.exists() or not (text := self._cross_file.read_bytes()):
            return []
        return [c for c in load_pem_x509_certificates(text) if c.not_valid_after_utc > self._now()]

    def _about(
        self,
        name: "Name",
        key: "EllipticCurvePrivateKey",
        until: datetime,
        *,
        authority: bool = False,
        names: Collection[str] = (),
    ) -> "CertificateBuilder":
        """All but who signs it."""
        from cryptography import x509
        from cryptography.x509.oid import ExtendedKeyUsageOID

        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._began() - EARLIER)
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(authority, None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(_usage(authority), critical=True)
        )
        if authority:
            return builder
        server = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        return builder.add_extension(server, critical=False).add_extension(_alternatives(names), critical=False)

    def _began(self) -> datetime:
        """Where our clock was ahead once, what was made then must hold for others now, too."""
        try:
            return min(self._now(), _certificate(self._own_file).not_valid_before_utc + EARLIER)
        except (OSError, ValueError):
            return self._now()

    def _now(self) -> datetime:
        return self._clock.now().replace(microsecond=0)


def fingerprint(pem: str) -> str:
    """SHA-256 of the first certificate, as AB:CD:…"""
    import ssl

    end = "-----END CERTIFICATE-----"
    whole = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN") : pem.index(end) + len(end)]))
    return ":".join(f"{byte:02X}" for byte in whole.digest())


def _new_key() -> "EllipticCurvePrivateKey":
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _both(path: Path) -> "tuple[Certificate, Any]":
    """Certificate and key, of one reading: they belong together."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from cryptography.x509 import load_pem_x509_certificate

    text = path.read_bytes()
    return load_pem_x509_certificate(text), load_pem_private_key(text, None)


def _private(key: "EllipticCurvePrivateKey") -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _certificate(path: Path) -> "Certificate":
    """The first one of a file, which may begin with a key."""
    from cryptography.x509 import load_pem_x509_certificate

    return load_pem_x509_certificate(path.read_bytes())


def _pem(certificate: "Certificate") -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _name(common: str) -> "Name":
    from cryptography import x509

    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])


def _signed(about: "CertificateBuilder", issuer: "Name", key: Any) -> "Certificate":
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256

    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    return about.issuer_name(issuer).add_extension(above, critical=False).sign(key, SHA256())


def _usage(authority: bool) -> Any:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _alternatives(names: Iterable[str]) -> Any:
    from cryptography import x509

    def one(name: str) -> x509.GeneralName:
        try:
            return x509.IPAddress(ip_address(name))
        except ValueError:
            return x509.DNSName(name)

    return x509.SubjectAlternativeName([one(name) for name in sorted(names)])


def _names_of(certificate: "Certificate") -> set[str]:
    from cryptography import x509

    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {str(one.value) for one in found}


def _write(path: Path, data: bytes, mode: int) -> None:
    """Whole or not at all, and on disk: who has half a key has none."""
    coming = path.with_name(f".{path.name}-{os.getpid()}-{threading.get_native_id()}")
    coming.unlink(missing_ok=True)
    descriptor = os.open(coming, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    coming.replace(path)
