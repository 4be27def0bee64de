import pytest

from proxy.core.audit import Ending
from proxy.core.reasons import Reason
from proxy.lanes.exchange import Exchange
from proxy.lanes.faults import UNVERIFIED
from proxy.lanes.mitm.conversation import Conversation
from tests.lane_world import World, arrival_of, get


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def conversation(world: World) -> Conversation:
    return Conversation(world.lane_world, arrival_of())


def test_it_is_busy_while_one_of_its_requests_is_on_its_way(conversation: Conversation) -> None:
    seen = [conversation.busy]
    for exchange in [conversation.exchange(get()), conversation.exchange(get())]:
        seen.append(conversation.busy)
        exchange.finish(Ending.COMPLETED)

    assert [*seen, conversation.busy] == [False, True, True, False]


def test_finished_requests_are_let_go(conversation: Conversation) -> None:
    for _ in range(100):
        conversation.exchange(get()).finish(Ending.COMPLETED)

    assert len(conversation._open) == 1


def test_what_was_on_its_way_at_the_end_was_cut(world: World, conversation: Conversation) -> None:
    conversation.exchange(get())
    conversation.exchange(get()).finish(Ending.CLIENT_GONE)

    conversation.end()
    conversation.end()

    assert sorted(record.ending.value for record in world.recorder.records) == ["client_gone", "cut"]


def test_an_upgraded_connection_ends_as_it_should(world: World, conversation: Conversation) -> None:
    conversation.exchange(get()).status = 101

    conversation.end()

    assert world.recorder.record.ending is Ending.REFUSED  # it was never granted here
    exchange = conversation.exchange(get())
    exchange.status = 101
    conversation.end()
    assert world.recorder.records[-1].ending is not Ending.CUT


def test_a_request_is_overdue_when_it_has_taken_so_long_in_all(
    world: World, conversation: Conversation
) -> None:
    first = conversation.exchange(get())
    world.clock.seconds += 3
    second, switched, done = (conversation.exchange(get()) for _ in range(3))
    switched.status = 101
    done.finish(Ending.COMPLETED)
    assert conversation.overdue(3) == [first]
    assert conversation.overdue(4) == []

    world.clock.seconds += 3

    assert {*conversation.overdue(3)} == {first, second}


@pytest.mark.parametrize(
    ("seen", "connecting", "reason"),
    [
        ({}, True, Reason.UPSTREAM_UNREACHABLE),
        ({}, False, Reason.UPSTREAM_FAILED),
        ({"timed_out": True}, True, Reason.UPSTREAM_UNREACHABLE),
        ({"tls_fault": UNVERIFIED}, True, Reason.UPSTREAM_UNVERIFIED),
        ({"tls_fault": UNVERIFIED, "timed_out": True}, True, Reason.UPSTREAM_UNVERIFIED),
        ({"stalled": True, "tls_fault": UNVERIFIED}, False, Reason.UPSTREAM_STALLED),
    ],
)
def test_the_most_telling_fault_is_named(
    conversation: Conversation,
    seen: dict[str, object],
    connecting: bool,  # noqa: FBT001
    reason: Reason,
) -> None:
    for name, value in seen.items():
        setattr(conversation, name, value)

    found, why = conversation.upstream_fault(connecting)

    assert found is reason
    assert why.startswith("api.example.com")


def test_streams_that_wait_for_one_connection_are_told_the_same(conversation: Conversation) -> None:
    conversation.tls_fault = UNVERIFIED

    told = {conversation.upstream_fault(connecting=True) for _ in range(3)}

    assert len(told) == 1


def test_nothing_waits_before_there_is_a_request(conversation: Conversation) -> None:
    assert conversation.waiting_bytes == conversation.held_bytes == 0


def test_who_holds_the_connection_is_told_which_request_is_cut(conversation: Conversation) -> None:
    cut: list[Exchange] = []
    conversation.cut_off = cut.append
    exchange = conversation.exchange(get())

    exchange.cut()

    assert cut == [exchange]
