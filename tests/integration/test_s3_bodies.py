"""Every way to send a body to S3 is stored to the last bit; whatever is wrong with one is stored never."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from random import Random
from typing import Final

import pytest

from tests.netns import MISSING as NO_NETNS
from tests.raw_client import Answer, ask, tls
from tests.s3_signer import HMAC_MODES, Harm, Keys, Mode, Signer, Upload
from tests.s3_world import EU, REGION, S3World, s3_grant, s3_world
from tests.stand_ins.s3_asymmetric import AsymmetricS3
from tests.swift_server import MISSING as NO_SWIFT
from tests.upstreams import Upstream, tls_context

HOST: Final = f"acme.{EU}"
# A multi-region access point: no region in its name, so SigV4a it is.
ALIAS: Final = "mfzwi23gnjvgw.mrap"
GLOBAL_HOST: Final = f"{ALIAS}.accesspoint.s3-global.amazonaws.com"
ELSEWHERE: Final = "203.0.113.20"
DATA: Final = Random(7).randbytes(300_000)

SIGNED: Final = [Mode.SIGNED, Mode.SIGNED_TRAILER]
FRAMED: Final = [Mode.UNSIGNED_TRAILER, *SIGNED]
EVERYWHERE: Final = [
    Harm.CUT,
    Harm.CUT_BEFORE_LAST,
    Harm.CUT_IN_TRAILER,
    Harm.DECODED_MORE,
    Harm.DECODED_LESS,
    Harm.LENGTH_LESS,
    Harm.HUGE_CHUNK,
    Harm.BAD_SIZE,
    Harm.NO_CRLF,
    Harm.CHUNK_ORDER,
    Harm.CHUNK,
]
# What is after the end of an unsigned body, S3 itself has to judge: we do not read it.
IN_CHUNKS: Final = [Harm.CHUNK_SIGNATURE, Harm.LAST_SIGNATURE, Harm.JUNK]
IN_TRAILERS: Final = [Harm.TRAILER, Harm.NO_TRAILER, Harm.OTHER_TRAILER]
WRONG: Final = [
    *((mode, harm) for mode in FRAMED for harm in EVERYWHERE),
    *((mode, harm) for mode in SIGNED for harm in IN_CHUNKS),
    *((mode, harm) for mode in (Mode.UNSIGNED_TRAILER, Mode.SIGNED_TRAILER) for harm in IN_TRAILERS),
    (Mode.SIGNED_TRAILER, Harm.TRAILER_SIGNATURE),
    (Mode.HASHED, Harm.BODY),
    (Mode.HASHED, Harm.CUT),
    (Mode.UNSIGNED, Harm.CUT),
]
# Without frames of its own S3 wants to know a body's length.
SENT: Final = [*((mode, False) for mode in HMAC_MODES), *((mode, True) for mode in FRAMED)]
ASYMMETRIC: Final = [Mode.ECDSA, Mode.ECDSA_TRAILER]
WRONG_FAR: Final = [
    *((mode, harm) for mode in ASYMMETRIC for harm in (*EVERYWHERE, *IN_CHUNKS)),
    *((Mode.ECDSA_TRAILER, harm) for harm in (*IN_TRAILERS, Harm.TRAILER_SIGNATURE)),
]
# Swift does not look behind the end of a body: only we do.
WRONG_FOR_SWIFT: Final = [(mode, harm) for mode, harm in WRONG if harm is not Harm.JUNK]


@pytest.fixture(scope="module")
def shared() -> Iterator[S3World]:
    if NO_NETNS or NO_SWIFT:
        pytest.skip(NO_NETNS or NO_SWIFT)
    grants = [s3_grant("acme", ALIAS, prefixes=["train/"])]
    with s3_world(grants, buckets=["acme"], internet=[ELSEWHERE], session=True) as world:
        yield world
        world.check_health()


@pytest.fixture
def world(shared: S3World) -> S3World:
    shared.settle()
    return shared


@pytest.fixture(scope="module")
def far(shared: S3World) -> Iterator[AsymmetricS3]:
    pod = shared.pod
    pod.resolve(GLOBAL_HOST, to=[ELSEWHERE])
    store = AsymmetricS3(shared.keys)
    context = tls_context(*pod.upstream_certificate(GLOBAL_HOST))
    with _Everything(store, context, pod.network.net) as upstream:
        yield store
        assert not upstream.faults


class _Everything(Upstream):
    def __init__(self, store: AsymmetricS3, context: ssl.SSLContext, ns: str) -> None:
        super().__init__(context, ns=ns, addresses=[ELSEWHERE])
        self._store = store

    def handler(self, _path: str):  # noqa: ANN202 - a Handler
        return self._store.handle


def key_for(mode: Mode, harm: Harm = Harm.NONE, more: str = "") -> str:
    return f"train/{mode.name}-{harm.name}{more}"


def upload(
    signer: Signer, key: str, mode: Mode, harm: Harm = Harm.NONE, *, data: bytes = DATA, chunk: int = 65_536
) -> Upload:
    return signer.upload("PUT", HOST, f"/{key}", data, mode, harm=harm, chunk=chunk)


def send(sock: ssl.SSLSocket, one: Upload, piece: int = 65_536) -> Answer | None:
    """The answer, None where there is none. Who refuses need not read it all."""
    with suppress(OSError):
        for at in range(0, len(one.head + one.body), piece):
            sock.sendall((one.head + one.body)[at : at + piece])
        if one.ends:
            # No word of parting: the peer only sees that there is no more.
            socket.socket.shutdown(sock, socket.SHUT_WR)
            return None
    try:
        return ask(sock, b"", one.method)
    except (OSError, AssertionError):
        return None


def get(signer: Signer, key: str) -> bytes:
    headers = signer.signed("GET", HOST, f"/{key}")
    return Upload("GET", f"/{key}", tuple(headers.items()), b"").head


# --- they are stored -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "http_chunks"), SENT, ids=str)
def test_a_body_is_stored_and_its_connection_goes_on(
    world: S3World,
    mode: Mode,
    http_chunks: bool,  # noqa: FBT001
) -> None:
    key = key_for(mode, more="-chunked" if http_chunks else "")
    one = upload(world.signer(), key, mode)
    with tls(world.pod, HOST) as sock:
        answer = send(sock, one.in_http_chunks() if http_chunks else one)
        assert answer is not None
        assert answer.status == 200, answer.body
        again = ask(sock, get(world.signer(), key))
    assert again.body == DATA
    assert world.store.get("acme", key) == DATA


@pytest.mark.parametrize("mode", HMAC_MODES)
@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537], ids=str)
def test_sizes_at_the_edge_of_a_chunk_are_stored(world: S3World, mode: Mode, size: int) -> None:
    key = key_for(mode, more=f"-{size}")
    with tls(world.pod, HOST) as sock:
        answer = send(sock, upload(world.signer(), key, mode, data=DATA[:size]))
    assert answer is not None
    assert answer.status == 200, answer.body
    assert world.store.get("acme", key) == DATA[:size]


@pytest.mark.parametrize("mode", HMAC_MODES)
def test_a_body_in_the_smallest_of_pieces_is_stored(world: S3World, mode: Mode) -> None:
    key = key_for(mode, more="-drops")
    data = DATA[:20_000]
    with tls(world.pod, HOST) as sock:
        answer = send(sock, upload(world.signer(), key, mode, data=data, chunk=8192), piece=97)
    assert answer is not None
    assert answer.status == 200, answer.body
    assert world.store.get("acme", key) == data


def test_the_length_that_the_sdk_told_is_the_length_that_s3_hears(world: S3World) -> None:
    key = key_for(Mode.SIGNED, more="-length")
    one = upload(world.signer(), key, Mode.SIGNED)
    with tls(world.pod, HOST) as sock:
        send(sock, one)
    (request,) = [request for request in world.store.requests() if request["path"] == f"/{key}"]
    headers = dict(request["headers"])
    for name in (
        "content-length",
        "content-encoding",
        "x-amz-decoded-content-length",
        "x-amz-content-sha256",
    ):
        assert headers[name] == one.header(name)


# --- they are not --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "harm"), WRONG, ids=lambda value: value.name)
def test_a_body_with_something_wrong_is_never_stored(world: S3World, mode: Mode, harm: Harm) -> None:
    key = key_for(mode, harm)
    records = world.pod.sidecar.audited()
    with tls(world.pod, HOST) as sock:
        # On a connection that is open to the store: what is wrong could arrive there.
        ask(sock, get(world.signer(), "train/none"))
        answer = send(sock, upload(world.signer(), key, mode, harm))
    assert answer is None or answer.status in {400, 403}, answer
    world.pod.sidecar.wait_audit(records + 2)
    assert world.store.get("acme", key) is None


@pytest.mark.parametrize("mode", [*FRAMED, Mode.UNSIGNED])
def test_a_client_that_goes_before_we_reached_the_store_leaves_nothing(world: S3World, mode: Mode) -> None:
    key = key_for(mode, more="-gone")
    with tls(world.pod, HOST) as sock:
        send(sock, upload(world.signer(), key, mode, Harm.CUT))
    assert world.store.get("acme", key) is None


@pytest.mark.parametrize("mode", SIGNED)
def test_chunks_that_somebody_else_has_signed_are_not_ours_to_sign(world: S3World, mode: Mode) -> None:
    mine = world.placeholder
    stranger = Signer(Keys(mine.access_key_id, "not the secret of the placeholder"), REGION)
    key = key_for(mode, more="-stranger")
    with tls(world.pod, HOST) as sock:
        answer = send(sock, upload(stranger, key, mode))
    assert answer is None or answer.status in {400, 403}
    assert world.store.get("acme", key) is None


def test_a_chunk_above_the_limit_is_refused_and_told(world: S3World) -> None:
    key = key_for(Mode.SIGNED, more="-big")
    data = bytes(5 * 1024**2)
    with tls(world.pod, HOST) as sock:
        answer = send(sock, upload(world.signer(), key, Mode.SIGNED, data=data, chunk=len(data)))
    assert answer is None or (answer.status, answer.reason) == (400, "malformed_body"), answer
    assert world.store.get("acme", key) is None


def test_a_fault_that_is_seen_in_time_is_told_in_the_words_of_s3(world: S3World) -> None:
    key = key_for(Mode.SIGNED, Harm.BAD_SIZE, "-told")
    one = upload(world.signer(), key, Mode.SIGNED, Harm.BAD_SIZE)
    with tls(world.pod, HOST) as sock:
        sock.sendall(one.head + one.body[:100_000])
        answer = ask(sock, b"", "PUT")
    assert (answer.status, answer.reason) == (400, "malformed_body")
    assert b"<Code>" in answer.body
    assert b"podkey" in answer.body
    assert world.store.get("acme", key) is None


# --- Expect: 100-continue ------------------------------------------------------------------------------


def expecting(world: S3World, key: str) -> Upload:
    headers = {"expect": "100-continue"}
    return world.signer().upload("PUT", HOST, f"/{key}", DATA, Mode.UNSIGNED_TRAILER, headers=headers)


def head_of_answer(sock: ssl.SSLSocket) -> bytes:
    came = b""
    while b"\r\n\r\n" not in came:
        more = sock.recv(1024)
        assert more, came
        came += more
    return came


def test_a_body_starts_when_s3_says_so(world: S3World) -> None:
    key = "train/expected"
    one = expecting(world, key)
    with tls(world.pod, HOST) as sock:
        sock.sendall(one.head)
        assert head_of_answer(sock) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert ask(sock, one.body, "PUT").status == 200
    assert world.store.get("acme", key) == DATA


def test_a_body_that_s3_will_not_have_is_not_sent(world: S3World) -> None:
    key = "train/unexpected"
    world.store.tell("SlowDown", key)
    with tls(world.pod, HOST) as sock:
        sock.sendall(expecting(world, key).head)
        assert head_of_answer(sock).startswith(b"HTTP/1.1 503 ")
    assert world.store.get("acme", key) is None


def test_a_body_that_we_refuse_is_not_sent(world: S3World) -> None:
    with tls(world.pod, HOST) as sock:
        sock.sendall(expecting(world, "private/key").head)
        assert head_of_answer(sock).startswith(b"HTTP/1.1 403 ")


# --- SigV4a --------------------------------------------------------------------------------------------


def asymmetric(world: S3World, key: str, mode: Mode, harm: Harm = Harm.NONE) -> Upload:
    return world.signer("*").upload("PUT", GLOBAL_HOST, f"/{key}", DATA, mode, harm=harm)


@pytest.mark.parametrize("mode", [Mode.UNSIGNED, Mode.UNSIGNED_TRAILER, *ASYMMETRIC])
def test_a_multi_region_access_point_gets_its_signatures(
    world: S3World, far: AsymmetricS3, mode: Mode
) -> None:
    key = key_for(mode)
    with tls(world.pod, GLOBAL_HOST, address=ELSEWHERE) as sock:
        answer = send(sock, asymmetric(world, key, mode))
    assert answer is not None
    assert answer.status == 200, answer.body
    assert far.objects[f"/{key}"] == DATA
    assert far.regions[-1] == "*"


@pytest.mark.parametrize(("mode", "harm"), WRONG_FAR, ids=lambda value: value.name)
def test_a_wrong_body_is_never_stored_in_a_multi_region_access_point(
    world: S3World, far: AsymmetricS3, mode: Mode, harm: Harm
) -> None:
    key = key_for(mode, harm)
    records = world.pod.sidecar.audited()
    with tls(world.pod, GLOBAL_HOST, address=ELSEWHERE) as sock:
        answer = send(sock, asymmetric(world, key, mode, harm))
    assert answer is None or answer.status in {400, 403}
    world.pod.sidecar.wait_audit(records + 1)
    assert f"/{key}" not in far.objects


# --- the store itself, without us: what the tests above stand on ---------------------------------------


@pytest.mark.parametrize(("mode", "harm"), WRONG_FOR_SWIFT, ids=lambda value: value.name)
def test_swift_refuses_what_is_wrong_even_without_us(world: S3World, mode: Mode, harm: Harm) -> None:
    key = key_for(mode, harm, "-direct")
    one = upload(Signer(world.store.own, REGION), key, mode, harm)
    with world.store.connect(host=HOST) as sock:
        answer = send(sock, one)
    assert answer is None or answer.status in {400, 403}
    assert world.store.get("acme", key) is None


@pytest.mark.parametrize("mode", HMAC_MODES)
def test_swift_takes_what_our_tests_sign(world: S3World, mode: Mode) -> None:
    key = key_for(mode, more="-direct")
    with world.store.connect(host=HOST) as sock:
        answer = send(sock, upload(Signer(world.store.own, REGION), key, mode))
    assert answer is not None
    assert answer.status == 200, answer.body
    assert world.store.get("acme", key) == DATA
