from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.attach.bodies import BodyFault
from proxy.core.reasons import Reason
from proxy.lanes.request_body import RequestBody
from proxy.lanes.room import Room
from proxy.transaction.head import Head, HttpVersion
from tests.lane_scripts import Marked
from tests.lane_world import HOST

ROOM = 100


def head(*fields: tuple[str, str], has_body: bool = True, version: HttpVersion = HttpVersion.HTTP1) -> Head:
    return Head("GET", "/v1/x", HOST, fields, version, has_body)


def body_of(room: Room, *fields: tuple[str, str]) -> RequestBody:
    return RequestBody(room, head(*fields))


def length(size: int) -> tuple[str, str]:
    return ("Content-Length", str(size))


def reason_of(found: object) -> Reason:
    assert isinstance(found, BodyFault)
    return found.reason


# --- read whole ------------------------------------------------------------------------------------------


def test_a_body_is_collected_and_given_back() -> None:
    room = Room(ROOM)
    body = body_of(room, length(5))

    assert body.wanted(10) is None
    assert room.taken == 5
    assert body.collect(b"abc")
    assert body.collect(b"de")
    body.collected()

    assert body.wanted(10) == body.whole == b"abcde"
    assert (room.taken, body.held) == (5, 5)
    body.release()
    body.release()
    assert (room.taken, body.held) == (0, 0)


def test_a_body_without_a_length_is_taken_piece_by_piece() -> None:
    room = Room(ROOM)
    body = body_of(room)

    assert body.wanted(10) is None
    assert room.taken == 0
    assert body.collect(b"abc")
    assert room.taken == 3


def test_a_body_that_turns_out_shorter_holds_no_more_than_it_is() -> None:
    room = Room(ROOM)
    body = body_of(room, length(50))
    body.wanted(50)
    body.collect(b"abc")

    body.collected()

    assert room.taken == 3


@pytest.mark.parametrize("size", [11, 2**63])
def test_a_length_above_the_limit_is_refused_before_a_byte_was_read(size: int) -> None:
    room = Room(ROOM)
    found = body_of(room, length(size)).wanted(10)

    assert reason_of(found) is Reason.BODY_TOO_LARGE
    assert isinstance(found, BodyFault)
    assert "10 bytes" in found.message
    assert room.taken == 0


def test_what_turns_out_above_the_limit_is_let_go() -> None:
    room = Room(ROOM)
    body = body_of(room)
    body.wanted(10)

    assert body.collect(b"0123456789")
    assert not body.collect(b"x")

    assert room.taken == 0
    assert not body.collect(b"y")
    assert body.fault == body.wanted(1000)
    assert reason_of(body.fault) is Reason.BODY_TOO_LARGE


@pytest.mark.parametrize("fields", [(length(20),), ()])
def test_a_full_room_takes_no_further_body(fields: tuple[tuple[str, str], ...]) -> None:
    room = Room(ROOM)
    assert room.take(90)
    body = body_of(room, *fields)

    found = body.wanted(50)
    if found is None:
        assert not body.collect(bytes(20))
        found = body.fault

    assert reason_of(found) is Reason.OVERLOADED
    assert room.taken == 90


def test_an_empty_body_is_there_at_once() -> None:
    assert RequestBody(Room(ROOM), head(has_body=False)).wanted(10) == b""
    assert RequestBody(Room(ROOM), None).wanted(10) == b""


def test_a_call_that_goes_on_as_it_likes_is_not_waited_for() -> None:
    call = head(("content-type", "application/grpc"), version=HttpVersion.HTTP2)

    assert reason_of(RequestBody(Room(ROOM), call).wanted(10)) is Reason.UNSUPPORTED_PAYLOAD


def test_a_body_that_was_collected_for_a_larger_limit_is_too_large_for_a_smaller_one() -> None:
    body = body_of(Room(ROOM))
    body.wanted(10)
    body.collect(b"abcde")
    body.collected()

    assert reason_of(body.wanted(4)) is Reason.BODY_TOO_LARGE
    assert body.wanted(5) == b"abcde"


@pytest.mark.parametrize("end", [RequestBody.forget, RequestBody.release])
def test_what_was_let_go_is_not_taken_for_empty(end: Callable[[RequestBody], None]) -> None:
    body = body_of(Room(ROOM))
    body.wanted(10)
    body.collect(b"abc")
    body.collected()

    end(body)

    assert body.whole is None
    assert reason_of(body.wanted(10)) is Reason.INTERNAL_ERROR


