"""Real files, in a folder of the test's own."""

import json
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from proxy.core.signing import SigningAlgorithm
from proxy.edge import dev_issuer
from proxy.edge.clock import SystemClock
from proxy.edge.dev_issuer import (
    DISCOVERY_FILE,
    JWKS_FILE,
    KEY_FILE,
    DevIssuerError,
    drop_old_keys,
    issue_token,
    make_issuer,
    rotate_key,
    write_token,
)
from proxy.tokens.dev_issuer import DevPod
from proxy.tokens.faults import TokenFault, TokenFaultCode
from proxy.tokens.jwks import MAX_KEYS, KeySet, read_jwks
from proxy.tokens.pod_token import Expected, Verified, verify
from tests.canary import Canary

ISSUER = "https://laptop.example"
POD = DevPod("ml", "trainer", "train-0", node="laptop")
ES256 = SigningAlgorithm.ES256


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "some" / "issuer"
    make_issuer(made, ISSUER, ES256, replace=False)
    return made


def token_of(folder: Path) -> bytes:
    return issue_token(folder, POD, "podkey", timedelta(hours=1)).reveal()


def judged(folder: Path, token: bytes) -> Verified | TokenFault:
    keys = read_jwks((folder / JWKS_FILE).read_bytes())
    assert isinstance(keys, KeySet)
    return verify(token, keys, Expected(ISSUER, "podkey", "ml", "trainer", "train-0"), SystemClock.now())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("algorithm", SigningAlgorithm, ids=lambda algorithm: algorithm.value)
def test_a_new_issuer_signs_what_its_own_keys_verify(tmp_path: Path, algorithm: SigningAlgorithm) -> None:
    key_id = make_issuer(tmp_path, ISSUER, algorithm, replace=False)

    answer = judged(tmp_path, token_of(tmp_path))

    assert isinstance(answer, Verified)
    assert answer.evidence.key_id == key_id
    assert json.loads((tmp_path / DISCOVERY_FILE).read_text())["issuer"] == ISSUER


def test_only_the_owner_reads_the_key_and_the_tokens(folder: Path, tmp_path: Path, canary: Canary) -> None:
    key = (folder / KEY_FILE).read_text().splitlines()[1]
    canary.remember(key, "the signing key")
    canary.watch(folder / JWKS_FILE, "the JWKS")
    canary.watch(folder / DISCOVERY_FILE, "the discovery document")
    file = tmp_path / "tokens" / "podkey"

    write_token(file, issue_token(folder, POD, "podkey", timedelta(hours=1)))

    assert isinstance(judged(folder, file.read_bytes()), Verified)
    assert [mode(folder / name) for name in (KEY_FILE, JWKS_FILE)] == [0o600, 0o644]
    assert mode(file) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["podkey"]


def test_a_rotation_keeps_old_tokens_good_until_the_old_keys_are_dropped(folder: Path) -> None:
    old = token_of(folder)

    first = rotate_key(folder)
    new = token_of(folder)

    assert [isinstance(judged(folder, token), Verified) for token in (old, new)] == [True, True]
    [newest, _] = json.loads((folder / JWKS_FILE).read_text())["keys"]
    assert newest["kid"] == first

    assert drop_old_keys(folder) == first

    gone = judged(folder, old)
    assert isinstance(gone, TokenFault)
    assert gone.code is TokenFaultCode.UNKNOWN_KEY
    assert isinstance(judged(folder, new), Verified)


def test_a_key_is_published_before_it_signs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    replace_file = dev_issuer.replace_file

    def note(path: Path, data: bytes, file_mode: int) -> None:
        written.append(path.name)
        replace_file(path, data, file_mode)

    monkeypatch.setattr(dev_issuer, "replace_file", note)
    rotate_key(folder)

    assert written == [JWKS_FILE, KEY_FILE]


def test_a_rotated_key_is_of_the_same_kind(tmp_path: Path) -> None:
    make_issuer(tmp_path, ISSUER, SigningAlgorithm.RS256, replace=False)
    rotate_key(tmp_path)

    keys = json.loads((tmp_path / JWKS_FILE).read_text())["keys"]
    assert [key["alg"] for key in keys] == ["RS256", "RS256"]


def test_more_keys_than_a_verifier_reads_are_not_published(folder: Path) -> None:
    path = folder / JWKS_FILE
    [key] = json.loads(path.read_text())["keys"]
    path.write_text(json.dumps({"keys": [key] * MAX_KEYS}))

    with pytest.raises(DevIssuerError, match="the JWKS holds 64 keys already"):
        rotate_key(folder)


def test_an_issuer_is_replaced_only_on_demand(folder: Path) -> None:
    before = (folder / KEY_FILE).read_bytes()

    with pytest.raises(DevIssuerError, match="is there already") as caught:
        make_issuer(folder, ISSUER, ES256, replace=False)
    assert "--force" in caught.value.fix
    assert (folder / KEY_FILE).read_bytes() == before

    make_issuer(folder, ISSUER, ES256, replace=True)
    assert (folder / KEY_FILE).read_bytes() != before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (KEY_FILE, b"", f"{KEY_FILE} is no key that signs RS256 or ES256"),
        (DISCOVERY_FILE, b"{}", f"{DISCOVERY_FILE} names no issuer"),
        (DISCOVERY_FILE, b'{"issuer": 1}', f"{DISCOVERY_FILE} names no issuer"),
        (DISCOVERY_FILE, b"{", f"{DISCOVERY_FILE} is not JSON"),
        (KEY_FILE, None, f"{KEY_FILE} cannot be read: No such file or directory"),
    ],
)
def test_a_damaged_folder_is_told_apart(folder: Path, name: str, content: bytes | None, message: str) -> None:
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)

    with pytest.raises(DevIssuerError) as caught:
        token_of(folder)

    assert caught.value.message == f"{folder}/{message}"
    assert "podkey dev issuer init" in caught.value.fix


def test_a_damaged_key_set_is_not_rotated(folder: Path) -> None:
    (folder / JWKS_FILE).write_text('{"keys": 1}')

    with pytest.raises(DevIssuerError, match="has no list `keys`"):
        rotate_key(folder)


def test_a_place_that_cannot_be_written_is_named(folder: Path) -> None:
    file = folder / KEY_FILE

    with pytest.raises(DevIssuerError, match=f"{KEY_FILE} cannot be written: File exists"):
        make_issuer(file, ISSUER, ES256, replace=False)
    (folder / "taken").mkdir()
    with pytest.raises(DevIssuerError, match="taken cannot be written: Is a directory"):
        write_token(folder / "taken", issue_token(folder, POD, "podkey", timedelta(hours=1)))
