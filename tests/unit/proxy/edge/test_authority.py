"""An authority that outlives its container and tells nobody its key."""

import copy
import os
import pickle
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.hosts import Hostname
from proxy.edge.authority import (
    CERTIFICATE_FILE,
    KEY_FILE,
    NAME_PREFIX,
    PodAuthority,
    TrustProblem,
    authority_name,
    load_or_make,
    replace_file,
    save,
)
from proxy.edge.leaves import Leaf, Leaves
from proxy.x509.certificates import (
    CLOCK_SKEW,
    MAX_COMMON_NAME,
    certificate_pem,
    has_key,
    key_pem,
    new_key,
    sign_authority,
)
from tests.pod_authorities import DAY, LIFETIME, POD, START, authority_in, opened, someones_root, verifies

NOBODY = 65534
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def problem_of(state_dir: Path) -> TrustProblem:
    result = load_or_make(state_dir, now=START, lifetime=LIFETIME, pod=POD)
    assert isinstance(result, TrustProblem)
    return result


# --- made ----------------------------------------------------------------------------------------


def test_makes_an_authority_for_the_pod_without_a_word(tmp_path: Path) -> None:
    result = opened(tmp_path / "ca")

    assert result.notes == ()
    assert result.authority.name == "podkey CA for training/llama-0"
    assert result.authority.begins == START - CLOCK_SKEW
    assert result.authority.ends - result.authority.begins == LIFETIME


def test_two_pods_have_two_keys(tmp_path: Path) -> None:
    assert not has_key(authority_in(tmp_path / "a").certificate, authority_in(tmp_path / "b").key)


def test_only_we_can_read_what_it_keeps_whatever_the_umask(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir(mode=0o700)
    for umask in (0, 0o377):
        before = os.umask(umask)
        try:
            authority_in(tmp_path / "0")
        finally:
            os.umask(before)

        assert mode(tmp_path / "0" / KEY_FILE) == 0o600
        (tmp_path / "0" / KEY_FILE).unlink()
    authority_in(tmp_path / "1")

    assert mode(tmp_path / "1") == 0o700
    assert sorted(file.name for file in (tmp_path / "1").iterdir()) == [KEY_FILE, CERTIFICATE_FILE]


def test_takes_a_directory_that_a_group_volume_handed_its_bit_down_to(tmp_path: Path) -> None:
    state = tmp_path / "ca"
    state.mkdir(mode=0o700)
    state.chmod(0o2700)

    assert opened(state).notes == ()


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=400))
def test_a_pod_of_any_name_gets_a_name_that_fits(pod: str) -> None:
    name = authority_name(pod)

    assert len(name) <= MAX_COMMON_NAME
    assert name.startswith(NAME_PREFIX)


def test_a_long_pod_name_keeps_both_ends() -> None:
    name = authority_name("research/" + "x" * 200 + "-worker-17")

    assert len(name) == MAX_COMMON_NAME
    assert name.startswith("podkey CA for research/xxx")
    assert name.endswith("xxx-worker-17")
    assert authority_name("p" * 50) == "podkey CA for " + "p" * 50


# --- kept ----------------------------------------------------------------------------------------


def test_a_restart_changes_nothing_while_the_authority_is_fresh(tmp_path: Path) -> None:
    first = authority_in(tmp_path / "ca")
    files = {file: file.stat().st_ino for file in (tmp_path / "ca").iterdir()}

    for days in (0, 1, 30, 59):
        again = opened(tmp_path / "ca", START + days * DAY)
        assert again.notes == ()
        assert again.authority.pem == first.pem
        assert has_key(first.certificate, again.authority.key)
    assert {file: file.stat().st_ino for file in (tmp_path / "ca").iterdir()} == files


