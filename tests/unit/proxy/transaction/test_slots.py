from base64 import b64encode

import pytest

from proxy.core.queries import EMPTY_QUERY, Query
from proxy.core.request import ClientCredential
from proxy.core.services import CredentialSlots, Placeholder
from proxy.transaction import slots as slots_module
from proxy.transaction.slots import Placeholders, classify, clear_slots, read_slots

SLOTS = CredentialSlots(
    headers=("authorization", "x-api-key"),
    query=("X-Amz-Signature", "X-Amz-Credential", "AWSAccessKeyId", "Signature", "api_key"),
    cookies=("token",),
)
OURS = "sk-podkey-" + "a1" * 16
PLACEHOLDERS = Placeholders.of(
    [Placeholder("KEY", "sk-podkey-{alnum:32}"), Placeholder("ID", "PODKEY{upper:14}")]
)


def basic(text: str) -> str:
    return "Basic " + b64encode(text.encode()).decode()


def in_headers(*fields: tuple[str, str]) -> tuple[str, ...]:
    return read_slots(fields, Query(), SLOTS)


def in_query(raw: str) -> tuple[str, ...]:
    return read_slots([], Query.parse(raw), SLOTS)


# --- reading -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "credential"),
    [
        ("Bearer abc", "abc"),
        ("bearer   abc ", "abc"),
        ("Token abc", "abc"),
        ("Key\tabc", "abc"),
        ("abc", "abc"),
        (" abc ", "abc"),
        ("Bearer a, Bearer b", "a, Bearer b"),
        ('Digest username="ada"', 'username="ada"'),
        ("SharedKey account:c2ln", "account:c2ln"),
        ("AWS4-HMAC-SHA256 Credential=AKID/20260101/eu-central-1/s3/aws4_request, Signature=f00", "AKID"),
        ("AWS4-HMAC-SHA256 SignedHeaders=host,Credential=AKID/20260101/x, Signature=f00", "AKID"),
        ("AWS4-ECDSA-P256-SHA256 Credential=AKID/20260101/s3/aws4_request", "AKID"),
        ("aws4-hmac-sha256 Credential=AKID", "AKID"),
        ("AWS4-HMAC-SHA256 XCredential=AKID/x", "XCredential=AKID/x"),
        ("AWS AKID:c2lnbmF0dXJl", "AKID"),
        (basic("user:abc"), "abc"),
        (basic("user:a:b"), "a:b"),
        (basic("abc:"), "abc"),
        (basic(":abc"), "abc"),
        (basic("abc"), "abc"),
        ("Basic not-base64", "Basic not-base64"),
        ("Basic /w==", "Basic /w=="),  # no UTF-8
        ("Basic é", "Basic é"),
    ],
)
def test_a_header_is_reduced_to_the_credential_in_it(value: str, credential: str) -> None:
    assert in_headers(("Authorization", value)) == (credential,)
    assert in_headers(("x-api-key", value)) == (credential,)


@pytest.mark.parametrize("value", ["", "  ", "Bearer", "bearer ", "Basic", "Token", basic(":"), basic("")])
def test_a_scheme_without_a_credential_is_nothing(value: str) -> None:
    assert in_headers(("Authorization", value)) == ()


@pytest.mark.parametrize("name", ["X-API-Key", "x_api_key", "X-Api_Key"])
def test_a_header_is_found_in_every_spelling(name: str) -> None:
    assert in_headers((name, "abc"), ("X-Api-Key-Id", "no"), ("Accept", "no")) == ("abc",)


def test_every_slot_is_read() -> None:
    fields = [
        ("Authorization", "Bearer a"),
        ("Cookie", "token=b"),
        ("authorization", "c"),
        ("x-api-key", "d"),
    ]
    assert read_slots(fields, Query.parse("api_key=e&q=1&api_key=f"), SLOTS) == ("a", "b", "c", "d", "e", "f")


