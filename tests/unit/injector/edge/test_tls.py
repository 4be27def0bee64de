import asyncio
import os
import ssl
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from injector.edge.tls import (
    CertificateFault,
    FolderCertificate,
    OwnCertificate,
    ServerCertificate,
    server_context,
)
from injector.engine.authority import Store, advance
from proxy.core.hosts import Hostname
from proxy.x509.certificates import new_key
from tests.injector_serving_world import (
    HOST,
    HOUR,
    NAMES,
    Client,
    Counts,
    EchoSite,
    TestAuthority,
    listening,
    running,
)

AUTHORITY = TestAuthority()
NOW = datetime.now(UTC)


def shown() -> tuple[ServerCertificate, list[datetime]]:
    ends: list[datetime] = []
    return ServerCertificate(HOST, ends.append), ends


def secret() -> Mapping[str, bytes]:
    step = advance(None, [], NOW, new_key)
    assert isinstance(step, Store)
    return step.data


def now() -> datetime:
    return datetime.now(UTC)


# --- what is shown --------------------------------------------------------------------------------


def test_before_there_is_one_nothing_is_shown() -> None:
    certificate, _ = shown()

    assert certificate.lack(NOW) == "there is no certificate yet"
    with pytest.raises(CertificateFault, match="no certificate yet"):
        certificate.context()


def test_a_good_pair_is_shown_until_it_ends() -> None:
    certificate, ends = shown()
    certificate.show(*AUTHORITY.pair(), NOW)

    assert certificate.ends is not None
    assert ends == [certificate.ends]
    assert not certificate.lack(NOW)
    assert certificate.lack(certificate.ends).startswith("the certificate ended at 20")
    assert certificate.context().minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_wildcard_is_a_name_too() -> None:
    certificate, _ = shown()
    certificate.show(*AUTHORITY.pair("*.podkey-system.svc"), NOW)

    assert certificate.ends is not None


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        (AUTHORITY.pair("podkey-injector"), "not for podkey-injector.podkey-system.svc"),
        (AUTHORITY.pair("*.svc"), "not for podkey-injector"),
        (AUTHORITY.pair(ends=-HOUR / 2), "valid from"),
        (AUTHORITY.pair(begins=HOUR), "valid from"),
        ((b"", AUTHORITY.pair()[1]), "no certificate in it"),
        ((AUTHORITY.pair()[0], AUTHORITY.pair()[1]), "cannot be used together"),
        ((AUTHORITY.pair()[0], b""), "cannot be used together"),
        (
            (AUTHORITY.pair()[0], b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
            "cannot be used",
        ),
    ],
)
def test_a_bad_pair_changes_nothing(pair: tuple[bytes, bytes], words: str) -> None:
    certificate, ends = shown()
    certificate.show(*AUTHORITY.pair(), NOW)
    before = certificate.context()
    with pytest.raises(CertificateFault, match=words):
        certificate.show(*pair, NOW)

    assert certificate.context() is before
    assert ends == [certificate.ends]


def test_a_key_behind_a_password_asks_nobody() -> None:
    locked = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    with pytest.raises(CertificateFault, match="cannot be used together"):
        server_context(AUTHORITY.pair()[0], locked)


def test_a_chain_and_an_rsa_key_of_somebody_else_are_fine(tmp_path: Path) -> None:
    """As an issuer with an intermediate writes them: no line feed at the end, and text around."""
    key = rsa.generate_private_key(65537, 2048)
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    command = ["openssl", "req", "-x509", "-key", "key.pem", "-subj", "/CN=x", "-days", "1"]
    command += ["-addext", f"subjectAltName=DNS:{HOST}"]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout
    certificate, _ = shown()
    certificate.show(b"Subject: x\n" + made.rstrip(), (tmp_path / "key.pem").read_bytes(), now())

    assert certificate.ends is not None


