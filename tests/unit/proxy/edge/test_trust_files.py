"""Upstreams are never verified with our own authority; applications get all they need, whole."""

import os
import shutil
import ssl
import stat
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import certifi
import pytest
from cryptography.hazmat.primitives.serialization import pkcs12

from proxy.core.contract import BUNDLE_FILE, CA_FILE, JAVA_TRUST_STORE_FILE, JAVA_TRUST_STORE_PASSWORD
from proxy.core.hosts import Hostname
from proxy.edge.authority import PodAuthority, TrustProblem
from proxy.edge.leaves import Leaf, Leaves
from proxy.edge.trust_files import (
    MAX_ROOTS_BYTES,
    SYSTEM_ROOTS,
    UpstreamRoots,
    publish,
    render_bundle,
    upstream_roots,
)
from proxy.x509.certificates import (
    Certificate,
    certificate_pem,
    common_name,
    key_pem,
    new_key,
    read_certificates,
    sign_authority,
)
from tests.pod_authorities import (
    DAY,
    LIFETIME,
    START,
    authority_in,
    server_context,
    shake_hands,
    someones_root,
)

FILES = [BUNDLE_FILE, CA_FILE, JAVA_TRUST_STORE_FILE]
ONE, TWO, CORPORATE = someones_root("Root One"), someones_root("Root Two"), someones_root("Corporate Root")


@pytest.fixture
def authority(tmp_path: Path) -> PodAuthority:
    return authority_in(tmp_path / "state")


def pem_file(path: Path, *certificates: Certificate) -> Path:
    path.write_bytes(b"".join(map(certificate_pem, certificates)))
    return path


def names(certificates: Sequence[Certificate]) -> list[str]:
    return [common_name(certificate) for certificate in certificates]


def roots_of(
    authority: PodAuthority, roots_file: Path | None, *extra: Path, system: Sequence[Path] = ()
) -> UpstreamRoots:
    result = upstream_roots(roots_file, extra, authority, system=system)
    assert isinstance(result, UpstreamRoots), str(result)
    return result


# --- where roots come from -----------------------------------------------------------------------


def test_takes_the_roots_that_were_set(tmp_path: Path, authority: PodAuthority) -> None:
    file, system = pem_file(tmp_path / "set.pem", ONE), pem_file(tmp_path / "system.pem", TWO)
    roots = roots_of(authority, file, system=[system])

    assert roots == UpstreamRoots(certificate_pem(ONE), b"", str(file), ())
    assert roots.pem == certificate_pem(ONE)


def test_takes_the_first_of_the_systems_places_that_is_there(tmp_path: Path, authority: PodAuthority) -> None:
    there, later = pem_file(tmp_path / "there.pem", ONE), pem_file(tmp_path / "later.pem", TWO)

    assert roots_of(authority, None, system=[tmp_path / "no", there, later]).roots == (ONE,)


def test_takes_mozillas_roots_where_the_system_has_none(tmp_path: Path, authority: PodAuthority) -> None:
    roots = roots_of(authority, None, system=[tmp_path / "no"])

    assert roots.source == certifi.where()
    assert len(roots.roots) > 100
    assert roots.notes == ()


def test_says_so_when_a_place_of_the_system_holds_nothing(tmp_path: Path, authority: PodAuthority) -> None:
    empty, there = pem_file(tmp_path / "empty.pem"), pem_file(tmp_path / "there.pem", ONE)
    roots = roots_of(authority, None, system=[empty, there])

    assert roots.roots == (ONE,)
    assert roots.notes == (f"{empty} holds no certificate: looked for roots elsewhere",)


def test_no_roots_anywhere_is_a_problem(
    tmp_path: Path, authority: PodAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certifi, "where", lambda: str(tmp_path / "no"))

    assert upstream_roots(None, (), authority, system=()) == TrustProblem(
        "the system", "has no root certificates", "set the file that holds them"
    )


