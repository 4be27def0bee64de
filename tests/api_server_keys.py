"""A cluster's keys, made when it starts: its authority, its server's certificate, users, tokens.

Every file holds a private key together with what belongs to it, as Kubernetes' flags and OpenSSL both accept.
"""

import datetime as dt
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = dt.timedelta(days=1)


class ClusterKeys:
    """`file` is the authority's public certificate."""

    def __init__(self, folder: Path, *names: str) -> None:
        folder.mkdir()
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("cluster")
        self._certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file = folder / "authority.pem"
        self.file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))
        self.serving = self.certificate("serving", *names)
        # Tokens are RS256, as in most clusters.
        self.accounts = private(
            folder / "accounts.key", _pem(rsa.generate_private_key(public_exponent=65_537, key_size=2048))
        )

    def certificate(self, file: str, *names: str) -> Path:
        """A server's, for names and addresses: also a webhook's, whose caBundle is then `file`."""
        general = [
            x509.IPAddress(ip_address(name)) if _is_address(name) else x509.DNSName(name) for name in names
        ]
        return self._leaf(
            file, _name(names[0]), ExtendedKeyUsageOID.SERVER_AUTH, x509.SubjectAlternativeName(general)
        )

    def user(self, name: str, *groups: str) -> Path:
        """A client's: the server reads the user from the common name and groups from organizations."""
        return self._leaf(f"user-{name}", _name(name, *groups), ExtendedKeyUsageOID.CLIENT_AUTH)

    def _leaf(
        self,
        file: str,
        subject: x509.Name,
        purpose: x509.ObjectIdentifier,
        *more: x509.ExtensionType,
    ) -> Path:
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        builder = (
            self._builder(subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False
            )
        )
        for extension in more:
            builder = builder.add_extension(extension, critical=False)
        leaf = builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        return private(self._folder / f"{file}.pem", leaf + _pem(key))

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return x509.CertificateBuilder(
            self._name, subject, key, x509.random_serial_number(), now - DAY, now + 30 * DAY
        ).add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def private(file: Path, content: bytes) -> Path:
    """A file that only its owner reads, from its first byte on."""
    file.touch(0o600)
    file.write_bytes(content)
    return file


def _name(common: str, *organizations: str) -> x509.Name:
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in organizations]
    return x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)


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
