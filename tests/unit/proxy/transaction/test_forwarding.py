"""Fields that end here, and fields that travel on."""

import pytest

from proxy.core.reasons import Reason
from proxy.transaction import forwarding
from proxy.transaction.forwarding import CONNECTION_OPTIONS, HOP_BY_HOP, SPELLED_ONE_WAY
from proxy.transaction.head import Head, HeadProblem, HttpVersion
from tests.transaction_world import WEBSOCKET, head

# What some decision looks at: a header of a pin, and one that has an entry for either spelling.
JUDGED = frozenset({"openai-project", "x-http-method", "x_http_method"})


def end_to_end(sent: Head) -> tuple[tuple[str, str], ...] | HeadProblem:
    return forwarding.end_to_end(sent)


def twin(*fields: tuple[str, str]) -> HeadProblem | None:
    return forwarding.twin(fields, JUDGED)


@pytest.mark.parametrize("version", HttpVersion)
@pytest.mark.parametrize("name", sorted(HOP_BY_HOP - {"connection", "te"}))
def test_what_is_between_two_neighbours_ends_here(name: str, version: HttpVersion) -> None:
    sent = head("/", ("A", "1"), (name.title(), "x"), ("B", "2"), version=version)

    assert end_to_end(sent) == (("A", "1"), ("B", "2"))


@pytest.mark.parametrize("option", sorted(CONNECTION_OPTIONS))
def test_an_option_of_the_connection_itself_may_be_named(option: str) -> None:
    assert end_to_end(head("/", ("Connection", option.upper()), ("A", "1"))) == (("A", "1"),)


def test_all_else_travels_on_in_its_order_and_spelling() -> None:
    fields = (
        *[("X-a", "1"), ("x-A", ""), ("Transfer-Encoding", "chunked"), ("Content-Length", "1")],
        *[("Trailer", "x"), ("Expect", "100-continue"), ("Authorization", "x"), ("Cookie", "a=b")],
    )
    assert end_to_end(head("/", *fields)) == fields


@pytest.mark.parametrize(
    "named",
    ["authorization", "Close, X-Api-Key", "host", "transfer-encoding", "close keep-alive", "trailer"],
)
def test_connection_may_name_no_field_that_travels_on(named: str) -> None:
    found = end_to_end(head("/", ("Connection", named)))

    assert isinstance(found, HeadProblem)
    assert found.reason is Reason.MALFORMED_REQUEST


def test_the_first_of_several_is_named_and_a_long_one_is_cut() -> None:
    found = end_to_end(head("/", ("Connection", "zz, close"), ("connection", "a" * 99)))

    assert found == HeadProblem(Reason.MALFORMED_REQUEST, f"the Connection header names `{'a' * 40}`")


def test_te_travels_on_over_http2_only() -> None:
    te = ("te", "trailers")

    assert end_to_end(head("/", te, version=HttpVersion.HTTP2)) == (te,)
    assert end_to_end(head("/", te, ("Connection", "te"))) == ()


def test_a_websocket_handshake_keeps_its_upgrade_and_no_other_option() -> None:
    assert end_to_end(head("/", *WEBSOCKET)) == (
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        *WEBSOCKET[2:],
    )


@pytest.mark.parametrize("name", sorted(name for name in SPELLED_ONE_WAY | {"openai-project"} if "-" in name))
def test_a_field_that_we_set_or_read_may_not_hide_behind_underscores(name: str) -> None:
    found = twin((name.title().replace("-", "_"), "x"))

    assert isinstance(found, HeadProblem)
    assert found.reason is Reason.MALFORMED_REQUEST
    assert found.message.endswith(f"is `{name}` to some servers")


@pytest.mark.parametrize("name", ["X_Mine", "openai_projects", "X_Http_Method", "te_", "a_b-c"])
def test_other_underscores_are_nobodys_business(name: str) -> None:
    # The judge itself refuses `X_Http_Method`, and says better why.
    assert twin((name, "x")) is None


def test_a_half_hidden_field_is_hidden_too_and_a_long_one_is_cut() -> None:
    found = twin(("A", "1"), ("Content_Type", "x"))

    assert isinstance(twin(("x-amz_expected-bucket_owner", "1")), HeadProblem)
    assert found == HeadProblem(
        Reason.MALFORMED_REQUEST, "the header `Content_Type` is `content-type` to some servers"
    )
