"""The certificate authority of one pod: made when its sidecar first starts, kept when that restarts.

Applications read their trust bundle once, when they start. So the key is what must last: a certificate that
is lost, damaged or near its end is made anew **with the same key and the same name**. A chain that the key
signs then verifies against every certificate it ever had, and an application that loaded an older one goes
on until that one ends; nothing can move that end. An application that starts later reads the new one. For the
same reason only the newest certificate is published: the older ones add nothing.

A key that is lost or damaged is replaced too, since the pod has no other. That is a break; a note says so.
"""

import errno
import os
import stat
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NoReturn, final

from proxy.core.structs import Struct
from proxy.x509.certificates import (
    CLOCK_SKEW,
    MAX_COMMON_NAME,
    Certificate,
    PrivateKey,
    certificate_pem,
    common_name,
    has_key,
    is_signed_by_itself,
    key_pem,
    new_key,
    read_certificates,
    read_key,
    sign_authority,
)

KEY_FILE: Final = "ca-key.pem"
CERTIFICATE_FILE: Final = "ca.pem"

# How every authority of ours is called, so that one can be told from a root that somebody wants.
NAME_PREFIX: Final = "podkey CA for "

# Renewed when a third of its life is left, as ACME clients do: an application that starts just before the
# renewal still has that long to run. More often would help no running application, which reads no file again.
_RENEWAL_PART: Final = 3

# A P-256 key is 241 bytes as PEM and our certificate about 700; what is larger is not ours.
_MAX_FILE_BYTES: Final = 16 * 1024

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_DELETE: Final = "delete it, and podkey makes a new one"


class TrustProblem(Struct, frozen=True):
    """Why there is no authority, or no trust to publish: the thing, what is wrong with it, and the fix."""

    thing: str
    reason: str
    fix: str

    def __str__(self) -> str:
        return f"{self.thing} {self.reason}; {self.fix}"


@final
class PodAuthority:
    """The certificate that applications trust, and the key that never leaves the sidecar."""

    def __init__(self, certificate: Certificate, key: PrivateKey) -> None:
        self.certificate = certificate
        self.key = key
        self.name = common_name(certificate)
        self.pem = certificate_pem(certificate)  # the public half
        self.begins = certificate.not_valid_before_utc
        self.ends = certificate.not_valid_after_utc

    def needs_renewal(self, now: datetime) -> bool:
        """Whether a third of its life is left, or a clock that was set back has not reached its beginning."""
        return not self.begins <= now < self.ends - (self.ends - self.begins) / _RENEWAL_PART

    def renewed(self, *, now: datetime, lifetime: timedelta) -> "PodAuthority":
        """A new certificate for the same key and name; see above why."""
        return _signed(self.name, self.key, now, lifetime)

    def is_kin(self, certificate: Certificate) -> bool:
        """Whether a certificate is ours, an older one of ours, or another pod's."""
        return common_name(certificate).startswith(NAME_PREFIX) or has_key(certificate, self.key)

    def __repr__(self) -> str:
        return f"PodAuthority({self.name!r}, ends={self.ends:%Y-%m-%dT%H:%M:%SZ})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("an authority holds a private key: it is not pickled or copied")


class Opened(Struct, frozen=True):
    """The authority, and what the operator should hear about how it came to be."""

    authority: PodAuthority
    notes: tuple[str, ...]


def authority_name(pod: str) -> str:
    """The common name. A long pod name keeps both ends: the job it belongs to, and what tells it apart."""
    room = MAX_COMMON_NAME - len(NAME_PREFIX)
    if len(pod) > room:
        half = room // 2 - 1
        pod = f"{pod[:half]}..{pod[-half:]}"
    return NAME_PREFIX + pod


# --- kept in a directory -------------------------------------------------------------------------


def load_or_make(state_dir: Path, *, now: datetime, lifetime: timedelta, pod: str) -> Opened | TrustProblem:
    """The authority that the directory keeps, renewed or mended where it has to be, or a new one.

    While the kept one is fresh nothing changes, however often the container restarts.
    """
    problem = _own_directory(state_dir)
    if problem:
        return problem
    kept = _read_own(state_dir / KEY_FILE)
    if isinstance(kept, TrustProblem):
        return kept
    public = _read_own(state_dir / CERTIFICATE_FILE, secret=False)
    if isinstance(public, TrustProblem):
        return public
    opened = _open(state_dir, kept, public, name=authority_name(pod), now=now, lifetime=lifetime)
    if opened.authority.pem != public:
        return save(opened.authority, state_dir) or opened
    return opened


def save(authority: PodAuthority, state_dir: Path) -> TrustProblem | None:
    """Write the pair, each file whole. The key first: a certificate without its key would be of no use."""
    try:
        replace_file(state_dir / KEY_FILE, key_pem(authority.key), 0o600)
        replace_file(state_dir / CERTIFICATE_FILE, authority.pem, 0o600)
    except OSError as error:
        return _unwritable(state_dir, error)
    return None


