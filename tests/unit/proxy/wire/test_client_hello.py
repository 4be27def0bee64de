import ssl

import pytest

from proxy.wire.client_hello import (
    MAX_HELLO,
    MAX_RECORD,
    NO_HANDSHAKE,
    TOO_LARGE,
    ClientHello,
    NotTls,
    read_client_hello,
)
from proxy.wire.outcomes import NEED_MORE
from tests.wire_samples import (
    ALPN,
    CHROME_EXTENSIONS,
    ECH,
    ECH_INNER,
    SERVER_NAME,
    alpn,
    ech_outer,
    handshake,
    hello,
    hello_body,
    openssl_reads,
    prefixes,
    pyopenssl_hello,
    real_hello,
    record,
    records,
    server_name,
    vector,
)

CHROME = hello(*CHROME_EXTENSIONS)
PADDING = (0x0015, b"\x00" * 9)
NAMED = ClientHello("a.example", (), has_ech=False)


def body_of(*extensions: tuple[int, bytes]) -> bytes:
    return hello_body(extensions)


# --- what real clients send ----------------------------------------------------------------------


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("protocols", [(), ("http/1.1",), ("h2", "http/1.1")])
@pytest.mark.parametrize(
    "name", [None, "api.openai.com", "my-bucket.s3.eu-west-1.amazonaws.com", "a" * 63 + ".b"]
)
def test_the_hellos_of_the_ssl_module_are_read(
    name: str | None, protocols: tuple[str, ...], newest: ssl.TLSVersion
) -> None:
    data = real_hello(name, protocols, newest)

    expected = ClientHello(name, tuple(p.encode() for p in protocols), has_ech=False)
    assert read_client_hello(data) == expected


@pytest.mark.parametrize("protocols", [(), (b"h2", b"http/1.1")])
@pytest.mark.parametrize("name", [None, b"Hub.Docker.com."])
def test_the_hellos_of_pyopenssl_are_read(name: bytes | None, protocols: tuple[bytes, ...]) -> None:
    data = pyopenssl_hello(name, protocols)

    expected = ClientHello(None if name is None else name.decode().lower(), protocols, has_ech=False)
    assert read_client_hello(data) == expected


def test_an_address_is_no_server_name() -> None:
    """RFC 6066 §3 forbids it, and `ssl` leaves it out."""
    reading = read_client_hello(real_hello("127.0.0.1"))

    assert isinstance(reading, ClientHello)
    assert reading.server_name is None


def test_a_hello_as_chrome_sends_it_is_read() -> None:
    assert read_client_hello(CHROME) == ClientHello("huggingface.co", (b"h2", b"http/1.1"), has_ech=True)


# --- cut, split, followed ------------------------------------------------------------------------

SAMPLES = {
    "ssl": real_hello("api.openai.com", ["h2", "http/1.1"]),
    "ssl without a name": real_hello(None),
    "ssl, TLS 1.2": real_hello(newest=ssl.TLSVersion.TLSv1_2),
    "pyopenssl": pyopenssl_hello(b"api.openai.com", [b"h2"]),
    "chrome": CHROME,
    "chrome in fragments": hello(*CHROME_EXTENSIONS, fragment=200),
    "no extensions": records(handshake(hello_body(None))),
    "bytewise": hello(server_name(b"a.example"), fragment=1),
}


@pytest.fixture(params=SAMPLES)
def sample(request: pytest.FixtureRequest) -> bytes:
    return SAMPLES[request.param]


def test_a_hello_cut_anywhere_asks_for_more(sample: bytes) -> None:
    assert isinstance(read_client_hello(sample), ClientHello)
    assert {read_client_hello(prefix) for prefix in prefixes(sample)} == {NEED_MORE}


@pytest.mark.parametrize(
    "after", [b"\x00", b"\x14\x03\x03\x00\x01\x01", b"GET / HTTP/1.1\r\n\r\n", b"\x16" * MAX_HELLO]
)
def test_what_follows_a_hello_does_not_change_it(sample: bytes, after: bytes) -> None:
    assert read_client_hello(sample + after) == read_client_hello(sample)