@pytest.mark.parametrize(
    ("cookie", "credentials"),
    [
        ("token=abc", ("abc",)),
        ("a=1; token=abc; b=2", ("abc",)),
        ("a=1;token=abc", ("abc",)),
        ('TOKEN = "abc"', ("abc",)),
        ("token=abc=", ("abc=",)),
        ("token=a; token=b", ("a", "b")),
        # As only some servers read it
        ("a=1 token=abc", ("abc",)),
        ("a=1,token=abc", ("abc",)),
        ("tok%65n=abc", ("abc",)),
        ('"token"=abc', ("abc",)),
        ("token=", ()),
        ("token", ()),
        ("a=token; mytoken=1; token2=1; xtoken=1", ()),
        ("next=/login?token=1", ()),
        ("", ()),
    ],
)
def test_a_cookie_is_read_by_its_name(cookie: str, credentials: tuple[str, ...]) -> None:
    assert in_headers(("Cookie", cookie)) == credentials


@pytest.mark.parametrize(
    ("raw", "credentials"),
    [
        ("api_key=abc", ("abc",)),
        ("API_KEY=abc", ("abc",)),
        ("api%5Fkey=a%2Bb+c", ("a+b c",)),
        ("q=1&api_key=abc&r=2", ("abc",)),
        ("q=1;api_key=abc", ("abc",)),
        ("api_key[]=abc", ("abc",)),
        ("+api_key=abc", ("abc",)),
        ("api_key=", ()),
        ("api_key", ()),
        ("api-key=abc&xapi_key=abc", ()),
        ("X-Amz-Credential=AKID%2F20260101%2Feu%2Fs3%2Faws4_request", ("AKID",)),
        # A signature says nothing beside the name of who signed, and much without.
        ("X-Amz-Credential=AKID/20260101&X-Amz-Signature=f00", ("AKID",)),
        ("Signature=f00&AWSAccessKeyId=AKID", ("AKID",)),
        ("X-Amz-Signature=f00&Signature=f01", ("f00", "f01")),
        ("", ()),
    ],
)
def test_a_parameter_is_read_by_its_name(raw: str, credentials: tuple[str, ...]) -> None:
    assert in_query(raw) == credentials


def test_a_query_that_cannot_be_read_is_still_looked_through() -> None:
    query = Query.parse("api_key=abc&%zz")
    assert query.fault is not None
    assert read_slots([], query, SLOTS) == ("abc",)


def test_without_slots_nothing_is_found() -> None:
    fields = [("Authorization", "Bearer a"), ("Cookie", "token=a")]
    assert read_slots(fields, Query.parse("api_key=a"), CredentialSlots()) == ()


# --- classifying -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        ((), ClientCredential.ABSENT),
        ((OURS,), ClientCredential.PLACEHOLDER),
        (("PODKEY0123456789ABCD", OURS), ClientCredential.PLACEHOLDER),
        (("real",), ClientCredential.FOREIGN),
        ((OURS, "real"), ClientCredential.FOREIGN),
        (("real", OURS), ClientCredential.FOREIGN),
        ((OURS + "x",), ClientCredential.FOREIGN),
        (("x" + OURS,), ClientCredential.FOREIGN),
        ((OURS + "\n",), ClientCredential.FOREIGN),
        ((OURS[:-1] + "-",), ClientCredential.FOREIGN),
    ],
)
def test_one_credential_that_is_not_ours_is_foreign(found: tuple[str, ...], kind: ClientCredential) -> None:
    assert classify(found, PLACEHOLDERS) is kind


def test_where_the_pods_own_values_are_known_only_they_are_placeholders() -> None:
    known = Placeholders(frozenset({OURS}), PLACEHOLDERS.shapes)
    assert classify([OURS], known) is ClientCredential.PLACEHOLDER
    # The placeholder of another pod: it leaked, or was copied.
    assert classify(["sk-podkey-" + "b2" * 16], known) is ClientCredential.FOREIGN
    assert Placeholders.of([], [OURS]) == Placeholders(frozenset({OURS}))