def test_a_restart_in_the_last_third_renews_the_certificate_and_keeps_the_key(tmp_path: Path) -> None:
    first = authority_in(tmp_path / "ca")
    again = opened(tmp_path / "ca", START + 60 * DAY)

    assert again.authority.ends == START + 150 * DAY - CLOCK_SKEW
    assert again.authority.certificate.serial_number != first.certificate.serial_number
    assert again.authority.certificate.subject == first.certificate.subject
    assert has_key(again.authority.certificate, first.key)
    [note] = again.notes
    assert note.endswith("ca.pem is for 2029-12-31 23:55 to 2030-03-31 23:55: renewed with the same key")
    assert opened(tmp_path / "ca", START + 60 * DAY).authority.pem == again.authority.pem


def test_a_clock_that_is_set_far_back_renews_too(tmp_path: Path) -> None:
    authority = authority_in(tmp_path / "ca")

    assert not authority.needs_renewal(START - CLOCK_SKEW)
    assert authority.needs_renewal(START - CLOCK_SKEW - timedelta(seconds=1))
    again = opened(tmp_path / "ca", START - DAY)
    assert again.authority.begins == START - DAY - CLOCK_SKEW
    assert "renewed with the same key" in again.notes[0]


def test_renewal_is_due_when_a_third_of_the_life_is_left(tmp_path: Path) -> None:
    authority = authority_in(tmp_path / "ca")
    due = authority.ends - LIFETIME / 3

    assert not authority.needs_renewal(due - timedelta(seconds=1))
    assert authority.needs_renewal(due)
    assert authority.needs_renewal(authority.ends + DAY)


def test_programs_that_loaded_the_old_certificate_go_on_after_a_renewal(tmp_path: Path) -> None:
    old = authority_in(tmp_path / "ca")
    now = START + 70 * DAY
    new = old.renewed(now=now, lifetime=LIFETIME)
    leaf = Leaves(new, lambda: now).leaf_for(Hostname("api.test"))
    assert isinstance(leaf, Leaf)

    for trusted in ([old], [new], [old, new], [new, old]):
        assert verifies(leaf, [authority.certificate for authority in trusted], now)


def test_nothing_moves_the_end_of_the_certificate_that_a_program_loaded(tmp_path: Path) -> None:
    """The honest limit: a program that runs for longer than its authority lives has to be restarted."""
    old = authority_in(tmp_path / "ca")
    now = old.ends + timedelta(hours=1)
    new = old.renewed(now=now, lifetime=LIFETIME)
    leaf = Leaves(new, lambda: now).leaf_for(Hostname("api.test"))
    assert isinstance(leaf, Leaf)

    assert not verifies(leaf, [old.certificate], now)
    assert verifies(leaf, [new.certificate], now)


def test_a_renewal_of_the_running_process_is_kept(tmp_path: Path) -> None:
    renewed = authority_in(tmp_path / "ca").renewed(now=START + 60 * DAY, lifetime=LIFETIME)

    assert save(renewed, tmp_path / "ca") is None
    assert authority_in(tmp_path / "ca", START + 61 * DAY).pem == renewed.pem


# --- damaged -------------------------------------------------------------------------------------


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:150])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def fill(path: Path) -> None:
    path.write_bytes(b"\xff" * 1_000_000)


