"""The internet's certificates, for tests: an authority that the sidecar trusts, and one that it does not."""

import datetime as dt
import itertools
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = dt.timedelta(days=1)


class UpstreamCertificate(NamedTuple):
    """PEM files: `ssl.SSLContext.load_cert_chain(*certificate)`."""

    chain: Path
    key: Path


class _Signer:
    def __init__(self, name: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = dt.datetime.now(dt.UTC)
        self.certificate = (
            _builder(self.name, self.name, self.key.public_key(), now - DAY, now + 30 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .sign(self.key, hashes.SHA256())
        )

    def sign(self, names: tuple[str, ...], key: ec.EllipticCurvePrivateKey, *, expired: bool) -> bytes:
        now = dt.datetime.now(dt.UTC)
        begins, ends = (now - 3 * DAY, now - DAY) if expired else (now - DAY, now + DAY)
        issuer = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        leaf = (
            _builder(subject, self.name, key.public_key(), begins, ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.SubjectAlternativeName(list(map(_general, names))), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False
            )
            .sign(self.key, hashes.SHA256())
        )
        return leaf.public_bytes(serialization.Encoding.PEM)


class UpstreamAuthority:
    """`file` is its public certificate: what `PODKEY_UPSTREAM_CA_FILES` names."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._numbers = itertools.count()
        self._signer = _Signer("The Internet's CA")
        self.file = folder / "authority.pem"
        self.file.write_bytes(self._signer.certificate.public_bytes(serialization.Encoding.PEM))

    @cached_property
    def _stranger(self) -> _Signer:
        return _Signer("A CA that nobody trusts")

    def certificate(self, *names: str, expired: bool = False, stranger: bool = False) -> UpstreamCertificate:
        number = next(self._numbers)
        key = ec.generate_private_key(ec.SECP256R1())
        signer = self._stranger if stranger else self._signer
        files = UpstreamCertificate(self._folder / f"{number}.pem", self._folder / f"{number}.key")
        files.chain.write_bytes(signer.sign(names, key, expired=expired))
        files.key.touch(0o600)
        files.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return files


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    begins: dt.datetime,
    ends: dt.datetime,
) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        issuer, subject, key, x509.random_serial_number(), begins, ends
    ).add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