def test_without_any_placeholder_everything_is_foreign() -> None:
    assert classify([OURS], Placeholders()) is ClientCredential.FOREIGN
    assert classify([], Placeholders()) is ClientCredential.ABSENT


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (basic(f"user:{OURS}"), ClientCredential.PLACEHOLDER),
        (basic(f"{OURS}:"), ClientCredential.PLACEHOLDER),
        (basic(f"{OURS}:x-oauth-basic"), ClientCredential.FOREIGN),
        (basic("user:"), ClientCredential.FOREIGN),
        (basic("user:real"), ClientCredential.FOREIGN),
        (basic(":"), ClientCredential.ABSENT),
        (f"Basic {OURS}", ClientCredential.FOREIGN),  # not encoded
    ],
)
def test_of_basic_the_password_counts_and_else_the_user_name(value: str, kind: ClientCredential) -> None:
    assert classify(in_headers(("Authorization", value)), PLACEHOLDERS) is kind


# --- clearing ----------------------------------------------------------------------------------------


def test_slots_are_removed_and_all_else_stays() -> None:
    fields = [
        ("Host", "api.acme.example"),
        ("AUTHORIZATION", "Bearer a"),
        ("X-Two", "1"),
        ("x_api_key", "a"),
        ("X-Api-Key", "b"),
        ("X-Two", "2"),
        ("Cookie", "a=1; token=x; b=2"),
        ("Empty", ""),
    ]
    raw = "b=%2f+&api_key=abc&a=1&&X-AMZ-CREDENTIAL=AKID/x&a=2&"
    assert clear_slots(fields, raw, SLOTS) == (
        [
            ("Host", "api.acme.example"),
            ("X-Two", "1"),
            ("X-Two", "2"),
            ("Cookie", "a=1; b=2"),
            ("Empty", ""),
        ],
        "b=%2f+&a=1&&a=2&",
    )


@pytest.mark.parametrize(
    ("cookie", "rest"),
    [
        ("a=1; b=2;", "a=1; b=2;"),
        ("  a=1  ;b=2", "  a=1  ;b=2"),
        ("token=x; a=1", "a=1"),
        ("a=1; token=x", "a=1"),
        ("a=1; token=x;", "a=1"),
        ("a=1; b=2 token=x; c=3", "a=1; c=3"),
        ("token=x", None),
        ("token=x; ; Token=y;", None),
        ("token=", ""),
        ("", ""),
    ],
)
def test_a_cookie_goes_and_its_header_when_nothing_is_left(cookie: str, rest: str | None) -> None:
    expected = [] if not rest and cookie else [("cookie", rest)]
    assert clear_slots([("cookie", cookie)], "", SLOTS) == (expected, "")


@pytest.mark.parametrize(
    ("raw", "rest"),
    [
        ("api_key=a", ""),
        ("api_key=a&b=1", "b=1"),
        ("b=1&api_key=a", "b=1"),
        ("b=1;api_key=a;c=2", "b=1;c=2"),
        ("b=1&api_key=a;c=2", "b=1;c=2"),
        ("api%5fkey=a&+API_KEY[0]=b", ""),
        ("&&b=1&", "&&b=1&"),
        ("b=1;c=2", "b=1;c=2"),
        ("", ""),
    ],
)
def test_parameters_go_with_their_separator(raw: str, rest: str) -> None:
    assert clear_slots([], raw, SLOTS) == ([], rest)


def test_without_slots_nothing_is_removed() -> None:
    fields = [("Authorization", "Bearer a"), ("Cookie", "token=a")]
    assert clear_slots(fields, "api_key=a", CredentialSlots()) == (fields, "api_key=a")


def test_a_slot_in_a_cookie_header_that_is_a_slot_itself_goes_with_it() -> None:
    slots = CredentialSlots(headers=("cookie",), cookies=("token",))
    assert clear_slots([("Cookie", "a=1; token=x")], "", slots) == ([], "")
    assert read_slots([("Cookie", "a=1;token=x")], Query(), slots) == ("a=1;token=x",)


def test_the_names_of_some_hosts_slots_are_kept_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots_module, "_MOST_KNOWN", 2)
    for number in range(5):
        slots = CredentialSlots(headers=(f"x-key-{number}",))
        found = read_slots([(f"X-Key-{number}", "mine")], EMPTY_QUERY, slots)

        assert found == ("mine",)
        assert len(slots_module._KNOWN) <= 256
