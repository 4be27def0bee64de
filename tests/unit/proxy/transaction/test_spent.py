from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.services import DEFAULT_SPENT, SpentSign
from proxy.transaction.spent import (
    BEARABLE,
    BEYOND_DOUBT,
    LOOKED_AT,
    SKEW_CODES,
    Complaint,
    Suspicion,
    signs_of,
)
from tests.judge_world import CATALOGUE

NONE, SPENT, SKEWED = Complaint.NONE, Complaint.SPENT, Complaint.SKEWED
S3 = CATALOGUE["s3"].spent
ANTHROPIC = CATALOGUE["anthropic"].spent
JSON = b'{"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}}'


def xml(code: str) -> bytes:
    return f'<?xml version="1.0"?>\n<Error><Code>{code}</Code><Message>No.</Message></Error>'.encode()


def told(
    signs: tuple[SpentSign, ...], status: int, body: bytes = b"", *fields: tuple[str, str]
) -> Complaint | None:
    suspicion = Suspicion(signs, status, fields)
    suspicion.feed(body)
    suspicion.end()
    return suspicion.complaint


# --- statuses ------------------------------------------------------------------------------------------


def test_where_nobody_says_more_a_401_means_it_and_a_403_does_not() -> None:
    assert Suspicion(DEFAULT_SPENT, 401, ()).complaint is SPENT
    assert Suspicion(DEFAULT_SPENT, 403, ()).complaint is NONE
    assert Suspicion(DEFAULT_SPENT, 200, ()).complaint is NONE


def test_a_request_without_a_credential_of_ours_has_no_signs_but_the_challenge() -> None:
    assert Suspicion((), 200, ()).complaint is NONE
    assert Suspicion((), 401, ()).complaint is NONE


def test_a_status_that_the_entry_names_without_a_code_counts() -> None:
    assert Suspicion((SpentSign(403),), 403, ()).complaint is SPENT
    # And then 401 is not it: the entry has said all.
    assert Suspicion((SpentSign(403),), 401, ()).complaint is NONE


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

    assert Suspicion(ANTHROPIC, 401, fields).complaint is SPENT
    assert Suspicion((), 401, fields).complaint is SPENT


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_may_too_little_is_not_spent(status: int) -> None:
    signs = (SpentSign(401), SpentSign(403))
    challenges = (
        ("WWW-Authenticate", 'Bearer error="invalid_token"'),
        ("WWW-Authenticate", 'Bearer scope="a", error="insufficient_scope"'),
    )

    assert Suspicion(signs, status, challenges).complaint is NONE


def test_a_challenge_counts_for_a_401_only() -> None:
    fields = (("WWW-Authenticate", 'Bearer error="invalid_token"'),)

    assert Suspicion(DEFAULT_SPENT, 403, fields).complaint is NONE
    assert told((SpentSign(403, ("expired",)),), 403, b'{"code": "other"}', *fields) is NONE


@pytest.mark.parametrize(
    "challenge",
    ['Basic realm="error=invalid_token"', 'Bearer realm="x"', 'Bearer error="invalid_request"', "Bearer"],
)
def test_any_other_challenge_says_nothing(challenge: str) -> None:
    fields = (("WWW-Authenticate", challenge),)

    assert Suspicion(DEFAULT_SPENT, 401, fields).complaint is SPENT
    assert told(ANTHROPIC, 401, b"{}", *fields) is NONE


# --- codes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 403])
@pytest.mark.parametrize(
    "code", ["ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidAccessKeyId"]
)
def test_s3_says_it_with_a_code(status: int, code: str) -> None:
    assert told(S3, status, xml(code)) is SPENT


@pytest.mark.parametrize("code", ["AccessDenied", "SignatureDoesNotMatch", "ExpiredTokens", "expiredtoken"])
def test_other_codes_of_s3_mean_other_things(code: str) -> None:
    assert told(S3, 403, xml(code)) is NONE
    assert told(S3, 404, xml("ExpiredToken")) is NONE


def test_anthropic_says_it_with_a_type() -> None:
    assert told(ANTHROPIC, 401, JSON) is SPENT
    assert told(ANTHROPIC, 401, JSON.replace(b"authentication", b"permission")) is NONE


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
    assert told(S3, 403, body) is NONE


def test_a_byte_order_mark_and_space_do_not_hide_the_language() -> None:
    assert told(S3, 403, b"\xef\xbb\xbf \n" + xml("ExpiredToken")) is SPENT