def test_this_system_has_roots_that_the_standard_library_takes(authority: PodAuthority) -> None:
    roots = roots_of(authority, None, system=SYSTEM_ROOTS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=roots.pem.decode())

    assert context.cert_store_stats()["x509"] == len(roots.roots)


# --- files that were set -------------------------------------------------------------------------


@pytest.mark.parametrize("as_extra", [False, True], ids=["roots", "extra"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "holds no certificate"),
        (b"\x00garbage", "holds no certificate"),
        (b"\n" * (MAX_ROOTS_BYTES + 1), "is larger than 8388608 bytes"),
    ],
    ids=["missing", "empty", "garbage", "large"],
)
def test_a_file_that_was_set_has_to_hold_a_certificate(
    tmp_path: Path, authority: PodAuthority, content: bytes | None, reason: str, *, as_extra: bool
) -> None:
    file = tmp_path / "set.pem"
    if content is not None:
        file.write_bytes(content)
    good = pem_file(tmp_path / "good.pem", ONE)
    settings = (good, (file,)) if as_extra else (file, ())
    problem = upstream_roots(*settings, authority, system=[good])

    assert isinstance(problem, TrustProblem)
    assert (problem.thing, problem.reason) == (str(file), reason)
    assert problem.fix


def test_a_folder_is_no_file_of_roots(tmp_path: Path, authority: PodAuthority) -> None:
    problem = upstream_roots(tmp_path, (), authority)

    assert isinstance(problem, TrustProblem)
    assert problem.reason == "cannot be read: Is a directory"


def test_what_is_no_certificate_is_left_out_and_told(tmp_path: Path, authority: PodAuthority) -> None:
    file = tmp_path / "set.pem"
    file.write_bytes(b"junk" + certificate_pem(ONE) + key_pem(new_key()) + certificate_pem(ONE)[:99])
    roots = roots_of(authority, file)

    assert roots.pem == certificate_pem(ONE)
    assert roots.notes == (f"{file}: left out 2 PEM blocks that are no readable certificate",)


def test_extra_authorities_join_each_once(tmp_path: Path, authority: PodAuthority) -> None:
    file = pem_file(tmp_path / "roots.pem", ONE, TWO, ONE)
    corporate = pem_file(tmp_path / "a.pem", CORPORATE, TWO)
    again = pem_file(tmp_path / "b.pem", CORPORATE)
    roots = roots_of(authority, file, corporate, again)

    assert names(roots.roots) == ["Root One", "Root Two"]
    assert names(roots.extra) == ["Corporate Root"]
    assert read_certificates(roots.pem) == ([ONE, TWO, CORPORATE], 0)


# --- never ours ----------------------------------------------------------------------------------


def kin(authority: PodAuthority, folder: Path) -> dict[str, Certificate]:
    return {
        "ours": authority.certificate,
        "ours, older": authority.renewed(now=START - 30 * DAY, lifetime=LIFETIME).certificate,
        "another pod's": authority_in(folder / "other").certificate,
        "our key under another name": sign_authority("Root", authority.key, begins=START, ends=START + DAY),
    }


@pytest.mark.parametrize("which", ["ours", "ours, older", "another pod's", "our key under another name"])
@pytest.mark.parametrize("place", ["set", "system", "extra"])
def test_an_authority_of_podkey_never_vouches_for_an_upstream(
    tmp_path: Path, authority: PodAuthority, which: str, place: str
) -> None:
    planted = kin(authority, tmp_path)[which]
    clean, file = pem_file(tmp_path / "clean.pem", TWO), pem_file(tmp_path / "planted.pem", ONE, planted)
    roots = {
        "set": lambda: roots_of(authority, file),
        "system": lambda: roots_of(authority, None, system=[file]),
        "extra": lambda: roots_of(authority, clean, file),
    }[place]()

    assert planted not in read_certificates(roots.pem)[0]
    assert ONE in (*roots.roots, *roots.extra)
    [note] = roots.notes
    assert note.startswith(f"{file}: left out '{common_name(planted)}'")
    assert note.endswith("a podkey authority must never vouch for an upstream")


