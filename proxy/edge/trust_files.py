"""Whom to trust: the roots that upstreams are verified with, and the files that applications verify us with.

The two differ by exactly one certificate. Upstreams are never verified with our own authority, nor with
another pod's: whoever holds such a key could play every upstream, and would be handed the credentials. One
can come in by accident, when an image's system store was built from a bundle that a sidecar had published.

There is no JKS file. Java reads PKCS #12 also where it is told JKS: it looks at the content (JEP 229, and
JDK-8062552 for Java 8). A second format would have no reader of its own.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from proxy.core.contract import BUNDLE_FILE, CA_FILE, JAVA_TRUST_STORE_FILE, JAVA_TRUST_STORE_PASSWORD
from proxy.core.structs import Struct
from proxy.edge.authority import PodAuthority, TrustProblem, replace_file
from proxy.x509.certificates import (
    Certificate,
    certificate_pem,
    common_name,
    java_trust_store,
    read_certificates,
)

SYSTEM_ROOTS: Final = (
    Path("/etc/ssl/certs/ca-certificates.crt"),  # Debian, Ubuntu, Alpine
    Path("/etc/pki/tls/certs/ca-bundle.crt"),  # RHEL, Fedora, Amazon Linux
    Path("/etc/ssl/cert.pem"),  # Alpine without the package, BSD
)

# Mozilla's roots are 220 KB as PEM, 500 KB with the comments that some distributions add, and a corporate
# bundle may hold them twice.
MAX_ROOTS_BYTES: Final = 8 * 1024 * 1024

_PUBLIC_FILE: Final = 0o644
_PUBLIC_DIR: Final = 0o755
_ENTER_AND_LIST: Final = stat.S_IROTH | stat.S_IXOTH


# --- upstreams -----------------------------------------------------------------------------------


class UpstreamRoots(Struct, frozen=True):
    """What upstreams are verified with; never ours. Kept as text: read, a hundred and forty of them are more
    than a megabyte, and they are needed at the start and once in a while."""

    roots_pem: bytes
    extra_pem: bytes
    source: str  # where the roots are from
    notes: tuple[str, ...]

    @property
    def roots(self) -> tuple[Certificate, ...]:
        return tuple(read_certificates(self.roots_pem)[0])

    @property
    def extra(self) -> tuple[Certificate, ...]:
        return tuple(read_certificates(self.extra_pem)[0])

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        return (*self.roots, *self.extra)

    @property
    def pem(self) -> bytes:
        return self.roots_pem + self.extra_pem


def upstream_roots(
    roots_file: Path | None,
    extra_files: Sequence[Path],
    authority: PodAuthority,
    *,
    system: Sequence[Path] = SYSTEM_ROOTS,
) -> UpstreamRoots | TrustProblem:
    """The roots of the file that was set, or the system's, or Mozilla's as certifi has them; and the extras.

    A file that was set has to hold a certificate. A place where we only look for one need not.
    """
    notes: list[str] = []
    read = partial(_read, authority=authority, notes=notes)
    for path in [roots_file] if roots_file else _places(system):
        roots = read(path)
        if not isinstance(roots, TrustProblem):
            break
        if roots_file:
            return roots
        if os.access(path, os.F_OK):  # most systems have one of these places
            notes.append(f"{roots.thing} {roots.reason}: looked for roots elsewhere")
    else:
        return TrustProblem("the system", "has no root certificates", "set the file that holds them")
    extra: dict[Certificate, None] = {}  # in their order, each once
    for extra_file in extra_files:
        found = read(extra_file)
        if isinstance(found, TrustProblem):
            return found
        extra |= dict.fromkeys(found)
    for one in roots:
        extra.pop(one, None)
    return UpstreamRoots(_pem_of(roots), _pem_of(extra), str(path), tuple(notes))


def _pem_of(certificates: Iterable[Certificate]) -> bytes:
    return b"".join(map(certificate_pem, certificates))


def _places(system: Sequence[Path]) -> Iterator[Path]:
    yield from system
    import certifi  # noqa: PLC0415 - takes 7 ms of every start, and only an image without roots needs it

    yield Path(certifi.where())


def _read(path: Path, *, authority: PodAuthority, notes: list[str]) -> list[Certificate] | TrustProblem:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_ROOTS_BYTES + 1)
    except OSError as error:
        return TrustProblem(
            str(path), f"cannot be read: {error.strerror}", "check the path and its permissions"
        )
    if len(data) > MAX_ROOTS_BYTES:
        fix = "give only the certificates that are needed"
        return TrustProblem(str(path), f"is larger than {MAX_ROOTS_BYTES} bytes", fix)
    found, unreadable = read_certificates(data)
    if not found:
        fix = "give certificates as PEM (openssl x509 -inform DER converts one)"
        return TrustProblem(str(path), "holds no certificate", fix)
    if unreadable:
        notes.append(f"{path}: left out {unreadable} PEM blocks that are no readable certificate")
    kept = [one for one in found if not authority.is_kin(one)]
    if len(kept) < len(found):
        names = sorted({ascii(common_name(one)) for one in found if authority.is_kin(one)})
        notes.append(
            f"{path}: left out {', '.join(names)}: a podkey authority must never vouch for an upstream"
        )
    if not kept:
        return TrustProblem(str(path), "holds only podkey authorities", "give the roots of the upstreams")
    return kept


# --- applications --------------------------------------------------------------------------------


def publish(trust_dir: Path, authority: PodAuthority, upstreams: UpstreamRoots) -> TrustProblem | None:
    """Write what applications trust. Call it again after a renewal: each file stays in place, and whole.

    A container that mounts one file by `subPath` keeps the file of its start. That is as good as what a
    running program has read, because a renewed authority keeps its key.
    """
    files = {
        CA_FILE: authority.pem,
        BUNDLE_FILE: render_bundle(authority, upstreams),
        JAVA_TRUST_STORE_FILE: render_java_trust_store(authority, upstreams),
    }
    try:
        _make_public(trust_dir)
        for name, data in files.items():
            replace_file(trust_dir / name, data, _PUBLIC_FILE)
        status = trust_dir.stat()
    except OSError as error:
        fix = "mount a volume that the sidecar's user can write"
        return TrustProblem(str(trust_dir), f"cannot be written: {error.strerror}", fix)
    if status.st_mode & _ENTER_AND_LIST != _ENTER_AND_LIST:
        mode = f"{stat.S_IMODE(status.st_mode):04o}"
        fix = f"make it readable for all (mode {_PUBLIC_DIR:04o})"
        return TrustProblem(str(trust_dir), f"is closed to the applications (mode {mode})", fix)
    return None


def render_bundle(authority: PodAuthority, upstreams: UpstreamRoots) -> bytes:
    """A full bundle, for the variables that point at it replace a client's own roots (SSL_CERT_FILE …)."""
    parts = (
        (f"roots from {upstreams.source!a}", upstreams.roots_pem),
        ("extra authorities of the platform", upstreams.extra_pem),
        ("the authority of this pod's podkey sidecar", authority.pem),
    )
    return b"".join(f"# podkey: {title}\n".encode() + pem for title, pem in parts if pem)


def render_java_trust_store(authority: PodAuthority, upstreams: UpstreamRoots) -> bytes:
    """The same certificates for Java. Its names must differ from each other, so they are numbers."""
    others = enumerate(upstreams.certificates, 1)
    entries = [("podkey", authority.certificate), *((f"root-{number}", one) for number, one in others)]
    return java_trust_store(entries, JAVA_TRUST_STORE_PASSWORD)


def _make_public(directory: Path) -> None:
    """A mounted volume belongs to root and is open already; what is ours we open, whatever the umask."""
    directory.mkdir(exist_ok=True)
    if directory.stat().st_uid == os.geteuid():
        directory.chmod(_PUBLIC_DIR)
