"""The example of the S3 API Reference with the signatures that it publishes, and chains link by link."""

from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.aws.chunk_chain import (
    ECDSA_LENGTH,
    HMAC_LENGTH,
    ChunkChain,
    ChunkCheck,
    EcdsaChain,
    HmacChain,
)
from proxy.aws.sigv4 import SigningKeys, SigningScope, Style, Unsigned, sign
from proxy.aws.sigv4a import derived_ecdsa_key, scope_text
from proxy.core.secret import Secret

# "Example: PUT Object" of both pages. In pieces: what scanners take for a live key is an example.
ACCESS_KEY_ID = "AK" + "IAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG" + "/bPxRfiCYEXAMPLEKEY"
KEYS = SigningKeys(ACCESS_KEY_ID, Secret(SECRET.encode()))
SCOPE = SigningScope(datetime(2013, 5, 24, tzinfo=UTC), "us-east-1", "s3")
HMAC, ECDSA = "AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"
CHUNKS = (b"a" * 65536, b"a" * 1024, b"")
TRAILER = b"x-amz-checksum-crc32c:sOO8/Q==\n"


def seed(payload: str, *more: tuple[str, str]) -> str:
    headers = (
        ("host", "s3.amazonaws.com"),
        ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ("x-amz-content-sha256", payload),
        ("content-encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", "66560"),
        *more,
    )
    request = Unsigned("PUT", "/examplebucket/chunkObject.txt", "", headers, payload)
    return sign(request, KEYS, SCOPE, Style.S3).seed


