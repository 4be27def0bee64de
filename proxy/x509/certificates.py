"""X.509 as podkey needs it: two shapes of certificate, their keys and files. The doorman of `cryptography`.

Both shapes hold to RFC 5280 as OpenSSL's strict mode reads it, which Python's default contexts switch on
since 3.13: identifiers of both keys, a critical key usage, critical basic constraints.
"""

import contextlib
import re
import warnings
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from proxy.core.hosts import Hostname

Certificate = x509.Certificate
PrivateKey = ec.EllipticCurvePrivateKey

# A certificate begins a little before it is made: NTP may step a clock back, and a client must not meet a
# certificate from the future. Five minutes is what Kerberos allows for the same reason (RFC 4120 §8.2).
CLOCK_SKEW: Final = timedelta(minutes=5)

MAX_COMMON_NAME: Final = 64  # RFC 5280 appendix A.1, ub-common-name

# The password of a trust store is public, so rounds of hashing would protect nothing and delay the start.
_STORE_ROUNDS: Final = 1000


# --- keys ----------------------------------------------------------------------------------------


def new_key() -> PrivateKey:
    """P-256: every TLS client knows it, and a signature costs a fraction of RSA-2048's."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: PrivateKey) -> bytes:
    """The secret itself: for a file that only we can read, or for a TLS library."""
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def read_key(pem: bytes) -> PrivateKey | None:
    """The key, or None where this is none of our kind. What is wrong is not told: that could quote it."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, PrivateKey) and isinstance(key.curve, ec.SECP256R1) else None


# --- certificates --------------------------------------------------------------------------------


def sign_authority(name: str, key: PrivateKey, *, begins: datetime, ends: datetime) -> Certificate:
    """A certificate authority that signs itself, and that may sign no other authority."""
    subject = _name(name)
    return (
        _begun(subject, subject, key, key, begins=begins, ends=ends)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def sign_leaf(
    host: Hostname,
    key: PrivateKey,
    authority: Certificate,
    authority_key: PrivateKey,
    *,
    begins: datetime,
    ends: datetime,
    aliases: Iterable[Hostname] = (),
) -> Certificate:
    """A server certificate for one host, and for other names of the same one.

    Two hosts are never put together: an HTTP/2 client would send both hosts' requests over one connection
    (RFC 9113 §9.1.1). A name that the subject cannot hold leaves it empty, and then the list of names is
    critical (RFC 5280 §4.2.1.6).
    """
    fits = len(host) <= MAX_COMMON_NAME
    subject = _name(host) if fits else x509.Name([])
    server = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return (
        _begun(subject, authority.subject, key, authority_key, begins=begins, ends=ends)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in (host, *aliases)]), critical=not fits
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(server, critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _begun(
    subject: x509.Name,
    issuer: x509.Name,
    key: PrivateKey,
    issuer_key: PrivateKey,
    *,
    begins: datetime,
    ends: datetime,
) -> x509.CertificateBuilder:
    # The issuer is named by its key alone, not by its serial number: so a leaf fits every certificate of
    # that key, also one that was made later (RFC 5280 §4.2.1.1).
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(issuer_id, critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


# --- what a certificate says ---------------------------------------------------------------------


def common_name(certificate: Certificate) -> str:
    """The subject's common name; empty where it has none, or a subject that cannot be read."""
    try:
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError:
        return ""
    return str(names[0].value) if names else ""


def dns_names(certificate: Certificate) -> tuple[str, ...]:
    """The names of a server certificate; none where it has none, or where they cannot be read."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return ()
    return tuple(names.get_values_for_type(x509.DNSName))


def is_signed_by(certificate: Certificate, authority: Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def has_key(certificate: Certificate, key: PrivateKey) -> bool:
    try:
        return certificate.public_key() == key.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return False  # a kind of key that the library does not know is not ours


def is_signed_by_itself(certificate: Certificate) -> bool:
    return is_signed_by(certificate, certificate)


# --- files of certificates -----------------------------------------------------------------------

# RFC 7468 §3. No hyphen inside, so that a block without an end costs no second look.
_PEM_BLOCK: Final = re.compile(rb"-----BEGIN [A-Z0-9 ]+-----[^-]*-----END [A-Z0-9 ]+-----")
_PEM_BEGIN: Final = b"-----BEGIN "


def certificate_pem(certificate: Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def read_certificates(pem: bytes) -> tuple[list[Certificate], int]:
    """The certificates of a PEM file, each once, and how many of its blocks are no certificate."""
    found: list[Certificate] = []
    with warnings.catch_warnings():
        # Roots that Mozilla ships, Amazon's Starfield among them, have the serial number 0. They must be
        # trusted all the same; a test notices when the library stops reading them.
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        for block in _PEM_BLOCK.findall(pem):
            with contextlib.suppress(ValueError, x509.InvalidVersion):
                found.append(x509.load_pem_x509_certificate(block))
    return list(dict.fromkeys(found)), pem.count(_PEM_BEGIN) - len(found)


def java_trust_store(certificates: Iterable[tuple[str, Certificate]], password: str) -> bytes:
    """PKCS #12 with Oracle's `trustedKeyUsage` attribute, without which Java sees no trusted entry.

    AES-256 and SHA-256 are what keytool itself writes since Java 16; 8u301 and 11.0.12 learned to read them.
    """
    entries = [pkcs12.PKCS12Certificate(certificate, name.encode()) for name, certificate in certificates]
    encryption = (
        serialization.PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(_STORE_ROUNDS)
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(hashes.SHA256())
        .build(password.encode())
    )
    return pkcs12.serialize_java_truststore(entries, encryption)
