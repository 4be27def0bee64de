"""Whatever happens to a request, in whatever order: nothing of the room stays taken, and its body goes
upstream whole or not to its end."""

from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy.proxy import commands, events

from proxy.core.structs import replace
from proxy.lanes.mitm import request_side
from proxy.lanes.mitm.events import CutStream, DrainUpstreamHook
from proxy.lanes.mitm.streams import GuardedStream
from proxy.lanes.room import Room
from tests.lane_scripts import Marked, Script, scripted
from tests.lane_world import POLICY, Talk, World, live_lease, pod_of

CUT: Final = POLICY.replace("  grants:", "  onRevoke: cut\n  grants:")
BODY: Final = b"abcdefghijklmnopqrstuvwxyz"
ANSWERS: Final = (
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 4\r\n\r\nokok",
    b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\n\r\ngone",
    b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok",
    b"HTTP/1.1 307 Moved\r\nContent-Length: 0\r\n\r\n",
)


class Waiting(Talk):
    """Its hooks are answered when the test says so."""

    def __init__(self, world: World) -> None:
        self.drains: list[DrainUpstreamHook] = []
        super().__init__(world)

    def _perform(self, command: commands.Command) -> None:
        if isinstance(command, DrainUpstreamHook):
            self.drains.append(command)
        else:
            super()._perform(command)


def answer_hooks(talk: Waiting) -> None:
    talk.judge()
    drains, talk.drains = talk.drains, []
    for hook in drains:
        talk.feed(events.HookCompleted(hook))


def say(size: int) -> Callable[[Waiting, list[bytes]], None]:
    def step(talk: Waiting, left: list[bytes]) -> None:
        if left and not talk.closed:
            talk.say(left[0][:size])
            left[0] = left[0][size:]
            if not left[0]:
                del left[0]

    return step


def reply(answer: bytes) -> Callable[[Waiting, list[bytes]], None]:
    def step(talk: Waiting, _: list[bytes]) -> None:
        if talk.servers and talk.servers[-1].connected:
            talk.reply(answer)

    return step


def fail(talk: Waiting, _: list[bytes]) -> None:
    if talk.servers and talk.servers[-1].connected:
        talk.hang_up()


def leave(talk: Waiting, _: list[bytes]) -> None:
    if not talk.closed:
        talk.hang_up(talk.client)


def cut(talk: Waiting, _: list[bytes]) -> None:
    for stream in list(talk.http.streams.values()):
        if isinstance(stream, GuardedStream):
            talk.feed(CutStream(stream.exchange))


def hooks(talk: Waiting, _: list[bytes]) -> None:
    answer_hooks(talk)


STEPS: Final = st.lists(
    st.one_of(
        st.integers(1, 30).map(say),
        st.sampled_from(ANSWERS).map(reply),
        st.sampled_from([fail, leave, cut, hooks, hooks]),
    ),
    max_size=14,
)
SCRIPTS: Final = st.builds(
    Script,
    wants=st.sampled_from([None, None, 10, 26]),
    rewrite=st.sampled_from([None, Marked, lambda: Marked(1), lambda: Marked(40)]),
    is_timed=st.booleans(),
)


@given(
    script=SCRIPTS,
    steps=STEPS,
    method=st.sampled_from(["PUT", "POST"]),
    expects=st.booleans(),
    chunked=st.booleans(),
    shouts=st.booleans(),
    room=st.sampled_from([0, 12, 30, 1000]),
)
def test_nothing_stays_and_nothing_is_committed_in_part(  # noqa: PLR0917 - what varies
    script: Script,
    steps: list[Callable[[Waiting, list[bytes]], None]],
    method: str,
    expects: bool,  # noqa: FBT001
    chunked: bool,  # noqa: FBT001
    shouts: bool,  # noqa: FBT001
    room: int,
) -> None:
    body = BODY[:-3] + b"!yz" if shouts else BODY
    head = f"{method} /v1/x HTTP/1.1\r\nHost: api.example.com\r\n"
    head += "Expect: 100-continue\r\n" if expects else ""
    head += "Transfer-Encoding: chunked\r\n\r\n" if chunked else f"Content-Length: {len(body)}\r\n\r\n"
    world = World(pod=pod_of(CUT), room=Room(room))
    world.leases.reply = lambda ref: replace(live_lease(ref), id=f"lease-{len(world.leases.given_back)}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(request_side, "PIECE", 7)
        scripted(patch, script)
        talk = Waiting(world)
        talk.holds = True
        talk.say(head.encode())
        left = [b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if chunked else body]
        for step in steps:
            step(talk, left)
            assert 0 <= world.room.taken <= room
        for _ in range(40):
            answer_hooks(talk)
        leave(talk, left)
        for _ in range(40):
            answer_hooks(talk)
        talk.conversation.end()

    assert world.room.taken == 0
    assert len(world.recorder.records) == 1
    assert world.recorder.crashes == []
    assert not talk.conversation.busy
    for server in talk.servers:
        assert_whole_or_open_ended(bytes(talk.to[server]), body, script, is_closed=not server.connected)


def assert_whole_or_open_ended(sent: bytes, body: bytes, script: Script, *, is_closed: bool) -> None:
    """Each request upstream has its whole body, or is the last on its connection, which is closed."""
    wanted = body if script.rewrite is None else body.upper()
    while sent:
        head, _, sent = sent.partition(b"\r\n\r\n")
        assert b"/v1/x HTTP/1.1" in head
        if b"chunked" in head:
            came, sent, whole = unchunked(sent)
        else:
            came, sent = sent[: len(body)], sent[len(body) :]
            whole = len(came) == len(body)
        assert wanted.startswith(came)
        assert not whole or came == wanted
        assert whole or is_closed
        assert whole or not sent


def unchunked(data: bytes) -> tuple[bytes, bytes, bool]:
    came = b""
    while data:
        size, _, rest = data.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            return came, rest[2:], True
        came, data = came + rest[:length], rest[length + 2 :]
    return came, b"", False
