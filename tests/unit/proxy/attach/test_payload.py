import pytest

from proxy.attach.bodies import BodyFault
from proxy.attach.payload import (
    MAX_TRAILER_NAME,
    MAX_TRAILERS,
    ChunkAlgorithm,
    ChunkPlan,
    Literal,
    Payload,
    SignedChunks,
    Unsigned,
    UnsignedTrailer,
    announced_trailers,
    decoded_length,
    read_chunk_plan,
    read_payload,
)
from proxy.core.reasons import Reason

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
CRC = "x-amz-checksum-crc32"
PLAIN = SignedChunks(ChunkAlgorithm.HMAC, has_trailer=False)
TRAILED = SignedChunks(ChunkAlgorithm.ECDSA, has_trailer=True)


def malformed(fault: object) -> str:
    assert isinstance(fault, BodyFault)
    assert fault.reason is Reason.MALFORMED_BODY
    return fault.message


@pytest.mark.parametrize(
    ("values", "payload"),
    [
        ([], Unsigned()),
        (["UNSIGNED-PAYLOAD"], Unsigned()),
        ([" UNSIGNED-PAYLOAD\t"], Unsigned()),
        ([EMPTY], Literal(EMPTY)),
        (["STREAMING-UNSIGNED-PAYLOAD-TRAILER"], UnsignedTrailer()),
        (["STREAMING-AWS4-HMAC-SHA256-PAYLOAD"], PLAIN),
        (["STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"], SignedChunks(ChunkAlgorithm.HMAC, has_trailer=True)),
        (["STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"], SignedChunks(ChunkAlgorithm.ECDSA, has_trailer=False)),
        (["STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER"], TRAILED),
    ],
)
def test_every_way_to_send_a_body_is_known(values: list[str], payload: Payload) -> None:
    assert read_payload(values) == payload


@pytest.mark.parametrize(
    "value",
    [
        "",
        "unsigned-payload",
        "UNSIGNED-PAYLOAD-TRAILER",
        "UNSIGNED-PAYLOAD\x0b",
        "STREAMING-AWS4-HMAC-SHA256-EVENTS",
        "STREAMING-AWS4-HMAC-SHA256-TRAILER",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD,UNSIGNED-PAYLOAD",
        EMPTY.upper(),
        EMPTY[:-1],
        EMPTY + "0",
        EMPTY + "\n",
        EMPTY.replace("e", "g"),
        "٣" * 64,
        "required",
    ],
)
def test_an_unknown_way_is_refused_with_those_that_are_known(value: str) -> None:
    fault = read_payload([value])

    assert isinstance(fault, BodyFault)
    assert fault.reason is Reason.UNSUPPORTED_PAYLOAD
    for known in ("SHA-256", "UNSIGNED-PAYLOAD", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER"):
        assert known in fault.message


def test_two_words_for_one_body_are_refused_even_where_they_agree() -> None:
    assert read_payload([EMPTY, EMPTY]) == BodyFault(
        Reason.UNSUPPORTED_PAYLOAD, "several x-amz-content-sha256 headers: send one"
    )


@pytest.mark.parametrize(("values", "length"), [([], None), (["0"], 0), ([" 66560 "], 66560)])
def test_a_decoded_length_is_digits(values: list[str], length: int | None) -> None:
    assert decoded_length(values) == length


@pytest.mark.parametrize(
    "value", ["", "-1", "+1", "0x10", "1_0", "1.0", "01", "1,1", "٣", str(2**63), "9" * 5000]
)
def test_a_decoded_length_is_nothing_else(value: str) -> None:
    assert malformed(decoded_length([value])) == (
        "x-amz-decoded-content-length is not a number of bytes in decimal digits"
    )


def test_two_decoded_lengths_are_refused() -> None:
    assert malformed(decoded_length(["5", "5"])) == "several x-amz-decoded-content-length headers: send one"


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([], set()),
        ([CRC], {CRC}),
        (["X-Amz-Checksum-CRC64NVME"], {"x-amz-checksum-crc64nvme"}),
        ([f"{CRC}, x-amz-checksum-sha256"], {CRC, "x-amz-checksum-sha256"}),
        ([CRC, "x-amz-checksum-sha256"], {CRC, "x-amz-checksum-sha256"}),
        ([",".join(f"{CRC}{n}" for n in range(MAX_TRAILERS))], {f"{CRC}{n}" for n in range(MAX_TRAILERS)}),
        ([CRC.ljust(MAX_TRAILER_NAME, "x")], {CRC.ljust(MAX_TRAILER_NAME, "x")}),
    ],
)
def test_checksums_are_announced_in_a_list_or_one_by_one(values: list[str], names: set[str]) -> None:
    assert announced_trailers(values) == names