def test_our_own_published_bundle_as_the_systems_store_changes_nothing(
    tmp_path: Path, authority: PodAuthority
) -> None:
    first = roots_of(authority, pem_file(tmp_path / "roots.pem", ONE, TWO))
    assert publish(tmp_path / "trust", authority, first) is None
    second = roots_of(authority, None, system=[tmp_path / "trust" / BUNDLE_FILE])

    assert second.roots == first.roots
    assert len(second.notes) == 1


def test_a_file_of_nothing_but_podkey_authorities_is_a_problem(
    tmp_path: Path, authority: PodAuthority
) -> None:
    problem = upstream_roots(pem_file(tmp_path / "ca.pem", authority.certificate), (), authority)

    assert isinstance(problem, TrustProblem)
    assert problem.reason == "holds only podkey authorities"


def test_an_application_that_plays_the_upstream_is_not_believed(tmp_path: Path) -> None:
    """With our own leaf: what would happen if it got hold of one."""
    now = datetime.now(UTC)
    authority = authority_in(tmp_path / "today", now)
    leaf = Leaves(authority, lambda: now).leaf_for(Hostname("api.test"))
    assert isinstance(leaf, Leaf)
    roots = roots_of(authority, pem_file(tmp_path / "system.pem", ONE, authority.certificate))
    context = ssl.create_default_context(cadata=roots.pem.decode())

    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(context, server_context(leaf, tmp_path), "api.test")


# --- published -----------------------------------------------------------------------------------


@pytest.fixture
def upstreams(tmp_path: Path, authority: PodAuthority) -> UpstreamRoots:
    return roots_of(
        authority, pem_file(tmp_path / "roots.pem", ONE, TWO), pem_file(tmp_path / "corporate.pem", CORPORATE)
    )


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_everybody_can_read_what_is_published(
    tmp_path: Path, authority: PodAuthority, upstreams: UpstreamRoots, umask: int
) -> None:
    before = os.umask(umask)
    try:
        assert publish(tmp_path / "trust", authority, upstreams) is None
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "trust").stat().st_mode) == 0o755
    files = sorted((tmp_path / "trust").iterdir())
    assert [file.name for file in files] == FILES
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o644}


def test_each_file_holds_what_its_readers_want(
    tmp_path: Path, authority: PodAuthority, upstreams: UpstreamRoots
) -> None:
    publish(tmp_path / "trust", authority, upstreams)
    ca, bundle, store = (
        (tmp_path / "trust" / name).read_bytes() for name in (CA_FILE, BUNDLE_FILE, JAVA_TRUST_STORE_FILE)
    )
    java = pkcs12.load_pkcs12(store, JAVA_TRUST_STORE_PASSWORD.encode()).additional_certs

    assert ca == authority.pem
    assert read_certificates(bundle) == ([ONE, TWO, CORPORATE, authority.certificate], 0)
    assert {(entry.friendly_name, entry.certificate) for entry in java} == {
        (b"podkey", authority.certificate),
        (b"root-1", ONE),
        (b"root-2", TWO),
        (b"root-3", CORPORATE),
    }
    assert not [data for data in (ca, bundle, store) if b"PRIVATE" in data]


def test_the_bundle_says_which_part_is_which(tmp_path: Path, authority: PodAuthority) -> None:
    odd = pem_file(tmp_path / "ö\n-----BEGIN", ONE)
    text = render_bundle(authority, roots_of(authority, odd)).decode("ascii")
    comments = [line for line in text.splitlines() if line.startswith("#")]

    assert comments == [
        f"# podkey: roots from '{tmp_path}/\\xf6\\n-----BEGIN'",
        "# podkey: the authority of this pod's podkey sidecar",
    ]
    assert text.count("\n-----BEGIN") == 2


