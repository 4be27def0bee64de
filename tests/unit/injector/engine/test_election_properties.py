"""Replicas, each with a clock of its own, an API server that is slow, loses answers and goes away, processes
that stand still: at no time do two of them believe that they lead."""

from datetime import UTC, datetime
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from injector.core.api import ClusterFault
from injector.engine.election import LEASE_SECONDS, Create, Election, Look, Patch, Rest
from injector.reading.objects import Lease


class Server:
    def __init__(self) -> None:
        self.version = 0
        self.spec: dict[str, Any] | None = None

    def lease(self) -> Lease:
        assert self.spec is not None
        spec = self.spec
        return Lease(
            str(self.version),
            spec["holderIdentity"],
            spec["leaseDurationSeconds"],
            spec["leaseTransitions"],
            spec["acquireTime"],
            spec["renewTime"],
        )

    def do(self, step: Look | Create | Patch) -> Lease | None:
        match step:
            case Look():
                return None if self.spec is None else self.lease()
            case Create(made):
                if self.spec is not None:
                    raise ClusterFault(409, "AlreadyExists", "")
                self.spec = dict(made["spec"])
            case Patch(patch):
                if patch["metadata"]["resourceVersion"] != str(self.version):
                    raise ClusterFault(409, "Conflict", "")
                self.spec = {**(self.spec or {}), **patch["spec"]}
        self.version += 1
        return self.lease()


class Replica:
    """`offset` is what its clock is away from the others'; of the wall clock it has any idea."""

    def __init__(self, name: str, offset: float) -> None:
        self.election = Election("n", "l", name)
        self.offset = offset
        self.wall = datetime.fromtimestamp(offset * 1000, UTC)
        # What was asked, and when it is done at the server and its answer is seen.
        self.flight: tuple[Look | Create | Patch, float, float, bool] | None = None
        self.answer: Lease | ClusterFault | None = None
        self.done = False
        self.still_until = 0.0

    def leads(self, now: float) -> bool:
        return self.election.leads(now + self.offset)


def script_of(dice: Random) -> list[Any]:
    """Who, what, how long calls take now, for how long it goes on so. An answer that is late is late for the
    one whose turn it is; and what stands still does so as it was."""
    whats = ["turn"] * 6 + ["stand still"] * 3 + ["resign", "outage"]
    return [
        (
            dice.randrange(3),
            dice.choice(whats),
            (
                dice.choice([0.0, 0.2, 1.0, 6.0]),
                dice.choice([0.0, 0.2, 3.0, 9.0, 12.0]),
                dice.random() < 0.15,
            ),
            dice.choice([0.5, 1.0, 2.5, 4.0, 8.0, 14.0]),
        )
        for _ in range(80)
    ]


@given(st.integers(0, 1 << 32))
@settings(max_examples=60)
def test_no_two_lead_at_one_time(seed: int) -> None:  # noqa: PLR0915 - a world
    dice = Random(seed)
    script, offsets = script_of(dice), [dice.random() * 1e6 for _ in range(3)]
    server, now, down_until = Server(), 0.0, 0.0
    replicas = [Replica(f"r{number}", offset) for number, offset in enumerate(offsets)]

    def play(replica: Replica, delay: tuple[float, float, bool]) -> None:
        """One thing that it can do now, if it does not stand still or wait."""
        if now < replica.still_until:
            return
        here = now + replica.offset
        if replica.flight is None:
            step = replica.election.next(here, replica.wall)
            if isinstance(step, Rest):
                return
            replica.flight = (step, now + delay[0], now + delay[0] + delay[1], delay[2])
            replica.done, replica.answer = False, None
            return
        step, _, seen_at, is_lost = replica.flight
        if not replica.done or now < seen_at:
            return
        replica.flight = None
        if is_lost:
            replica.election.failed(ClusterFault(None, "TimedOut", ""), here, 0.5)
        elif isinstance(replica.answer, ClusterFault):
            replica.election.failed(replica.answer, here, 0.5)
        elif isinstance(step, Look):
            replica.election.looked(replica.answer, here, 0.5)
        elif replica.answer is not None:
            replica.election.wrote(replica.answer, here, 0.5)

    def serve() -> None:
        for replica in sorted(replicas, key=lambda one: one.flight[1] if one.flight else 0):
            if replica.flight is None or replica.done or now < replica.flight[1]:
                continue
            replica.done = True
            if now < down_until:
                replica.answer = ClusterFault(503, "ServiceUnavailable", "")
                continue
            try:
                replica.answer = server.do(replica.flight[0])
            except ClusterFault as fault:
                replica.answer = fault

    for who, what, delay, passes in script:
        replica = replicas[who]
        match what:
            case "stand still":
                replica.still_until = now + 20
            case "outage":
                down_until = now + 12
            case "resign":
                patch = replica.election.resign(replica.wall)
                if patch is not None and replica.flight is None:
                    try:
                        server.do(patch)
                    except ClusterFault as fault:
                        replica.election.failed(fault, now + replica.offset, 0.5)
                    else:
                        # What begins again in its place is another.
                        replicas[who] = Replica(f"{replica.election._identity}+", replica.offset)
        end = now + passes
        while now < end:
            now += 0.25
            serve()
            for one in replicas:
                play(one, delay if one is replicas[who] else (0.0, 0.0, False))
            assert sum(one.leads(now) for one in replicas) <= 1
    # And somebody leads soon after all is well.
    for one in replicas:
        one.still_until = 0.0
    end = max(now, down_until) + 3 * LEASE_SECONDS
    while now < end:
        now += 0.25
        serve()
        for one in replicas:
            play(one, (0.0, 0.0, False))
        assert sum(one.leads(now) for one in replicas) <= 1
    assert sum(one.leads(now) for one in replicas) == 1
