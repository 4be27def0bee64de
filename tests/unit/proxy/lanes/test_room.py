from hypothesis import given
from hypothesis import strategies as st

from proxy.lanes.room import DEFAULT_ROOM, Room, Share


def test_what_is_not_there_is_not_taken() -> None:
    room = Room(10)

    assert room.take(7)
    assert not room.take(4)
    assert room.taken == 7
    room.give(7)
    assert room.take(10)


def test_it_has_a_size_of_its_own() -> None:
    assert Room().take(DEFAULT_ROOM)
    assert not Room().take(DEFAULT_ROOM + 1)


def test_a_share_that_cannot_grow_stays_what_it_is() -> None:
    room = Room(10)
    share, other = Share(room), Share(room)
    assert share.resize(6)
    assert other.resize(4)

    assert not share.resize(7)
    assert (share.size, room.taken) == (6, 10)
    assert share.resize(2)
    assert room.taken == 6


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40)), max_size=30))
def test_all_shares_together_are_what_was_taken_and_nothing_is_given_back_twice(
    steps: list[tuple[int, int]],
) -> None:
    room = Room(50)
    shares = [Share(room) for _ in range(3)]

    for number, size in steps:
        shares[number].resize(size)
        assert room.taken == sum(share.size for share in shares) <= 50
    for share in (*shares, *shares):
        share.release()

    assert room.taken == 0
