from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.client_hello import MAX_HELLO, ClientHello, NotTls, read_client_hello
from proxy.wire.outcomes import NEED_MORE
from tests.wire_samples import (
    CHROME_EXTENSIONS,
    ECH_INNER,
    Extension,
    alpn,
    ech_outer,
    handshake,
    hello,
    hello_body,
    openssl_reads,
    real_hello,
    record,
    server_name,
)

NAMES = st.one_of(st.binary(max_size=12), st.sampled_from([b"a.example", b"B.Example.", b"", b"a\0b"]))
EXTENSIONS: st.SearchStrategy[list[Extension]] = st.lists(
    st.one_of(
        st.builds(server_name, NAMES),
        st.builds(server_name, NAMES, NAMES),
        st.builds(alpn, st.binary(max_size=4), st.sampled_from([b"h2", b"\x1a\x1a"])),
        st.sampled_from([ech_outer(), ECH_INNER, *CHROME_EXTENSIONS]),
        st.tuples(st.sampled_from([0, 16, 0xFE0D, 0x15]), st.binary(max_size=20)),
    ),
    max_size=5,
)
SAMPLES = (real_hello(alpn=["h2"]), real_hello(None), hello(*CHROME_EXTENSIONS))


@st.composite
def fragmented(draw: st.DrawFn) -> bytes:
    """A message of the usual layout, with any content, in records cut anywhere."""
    message = handshake(hello_body(draw(EXTENSIONS)))
    cuts = sorted(draw(st.sets(st.integers(1, len(message) - 1), max_size=4)))
    ends = [*cuts, len(message)]
    return b"".join(record(message[at:end]) for at, end in zip([0, *cuts], ends, strict=True))


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """A real hello in which a few bytes are others."""
    data = bytearray(draw(st.sampled_from(SAMPLES)))
    for _ in range(draw(st.integers(1, 3))):
        data[draw(st.integers(0, min(len(data) - 1, 300)))] = draw(st.integers(0, 255))
    return bytes(data)


TLS_LIKE = st.builds(
    bytes.__add__, st.sampled_from([b"\x16\x03\x01", b"\x16\x03\x01\x00\x30\x01\x00"]), st.binary()
)
ANYTHING = st.one_of(st.binary(), TLS_LIKE, fragmented(), spoiled())


@given(data=ANYTHING, at=st.integers(0, 2000), after=st.binary(max_size=40))
def test_an_answer_is_given_for_everything_and_more_bytes_do_not_change_it(
    data: bytes, at: int, after: bytes
) -> None:
    early, late = read_client_hello(data[:at]), read_client_hello(data + after)

    assert early in {NEED_MORE, late}
    assert read_client_hello(data) in {NEED_MORE, late}


@given(data=ANYTHING)
def test_every_prefix_agrees_with_the_whole(data: bytes) -> None:
    answers = [read_client_hello(data[:size]) for size in range(len(data) + 1)]
    decided = [answer for answer in answers if answer != NEED_MORE]

    assert answers == [NEED_MORE] * (len(answers) - len(decided)) + decided
    assert len(set(decided)) <= 1


@given(data=fragmented())
def test_fragments_are_only_another_way_to_send_the_same(data: bytes) -> None:
    message, at = b"", 0
    while at < len(data):
        size = int.from_bytes(data[at + 3 : at + 5])
        message += data[at + 5 : at + 5 + size]
        at += 5 + size

    assert read_client_hello(data) == read_client_hello(record(message))
    assert read_client_hello(data) != NEED_MORE


@given(data=ANYTHING)
def test_a_name_is_ascii_in_lower_case(data: bytes) -> None:
    reading = read_client_hello(data)

    if isinstance(reading, ClientHello) and reading.server_name is not None:
        assert reading.server_name
        assert reading.server_name == reading.server_name.lower()
        assert reading.server_name.isascii()
        assert "\0" not in reading.server_name


@given(data=st.one_of(fragmented(), spoiled()))
def test_openssl_sees_no_other_name(data: bytes) -> None:
    reading = read_client_hello(data)

    if isinstance(reading, ClientHello):
        seen = [name.lower() if name else name for name in openssl_reads(data)]
        assert seen in ([], [reading.server_name])


@given(extensions=st.lists(st.binary(max_size=2000), min_size=30, max_size=60))
def test_what_is_larger_than_the_limit_is_not_waited_for(extensions: list[bytes]) -> None:
    data = hello(*((0x1000 + kind, content) for kind, content in enumerate(extensions)))

    assert isinstance(read_client_hello(data + b"\x16" * MAX_HELLO), ClientHello | NotTls)