def test_forgetting_what_was_never_collected_changes_nothing() -> None:
    body = body_of(Room(ROOM))

    body.forget()

    assert body.fault is None
    assert body.wanted(10) is None


def test_what_it_holds_is_not_printed() -> None:
    body = body_of(Room(ROOM))
    body.wanted(10)
    body.collect(b"secret")

    assert repr(body) == "<RequestBody 6 bytes>"


# --- changed on its way ----------------------------------------------------------------------------------


def test_without_a_transform_it_goes_as_it_comes() -> None:
    body = body_of(Room(ROOM))

    assert body.feed(b"abc") == b"abc"
    assert body.finish() == b""
    assert body.feed_whole(b"abc") == b"abc"


def test_what_a_transform_holds_counts() -> None:
    room = Room(ROOM)
    body = body_of(room)
    body.begin(Marked(4))

    assert body.feed(b"abcdef") == b"AB"
    # Twice, and what it gave until the upstream has taken that.
    assert (room.taken, body.held) == (12, 12)
    body.passed()
    assert (room.taken, body.held) == (8, 8)
    assert body.finish() == b"CDEF"
    assert room.taken == 0


def test_a_chunk_is_held_until_it_has_passed() -> None:
    room = Room(ROOM)
    body = body_of(room)
    body.begin(Marked(0))

    assert body.feed(b"abcdef") == b"ABCDEF"
    assert room.taken == 12
    body.passed()
    assert room.taken == 0
    body.passed()
    assert room.taken == 0


def test_a_full_room_stops_a_transform() -> None:
    room = Room(3)
    body = body_of(room)
    body.begin(Marked(4))

    assert reason_of(body.feed(b"a")) is Reason.OVERLOADED
    body.release()
    assert room.taken == 0


@pytest.mark.parametrize("data", [b"a!", b"what?"])
def test_a_fault_is_told_and_nothing_stays(data: bytes) -> None:
    room = Room(ROOM)
    body = body_of(room)
    body.begin(Marked(4))

    assert reason_of(body.feed_whole(data)) is Reason.MALFORMED_BODY
    body.release()

    assert room.taken == 0


class Unequal:
    """Says more, or less, than it was fed with."""

    held = 0

    def __init__(self, out: bytes, last: bytes) -> None:
        self._out, self._last = out, last

    def feed(self, _data: bytes) -> bytes:
        return self._out

    def finish(self) -> bytes:
        return self._last


@pytest.mark.parametrize(("out", "last"), [(b"longer", b""), (b"abc", b"d"), (b"ab", b""), (b"", b"ab")])
def test_a_body_never_changes_its_length(out: bytes, last: bytes) -> None:
    body = body_of(Room(ROOM))
    body.begin(Unequal(out, last))

    assert reason_of(body.feed_whole(b"abc")) is Reason.INTERNAL_ERROR


def test_a_second_try_begins_anew() -> None:
    room = Room(ROOM)
    body = body_of(room)
    body.begin(Marked(4))
    body.feed(b"abcdef")

    body.begin(Marked(2))

    assert room.taken == 0
    assert body.feed_whole(b"abcdef") == b"ABCDEF"


# --- whatever happens ------------------------------------------------------------------------------------

STEPS = st.lists(
    st.one_of(
        st.integers(0, 60).map(lambda limit: ("wanted", limit)),
        st.binary(max_size=40).map(lambda piece: ("collect", piece)),
        st.binary(max_size=40).map(lambda piece: ("feed", piece)),
        st.integers(0, 40).map(lambda size: ("begin", size)),
        st.sampled_from(["collected", "forget", "finish", "release"]).map(lambda name: (name, None)),
    ),
    max_size=20,
)


@given(st.lists(STEPS, min_size=1, max_size=3), st.sampled_from([None, 0, 10, 70]))
def test_nothing_of_the_room_is_lost_and_nothing_is_given_back_twice(
    scripts: list[list[tuple[str, object]]], declared: int | None
) -> None:
    room = Room(60)
    bodies = [body_of(room, *(() if declared is None else (length(declared),))) for _ in scripts]

    for body, script in zip(bodies, scripts, strict=True):
        for name, argument in script:
            match name:
                case "begin":
                    body.begin(Marked(int(str(argument))))
                case _ if argument is None:
                    getattr(body, name)()
                case _:
                    getattr(body, name)(argument)
            assert room.taken == sum(one.held for one in bodies) <= 60
            assert len(body.whole or b"") <= body.held
    for body in bodies:
        body.release()

    assert room.taken == 0