def test_the_code_is_looked_for_where_the_body_begins() -> None:
    filler = b"<!--" + b"x" * LOOKED_AT + b"-->"
    suspicion = Suspicion(S3, 403, ())
    suspicion.feed(filler)

    assert suspicion.complaint is NONE
    suspicion.feed(xml("ExpiredToken"))
    suspicion.end()
    assert suspicion.complaint is NONE


def test_a_compressed_body_is_not_read() -> None:
    assert Suspicion(S3, 403, (("Content-Encoding", "gzip"),)).complaint is NONE
    assert told(S3, 403, xml("ExpiredToken"), ("Content-Encoding", "identity")) is SPENT


def test_nothing_is_known_before_the_code_could_have_come() -> None:
    suspicion = Suspicion(S3, 403, ())
    suspicion.feed(xml("ExpiredToken")[:-30])

    assert suspicion.complaint is None
    assert repr(suspicion) == "<Suspicion None>"


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_where_a_body_is_cut_changes_nothing(rest: bytes, cuts: list[int]) -> None:
    whole = xml("ExpiredToken")[:60] + rest
    suspicion = Suspicion(S3, 400, ())
    for start, end in pairwise([0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]):
        suspicion.feed(whole[start:end])
    suspicion.end()

    assert suspicion.complaint == told(S3, 400, whole)


# --- clocks --------------------------------------------------------------------------------------------


