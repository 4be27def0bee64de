from base64 import b64decode
from pathlib import Path

import pytest

from proxy.core.settings import EgressProxy
from proxy.edge.egress import MAX_CREDENTIALS, called, proxy_authorization, tunnel_refused
from proxy.edge.outgoing_faults import AskOutcome, OutgoingError
from tests.canary import Canary

PROXY = EgressProxy("proxy.example", 3128, tls=False)


@pytest.mark.parametrize("content", [b"user:pass:word", b"user:pass:word\n", b"user:pass:word\r\n"])
def test_the_files_line_becomes_basic_credentials(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "auth"
    file.write_bytes(content)

    got = proxy_authorization(str(file))

    assert got is not None
    scheme, encoded = got.reveal().split(b" ")
    assert (scheme, b64decode(encoded)) == (b"Basic", b"user:pass:word")


def test_without_a_file_there_are_no_credentials() -> None:
    assert proxy_authorization(None) is None


@pytest.mark.parametrize("end", ["", "\nsecond line", "\0", "\n\n", "x" * MAX_CREDENTIALS])
def test_a_file_of_something_else_is_named_and_not_quoted(tmp_path: Path, canary: Canary, end: str) -> None:
    file = tmp_path / "auth"
    file.write_text(canary.secret("password", "user:" if end else "") + end)

    with pytest.raises(OutgoingError) as caught:
        proxy_authorization(str(file))

    assert caught.value.outcome is AskOutcome.UNREACHABLE
    assert "PODKEY_EGRESS_PROXY_AUTH_FILE names does not hold `user:password`" in caught.value.message
    canary.watch(caught.value.message, "message")


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutgoingError, match=r"names cannot be read \(No such file or directory\)"):
        proxy_authorization(str(tmp_path / "missing"))


@pytest.mark.parametrize(
    ("status", "with_credentials", "said"),
    [
        (407, False, "it wants credentials; name a file of them in PODKEY_EGRESS_PROXY_AUTH_FILE"),
        (407, True, "it does not take podkey's credentials; check those in PODKEY_EGRESS_PROXY_AUTH_FILE"),
        (403, True, "have the host allowed there, or add it to PODKEY_EGRESS_NO_PROXY"),
        (502, False, "it cannot reach the host itself"),
        (302, False, "no proxy answers so; check PODKEY_EGRESS_PROXY"),
    ],
)
def test_a_refused_tunnel_says_who_what_and_how_to_mend_it(
    status: int,
    with_credentials: bool,  # noqa: FBT001 - a column of the table
    said: str,
) -> None:
    fault = tunnel_refused(PROXY, "idp.example", status, with_credentials=with_credentials)

    assert fault.outcome is AskOutcome.UNREACHABLE
    assert fault.message.startswith(f"{called(PROXY)} answered {status} to a tunnel to idp.example: {said}")
    assert called(PROXY) == "the egress proxy proxy.example:3128"