def test_the_example_of_the_reference() -> None:
    first = seed("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", ("content-length", "66824"))
    assert first == "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
    chain = HmacChain.of(KEYS, SCOPE, first)
    assert [chain.chunk(chunk) for chunk in CHUNKS] == [
        b"ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
        b"0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
        b"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    ]
    assert chain.signature_length == HMAC_LENGTH


def test_the_example_with_a_trailer() -> None:
    first = seed("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", ("x-amz-trailer", "x-amz-checksum-crc32c"))
    assert first == "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
    chain = HmacChain.of(KEYS, SCOPE, first)
    assert [chain.chunk(chunk) for chunk in CHUNKS] == [
        b"b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
        b"1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
        b"2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
    ]
    assert chain.trailer(TRAILER) == b"d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"


def test_a_chain_of_sigv4a_signs_what_aws_c_auth_says() -> None:
    """The strings to sign of its `test_chunked_signing.c`: the same chunks, and a trailer of ours."""
    chain = EcdsaChain.of(KEYS, SCOPE.moment, "s3", "3045aa")
    key = derived_ecdsa_key(SECRET.encode(), ACCESS_KEY_ID)
    head = "20130524T000000Z\n20130524/s3/aws4_request\n"
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    hashes = (
        "bf718b6f653bebc184e1479f1935b8da974d701b893afcf49e701f3e2f9f9c5a",
        "2edc986847e209b4016e141a6dc8716d3207350f416969382d431539bf292e4a",
        empty,
    )
    previous = "3045aa"
    for chunk, hashed in zip(CHUNKS, hashes, strict=True):
        signature = chain.chunk(chunk)
        assert len(signature) == chain.signature_length == ECDSA_LENGTH
        text = f"{ECDSA}-PAYLOAD\n{head}{previous}\n{empty}\n{hashed}"
        # Without its padding, also in the text of the next.
        previous = signature.rstrip(b"*").decode()
        assert key.made(previous.encode(), text.encode())
    trailer = chain.trailer(TRAILER)
    text = f"{ECDSA}-TRAILER\n{head}{previous}\n{sha256(TRAILER).hexdigest()}"
    assert len(trailer) == ECDSA_LENGTH
    assert key.made(trailer.rstrip(b"*"), text.encode())


def test_signatures_of_sigv4a_are_padded_on_the_right() -> None:
    chain = EcdsaChain.of(KEYS, SCOPE.moment, "s3", "")
    lengths = set()
    for number in range(8):
        signature = chain.chunk(bytes([number]))
        bare = signature.rstrip(b"*")
        assert len(signature) == ECDSA_LENGTH
        assert bare.isalnum()
        lengths.add(len(bare))
    assert max(lengths) <= ECDSA_LENGTH
    assert lengths != {ECDSA_LENGTH}


# --- what the client sent ----------------------------------------------------------------------------

PLACEHOLDERS = ("other placeholder", SECRET, "third")


def hmac_pair() -> tuple[ChunkChain, ChunkCheck | None]:
    check = ChunkCheck.of(HMAC, ACCESS_KEY_ID, PLACEHOLDERS, SCOPE.timestamp, SCOPE.text, "feed")
    return HmacChain.of(KEYS, SCOPE, "feed"), check


def ecdsa_pair() -> tuple[ChunkChain, ChunkCheck | None]:
    where = scope_text(SCOPE.moment, "s3")
    check = ChunkCheck.of(ECDSA, ACCESS_KEY_ID, PLACEHOLDERS, SCOPE.timestamp, where, "feed")
    return EcdsaChain.of(KEYS, SCOPE.moment, "s3", "feed"), check


PAIRS = pytest.mark.parametrize("pair", [hmac_pair, ecdsa_pair])
type Pair = Callable[[], tuple[ChunkChain, ChunkCheck | None]]


@PAIRS
def test_what_a_chain_signs_its_check_takes(pair: Pair) -> None:
    chain, check = pair()
    assert check is not None
    assert check.signature_length == chain.signature_length
    for chunk in CHUNKS:
        assert check.matches(chunk, chain.chunk(chunk))
    assert check.matches_trailer(TRAILER, chain.trailer(TRAILER))


@PAIRS
def test_a_chunk_or_a_signature_that_is_not_the_one_is_not_taken(pair: Pair) -> None:
    chain, check = pair()
    assert check is not None
    first = chain.chunk(b"one")
    for data, claimed in (
        (b"two", first),
        (b"one", b""),
        (b"one", b"0" * chain.signature_length),
        (b"one", first.upper()),
        (b"one", b"\xff" * chain.signature_length),
    ):
        assert not check.matches(data, claimed)
    assert not check.matches_trailer(b"one", first)
    # A wrong one did not move the chain.
    assert check.matches(b"one", first)
    second = chain.chunk(b"two")
    assert not check.matches_trailer(b"two", second)
    assert check.matches(b"two", second)


@PAIRS
def test_chunks_in_another_order_are_not_taken(pair: Pair) -> None:
    chain, check = pair()
    assert check is not None
    first, second = chain.chunk(b"one"), chain.chunk(b"two")
    assert not check.matches(b"two", second)
    assert check.matches(b"one", first)
    assert not check.matches(b"one", first)


def test_the_first_signature_decides_whose_the_others_are() -> None:
    def chain_of(secret: str, first: str) -> HmacChain:
        return HmacChain.of(SigningKeys(ACCESS_KEY_ID, Secret(secret.encode())), SCOPE, first)

    check = ChunkCheck.of(HMAC, ACCESS_KEY_ID, ("one", "two"), SCOPE.timestamp, SCOPE.text, "feed")
    assert check is not None
    first = chain_of("one", "feed").chunk(b"1")
    assert check.matches(b"1", first)
    assert not check.matches(b"2", chain_of("two", first.decode()).chunk(b"2"))
    assert check.matches(b"2", chain_of("one", first.decode()).chunk(b"2"))


def test_with_no_key_nothing_fits() -> None:
    check = ChunkCheck.of(HMAC, ACCESS_KEY_ID, (), SCOPE.timestamp, SCOPE.text, "feed")
    assert check is not None
    assert not check.matches(b"", HmacChain.of(KEYS, SCOPE, "feed").chunk(b""))


def test_an_algorithm_without_chunks_has_no_check() -> None:
    assert ChunkCheck.of("AWS4-X509-RSA-SHA256", ACCESS_KEY_ID, (SECRET,), "", "", "") is None


@given(
    st.lists(st.binary(max_size=200), max_size=5),
    st.binary(max_size=50),
    st.sampled_from((hmac_pair, ecdsa_pair)),
)
def test_any_chain_fits_its_check(chunks: list[bytes], trailer: bytes, pair: Pair) -> None:
    chain, check = pair()
    assert check is not None
    # As views, which nobody has to copy.
    assert all(check.matches(memoryview(chunk), chain.chunk(bytearray(chunk))) for chunk in chunks)
    assert check.matches_trailer(trailer, chain.trailer(trailer))
