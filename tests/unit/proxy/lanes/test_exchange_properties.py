"""Whatever a lane does with an exchange, in whatever order: one record, and the first ending is its own."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.audit import Ending
from proxy.core.reasons import Reason
from proxy.lanes.exchange import Exchange
from proxy.transaction.head import Head, HeadProblem
from proxy.transaction.opening import Forward, Refused
from tests.lane_world import LIVE, World, arrival_of, get, no_lease

HEADS = st.sampled_from((get(), get("/other"), HeadProblem(Reason.MALFORMED_REQUEST, "no Host")))
ENDINGS = st.sampled_from(list(Ending))
STEPS = st.lists(
    st.one_of(
        st.just("open"),
        st.just("unreadable"),
        st.just("fail"),
        st.just("answer"),
        st.just("respond"),
        st.binary(max_size=20).map(lambda data: ("receive", data)),
        ENDINGS,
    ),
    max_size=12,
)


def perform(exchange: Exchange, step: object) -> None:
    match step:
        case "open":
            asyncio.run(exchange.open())
        case "unreadable":
            exchange.open_unreadable()
        case "fail":
            exchange.fail(Reason.UPSTREAM_FAILED, "it broke off")
        case "answer" if isinstance(exchange.opening, Refused):
            exchange.answer(exchange.opening)
        case "respond" if isinstance(exchange.opening, Forward):
            exchange.response(200, [("Content-Type", "text/plain")])
        case ("receive", bytes(data)):
            exchange.receive(data)
        case Ending():
            exchange.finish(step)


@given(HEADS, STEPS, ENDINGS, st.booleans())
def test_it_is_recorded_exactly_once_with_its_first_ending(
    head: Head | HeadProblem,
    steps: list[object],
    last: Ending,
    lease: bool,  # noqa: FBT001
) -> None:
    world = World()
    if not lease:
        world.leases.reply = no_lease
    exchange = Exchange(world.lane_world, arrival_of(), head)
    expected: Ending | None = None

    for step in (*steps, last):
        if isinstance(step, Ending) and expected is None:
            refused = isinstance(exchange.opening, Refused) and step is Ending.COMPLETED
            expected = Ending.REFUSED if refused else step
        perform(exchange, step)

    assert world.recorder.record.ending is expected
    assert exchange.finished
    assert LIVE not in str(world.recorder.record)
