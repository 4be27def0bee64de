"""Whatever a server answers, it is read or refused, and nothing else happens."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.aws.answers import read_error
from proxy.aws.sts import WEB_IDENTITY, read_session

_REPLY = (
    b"<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>i</AccessKeyId>"
    b"<SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>2026-03-04T13:00:00Z"
    b"</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
)
_PIECES = st.sampled_from(
    (
        b"<AssumeRoleWithWebIdentityResponse>",
        b"</AssumeRoleWithWebIdentityResponse>",
        b"<Credentials>",
        b"<AccessKeyId>&#x41;</AccessKeyId>",
        b"<Error>",
        b"<Code>&amp;</Code>",
        b"<![CDATA[x]]>",
        b"<!DOCTYPE a>",
        b"&a;",
        b"<?xml version='1.1' encoding='latin-1'?>",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"\x00",
        b"<a xmlns='&#0;'/>",
    )
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    text = bytearray(_REPLY)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        text[at : at + draw(st.integers(0, 9))] = draw(_PIECES | st.binary(max_size=4))
    return bytes(text)


def test_the_seed_is_read() -> None:
    assert read_session(WEB_IDENTITY, _REPLY) is not None


@given(st.binary(max_size=200) | st.lists(_PIECES, max_size=8).map(b"".join) | mutated())
def test_any_bytes_are_a_session_with_whole_members_or_none(body: bytes) -> None:
    read_error(body)
    session = read_session(WEB_IDENTITY, body)
    if session is not None:
        parts = (
            session.access_key_id.encode(),
            session.secret_access_key.reveal(),
            session.session_token.reveal(),
        )
        assert all(part and all(0x21 <= byte <= 0x7E for byte in part) for part in parts)
        assert session.expires.tzinfo is not None
