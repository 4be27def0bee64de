import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.framing import CHUNKED, MAX_LENGTH, NO_BODY, Framing, Length, read_framing, read_length
from proxy.wire.outcomes import BadHead, HeadFault


@pytest.mark.parametrize(
    ("lengths", "codings", "framing"),
    [
        ([], [], NO_BODY),
        (["0"], [], Length(0)),
        (["17"], [], Length(17)),
        ([], ["chunked"], CHUNKED),
        ([], ["Chunked"], CHUNKED),
        ([], ["CHUNKED"], CHUNKED),
    ],
)
def test_a_body_ends_in_one_of_three_ways(lengths: list[str], codings: list[str], framing: Framing) -> None:
    assert read_framing(lengths, codings, minor_version=1) == framing


@pytest.mark.parametrize(
    ("lengths", "codings", "minor_version", "detail"),
    [
        ([], ["chunked"], 0, "Transfer-Encoding in HTTP/1.0 (RFC 9112 §6.1)"),
        ([], ["chunked", "chunked"], 1, "Transfer-Encoding other than `chunked` (RFC 9112 §6.1)"),
        ([], [""], 1, "Transfer-Encoding other than `chunked` (RFC 9112 §6.1)"),
        ([], ["gzip, chunked"], 1, "Transfer-Encoding other than `chunked` (RFC 9112 §6.1)"),
        ([], ["identity"], 1, "Transfer-Encoding other than `chunked` (RFC 9112 §6.1)"),
        ([], ["chunked,"], 1, "Transfer-Encoding other than `chunked` (RFC 9112 §6.1)"),
        ([], ["\xa0chunked"], 1, "Transfer-Encoding other than `chunked` (RFC 9112 §6.1)"),
        ([], ["xchunked"], 1, "Transfer-Encoding other than `chunked` (RFC 9112 §6.1)"),
        ([], ['"chunked"'], 1, "Transfer-Encoding other than `chunked` (RFC 9112 §6.1)"),
        ([], ["chunked;a=b"], 1, "Transfer-Encoding other than `chunked` (RFC 9112 §6.1)"),
        (["0"], ["chunked"], 1, "Content-Length beside Transfer-Encoding (RFC 9112 §6.2)"),
        (["5", "5"], [], 1, "several Content-Length fields (RFC 9112 §6.3)"),
        (["5", "6"], [], 0, "several Content-Length fields (RFC 9112 §6.3)"),
        (["5, 5"], [], 1, "Content-Length is not a number of bytes (RFC 9110 §8.6)"),
        (["-1"], [], 1, "Content-Length is not a number of bytes (RFC 9110 §8.6)"),
    ],
)
def test_a_body_whose_end_servers_see_differently_is_refused(
    lengths: list[str], codings: list[str], minor_version: int, detail: str
) -> None:
    assert read_framing(lengths, codings, minor_version) == BadHead(HeadFault.MALFORMED, detail)


@pytest.mark.parametrize(
    "text",
    ["", " ", "+5", "-5", "5 ", " 5", "5,5", "0x5", "5.0", "1e3", "5_0", "five", "²", "٥", "5\n", "0" * 20],
)
def test_a_length_is_digits_only(text: str) -> None:
    assert read_length(text) is None


def test_a_length_fits_into_63_bits() -> None:
    assert read_length(str(MAX_LENGTH)) == MAX_LENGTH
    assert read_length(str(MAX_LENGTH + 1)) is None
    assert read_length("9" * 19) is None


@given(size=st.integers(0, MAX_LENGTH))
def test_every_length_is_read(size: int) -> None:
    assert read_length(str(size)) == size


@given(text=st.text())
def test_a_length_is_never_negative_and_never_anything_else(text: str) -> None:
    size = read_length(text)

    assert size is None or (0 <= size <= MAX_LENGTH and text.isascii() and text.isdigit())
