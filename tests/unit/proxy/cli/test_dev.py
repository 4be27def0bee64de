"""The session of the help, and what the command says."""

import json
import shlex
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from proxy.cli.dev import SESSION
from proxy.core.contract import token_file
from proxy.edge.clock import SystemClock
from proxy.tokens.dev_issuer import DEFAULT_ISSUER
from proxy.tokens.faults import TokenFault, TokenFaultCode
from proxy.tokens.jwks import KeySet, read_jwks
from proxy.tokens.pod_token import Expected, Verified, verify
from tests.command_line import podkey

WHO = ("--namespace", "ml", "--service-account", "trainer")
EXPECTED = Expected(DEFAULT_ISSUER, "podkey", "ml", "trainer")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def judged(token: bytes, expected: Expected = EXPECTED, folder: str = "issuer") -> Verified | TokenFault:
    keys = read_jwks(Path(folder, "jwks.json").read_bytes())
    assert isinstance(keys, KeySet)
    return verify(token, keys, expected, SystemClock.now())


def verified(token: bytes, expected: Expected = EXPECTED) -> Verified:
    answer = judged(token, expected)
    assert isinstance(answer, Verified)
    return answer


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> bytes:
    capsys.readouterr()
    assert podkey("dev", "issuer", "token", "issuer", *WHO, *words) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out.encode()


def test_the_session_of_the_help_works(here: Path) -> None:
    lines = [shlex.split(line)[1:] for line in SESSION.splitlines()[1:]]
    assert len(lines) == 5

    assert [podkey(*words) for words in lines] == [0] * 5

    token = here / "tokens" / token_file("podkey")
    assert verified(token.read_bytes()).pod_name == "train-0"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert len(json.loads((here / "issuer" / "jwks.json").read_text())["keys"]) == 1


def test_init_says_what_it_made(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--issuer", "https://x.example", "--algorithm", "RS256")
    assert podkey("dev", "issuer", "init", "issuer", *words) == 0

    [jwk] = json.loads(Path("issuer/jwks.json").read_text())["keys"]
    assert capsys.readouterr().out == (
        "issuer: an issuer for laptops and tests\n"
        "  issuer  https://x.example\n"
        f"  key     {jwk['kid']} (RS256)\n"
    )
    assert sorted(path.name for path in Path("issuer").iterdir()) == [
        "jwks.json",
        "openid-configuration.json",
        "signing-key.pem",
    ]


def test_a_token_is_printed_for_whom_it_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    podkey("dev", "issuer", "init", "issuer")

    plain = printed(capsys, "--pod", "train-0")
    bound = ("--pod", "train-0", "--uid", "u-1", "--node", "gpu-7")
    full = printed(capsys, *bound, "--audience", "vault", "--lifetime", "10m")

    assert verified(plain).node == "laptop"
    answer = verified(full, Expected(DEFAULT_ISSUER, "vault", "ml", "trainer", "train-0", "u-1", "gpu-7"))
    assert answer.evidence.expires - answer.evidence.issued == timedelta(minutes=10)


def test_without_a_pod_the_token_is_bound_to_none(capsys: pytest.CaptureFixture[str]) -> None:
    podkey("dev", "issuer", "init", "issuer")

    answer = judged(printed(capsys))

    assert isinstance(answer, TokenFault)
    assert answer.code is TokenFaultCode.UNBOUND


def test_a_rotation_says_which_key_signs_now(capsys: pytest.CaptureFixture[str]) -> None:
    podkey("dev", "issuer", "init", "issuer")
    capsys.readouterr()

    assert podkey("dev", "issuer", "rotate", "issuer") == 0
    assert podkey("dev", "issuer", "rotate", "issuer", "--drop-old") == 0

    [jwk] = json.loads(Path("issuer/jwks.json").read_text())["keys"]
    assert capsys.readouterr().out == (
        f"signs: {jwk['kid']}; the older keys stay published until --drop-old\n"
        f"published: {jwk['kid']} alone\n"
    )


def test_an_issuer_that_is_there_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    podkey("dev", "issuer", "init", "issuer")
    capsys.readouterr()

    assert podkey("dev", "issuer", "init", "issuer") == 1
    assert capsys.readouterr().err == (
        "podkey dev issuer init: issuer/signing-key.pem is there already\n"
        "    fix: choose another folder, or --force, which makes every token of this issuer worthless\n"
    )
    assert podkey("dev", "issuer", "init", "issuer", "--force") == 0


def test_a_folder_without_an_issuer_is_a_problem_of_the_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert podkey("dev", "issuer", "token", "a\x1b", *WHO) == 1
    assert capsys.readouterr().err == (
        "podkey dev issuer token: a\\x1b/openid-configuration.json cannot be read: "
        "No such file or directory\n"
        "    fix: make an issuer with `podkey dev issuer init`\n"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "podkey dev: the following arguments are required: TOOL"),
        (("issuer",), "podkey dev issuer: the following arguments are required: ACTION"),
        (("issuer", "token", "x"), "the following arguments are required: --namespace, --service-account"),
        (("issuer", "token", "x", *WHO, "--uid", "u"), "podkey dev: --uid and --node go with --pod"),
        (("issuer", "token", "x", *WHO, "--node", "n"), "podkey dev: --uid and --node go with --pod"),
        (
            ("issuer", "token", "x", *WHO, "--lifetime", "soon"),
            "--lifetime: `soon` is not a time",
        ),
        (("issuer", "token", "x", *WHO, "--lifetime", "366d"), "`366d` is not a time from 1s to 365d"),
        (("issuer", "init", "x", "--issuer", "http://x"), "--issuer is an https URL"),
        (
            ("issuer", "init", "x", "--issuer", "https://x y"),
            "--issuer is an https URL",
        ),
        (("issuer", "init", "x", "--algorithm", "none"), "argument --algorithm: invalid choice: 'none'"),
    ],
)
def test_misuse_is_told_and_makes_nothing(
    words: tuple[str, ...], message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert podkey("dev", *words) == 64

    assert message in capsys.readouterr().err
    assert list(here.iterdir()) == []


HELPS = [(), ("issuer",), *(("issuer", name) for name in ("init", "token", "rotate"))]


@pytest.mark.parametrize("words", HELPS)
def test_every_help_says_for_what_it_is_not(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert podkey("dev", *words, "--help") == 0

    assert "For laptops and tests only: whoever can read DIR can be any pod" in capsys.readouterr().out