@pytest.mark.parametrize("damage", [cut, empty, fill, Path.unlink])
def test_a_damaged_key_is_replaced_loudly(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    first = authority_in(tmp_path / "ca")
    damage(tmp_path / "ca" / KEY_FILE)
    again = opened(tmp_path / "ca", START + DAY)

    [note] = again.notes
    assert note.startswith(f"{tmp_path / 'ca' / KEY_FILE} ")
    assert note.endswith(
        "made a new authority; applications that are already running do not trust it: restart them"
    )
    assert not has_key(first.certificate, again.authority.key)
    assert opened(tmp_path / "ca", START + DAY).notes == ()
    assert mode(tmp_path / "ca" / KEY_FILE) == 0o600


@pytest.mark.parametrize("damage", [cut, empty, fill, Path.unlink])
def test_a_damaged_certificate_is_made_anew_with_the_same_key(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    first = authority_in(tmp_path / "ca")
    damage(tmp_path / "ca" / CERTIFICATE_FILE)
    again = opened(tmp_path / "ca", START + DAY)

    [note] = again.notes
    assert note == (
        f"{tmp_path / 'ca' / CERTIFICATE_FILE} was no certificate of {tmp_path / 'ca' / KEY_FILE}: "
        "made a new one with the same key"
    )
    assert has_key(again.authority.certificate, first.key)
    assert opened(tmp_path / "ca", START + DAY).notes == ()


def test_a_certificate_of_another_key_is_not_taken(tmp_path: Path) -> None:
    first = authority_in(tmp_path / "ca")
    (tmp_path / "ca" / CERTIFICATE_FILE).write_bytes(authority_in(tmp_path / "other").pem)
    again = opened(tmp_path / "ca")

    assert "was no certificate of" in again.notes[0]
    assert has_key(again.authority.certificate, first.key)


def test_a_certificate_with_a_wrong_signature_is_not_taken(tmp_path: Path) -> None:
    first = authority_in(tmp_path / "ca")
    der = first.certificate.public_bytes(serialization.Encoding.DER)
    wrong = x509.load_der_x509_certificate(der[:-1] + bytes([der[-1] ^ 1]))
    (tmp_path / "ca" / CERTIFICATE_FILE).write_bytes(certificate_pem(wrong))

    assert "was no certificate of" in opened(tmp_path / "ca").notes[0]


def test_the_pair_of_another_pod_is_replaced_loudly(tmp_path: Path) -> None:
    """Its key may be known to that pod: one key for two pods is what this authority is there to prevent."""
    theirs = opened(tmp_path / "ca", pod="other/pod").authority
    again = opened(tmp_path / "ca")

    assert "belongs to 'podkey CA for other/pod', not to 'podkey CA for training/llama-0'" in again.notes[0]
    assert not has_key(theirs.certificate, again.authority.key)


def test_a_crash_between_the_two_files_costs_nothing(tmp_path: Path) -> None:
    state = tmp_path / "ca"
    state.mkdir(mode=0o700)
    key = new_key()
    replace_file(state / KEY_FILE, key_pem(key), 0o600)
    (state / f".{CERTIFICATE_FILE}.new").write_bytes(b"half")

    assert has_key(opened(state).authority.certificate, key)
    assert sorted(file.name for file in state.iterdir()) == [KEY_FILE, CERTIFICATE_FILE]


# --- refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize("loose", [0o640, 0o604, 0o620, 0o660, 0o644])
def test_a_key_that_others_can_reach_is_refused(tmp_path: Path, loose: int) -> None:
    authority_in(tmp_path / "ca")
    (tmp_path / "ca" / KEY_FILE).chmod(loose)
    problem = problem_of(tmp_path / "ca")

    assert str(problem) == (
        f"{tmp_path / 'ca' / KEY_FILE} is open to others (mode {loose:04o}); "
        "others may know the key: delete the pod"
    )


@root_only
def test_a_key_of_another_user_is_refused(tmp_path: Path) -> None:
    authority_in(tmp_path / "ca")
    os.chown(tmp_path / "ca" / KEY_FILE, NOBODY, NOBODY)

    assert problem_of(tmp_path / "ca").reason == "belongs to user 65534, not to 0"


@pytest.mark.parametrize("name", [KEY_FILE, CERTIFICATE_FILE])
def test_a_link_is_refused_and_not_followed(tmp_path: Path, name: str) -> None:
    authority_in(tmp_path / "ca")
    elsewhere = (tmp_path / "ca" / name).rename(tmp_path / "elsewhere")
    (tmp_path / "ca" / name).symlink_to(elsewhere)

    assert problem_of(tmp_path / "ca") == TrustProblem(
        str(tmp_path / "ca" / name), "is a link", "delete it, and podkey makes a new one"
    )


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path, make: Callable[[Path], None]) -> None:
    (tmp_path / "ca").mkdir(mode=0o700)
    make(tmp_path / "ca" / KEY_FILE)

    assert problem_of(tmp_path / "ca").reason == "is no regular file"


def test_a_directory_that_is_open_to_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca").mkdir()
    (tmp_path / "ca").chmod(0o755)

    assert str(problem_of(tmp_path / "ca")) == (
        f"{tmp_path / 'ca'} is open to others (mode 0755); "
        "name a directory below the volume, which podkey makes itself"
    )


@root_only
def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca").mkdir(mode=0o700)
    os.chown(tmp_path / "ca", NOBODY, NOBODY)

    assert problem_of(tmp_path / "ca").reason == "belongs to user 65534, not to 0"


def test_a_directory_that_is_a_link_a_file_or_below_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").touch()

    assert problem_of(tmp_path / "link").reason == "is a link"
    assert problem_of(tmp_path / "file").reason == "is no directory"
    assert problem_of(tmp_path / "no" / "parent").reason == "cannot be written: No such file or directory"
    assert problem_of(tmp_path / "file" / "below").reason == "cannot be written: Not a directory"


def test_a_directory_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    authority = authority_in(tmp_path / "ca")
    (tmp_path / "full").mkdir(mode=0o700)
    (tmp_path / "full" / f".{KEY_FILE}.new").mkdir()

    assert save(authority, tmp_path / "gone") == TrustProblem(
        str(tmp_path / "gone"),
        "cannot be written: No such file or directory",
        "mount a volume that the sidecar's user can write, best one in memory",
    )
    assert problem_of(tmp_path / "full").reason == "cannot be written: Is a directory"


# --- whole files ---------------------------------------------------------------------------------


def test_a_file_is_replaced_by_its_name_so_that_who_reads_it_reads_on(tmp_path: Path) -> None:
    file = tmp_path / "file"
    replace_file(file, b"old" * 1000, 0o644)
    with file.open("rb") as reader:
        start = reader.read(3)
        replace_file(file, b"new", 0o600)

        assert start + reader.read() == b"old" * 1000
    assert file.read_bytes() == b"new"
    assert mode(file) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    replace_file(file, b"old", 0o644)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            replace_file(file, b"new", 0o644)

    assert file.read_bytes() == b"old"
    replace_file(file, b"newer", 0o644)
    assert file.read_bytes() == b"newer"


def test_a_link_that_somebody_put_there_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    for name in ("file", ".file.new"):
        (tmp_path / name).symlink_to(victim)
    replace_file(tmp_path / "file", b"ours", 0o644)

    assert victim.read_bytes() == b"untouched"
    assert not (tmp_path / "file").is_symlink()


# --- the key is nobody's business ----------------------------------------------------------------


def key_material(authority: PodAuthority) -> tuple[str, ...]:
    value = authority.key.private_numbers().private_value
    return str(value), f"{value:x}", "PRIVATE", key_pem(authority.key).decode().splitlines()[1]


def test_no_text_of_an_authority_holds_its_key(tmp_path: Path) -> None:
    result = opened(tmp_path / "ca")
    cut(tmp_path / "ca" / KEY_FILE)
    texts = [repr(result), str(result), f"{result.authority}", *opened(tmp_path / "ca").notes]

    assert (
        repr(result.authority) == "PodAuthority('podkey CA for training/llama-0', ends=2030-03-31T23:55:00Z)"
    )
    assert not [text for text in texts for part in key_material(result.authority) if part in text]


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_an_authority_is_not_pickled_or_copied(tmp_path: Path, duplicate: Callable[[object], object]) -> None:
    result = opened(tmp_path / "ca")

    for thing in (result.authority, result):
        if duplicate is copy.copy and thing is result:
            continue  # a shallow copy of the pair shares the authority
        with pytest.raises(TypeError, match="private key"):
            duplicate(thing)


# --- kin -----------------------------------------------------------------------------------------


def test_knows_its_kin(tmp_path: Path) -> None:
    authority = authority_in(tmp_path / "ca")
    same_key = sign_authority("Innocent Root", authority.key, begins=START, ends=START + DAY)

    assert authority.is_kin(authority.certificate)
    assert authority.is_kin(authority.renewed(now=START + DAY, lifetime=LIFETIME).certificate)
    assert authority.is_kin(authority_in(tmp_path / "other").certificate)
    assert authority.is_kin(same_key)
    assert not authority.is_kin(someones_root("Some Root"))
