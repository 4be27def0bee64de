"""Whatever the body, reading a token's reply ends in a token or in a failure."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.sources.exchanging import bearer_token, refused
from proxy.sources.steps import Acquired, Failed, HttpReply
from tests.source_world import NOON

SEED = b'{"access_token": "t", "token_type": "Bearer", "expires_in": 60}'


@given(st.integers(100, 599), st.binary(max_size=200))
def test_bytes_never_raise(status: int, body: bytes) -> None:
    reply = HttpReply(status, {}, body)

    assert isinstance(bearer_token("Acme", reply, NOON), Acquired | Failed)
    assert isinstance(refused("Acme", reply, NOON, "hint"), Failed)


@given(st.integers(0, len(SEED)), st.binary(max_size=4), st.integers(0, 4))
def test_a_sound_reply_with_a_wound_never_raises(at: int, put: bytes, cut: int) -> None:
    body = SEED[:at] + put + SEED[at + cut :]

    assert isinstance(bearer_token("Acme", HttpReply(200, {}, body), NOON), Acquired | Failed)
