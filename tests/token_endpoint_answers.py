"""Answers of token endpoints as no real server gives them, for properties."""

import json
from typing import Any

from hypothesis import strategies as st

from proxy.sources.steps import HttpReply
from tests.source_world import json_reply

_ANY = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**40), 10**40),
        st.floats(),
        st.text(max_size=8),
        st.sampled_from(("Bearer", "DPoP", "N_A", "invalid_client", "urn:ietf:params:oauth:token-type:jwt")),
    ),
    lambda below: st.lists(below, max_size=2) | st.dictionaries(st.text(max_size=4), below, max_size=2),
    max_leaves=6,
)
MEMBERS = (
    "access_token",
    "token_type",
    "expires_in",
    "issued_token_type",
    "error",
    "error_description",
    "errors",
    "message",
)


def answer(status: int = 200, **members: Any) -> HttpReply:
    return json_reply(status, json.dumps(members).encode())


def issued(**members: Any) -> HttpReply:
    """RFC 6749 §5.1's example; a member that is None is left out."""
    whole = {"access_token": "2YotnFZFEjr1zCsicMWpAA", "token_type": "Bearer", "expires_in": 3600, **members}
    return answer(**{name: value for name, value in whole.items() if value is not None})


ODD_REPLIES = st.builds(
    lambda status, body, headers: HttpReply(status, headers, body),
    st.sampled_from((200, 200, 201, 400, 401, 403, 404, 429, 500, 503)) | st.integers(100, 999),
    st.one_of(
        st.dictionaries(st.sampled_from(MEMBERS), _ANY).map(lambda found: json.dumps(found).encode()),
        _ANY.map(lambda found: json.dumps(found).encode()),
        st.binary(max_size=40),
        st.sampled_from(
            (b"", b"<html>busy</html>", b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe{\x00}\x00")
        ),
        st.just(b'{"access_token":"t","token_type":"bearer","expires_in":1' + b"0" * 5000 + b"}"),
    ),
    st.dictionaries(st.sampled_from(("retry-after", "date")), st.text(max_size=12), max_size=2),
)