def test_a_client_with_the_bundle_believes_us(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    authority = authority_in(tmp_path / "today", now)
    leaf = Leaves(authority, lambda: now).leaf_for(Hostname("api.test"))
    assert isinstance(leaf, Leaf)
    publish(tmp_path / "trust", authority, roots_of(authority, None, system=SYSTEM_ROOTS))
    server = server_context(leaf, tmp_path)

    for name in (BUNDLE_FILE, CA_FILE):
        context = ssl.create_default_context(cafile=str(tmp_path / "trust" / name))
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
        assert shake_hands(context, server, "api.test").version() == "TLSv1.3"


def test_a_renewal_replaces_each_file_in_its_place(
    tmp_path: Path, authority: PodAuthority, upstreams: UpstreamRoots, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust = tmp_path / "trust"
    publish(trust, authority, upstreams)
    old = (trust / BUNDLE_FILE).read_bytes()
    (trust / f".{BUNDLE_FILE}.new").write_bytes(b"half, left by a crash")
    renewed = authority.renewed(now=START + timedelta(days=61), lifetime=LIFETIME)
    seen: list[tuple[list[str], bool]] = []
    rename = Path.replace

    def watch(self: Path, target: Path) -> Path:
        """What an application would find just before each rename."""
        visible = sorted(file.name for file in trust.iterdir() if not file.name.startswith("."))
        new = render_bundle(renewed, upstreams)
        seen.append((visible, (trust / BUNDLE_FILE).read_bytes() in (old, new)))
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", watch)
    assert publish(trust, renewed, upstreams) is None

    assert seen == [(FILES, True)] * 3
    assert (trust / CA_FILE).read_bytes() == renewed.pem
    assert sorted(file.name for file in trust.iterdir()) == FILES


def test_a_folder_that_cannot_be_written_is_a_problem(
    tmp_path: Path, authority: PodAuthority, upstreams: UpstreamRoots
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "taken" / CA_FILE).mkdir(parents=True)

    for folder, error in (
        ("no/parent", "No such file or directory"),
        ("file", "File exists"),
        ("taken", "Is a directory"),
    ):
        problem = publish(tmp_path / folder, authority, upstreams)
        assert problem == TrustProblem(
            str(tmp_path / folder),
            f"cannot be written: {error}",
            "mount a volume that the sidecar's user can write",
        )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_a_volume_of_root_is_taken_as_it_is_if_applications_can_read_it(
    tmp_path: Path, authority: PodAuthority, upstreams: UpstreamRoots
) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    os.chown(volume, 65534, 65534)
    volume.chmod(0o2777)
    assert publish(volume, authority, upstreams) is None
    assert stat.S_IMODE(volume.stat().st_mode) == 0o2777

    volume.chmod(0o2770)
    assert publish(volume, authority, upstreams) == TrustProblem(
        str(volume),
        "is closed to the applications (mode 2770)",
        "make it readable for all (mode 0755)",
    )


# --- Java ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("keytool"), reason="no Java here")
@pytest.mark.parametrize(
    "kind", [[], ["-storetype", "JKS"], ["-storetype", "PKCS12"]], ids=["", "jks", "pkcs12"]
)
def test_java_trusts_every_certificate_of_the_store(
    tmp_path: Path, authority: PodAuthority, kind: list[str]
) -> None:
    roots = roots_of(authority, None, system=SYSTEM_ROOTS)
    publish(tmp_path / "trust", authority, roots)
    file = tmp_path / "trust" / JAVA_TRUST_STORE_FILE
    command = ["keytool", "-list", "-keystore", str(file), "-storepass", JAVA_TRUST_STORE_PASSWORD, *kind]
    result = subprocess.run(command, capture_output=True, text=True, check=True)

    assert result.stdout.count("trustedCertEntry") == len(roots.roots) + 1
    assert "podkey, " in result.stdout
