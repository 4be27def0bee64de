"""The two shapes of certificate, and how certificates and keys are read."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from proxy.core.hosts import Hostname
from proxy.x509.certificates import (
    Certificate,
    PrivateKey,
    certificate_pem,
    common_name,
    dns_names,
    has_key,
    is_signed_by,
    is_signed_by_itself,
    java_trust_store,
    key_pem,
    new_key,
    read_certificates,
    read_key,
    sign_authority,
    sign_leaf,
)
from tests.pod_authorities import DAY, START, someones_root

ENDS = START + DAY
LONG_HOST = Hostname(".".join(["a" * 61] * 4) + ".test")  # 252 characters


def authority() -> tuple[Certificate, PrivateKey]:
    key = new_key()
    return sign_authority("podkey CA for tests", key, begins=START, ends=ENDS), key


def leaf(host: str = "api.test") -> Certificate:
    return sign_leaf(Hostname(host), new_key(), *authority(), begins=START, ends=ENDS)


def extensions(certificate: Certificate) -> dict[str, tuple[bool, x509.ExtensionType]]:
    return {type(e.value).__name__: (e.critical, e.value) for e in certificate.extensions}


def usages(usage: x509.ExtensionType) -> set[str]:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment")
    names += ("key_agreement", "key_cert_sign", "crl_sign")
    return {name for name in names if getattr(usage, name)}


# --- shapes --------------------------------------------------------------------------------------


def test_an_authority_signs_certificates_and_no_authorities() -> None:
    certificate, key = authority()
    found = extensions(certificate)

    assert found["BasicConstraints"] == (True, x509.BasicConstraints(ca=True, path_length=0))
    critical, usage = found["KeyUsage"]
    assert critical
    assert usages(usage) == {"key_cert_sign", "crl_sign"}
    own_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    assert found["SubjectKeyIdentifier"] == (False, own_id)
    issuer_id = x509.AuthorityKeyIdentifier(own_id.digest, None, None)
    assert found["AuthorityKeyIdentifier"] == (False, issuer_id)
    assert set(found) == {
        "BasicConstraints",
        "KeyUsage",
        "SubjectKeyIdentifier",
        "AuthorityKeyIdentifier",
    }
    assert certificate.version is x509.Version.v3
    assert certificate.issuer == certificate.subject
    assert is_signed_by_itself(certificate)


def test_a_leaf_serves_one_name_and_signs_nothing() -> None:
    ca, ca_key = authority()
    key = new_key()
    certificate = sign_leaf(Hostname("api.test"), key, ca, ca_key, begins=START, ends=ENDS)
    found = extensions(certificate)

    assert found["BasicConstraints"] == (True, x509.BasicConstraints(ca=False, path_length=None))
    critical, usage = found["KeyUsage"]
    assert critical
    assert usages(usage) == {"digital_signature"}
    assert found["ExtendedKeyUsage"] == (False, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]))
    names = x509.SubjectAlternativeName([x509.DNSName("api.test")])
    assert found["SubjectAlternativeName"] == (False, names)
    assert found["SubjectKeyIdentifier"][1] == x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    assert len(found) == 6
    assert has_key(certificate, key)
    assert certificate.issuer == ca.subject
    certificate.verify_directly_issued_by(ca)


def test_a_leaf_names_its_issuer_by_key_alone() -> None:
    """By serial number too, it would not fit the certificate that a renewal makes."""
    found = leaf().extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value

    assert found.key_identifier
    assert found.authority_cert_issuer is None
    assert found.authority_cert_serial_number is None


def test_a_name_that_a_subject_cannot_hold_stands_in_the_critical_list_alone() -> None:
    exact, long = leaf("a" * 59 + ".test"), leaf(LONG_HOST)

    assert common_name(exact) == "a" * 59 + ".test"
    assert extensions(exact)["SubjectAlternativeName"][0] is False
    assert long.subject == x509.Name([])
    assert extensions(long)["SubjectAlternativeName"][0] is True
    names = long.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [LONG_HOST]


def test_one_server_may_have_several_names() -> None:
    ca, ca_key = authority()
    names = [Hostname("webhook.podkey.svc"), Hostname("webhook.podkey")]
    certificate = sign_leaf(names[0], new_key(), ca, ca_key, begins=START, ends=ENDS, aliases=names[1:])

    assert common_name(certificate) == names[0]
    assert dns_names(certificate) == tuple(names)
    assert dns_names(leaf()) == ("api.test",)


def test_a_certificate_without_names_has_none() -> None:
    assert dns_names(authority()[0]) == ()


def test_names_that_cannot_be_read_are_none() -> None:
    """An extension that stands there twice (RFC 5280 §4.2 forbids it)."""

    class Torn:
        @property
        def extensions(self) -> x509.Extensions:
            raise ValueError("cannot be read")

    assert dns_names(cast("Certificate", Torn())) == ()


def test_who_signed_is_found_out_by_the_signature() -> None:
    ca, ca_key = authority()
    signed = sign_leaf(Hostname("api.test"), new_key(), ca, ca_key, begins=START, ends=ENDS)
    namesake, _ = authority()

    assert is_signed_by(signed, ca)
    assert not is_signed_by(signed, namesake)
    assert not is_signed_by(ca, signed)


def test_serial_numbers_are_chance() -> None:
    key = new_key()
    numbers = {sign_authority("x", key, begins=START, ends=ENDS).serial_number for _ in range(5)}

    assert len(numbers) == 5
    assert min(numbers) > 2**64  # CA/Browser Forum 7.1: at least 64 bits of it


def test_keeps_the_time_it_was_given() -> None:
    certificate, _ = authority()

    assert certificate.not_valid_before_utc == START
    assert certificate.not_valid_after_utc == ENDS


# --- keys ----------------------------------------------------------------------------------------


def test_reads_the_key_it_wrote() -> None:
    key = new_key()
    again = read_key(key_pem(key))

    assert again is not None
    assert again.public_key() == key.public_key()


def pem_of(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey, secret: bytes = b""
) -> bytes:
    locked = serialization.BestAvailableEncryption(secret) if secret else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)


def test_takes_no_other_kind_of_key() -> None:
    for pem in (
        pem_of(rsa.generate_private_key(65537, 2048)),
        pem_of(ec.generate_private_key(ec.SECP384R1())),
        pem_of(ed25519.Ed25519PrivateKey.generate()),
        pem_of(new_key(), b"locked"),
        pem_of(new_key())[:-60],
        certificate_pem(someones_root("Root")),
        b"\x00\xff",
        b"",
    ):
        assert read_key(pem) is None


# --- what a certificate says ---------------------------------------------------------------------


def test_tells_whose_key_a_certificate_has() -> None:
    certificate, key = authority()

    assert has_key(certificate, key)
    assert not has_key(certificate, new_key())
    assert not has_key(someones_root("Root"), key)


def damaged(certificate: Certificate, old: bytes, new: bytes) -> Certificate:
    der = certificate.public_bytes(serialization.Encoding.DER)
    assert old in der
    return x509.load_der_x509_certificate(der.replace(old, new))


# The object identifiers of id-ecPublicKey and of P-256, as DER; both can be read as something unknown.
EC_KEY, P256 = bytes.fromhex("06072a8648ce3d0201"), bytes.fromhex("06082a8648ce3d030107")


def test_a_key_of_an_unknown_kind_is_not_ours() -> None:
    certificate, key = authority()

    for old in (EC_KEY, P256):
        assert not has_key(damaged(certificate, old, old[:-1] + b"\x7f"), key)


def test_a_certificate_that_was_changed_is_not_signed_by_itself() -> None:
    certificate, _ = authority()

    assert not is_signed_by_itself(damaged(certificate, b"podkey CA", b"podkey XX"))
    assert not is_signed_by_itself(damaged(certificate, EC_KEY, EC_KEY[:-1] + b"\x7f"))
    assert not is_signed_by_itself(leaf())


def test_a_subject_that_says_nothing_has_no_name() -> None:
    unreadable = damaged(someones_root("Root"), b"\x0c\x04Root", b"\x0c\x04\xff\xff\xff\xff")

    assert common_name(leaf(LONG_HOST)) == ""
    assert common_name(unreadable) == ""


# --- files of certificates -----------------------------------------------------------------------


def test_reads_each_certificate_once_in_order_whatever_stands_around_it() -> None:
    one, two = someones_root("One"), someones_root("Two")
    file = (
        b"Text -- with hyphens -----\r\n"
        + certificate_pem(two).replace(b"\n", b"\r\n")
        + b"\x00\xff# comment\n"
        + certificate_pem(one)
        + certificate_pem(two)
    )

    assert read_certificates(file) == ([two, one], 0)


def test_counts_the_blocks_that_are_no_certificate() -> None:
    one = certificate_pem(someones_root("One"))
    file = (
        one.replace(b"M", b"A", 1)
        + key_pem(new_key())
        + one.replace(b"CERTIFICATE", b"TRUSTED CERTIFICATE")
        + one
        + one[:100]
    )
    found, unreadable = read_certificates(file)

    assert [common_name(certificate) for certificate in found] == ["One"]
    assert unreadable == 4


@pytest.mark.parametrize("file", [b"", b"-----BEGIN CERTIFICATE-----", b"\x30\x82", b"-" * 9999], ids=repr)
def test_a_file_without_certificates_has_none(file: bytes) -> None:
    assert read_certificates(file)[0] == []


def test_reads_every_root_that_mozilla_ships() -> None:
    """Some of them, Amazon's Starfield among them, have the serial number 0, which `cryptography` deprecates.

    When this fails after an update, the roots have to be carried as bytes instead.
    """
    file = Path(certifi.where()).read_bytes()
    found, unreadable = read_certificates(file)

    assert unreadable == 0
    assert len(found) == file.count(b"-----BEGIN")
    assert "Starfield Services Root Certificate Authority - G2" in {common_name(one) for one in found}


def test_openssl_reads_the_java_trust_store_with_the_attribute_that_java_wants(tmp_path: Path) -> None:
    file = tmp_path / "store.p12"
    file.write_bytes(
        java_trust_store([("one", someones_root("One")), ("two", someones_root("Two"))], "changeit")
    )
    command = ["openssl", "pkcs12", "-in", str(file), "-passin", "pass:changeit", "-nokeys", "-info"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)

    assert result.stdout.count("BEGIN CERTIFICATE") == 2
    assert result.stdout.count("2.16.840.1.113894.746875.1.1") == 2  # trustedKeyUsage
    assert "friendlyName: one" in result.stdout
    assert "MAC: sha256" in result.stderr


def test_openssl_verifies_a_leaf_as_strictly_as_it_can(tmp_path: Path) -> None:
    ca, ca_key = authority()
    (tmp_path / "ca.pem").write_bytes(certificate_pem(ca))
    at = str(int(datetime(2030, 1, 1, 12, tzinfo=UTC).timestamp()))
    for host in ("api.test", "xn--bcher-kva.test", "under_score.test", LONG_HOST):
        one = sign_leaf(Hostname(host), new_key(), ca, ca_key, begins=START, ends=ENDS)
        (tmp_path / "leaf.pem").write_bytes(certificate_pem(one))
        command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-attime", at]
        command += ["-verify_hostname", host, "-CAfile", "ca.pem", "leaf.pem"]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

        assert result.returncode == 0, result.stderr