@pytest.mark.parametrize(
    "value",
    [
        "",
        f"{CRC},",
        "x-amz-checksum-",
        "x-amz-trailer-signature",
        "x-amz-meta-a",
        "authorization",
        f"{CRC};q=1",
        f"{CRC} x",
        f"{CRC}:",
        f"{CRC}\r\n",
        "x-amz-checksum-\xfc",
        "x-amz-chec\u212asum-crc32",  # the Kelvin sign, which is a k in lower case
        CRC.ljust(MAX_TRAILER_NAME + 1, "x"),
    ],
)
def test_no_trailer_but_a_checksum_is_announced(value: str) -> None:
    message = "x-amz-trailer names something else than x-amz-checksum-… headers"

    assert malformed(announced_trailers([value])) == message


@pytest.mark.parametrize("values", [[f"{CRC},{CRC.upper()}"], [CRC, CRC]])
def test_a_trailer_is_announced_once(values: list[str]) -> None:
    assert malformed(announced_trailers(values)) == "x-amz-trailer names a trailer twice"


@pytest.mark.parametrize("values", [[CRC] * (MAX_TRAILERS + 1), ["," * 100_000]])
def test_no_more_trailers_are_announced_than_there_are_checksums(values: list[str]) -> None:
    assert malformed(announced_trailers(values)) == f"x-amz-trailer names more than {MAX_TRAILERS} trailers"


def test_a_plan_says_how_much_comes_and_what_follows_it() -> None:
    assert read_chunk_plan(PLAIN, ["66560"], []) == ChunkPlan(66560, frozenset())
    assert read_chunk_plan(TRAILED, ["0"], [CRC]) == ChunkPlan(0, frozenset({CRC}))


@pytest.mark.parametrize(
    ("payload", "lengths", "trailers", "message"),
    [
        (
            PLAIN, [], [],
            "a body in signed chunks needs x-amz-decoded-content-length: the object's size in bytes",
        ),
        (PLAIN, ["x"], [], "x-amz-decoded-content-length is not a number of bytes in decimal digits"),
        (TRAILED, ["1"], ["x-y"], "x-amz-trailer names something else than x-amz-checksum-… headers"),
        (
            TRAILED, ["1"], [],
            "x-amz-content-sha256 says that a trailer follows, and no x-amz-trailer names it",
        ),
        (
            PLAIN, ["1"], [CRC],
            "x-amz-trailer names a trailer, and x-amz-content-sha256 says that none follows",
        ),
    ],
)  # fmt: skip
def test_a_head_that_leaves_open_how_the_body_ends_is_refused(
    payload: SignedChunks, lengths: list[str], trailers: list[str], message: str
) -> None:
    assert malformed(read_chunk_plan(payload, lengths, trailers)) == message


def test_who_signs_nothing_says_with_a_trailer_alone_how_the_body_is_framed() -> None:
    assert read_payload([], ["x-amz-checksum-crc64nvme"]) == UnsignedTrailer()
    assert read_payload(["UNSIGNED-PAYLOAD"], ["x-amz-checksum-crc64nvme"]) == Unsigned()
