from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from injector.edge.room import Part, Room


def parts(number: int) -> tuple[list[int], list[Part]]:
    """And who of them gave up."""
    gone: list[int] = []

    def leaving(which: int) -> Callable[[], None]:
        return lambda: gone.append(which)

    return gone, [Part(leaving(which)) for which in range(number)]


def test_where_room_is_short_the_body_goes_of_which_nothing_came_for_the_longest_time() -> None:
    gone, (one, two, three) = parts(3)
    room = Room(10)
    for part in (one, two):
        room.hold(part, 4)
    room.hold(one, 5)
    room.hold(three, 2)

    assert gone == [1]
    assert (two.crowded_out, one.crowded_out, three.crowded_out) == (True, False, False)


def test_as_many_go_as_it_takes() -> None:
    gone, (*small, large) = parts(4)
    room = Room(10)
    for part in small:
        room.hold(part, 3)
    room.hold(large, 8)

    assert gone == [0, 1, 2]


def test_what_is_whole_stays_and_who_comes_then_goes_itself() -> None:
    gone, (whole, late, later) = parts(3)
    room = Room(10)
    room.hold(whole, 9)
    room.whole(whole)
    room.hold(late, 2)
    assert gone == [1]

    room.leave(whole)
    room.hold(later, 10)
    assert gone == [1]


def test_who_has_gone_holds_nothing_any_more() -> None:
    gone, (one, two) = parts(2)
    room = Room(10)
    room.hold(one, 11)
    room.hold(one, 12)
    room.leave(one)
    room.hold(two, 10)

    assert (gone, one.held) == ([0], 0)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["hold", "whole", "leave"]), st.integers(0, 12)))
)
def test_there_is_never_more_than_there_should_be(acts: list[tuple[int, str, int]]) -> None:
    _, all_parts = parts(5)
    room = Room(20)
    for which, act, size in acts:
        part = all_parts[which]
        if act == "hold":
            room.hold(part, size)
        elif act == "whole":
            room.whole(part)
        else:
            room.leave(part)
        assert sum(one.held for one in all_parts) + room._free == 20
        assert room._free >= 0