def test_a_hello_may_be_split_into_two_records_anywhere() -> None:
    message = handshake(hello_body(CHROME_EXTENSIONS))
    whole = read_client_hello(records(message))

    readings = {
        read_client_hello(record(message[:at]) + record(message[at:])) for at in range(1, len(message))
    }

    assert readings == {whole}


def test_a_hello_in_more_records_than_any_client_sends_is_not_put_together() -> None:
    small = hello(server_name(b"a.example"), fragment=1)
    many = hello(*CHROME_EXTENSIONS, fragment=1)

    assert isinstance(read_client_hello(small), ClientHello)
    assert read_client_hello(many) == NotTls("malformed: the hello comes in more than 128 records")
    assert all(read_client_hello(many[:at]) == NEED_MORE for at in (1, 6, 128 * 6))


@pytest.mark.parametrize("size", [14, 15, 16, 100, 1000])
def test_a_hello_may_come_in_records_of_any_size(size: int) -> None:
    assert read_client_hello(hello(*CHROME_EXTENSIONS, fragment=size)) == read_client_hello(CHROME)


def test_another_handshake_message_in_the_same_record_does_not_matter() -> None:
    message = handshake(hello_body([server_name(b"a.example")]))

    assert read_client_hello(record(message + handshake(b"", kind=20))) == NAMED


def test_openssl_sees_the_same_name(sample: bytes) -> None:
    reading = read_client_hello(sample)

    assert isinstance(reading, ClientHello)
    assert openssl_reads(sample) == [reading.server_name]


# --- names and protocols -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (b"a.example", "a.example"),
        (b"API.Example.COM", "api.example.com"),
        (b"a.example.", "a.example."),  # the caller's parser judges it
        (b"127.0.0.1", "127.0.0.1"),
        (b"*.example", "*.example"),
        (b"a b\r\n", "a b\r\n"),
        (b"a" * 300, "a" * 300),
    ],
)
def test_the_name_is_lowered_and_not_judged(sent: bytes, read: str) -> None:
    assert read_client_hello(hello(server_name(sent))) == ClientHello(read, (), has_ech=False)


@pytest.mark.parametrize("nibble", range(16))
def test_grease_protocols_are_dropped(nibble: int) -> None:
    grease = bytes([nibble << 4 | 0x0A]) * 2

    reading = read_client_hello(hello(alpn(grease, b"h2", grease, b"\x0a\x1a", b"hh")))

    assert reading == ClientHello(None, (b"h2", b"\x0a\x1a", b"hh"), has_ech=False)


@pytest.mark.parametrize(
    "extension", [ech_outer(), ech_outer(b"\x01"), (ECH, b"\0" * 6 + b"\0\0" + b"\0\1x")]
)
def test_an_outer_ech_is_seen_and_so_is_the_outer_name(extension: tuple[int, bytes]) -> None:
    reading = read_client_hello(hello(server_name(b"cover.example"), extension))

    assert reading == ClientHello("cover.example", (), has_ech=True)


def test_beside_an_inner_ech_stands_the_true_name() -> None:
    assert read_client_hello(hello(server_name(b"a.example"), ECH_INNER)) == NAMED


@pytest.mark.parametrize("extensions", [None, []])
def test_a_hello_without_extensions_is_read(extensions: list[tuple[int, bytes]] | None) -> None:
    data = records(handshake(hello_body(extensions)))

    assert read_client_hello(data) == ClientHello(None, (), has_ech=False)


@pytest.mark.parametrize("minor", range(5))
def test_the_versions_of_record_and_hello_do_not_matter(minor: int) -> None:
    version = bytes([3, minor])
    message = handshake(hello_body([server_name(b"a.example")], version=version))

    assert read_client_hello(records(message, version=version)) == NAMED


# --- not TLS -------------------------------------------------------------------------------------


def test_nothing_is_not_enough() -> None:
    assert read_client_hello(b"") == NEED_MORE


