from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.services import DEFAULT_SPENT, SpentSign
from proxy.transaction.spent import LOOKED_AT, Suspicion, signs_of
from tests.judge_world import CATALOGUE

S3 = CATALOGUE["s3"].spent
ANTHROPIC = CATALOGUE["anthropic"].spent
JSON = b'{"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}}'


def xml(code: str) -> bytes:
    return f'<?xml version="1.0"?>\n<Error><Code>{code}</Code><Message>No.</Message></Error>'.encode()


def told(
    signs: tuple[SpentSign, ...], status: int, body: bytes = b"", *fields: tuple[str, str]
) -> bool | None:
    suspicion = Suspicion(signs, status, fields)
    suspicion.feed(body)
    suspicion.end()
    return suspicion.spent


# --- statuses ------------------------------------------------------------------------------------------


def test_where_nobody_says_more_a_401_means_it_and_a_403_does_not() -> None:
    assert Suspicion(DEFAULT_SPENT, 401, ()).spent is True
    assert Suspicion(DEFAULT_SPENT, 403, ()).spent is False
    assert Suspicion(DEFAULT_SPENT, 200, ()).spent is False


def test_a_request_without_a_credential_of_ours_has_no_signs_but_the_challenge() -> None:
    assert Suspicion((), 200, ()).spent is False
    assert Suspicion((), 401, ()).spent is False


def test_a_status_that_the_entry_names_without_a_code_counts() -> None:
    assert Suspicion((SpentSign(403),), 403, ()).spent is True
    # And then 401 is not it: the entry has said all.
    assert Suspicion((SpentSign(403),), 401, ()).spent is False


def test_a_host_has_the_signs_of_all_its_services_or_https_own() -> None:
    s3, openai = CATALOGUE["s3"], CATALOGUE["openai"]

    assert signs_of(()) == DEFAULT_SPENT
    assert signs_of((s3, openai)) == (*s3.spent, *openai.spent)


# --- challenges ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "challenge",
    [
        'Bearer error="invalid_token"',
        'Bearer realm="x", error="invalid_token", error_description="The token expired"',
        "bearer error=invalid_token",
        'Basic realm="x", Bearer  error = "Invalid_Token"',
    ],
)
def test_a_challenge_may_say_that_the_token_is_worth_nothing(challenge: str) -> None:
    fields = (("Www-Authenticate", challenge),)

    assert Suspicion(ANTHROPIC, 401, fields).spent is True
    assert Suspicion((), 401, fields).spent is True


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_may_too_little_is_not_spent(status: int) -> None:
    signs = (SpentSign(401), SpentSign(403))
    challenges = (
        ("WWW-Authenticate", 'Bearer error="invalid_token"'),
        ("WWW-Authenticate", 'Bearer scope="a", error="insufficient_scope"'),
    )

    assert Suspicion(signs, status, challenges).spent is False


def test_a_challenge_counts_for_a_401_only() -> None:
    fields = (("WWW-Authenticate", 'Bearer error="invalid_token"'),)

    assert Suspicion(DEFAULT_SPENT, 403, fields).spent is False
    assert told((SpentSign(403, ("expired",)),), 403, b'{"code": "other"}', *fields) is False


@pytest.mark.parametrize(
    "challenge",
    ['Basic realm="error=invalid_token"', 'Bearer realm="x"', 'Bearer error="invalid_request"', "Bearer"],
)
def test_any_other_challenge_says_nothing(challenge: str) -> None:
    fields = (("WWW-Authenticate", challenge),)

    assert Suspicion(DEFAULT_SPENT, 401, fields).spent is True
    assert told(ANTHROPIC, 401, b"{}", *fields) is False


# --- codes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 403])
@pytest.mark.parametrize(
    "code", ["ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidAccessKeyId"]
)
def test_s3_says_it_with_a_code(status: int, code: str) -> None:
    assert told(S3, status, xml(code)) is True


@pytest.mark.parametrize("code", ["AccessDenied", "SignatureDoesNotMatch", "ExpiredTokens", "expiredtoken"])
def test_other_codes_of_s3_mean_other_things(code: str) -> None:
    assert told(S3, 403, xml(code)) is False
    assert told(S3, 404, xml("ExpiredToken")) is False


def test_anthropic_says_it_with_a_type() -> None:
    assert told(ANTHROPIC, 401, JSON) is True
    assert told(ANTHROPIC, 401, JSON.replace(b"authentication", b"permission")) is False


@pytest.mark.parametrize(
    "body",
    [
        b'<Error><Code>NoSuchKey</Code><Key>"code": "ExpiredToken"</Key></Error>',
        b"<Error><Code>NoSuchKey</Code><Key>&lt;Code&gt;ExpiredToken&lt;/Code&gt;</Key></Error>",
        b'{"code": "not_found", "path": "<Code>ExpiredToken</Code>"}',
        b'{"code": "not_found", "path": "\\"code\\": \\"ExpiredToken\\""}',
        b"ExpiredToken",
        b"",
    ],
)
def test_what_an_error_quotes_of_a_request_is_no_code(body: bytes) -> None:
    assert told(S3, 403, body) is False


def test_a_byte_order_mark_and_space_do_not_hide_the_language() -> None:
    assert told(S3, 403, b"\xef\xbb\xbf \n" + xml("ExpiredToken")) is True


def test_the_code_is_looked_for_where_the_body_begins() -> None:
    filler = b"<!--" + b"x" * LOOKED_AT + b"-->"
    suspicion = Suspicion(S3, 403, ())
    suspicion.feed(filler)

    assert suspicion.spent is False
    suspicion.feed(xml("ExpiredToken"))
    suspicion.end()
    assert suspicion.spent is False


def test_a_compressed_body_is_not_read() -> None:
    assert Suspicion(S3, 403, (("Content-Encoding", "gzip"),)).spent is False
    assert told(S3, 403, xml("ExpiredToken"), ("Content-Encoding", "identity")) is True


def test_nothing_is_known_before_the_code_could_have_come() -> None:
    suspicion = Suspicion(S3, 403, ())
    suspicion.feed(xml("ExpiredToken")[:-30])

    assert suspicion.spent is None
    assert repr(suspicion) == "<Suspicion spent=None>"


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_where_a_body_is_cut_changes_nothing(rest: bytes, cuts: list[int]) -> None:
    whole = xml("ExpiredToken")[:60] + rest
    suspicion = Suspicion(S3, 400, ())
    for start, end in pairwise([0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]):
        suspicion.feed(whole[start:end])
    suspicion.end()

    assert suspicion.spent == told(S3, 400, whole)
