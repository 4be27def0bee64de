from proxy.lanes.in_flight import InFlight
from proxy.transaction.rejudging import Rejudge
from tests.lane_world import GOVERNING


class Request:
    def __init__(self, *, granted: bool) -> None:
        self.granted = granted
        self.cuts = 0
        self.condemned = False
        self.asked: list[Rejudge] = []

    def still_granted(self, rejudge: Rejudge) -> bool:
        self.asked.append(rejudge)
        return self.granted

    def condemn(self) -> None:
        self.condemned = True

    def cut(self) -> None:
        self.cuts += 1


def test_only_what_is_granted_no_more_is_cut_and_only_once() -> None:
    in_flight = InFlight()
    kept, gone = Request(granted=True), Request(granted=False)
    in_flight.add(kept)
    in_flight.add(gone)

    assert in_flight.recheck(GOVERNING) == 1
    assert in_flight.recheck(GOVERNING) == 0

    assert (kept.cuts, gone.cuts, len(in_flight)) == (0, 1, 1)


def test_all_are_asked_of_one_state() -> None:
    in_flight = InFlight()
    requests = [Request(granted=True) for _ in range(3)]
    for request in requests:
        in_flight.add(request)

    in_flight.recheck(GOVERNING)

    assert len({rejudge for request in requests for rejudge in request.asked}) == 1


def test_what_has_ended_is_not_asked_any_more() -> None:
    in_flight = InFlight()
    request = Request(granted=False)
    in_flight.add(request)
    in_flight.add(request)
    in_flight.discard(request)
    in_flight.discard(request)

    assert (in_flight.recheck(GOVERNING), len(in_flight), request.asked) == (0, 0, [])


def test_a_request_that_leaves_while_others_are_cut_disturbs_nothing() -> None:
    in_flight = InFlight()
    other = Request(granted=False)

    class Neighbour(Request):
        def cut(self) -> None:
            super().cut()
            in_flight.discard(other)

    first = Neighbour(granted=False)
    in_flight.add(first)
    in_flight.add(other)

    assert in_flight.recheck(GOVERNING) == 2
    assert (first.cuts, other.cuts) == (1, 1)


def test_all_are_condemned_before_one_is_cut() -> None:
    """Where one ends, another that waited for its place must not begin."""
    in_flight = InFlight()
    first, second = Request(granted=False), Request(granted=False)
    seen: list[tuple[bool, bool]] = []
    first.cut = lambda: seen.append((first.condemned, second.condemned))  # type: ignore[method-assign]
    for request in (first, second):
        in_flight.add(request)

    in_flight.recheck(GOVERNING)

    assert seen == [(True, True)]
