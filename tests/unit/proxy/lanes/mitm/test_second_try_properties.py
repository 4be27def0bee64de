"""However the first answer comes, the application sees one answer, whole, and nothing of another."""

from itertools import pairwise
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.credentials import CredentialRef
from proxy.core.lease import LeaseReply
from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.core.structs import replace
from proxy.lanes.held_body import HELD_ANSWER, HELD_BYTES
from tests.lane_world import Talk, World, live_lease

OK: Final = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 2\r\n\r\nok"
METHODS: Final = ("GET", "PUT", "POST")


def framed(status: int, body: bytes, *, chunked: bool) -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: image/png\r\n".encode()
    if not chunked:
        return head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    pieces = [body[start : start + 5000] for start in range(0, len(body), 5000)]
    return (
        head
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
        + b"0\r\n\r\n"
    )


def body_of(answer: bytes) -> tuple[bytes, bytes]:
    """Status and body, of the one answer that there is."""
    assert answer.count(b"HTTP/1.1 ") == 1
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"chunked" not in head:
        return head[9:12], body
    whole = b""
    while (line := body.partition(b"\r\n"))[0] != b"0":
        size = int(line[0], 16)
        whole, body = whole + line[2][:size], line[2][size + 2 :]
    assert body == b"0\r\n\r\n"
    return head[9:12], whole


@given(
    method=st.sampled_from(METHODS),
    sent=st.sampled_from((0, 3, HELD_BYTES, HELD_BYTES + 1)),
    status=st.sampled_from((200, 401, 403)),
    size=st.sampled_from((0, 10, HELD_ANSWER // 2, HELD_ANSWER + 1)),
    chunked=st.booleans(),
    cuts=st.lists(st.integers(0, HELD_ANSWER + 300), max_size=4),
    renews=st.booleans(),
)
def test_the_application_sees_one_whole_answer(  # noqa: PLR0917 - what varies
    method: str,
    sent: int,
    status: int,
    size: int,
    chunked: bool,  # noqa: FBT001
    cuts: list[int],
    renews: bool,  # noqa: FBT001
) -> None:
    world = World()

    def reply(credential: CredentialRef) -> LeaseReply:
        first = live_lease(credential)
        if not (renews and world.leases.given_back):
            return first
        return replace(first, id="lease-2", parts={Part.TOKEN: Secret(b"another-token")})

    world.leases.reply = reply
    talk = Talk(world)
    sent = 0 if method == "GET" else sent
    head = f"{method} /v1/x HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: {sent}\r\n\r\n"
    talk.say(head.encode() + b"x" * sent)
    first = framed(status, b"y" * size, chunked=chunked)
    for start, end in pairwise([0, *sorted(min(cut, len(first)) for cut in cuts), len(first)]):
        if end > start:
            talk.reply(first[start:end], talk.servers[0])

    tries = talk.forwarded.count(f"{method} /v1/x".encode())
    repeatable = method != "POST" and sent <= HELD_BYTES and size <= HELD_ANSWER
    assert tries == (2 if status == 401 and renews and repeatable else 1)
    if tries == 2:
        assert talk.answer == b""
        talk.reply(OK)
        assert body_of(talk.answer) == (b"200", b"ok")
    else:
        assert body_of(talk.answer) == (str(status).encode(), b"y" * size)
    (record,) = world.recorder.records
    assert record.retried is (tries == 2)
    assert record.sent_bytes == sent
    assert len(world.leases.given_back) == (status == 401)
    assert talk.http.held_bytes == 0
    assert not talk.conversation.busy
