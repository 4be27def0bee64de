"""Authorities, leaves and roots for tests, all made at run time, and a TLS handshake that uses no socket."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from OpenSSL import crypto

from proxy.edge.authority import Opened, PodAuthority, load_or_make
from proxy.edge.leaves import Leaf
from proxy.x509.certificates import Certificate, new_key, sign_authority

POD = "training/llama-0"
START = datetime(2030, 1, 1, tzinfo=UTC)
LIFETIME = timedelta(days=90)
DAY = timedelta(days=1)


def opened(
    state_dir: Path, now: datetime = START, *, lifetime: timedelta = LIFETIME, pod: str = POD
) -> Opened:
    """What `load_or_make` gives where nothing is in its way."""
    result = load_or_make(state_dir, now=now, lifetime=lifetime, pod=pod)
    assert isinstance(result, Opened), str(result)
    return result


def authority_in(state_dir: Path, now: datetime = START) -> PodAuthority:
    return opened(state_dir, now).authority


def someones_root(name: str) -> Certificate:
    """A root that is not ours."""
    return sign_authority(name, new_key(), begins=START - DAY, ends=START + 3650 * DAY)


def verifies(leaf: Leaf, trusted: list[Certificate], at: datetime) -> bool:
    """Whether OpenSSL, as strict as it can be, accepts the leaf at a time."""
    store = crypto.X509Store()
    store.set_flags(crypto.X509StoreFlags.X509_STRICT)
    store.set_time(at)
    for certificate in trusted:
        store.add_cert(crypto.X509.from_cryptography(certificate))
    context = crypto.X509StoreContext(store, crypto.X509.from_cryptography(leaf.certificate))
    try:
        context.verify_certificate()
    except crypto.X509StoreContextError:
        return False
    return True


def server_context(leaf: Leaf, folder: Path) -> ssl.SSLContext:
    """`load_cert_chain` takes files only."""
    chain, key = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(leaf.chain_pem)
    key.write_bytes(leaf.key_pem())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return context


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, host: str) -> ssl.SSLObject:
    """The client's side after the handshake; it raises what the client raised."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    done = set()
    while len(done) < len(ends):
        for end in ends:
            try:
                end.do_handshake()
                done.add(end)
            except ssl.SSLWantReadError:
                continue
    return ends[0]