def test_the_key_reaches_no_disk_and_leaves_no_descriptor_open() -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the number alone
    for _ in range(5):
        server_context(*AUTHORITY.pair())

    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_process_that_cannot_be_dumped_loads_its_key_all_the_same() -> None:
    """Its /proc/self belongs to root then (proc(5)), and it is another user."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    script = (
        "import ctypes, os, sys\n"
        "from injector.edge.tls import server_context\n"
        "from tests.injector_serving_world import TestAuthority\n"
        "pair = TestAuthority().pair()\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "assert ctypes.CDLL(None).prctl(4, 0, 0, 0, 0) == 0\n"
        "server_context(*pair)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


@pytest.mark.parametrize(
    ("version", "works"),
    [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_tls_is_1_2_or_newer(version: ssl.TLSVersion, works: bool) -> None:  # noqa: FBT001
    certificate, _ = shown()
    certificate.show(*AUTHORITY.pair(), now())

    async def scenario() -> None:
        async with listening(EchoSite(), Counts(), context=certificate.context) as (_, port):
            client = AUTHORITY.client()
            client.set_ciphers("DEFAULT:@SECLEVEL=0")
            client.minimum_version = client.maximum_version = version
            if not works:
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    await Client.open(port, client)
                return
            one = await Client.open(port, client)
            assert one.writer.get_extra_info("ssl_object").version() == version.name.replace("v1_", "v1.")
            await one.close()

    running(scenario())


@pytest.mark.parametrize("name", NAMES)
def test_each_of_its_names_can_be_asked_for(name: str) -> None:
    certificate, _ = shown()
    own = OwnCertificate(certificate, NAMES, now, lambda: 0.0)
    data = secret()
    own.saw(data)

    async def scenario() -> None:
        async with listening(EchoSite(), Counts(), context=certificate.context) as (_, port):
            context = ssl.create_default_context(cadata=data["ca.crt"].decode())
            client = await Client.open(port, context, name)
            assert await client.post(b"x") == (200, b"x")
            await client.close()

    running(scenario())


# --- where it comes from --------------------------------------------------------------------------


def test_our_own_is_made_when_the_secret_is_seen_and_renewed_when_it_is_due() -> None:
    certificate, ends = shown()
    moment = [NOW]
    own = OwnCertificate(certificate, NAMES, lambda: moment[0], lambda: 0.0)
    assert not own.renew()
    assert not own.saw({})
    data = secret()
    assert own.saw(data)
    assert not own.saw(data)
    moment[0] = NOW + timedelta(days=5)
    assert own.renew()

    assert len(ends) == 2
    assert ends[0] < ends[1]


def test_what_was_seen_long_ago_signs_nothing() -> None:
    certificate, _ = shown()
    moment, elapsed = [NOW], [0.0]
    own = OwnCertificate(certificate, NAMES, lambda: moment[0], lambda: elapsed[0])
    data = secret()
    own.saw(data)
    moment[0], elapsed[0] = NOW + timedelta(days=5), 5 * 86400.0
    assert not own.renew()

    assert own.saw(data)


def test_a_folder_is_read_as_a_whole(tmp_path: Path) -> None:
    certificate, _ = shown()
    source = FolderCertificate(certificate, tmp_path, now)
    with pytest.raises(OSError, match=r"tls\.crt does not exist"):
        source.read()
    AUTHORITY.write(tmp_path)
    files = source.read()
    source.show(files)

    assert set(files) == {"tls.crt", "tls.key"}
    assert certificate.ends is not None


def test_a_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    certificate, _ = shown()

    with pytest.raises(FileNotFoundError):
        FolderCertificate(certificate, tmp_path / "gone", now).read()


def test_names_are_compared_without_case() -> None:
    certificate = ServerCertificate(Hostname("a.b.svc"), lambda _: None)
    certificate.show(*AUTHORITY.pair("A.B.svc"), now())

    assert asyncio.iscoroutinefunction(certificate.context) is False
    assert certificate.ends is not None