def _open(
    state_dir: Path,
    kept: bytes | None,
    public: bytes | None,
    *,
    name: str,
    now: datetime,
    lifetime: timedelta,
) -> Opened:
    key_file, certificate_file = state_dir / KEY_FILE, state_dir / CERTIFICATE_FILE
    if kept is None and public is None:
        return Opened(_signed(name, new_key(), now, lifetime), ())
    key = None if kept is None else read_key(kept)
    if key is None:
        lost = "is missing beside its certificate" if kept is None else "holds no key that can be used"
        return _replaced(key_file, lost, name, now, lifetime)
    found, _ = read_certificates(public or b"")
    ours = [one for one in found if has_key(one, key) and is_signed_by_itself(one)]
    if not ours:
        note = f"{certificate_file} was no certificate of {key_file}: made a new one with the same key"
        return Opened(_signed(name, key, now, lifetime), (note,))
    authority = PodAuthority(ours[0], key)
    if authority.name != name:
        return _replaced(key_file, f"belongs to {authority.name!r}, not to {name!r}", name, now, lifetime)
    if authority.needs_renewal(now):
        span = f"{authority.begins:%Y-%m-%d %H:%M} to {authority.ends:%Y-%m-%d %H:%M}"
        note = f"{certificate_file} is for {span}: renewed with the same key"
        return Opened(authority.renewed(now=now, lifetime=lifetime), (note,))
    return Opened(authority, ())


def _replaced(key_file: Path, reason: str, name: str, now: datetime, lifetime: timedelta) -> Opened:
    note = (
        f"{key_file} {reason}: made a new authority; applications that are already running do not trust it: "
        "restart them"
    )
    return Opened(_signed(name, new_key(), now, lifetime), (note,))


def _signed(name: str, key: PrivateKey, now: datetime, lifetime: timedelta) -> PodAuthority:
    begins = now - CLOCK_SKEW
    return PodAuthority(sign_authority(name, key, begins=begins, ends=begins + lifetime), key)


# --- files that are ours alone -------------------------------------------------------------------


def _own_directory(state_dir: Path) -> TrustProblem | None:
    """Make the directory for us alone, or make sure that it is.

    A mounted volume itself belongs to root and is open to all, which is why the directory lies below it. The
    set-group-id bit that such a volume hands down is harmless.
    """
    thing = str(state_dir)
    try:
        state_dir.mkdir(mode=0o700, exist_ok=True)
        status = state_dir.lstat()
    except FileExistsError:
        return TrustProblem(thing, "is no directory", "name a directory that podkey makes itself")
    except OSError as error:
        return _unwritable(state_dir, error)
    if not stat.S_ISDIR(status.st_mode):
        return TrustProblem(thing, "is a link", "name the directory itself")
    return _not_ours_alone(thing, status, "name a directory below the volume, which podkey makes itself")


def _read_own(path: Path, *, secret: bool = True) -> bytes | TrustProblem | None:
    """A file's bytes, None where there is no file, or why nobody should rely on it."""
    try:
        # Not through a link, and without waiting for whoever opens the other end of a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            data = os.read(descriptor, _MAX_FILE_BYTES) if stat.S_ISREG(status.st_mode) else None
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = "is a link" if error.errno == errno.ELOOP else f"cannot be read: {error.strerror}"
        return TrustProblem(str(path), reason, _DELETE)
    if data is None:
        return TrustProblem(str(path), "is no regular file", _DELETE)
    problem = (
        _not_ours_alone(str(path), status, "others may know the key: delete the pod") if secret else None
    )
    return problem or data


def _not_ours_alone(thing: str, status: os.stat_result, fix: str) -> TrustProblem | None:
    if status.st_uid != os.geteuid():
        return TrustProblem(thing, f"belongs to user {status.st_uid}, not to {os.geteuid()}", fix)
    if status.st_mode & _OTHERS:
        return TrustProblem(thing, f"is open to others (mode {stat.S_IMODE(status.st_mode):04o})", fix)
    return None


def _unwritable(state_dir: Path, error: OSError) -> TrustProblem:
    fix = "mount a volume that the sidecar's user can write, best one in memory"
    return TrustProblem(str(state_dir), f"cannot be written: {error.strerror}", fix)


def replace_file(path: Path, data: bytes, mode: int) -> None:
    """Write a file so that a reader finds the old or the new one, whole, at any moment and after a crash."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)  # left by a crash, or by a full disk
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(new, flags, 0o600), "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fchmod(stream.fileno(), mode)  # by name and umask it could come out narrower
        os.fsync(stream.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)  # the name is kept by the directory
    finally:
        os.close(folder)
