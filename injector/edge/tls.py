"""The certificate that the webhooks show, replaced while they are served.

A new certificate is a new TLS context, which the next handshake takes; connections that are open go on with
theirs. Loading it into the context that is in use would be no less work and has traps: a pair that does not
fit leaves half of itself there, and OpenSSL keeps one certificate for each kind of key, so that after a
change from ECDSA to RSA it would go on showing the old one to whoever prefers it.
"""

import os
import ssl
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, final

from injector.engine.authority import read_state
from injector.engine.leaf import ReplicaLeaf, renewed_leaf
from proxy.core.hosts import Hostname
from proxy.files.snapshots import Unread, read_snapshot
from proxy.x509.certificates import Certificate, dns_names, new_key, read_certificates

CERTIFICATE_FILE: Final = "tls.crt"
KEY_FILE: Final = "tls.key"
# A chain of four RSA certificates has 8 KiB.
_MAX_FILE_BYTES: Final = 64 << 10
# TLS 1.2 only with what is no weaker than TLS 1.3: forward secrecy and authenticated encryption.
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"


class CertificateFault(Exception):  # noqa: N818 - a fault in a value, not an error of the program
    """What is wrong with a certificate or its key, without quoting them."""


@final
class ServerCertificate:
    """What is shown at this moment. `changed` is told when it ends."""

    def __init__(self, host: Hostname, changed: Callable[[datetime], None]) -> None:
        self._host = host
        self._changed = changed
        self._context: ssl.SSLContext | None = None
        # How many there have been.
        self.number = 0
        self.ends: datetime | None = None

    def lack(self, now: datetime) -> str:
        """Why nobody can be served with it; empty: it is fine."""
        if self.ends is None:
            return "there is no certificate yet"
        return f"the certificate ended at {self.ends:%Y-%m-%d %H:%M}" if now >= self.ends else ""

    def context(self) -> ssl.SSLContext:
        if self._context is None:
            raise CertificateFault("there is no certificate yet")
        return self._context

    def show(self, chain_pem: bytes, key_pem: bytes, now: datetime) -> None:
        """From the next handshake on. Raises `CertificateFault`, and then goes on with what was shown."""
        chain, _ = read_certificates(chain_pem)
        if not chain:
            raise CertificateFault("there is no certificate in it")
        leaf = chain[0]
        if not leaf.not_valid_before_utc <= now < leaf.not_valid_after_utc:
            span = f"{leaf.not_valid_before_utc:%Y-%m-%d %H:%M} to {leaf.not_valid_after_utc:%Y-%m-%d %H:%M}"
            raise CertificateFault(f"it is valid from {span}")
        if not _names(leaf, self._host):
            raise CertificateFault(f"it is not for {self._host}, the name that API servers ask for")
        self._context = server_context(chain_pem, key_pem)
        self.number += 1
        self.ends = leaf.not_valid_after_utc
        self._changed(self.ends)


def _names(leaf: Certificate, host: Hostname) -> bool:
    """RFC 9525 §6.3: a wildcard stands for the first label."""
    wildcard = f"*.{host.partition('.')[2]}"
    return any(name.lower() in {host, wildcard} for name in dns_names(leaf))


def server_context(chain_pem: bytes, key_pem: bytes) -> ssl.SSLContext:
    """TLS 1.2 and 1.3, HTTP/1.1 only. Raises `CertificateFault` where the pair does not fit."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    # An API server would choose h2, and then a review that waits for its turn would hold up the others.
    context.set_alpn_protocols(["http/1.1"])
    # Go's client resumes no session here; tickets would outlive the certificate.
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    # Python loads keys from files only; this one is in memory, and nobody else can open it.
    descriptor = os.memfd_create("podkey-certificate", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(chain_pem.rstrip() + b"\n" + key_pem)
        # With a password, which it does not need, so that OpenSSL asks no terminal for one.
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password="")
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        raise CertificateFault(f"certificate and key cannot be used together ({reason})") from None
    finally:
        os.close(descriptor)
    return context


# --- where it comes from --------------------------------------------------------------------------


@final
class OwnCertificate:
    """Signed by ourselves with podkey's authority, as the Secret has it. Whoever watches it calls `saw`.
    `elapsed` are seconds that pass while the machine sleeps, too."""

    def __init__(
        self,
        shown: ServerCertificate,
        names: Sequence[Hostname],
        now: Callable[[], datetime],
        elapsed: Callable[[], float],
    ) -> None:
        self._shown = shown
        self._names = tuple(names)
        self._now = now
        self._elapsed = elapsed
        self._state = read_state({})
        self._seen_at = 0.0
        self._leaf: ReplicaLeaf | None = None

    def saw(self, data: Mapping[str, bytes]) -> bool:
        """What the Secret holds at this moment, also where it holds the same as before. Whether the
        certificate was renewed."""
        self._state = read_state(data)
        self._seen_at = self._elapsed()
        return self.renew()

    def renew(self) -> bool:
        """Where it is due. Raises `CertificateFault` where the clock makes a new one useless."""
        seen = timedelta(seconds=self._elapsed() - self._seen_at)
        now = self._now()
        leaf = renewed_leaf(self._leaf, self._state, seen=seen, names=self._names, now=now, draw=new_key)
        if leaf is None:
            return False
        self._shown.show(leaf.chain_pem, leaf.key_pem, now)
        self._leaf = leaf
        return True


@final
class FolderCertificate:
    """`tls.crt` and `tls.key` that somebody else renews, as cert-manager and the kubelet do."""

    def __init__(self, shown: ServerCertificate, folder: Path, now: Callable[[], datetime]) -> None:
        self._shown = shown
        self.folder = folder
        self._now = now

    def read(self) -> dict[str, bytes]:
        """Both files, of one moment. Raises OSError."""
        files = read_snapshot(self.folder, (CERTIFICATE_FILE, KEY_FILE), _MAX_FILE_BYTES)
        for name, content in files.items():
            if isinstance(content, Unread):
                raise OSError(f"{name} {content.why}")
        return {name: content for name, content in files.items() if isinstance(content, bytes)}

    def show(self, files: Mapping[str, bytes]) -> None:
        """Raises `CertificateFault`; then the old pair stays in use."""
        self._shown.show(files[CERTIFICATE_FILE], files[KEY_FILE], self._now())