def test_one_byte_is_enough_to_see_that_it_is_not_tls() -> None:
    readings = {first: read_client_hello(bytes([first])) for first in range(256)}

    assert readings.pop(0x16) == NEED_MORE
    assert set(readings.values()) == {NO_HANDSHAKE}


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10",  # an SSLv2 hello
        b"\x15\x03\x01\x00\x02\x02\x28",  # an alert
        b"\x17\x03\x03\x00\x10" + b"\0" * 16,  # application data: the middle of a connection
        b"\x14\x03\x03\x00\x01\x01",
        b"\x16\x02",
        b"\x16\x03\x05",
        b"\x16\xfe\xfd\x00\x00",  # DTLS
        b"\x16\x16\x16\x16",
    ],
)
def test_other_protocols_are_not_tls(data: bytes) -> None:
    assert read_client_hello(data) == NO_HANDSHAKE


@pytest.mark.parametrize("size", [10, 200, 400])
def test_a_name_is_read_alike_each_time(size: int) -> None:
    """Short ones are remembered."""
    name = b"a" * size
    protocols = (b"http/1.1", *(b"p" * number for number in range(1, size // 12)))
    first = read_client_hello(hello(server_name(name), alpn(*protocols)))
    again = read_client_hello(hello(server_name(name), alpn(*protocols)))
    assert first == again == ClientHello(name.decode(), protocols, has_ech=False)


# --- malformed -----------------------------------------------------------------------------------

GOOD = body_of(server_name(b"a.example"))

MALFORMED = {
    "an empty record": (record(b""), "a record is empty or longer than TLS allows"),
    "an empty record between": (
        record(handshake(GOOD)[:9]) + record(b"") + record(handshake(GOOD)[9:]),
        "a record is empty or longer than TLS allows",
    ),
    "a record too long": (
        b"\x16\x03\x01" + (MAX_RECORD + 1).to_bytes(2),
        "a record is empty or longer than TLS allows",
    ),
    "an alert between": (
        record(handshake(GOOD)[:9]) + record(b"\x01\x00", kind=21) + record(handshake(GOOD)[9:]),
        "the hello is interrupted by something that is not a handshake record",
    ),
    "another version between": (
        record(handshake(GOOD)[:9]) + b"\x16\x02",
        "the hello is interrupted by something that is not a handshake record",
    ),
    "a server hello": (record(handshake(GOOD, kind=2)), "the first handshake message is not a client hello"),
    "a hello request": (record(handshake(b"", kind=0)), "the first handshake message is not a client hello"),
    "an empty hello": (record(handshake(b"")), "a length is larger than what follows"),
    "version 2": (records(handshake(b"\x02" + GOOD[1:])), "the hello is of no known version"),
    "no random": (records(handshake(GOOD[:20])), "a length is larger than what follows"),
    "a long session id": (
        records(handshake(hello_body([], session_id=b"1" * 33))),
        "the session id is too long",
    ),
    "no cipher": (records(handshake(hello_body([], ciphers=b""))), "a list is too short"),
    "half a cipher": (records(handshake(hello_body([], ciphers=b"\x13\x01\x13"))), "half a cipher suite"),
    "no compression": (records(handshake(hello_body([], compression=b""))), "a list is too short"),
    "one byte after": (
        records(handshake(hello_body(None, after=b"\x00"))),
        "a length is larger than what follows",
    ),
    "bytes after the extensions": (records(handshake(hello_body([], after=b"\x00"))), "bytes are left over"),
    "extensions cut": (records(handshake(GOOD[:-1])), "a length is larger than what follows"),
    "half an extension": (
        records(handshake(hello_body(None, after=vector(2, b"\x00\x15\x00")))),
        "a length is larger than what follows",
    ),
    "an extension too long": (
        records(handshake(hello_body(None, after=vector(2, b"\x00\x15\x00\x02\x00")))),
        "a length is larger than what follows",
    ),
    "two server names": (
        hello(server_name(b"a.example"), server_name(b"b.example")),
        "an extension is there twice",
    ),
    "an unknown extension twice": (hello(PADDING, PADDING), "an extension is there twice"),
    "two names in one list": (
        hello(server_name(b"a.example", b"b.example")),
        "more than one server name",
    ),
    "the same name twice": (hello(server_name(b"a.example", b"a.example")), "more than one server name"),
    "a name of another type": (
        hello(server_name(b"a.example", kind=1)),
        "the server name is not a host name",
    ),
    "no name in the list": (hello(server_name()), "a list is too short"),
    "an empty name": (hello(server_name(b"")), "a list is too short"),
    "an empty server name extension": (hello((SERVER_NAME, b"")), "a length is larger than what follows"),
    "a name that is not ASCII": (
        hello(server_name("bücher.example".encode())),
        "the server name is not ASCII, or holds NUL",
    ),
    "a name with NUL": (
        hello(server_name(b"a.example\0.b.example")),
        "the server name is not ASCII, or holds NUL",
    ),
    "bytes after the names": (
        hello((SERVER_NAME, server_name(b"a.example")[1] + b"\0")),
        "bytes are left over",
    ),
    "half a name": (hello((SERVER_NAME, vector(2, b"\0\0\x09a"))), "a length is larger than what follows"),
    "no protocol": (hello(alpn()), "a list is too short"),
    "an empty protocol": (hello(alpn(b"h2", b"")), "a list is too short"),
    "bytes after the protocols": (hello((ALPN, alpn(b"h2")[1] + b"\0")), "bytes are left over"),
    "half a protocol": (hello((ALPN, vector(2, b"\x03h2"))), "a length is larger than what follows"),
    "an empty ECH": (hello((ECH, b"")), "a length is larger than what follows"),
    "an ECH of another form": (hello((ECH, b"\x02")), "an ECH of no known form"),
    "an ECH without a payload": (hello(ech_outer(b"")), "a list is too short"),
    "half an ECH": (hello((ECH, ech_outer()[1][:-1])), "a length is larger than what follows"),
    "bytes after the ECH": (hello((ECH, ech_outer()[1] + b"\0")), "bytes are left over"),
    "bytes after the inner ECH": (hello((ECH, b"\x01\0")), "bytes are left over"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_hello_is_not_read_and_the_reason_says_why(case: str) -> None:
    data, reason = MALFORMED[case]

    assert read_client_hello(data) == NotTls(f"malformed: {reason}")


def test_a_reason_holds_nothing_that_the_client_wrote() -> None:
    reading = read_client_hello(hello(server_name(b"sentinel\0.example")))

    assert isinstance(reading, NotTls)
    assert "sentinel" not in reading.reason


# --- limits --------------------------------------------------------------------------------------


def padded_to(size: int) -> bytes:
    """A hello that takes so many bytes in records of the usual size."""
    for padding in range(size, 0, -1):
        if size - padding >= 80:
            data = hello(server_name(b"a.example"), (0x0015, b"\0" * padding))
            if len(data) <= size:
                return data
    raise AssertionError


def test_the_largest_hello_is_read_and_a_larger_one_is_not() -> None:
    largest = padded_to(MAX_HELLO)
    larger = padded_to(MAX_HELLO + 1)

    assert (len(largest), len(larger)) == (MAX_HELLO, MAX_HELLO + 1)
    assert read_client_hello(largest) == NAMED
    assert read_client_hello(largest[:-1]) == NEED_MORE
    assert read_client_hello(larger) == TOO_LARGE
    assert read_client_hello(larger[:-1]) == TOO_LARGE
    assert read_client_hello(larger[:-2]) == NEED_MORE


def test_a_hello_that_says_it_is_too_large_is_refused_by_its_first_bytes() -> None:
    data = record(b"\x01" + (MAX_HELLO - 5 - 4 + 1).to_bytes(3))

    assert read_client_hello(data[:-1]) == NEED_MORE
    assert read_client_hello(data) == TOO_LARGE


def test_a_record_may_be_as_long_as_tls_allows() -> None:
    message = handshake(hello_body([server_name(b"a.example"), (0x0015, b"\0" * MAX_RECORD)]))

    assert read_client_hello(records(message, fragment=MAX_RECORD)) == NAMED