SIGNED = datetime(2026, 3, 4, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def date_of(off: timedelta) -> tuple[str, str]:
    return "Date", format_datetime(SIGNED + off, usegmt=True)


def heard(
    status: int, body: bytes, *fields: tuple[str, str], signs: tuple[SpentSign, ...] = S3, timed: bool = True
) -> Suspicion:
    suspicion = Suspicion(signs, status, fields, SIGNED if timed else None)
    suspicion.feed(body)
    suspicion.end()
    return suspicion


@pytest.mark.parametrize("off", [HOUR, -HOUR, BEARABLE + timedelta(seconds=1)])
@pytest.mark.parametrize("code", sorted(code.decode() for code in SKEW_CODES))
def test_a_code_and_a_clock_together_say_that_the_time_was_wrong(code: str, off: timedelta) -> None:
    suspicion = heard(403, xml(code), date_of(off))

    assert suspicion.complaint is SKEWED
    assert suspicion.server_time == SIGNED + off


@pytest.mark.parametrize(
    "fields",
    [
        (date_of(BEARABLE),),
        (date_of(timedelta()),),
        (),
        (date_of(HOUR), date_of(HOUR)),
        (("Date", "now"),),
        (("Date", "Wed, 04 Mar 2026 13:00:00 +9999999999"),),
        (("Date", "Fri, 31 Dec 9999 23:59:59 -1200"),),
    ],
    ids=["near", "equal", "none", "twice", "nonsense", "a zone out of this world", "after all time"],
)
def test_the_code_alone_does_not(fields: tuple[tuple[str, str], ...]) -> None:
    assert heard(403, xml("RequestTimeTooSkewed"), *fields).complaint is NONE


def test_the_clock_alone_does_not_where_there_is_something_to_read() -> None:
    assert heard(403, xml("AccessDenied"), date_of(HOUR)).complaint is NONE
    assert heard(403, b"no", date_of(HOUR)).complaint is NONE
    assert heard(404, xml("RequestTimeTooSkewed"), date_of(HOUR)).complaint is NONE
    assert heard(403, xml("RequestTimeTooSkewed"), date_of(HOUR), timed=False).complaint is NONE


def test_an_answer_without_a_body_says_it_with_its_clock_alone() -> None:
    """To a HEAD; S3 asks for the time before it asks for anything else."""
    assert heard(403, b"", date_of(BEYOND_DOUBT + timedelta(seconds=1))).complaint is SKEWED
    assert heard(403, b"", date_of(-BEYOND_DOUBT)).complaint is NONE


@pytest.mark.parametrize(
    "said",
    [
        "InvalidSignatureException",
        "InvalidSignatureException:http://internal.amazon.com/coral/com.amazon.coral.service/",
        "com.amazon.coral.service#InvalidSignatureException",
    ],
)
def test_other_services_of_aws_say_their_code_in_json_or_in_a_header(said: str) -> None:
    body = (
        b'{"__type": "'
        + said.partition(":")[0].encode()
        + b'", "message": "Signature expired: \xe2\x80\xa6"}'
    )

    assert heard(400, body, date_of(HOUR), signs=DEFAULT_SPENT).complaint is SKEWED
    named = Suspicion((), 403, (date_of(HOUR), ("x-amzn-ErrorType", said)), SIGNED)
    assert named.complaint is SKEWED
    assert heard(403, b"{}", date_of(HOUR), ("x-amzn-ErrorType", "AccessDeniedException")).complaint is NONE


def test_a_code_in_a_header_may_say_that_the_credential_is_spent() -> None:
    signs = (SpentSign(403, ("ExpiredTokenException",)),)
    fields = (("x-amzn-errortype", "ExpiredTokenException:"),)

    assert Suspicion(signs, 403, fields).complaint is SPENT
    assert told(signs, 403, b'{"__type": "com.amazonaws#ExpiredTokenException"}') is SPENT


def test_a_spent_credential_is_spent_whatever_the_clock_says() -> None:
    assert heard(403, xml("ExpiredToken"), date_of(HOUR)).complaint is SPENT
    challenge = ("WWW-Authenticate", 'Bearer error="invalid_token"')
    assert heard(401, xml("AuthFailure"), date_of(HOUR), challenge).complaint is SPENT


def test_where_the_status_alone_says_it_a_wrong_clock_is_looked_for_first() -> None:
    signs = (SpentSign(403),)

    assert heard(403, xml("RequestTimeTooSkewed"), date_of(HOUR), signs=signs).complaint is SKEWED
    assert heard(403, xml("AccessDenied"), date_of(HOUR), signs=signs).complaint is SPENT
    assert Suspicion(signs, 403, (date_of(timedelta()),), SIGNED).complaint is SPENT
    packed = ("Content-Encoding", "gzip")
    assert heard(403, xml("RequestTimeTooSkewed"), date_of(HOUR), packed, signs=signs).complaint is SPENT
    assert heard(403, xml("RequestTimeTooSkewed"), date_of(HOUR), packed).complaint is NONE


# --- another region ----------------------------------------------------------------------------------------

WRONG_SCOPE = (
    b"<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region 'us-east-1' is wrong; expecting "
    b"'eu-west-1'</Message><Region>%s</Region></Error>"
)


def guessing(status: int, body: bytes = b"", *fields: tuple[str, str], guess: str = "us-east-1") -> Suspicion:
    suspicion = Suspicion(S3, status, fields, guessed_region=guess)
    suspicion.feed(body)
    suspicion.end()
    return suspicion


@pytest.mark.parametrize("status", [400, 403])
def test_a_bucket_elsewhere_is_told_by_the_head(status: int) -> None:
    suspicion = Suspicion(S3, status, [("x-amz-bucket-region", "eu-west-1")], guessed_region="us-east-1")
    assert (suspicion.complaint, suspicion.region) == (Complaint.ELSEWHERE, "eu-west-1")


def test_a_bucket_elsewhere_is_told_by_the_error() -> None:
    suspicion = guessing(400, WRONG_SCOPE % b"eu-west-1")
    assert (suspicion.complaint, suspicion.region) == (Complaint.ELSEWHERE, "eu-west-1")


@pytest.mark.parametrize("region", [b"us-east-1", b"nowhere", b"", b"*"])
def test_a_region_that_is_no_other_one_is_no_complaint(region: bytes) -> None:
    assert guessing(400, WRONG_SCOPE % region).complaint is NONE


def test_the_region_that_was_guessed_is_no_complaint() -> None:
    assert guessing(403, xml("AccessDenied"), ("x-amz-bucket-region", "us-east-1")).complaint is NONE


def test_a_lease_that_is_spent_stays_spent_where_the_region_was_guessed() -> None:
    assert guessing(400, xml("ExpiredToken")).complaint is SPENT


@pytest.mark.parametrize("status", [200, 301, 307, 404, 500])
def test_other_answers_do_not_complain_of_a_region(status: int) -> None:
    suspicion = guessing(status, WRONG_SCOPE % b"eu-west-1", ("x-amz-bucket-region", "eu-west-1"))
    assert suspicion.complaint is NONE


def test_where_the_host_names_its_region_nobody_else_does() -> None:
    suspicion = Suspicion(S3, 400, [("x-amz-bucket-region", "eu-west-1")])
    suspicion.feed(WRONG_SCOPE % b"eu-west-1")
    suspicion.end()
    assert suspicion.complaint is NONE
