"""The lease book in a world of its own time: sources answer late, fail and lie, clocks jump, policies change.

True time is the model's alone. `mono` goes with it and stands while the node sleeps, `wall` is true time and
an error that jumps, and a source's clock is true time and an error of its own, shown by `Date` in whole
seconds. What is asked of the book is written at each assertion.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import floor, inf
from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from proxy.core.credentials import CredentialSource
from proxy.core.lease import Lease, LeaseKey
from proxy.core.mounted_sources import MountedSecret
from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.leasing.book import TOO_OLD, BackingOff, Fetching, Have, LeaseBook, MustFetch, RefreshSoon, Ticket
from proxy.leasing.lifetimes import DATE_RESOLUTION, Span, measured_skew
from proxy.leasing.pace import ASKS_PER_LIFETIME, CEILING, FIRST_GRACE, LEAST_GAP, LIVE_GAP, MARGIN
from proxy.sources.steps import Acquired, Failed

KIND: Final = MountedSecret("s", ((Part.TOKEN, "t"),))
KEYS: Final = tuple(LeaseKey(CredentialSource("ml", name, KIND)) for name in ("one", "two"))
START: Final = 1_800_000_000.0
# What floats and the microseconds of `datetime` lose.
BLUR: Final = 1e-3


@dataclass(frozen=True)
class Answer:
    """What a source will say to the next that asks. The shares are of the delay: when it looked at its clock,
    and when that came to us."""

    delay: float = 0.0
    issued: float = 0.0
    came: float = 1.0
    life: float = 3600.0
    absolute: bool = False
    dated: bool = True
    # Gives what it gave before, as long as that lives.
    cached: bool = False
    failing: bool = False
    retry_after: float | None = None


lives = st.one_of(
    st.floats(-30, 90), st.floats(0, 12), st.sampled_from((3600.0, 600.0, 86_400.0, 2.0, 3.0, 3.001, 1e9))
)
delays = st.one_of(st.just(0.0), st.floats(0, 1), st.floats(0, 20))
shares = st.floats(0, 1)
successes = st.builds(
    Answer, delays, shares, shares, lives, st.booleans(), st.sampled_from((True, True, False)), st.booleans()
)
failures = st.builds(
    Answer,
    delay=delays,
    failing=st.just(True),  # noqa: FBT003 - a strategy
    retry_after=st.one_of(st.none(), st.floats(0, 5), st.floats(0, 3600)),
)


@dataclass
class Token:
    """What a source gave, and what is true of it."""

    name: str
    ends: float
    # Whether the book can know its end: from a span, or from a point and a `Date` of the same answer.
    knowable: bool = True
    longest: float = 0.0
    # Asks that began while it was there.
    asks: int = 0
    # Requests must get it until then, unless a clock was set or the node slept.
    good_until: float = -inf
    jumped: bool = False
    slept: bool = False


@dataclass
class Flight:
    ticket: Ticket
    generation: int
    answer: Answer
    began: float
    began_mono: float
    began_wall: float
    jumped: bool = False
    slept: bool = False
    # What was measured from its `Date`, once that has come.
    skew: float | None = None
    read: bool = False

    @property
    def looked(self) -> float:
        """When the source looked at its clock."""
        return self.began + self.answer.delay * self.answer.issued

    @property
    def lands(self) -> float:
        return self.began + self.answer.delay

    @property
    def dated(self) -> float:
        return self.looked + (self.lands - self.looked) * self.answer.came


@dataclass
class State:
    """What the model knows of a key."""

    generation: int = 0
    token: Token | None = None
    latest: Token | None = None
    flying: bool = False
    # By the forward clock: no sooner, and no later, may a source that failed be asked again.
    not_before: float = -inf
    no_later: float = -inf
    landed: float = -inf
    # When a lease was last taken for spent, or came.
    young: float = -inf
    cached: Token | None = None
    why: str = ""


class World:
    def __init__(self, source_error: float = 0.0) -> None:
        self.source_error = source_error
        self.now = START
        self.asleep = 0.0
        self.wall_error = 0.0
        self.dice = 0.5
        self.asks = 0
        self.book = LeaseBook()
        self.states = {key: State() for key in KEYS}
        self.answers = dict.fromkeys(KEYS, Answer())
        self.flights: list[Flight] = []
        self.tokens: dict[str, Token] = {}

    @property
    def mono(self) -> float:
        return self.now - START - self.asleep

    @property
    def wall(self) -> float:
        return self.now + self.wall_error

    # --- requests ---

    def request(self, key: LeaseKey) -> Lease | None:
        state = self.states[key]
        look = self.book.look(key, self.mono, self.wall)
        lease = look.lease if isinstance(look, Have | RefreshSoon) else None
        if lease is not None:
            state.token = self.tokens[lease.id]
            assert state.token is state.latest
            # 1: nothing that has truly ended.
            assert self.now < state.token.ends or not state.token.knowable
        elif state.token is not None:
            # 4: kept until it ends, but for what the book cannot know.
            assert self.now >= state.token.good_until
            state.token = None
        if isinstance(look, Fetching):
            assert state.flying
        if isinstance(look, BackingOff):
            assert not state.flying
            assert look.why == state.why
            assert 0 < look.seconds <= state.no_later - self.mono + BLUR
        if lease is None and not state.flying and self.mono >= state.no_later:
            # 5: a source that failed is asked again after one step.
            assert look == MustFetch()
        if isinstance(look, RefreshSoon | MustFetch):
            self.ask(key)
        return lease

    def tick(self) -> None:
        for key in self.book.due(self.mono):
            assert not self.states[key].flying
            assert self.book.held(key, self.mono) is not None
            self.ask(key)

    def ask(self, key: LeaseKey) -> None:
        state, token = self.states[key], self.states[key].token
        ticket = self.book.begin(key)
        assert ticket is not None  # 2: a look or `due` never asks for a second flight
        assert not state.flying
        assert self.book.begin(key) is None  # 2: nor does the book give one
        # 5: neither at once nor against the source's wish.
        assert self.mono >= state.not_before - BLUR
        if token is not None:
            # 3: while there is a lease, at most so many, and none on the heels of another.
            token.asks += 1
            assert token.asks <= ASKS_PER_LIFETIME - 1
            assert self.mono >= state.landed + max(LEAST_GAP, token.longest * LIVE_GAP) - BLUR
        self.asks += 1
        state.flying = True
        answer = self.answers[key]
        self.flights.append(Flight(ticket, state.generation, answer, self.now, self.mono, self.wall))
        self.pump()

    # --- time ---

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            times = [time for flight in self.flights for time in (flight.dated, flight.lands)]
            self.now = min([time for time in times if self.now < time < end], default=end)
            self.pump()
            if self.now >= end:
                return

    def sleep(self, seconds: float) -> None:
        """The node is suspended: the forward clock stands (CLOCK_MONOTONIC), the wall's goes on."""
        self.now += seconds
        self.asleep += seconds
        for one in self.at_large():
            one.slept = True
            self.doubt(one)
        self.pump()

    def jump(self, seconds: float) -> None:
        self.wall_error += seconds
        for one in self.at_large():
            one.jumped = True
            self.doubt(one)

    def at_large(self) -> list[Flight | Token]:
        return [*self.flights, *self.tokens.values()]

    @staticmethod
    def doubt(one: Flight | Token) -> None:
        if isinstance(one, Token):
            one.good_until = -inf
            one.knowable = one.knowable and not (one.slept and one.jumped)

    def pump(self) -> None:
        """What has come by now."""
        for flight in [*self.flights]:
            # As the keeper should: by one reading of the wall's clock for a whole run.
            wall = flight.began_wall + self.mono - flight.began_mono
            if flight.dated <= self.now and flight.answer.dated and not flight.read:
                date = datetime.fromtimestamp(floor(flight.looked + self.source_error), UTC)
                flight.skew, flight.read = measured_skew(date, wall), True
            if flight.lands <= self.now:
                self.flights.remove(flight)
                self.land(flight, Span(flight.began_mono, self.mono, wall, flight.skew))

    # --- what comes of a flight ---

    def land(self, flight: Flight, span: Span) -> None:
        key, answer = flight.ticket.key, flight.answer
        state = self.states[key]
        wanted = flight.generation == state.generation
        before = self.book.held(key, self.mono)
        if answer.failing:
            self.book.fail(flight.ticket, Failed("no", answer.retry_after), self.mono, self.dice)
        outcome = None if answer.failing else self.give(flight, span)
        if not wanted:
            # 6: what nobody wants any more changes nothing.
            assert outcome is None
            assert self.book.held(key, self.mono) == before
            return
        state.flying = False
        state.landed = self.mono
        wished = answer.retry_after or 0.0 if answer.failing else 0.0
        if isinstance(outcome, Lease):
            state.not_before = state.no_later = -inf
        else:
            state.why = "no" if answer.failing else TOO_OLD
            state.not_before = self.mono + max(LEAST_GAP, wished)
            state.no_later = self.mono + max(CEILING, wished)

    def give(self, flight: Flight, span: Span) -> Lease | Failed | None:
        key, answer = flight.ticket.key, flight.answer
        state = self.states[key]
        token = state.cached
        if not answer.cached or token is None or token.ends <= flight.looked:
            token = Token(f"l-{len(self.tokens)}", flight.looked + answer.life)
            self.tokens[token.name] = token
        expires: datetime | timedelta = timedelta(seconds=token.ends - flight.looked)
        if answer.absolute:
            expires = datetime.fromtimestamp(token.ends + self.source_error, UTC)
        parts = {Part.TOKEN: Secret(token.name.encode())}
        made = self.book.succeed(
            flight.ticket, token.name, Acquired(parts, expires), span, self.dice, local=False
        )
        known = not (answer.absolute and flight.skew is None) and not (flight.slept and flight.jumped)
        calm = known and not flight.slept and not flight.jumped
        error = MARGIN + (self.now - flight.began) + (DATE_RESOLUTION if answer.absolute else 0.0) + BLUR
        if isinstance(made, Failed):
            assert not calm or self.now > token.ends - error - LEAST_GAP
        elif made is not None:
            assert made.id == token.name
            assert made.expires is not None
            token.longest = max(token.longest, made.expires.timestamp() - span.wall)
            token.knowable, token.slept, token.jumped = known, flight.slept, flight.jumped
            token.good_until = token.ends - error if calm else -inf
            if token is not state.latest:
                state.young = self.mono
            state.token = state.latest = state.cached = token
        return made

    # --- the rest of the world ---

    def spent(self, key: LeaseKey) -> bool:
        """An upstream refuses what it was sent last."""
        state = self.states[key]
        held = self.book.held(key, self.mono)
        if held is None:
            assert not self.book.spent(key, "l-0", self.mono)
            return False
        before = self.book.look(key, self.mono, self.wall)
        assert not self.book.spent(key, "another", self.mono)
        assert self.book.look(key, self.mono, self.wall) == before
        taken = self.book.spent(key, held.lease.id, self.mono)
        if taken:
            # 8: not a young one.
            assert self.mono - state.young >= FIRST_GRACE
            state.young = self.mono
            state.token = None
            assert self.book.held(key, self.mono) is None
        return taken

    def drop(self, key: LeaseKey, *, by_policy: bool) -> None:
        held = self.book.held(key, self.mono)
        others = [other for other in KEYS if other != key]
        given = self.book.retain(others, self.mono) if by_policy else self.book.drop(key, self.mono)
        assert given == ([held] if held is not None else [])
        self.states[key] = State(generation=self.states[key].generation + 1)
        look = self.book.look(key, self.mono, self.wall)
        assert look == MustFetch()


keys = st.sampled_from(KEYS)


class AnyWorld(RuleBasedStateMachine):
    """1 to 8 of the book's promises, whatever happens and in whatever order.

    The book cannot know when a lease truly ends, and these tests do not ask it to, in two cases: the source
    gave a point in time and no usable `Date` with it, and this node's clock is wrong; or the node slept and
    its clock was set, both within one lease's life.
    """

    @initialize(source_error=st.floats(-4000, 4000))
    def begin(self, source_error: float) -> None:
        self.world = World(source_error)

    @rule(key=keys, answer=successes | failures)
    def will_answer(self, key: LeaseKey, answer: Answer) -> None:
        self.world.answers[key] = answer

    @rule(key=keys)
    def request(self, key: LeaseKey) -> None:
        self.world.request(key)

    @rule()
    def tick(self) -> None:
        self.world.tick()

    @rule(dice=st.floats(0, 1, exclude_max=True))
    def dice(self, dice: float) -> None:
        self.world.dice = dice

    @rule(seconds=st.one_of(st.floats(0, 2), st.floats(0, 60), st.floats(0, 4000)))
    def advance(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule(key=keys, every=st.sampled_from((0.1, 0.5, 1.0, 7.0, 60.0)), times=st.integers(1, 60))
    def traffic(self, key: LeaseKey, every: float, times: int) -> None:
        for _ in range(times):
            self.world.request(key)
            self.world.tick()
            self.world.advance(every)

    @rule(key=keys, every=st.sampled_from((0.5, 5.0, 40.0)), times=st.integers(1, 30))
    def refused_upstream(self, key: LeaseKey, every: float, times: int) -> None:
        for _ in range(times):
            self.world.request(key)
            self.world.spent(key)
            self.world.advance(every)

    @rule(seconds=st.one_of(st.floats(-10, 10), st.floats(-8000, 8000), st.sampled_from((-1e8, 1e8))))
    def clock_is_set(self, seconds: float) -> None:
        self.world.jump(seconds)

    @rule(seconds=st.floats(0, 4000))
    def node_sleeps(self, seconds: float) -> None:
        self.world.sleep(seconds)

    @rule(key=keys, by_policy=st.booleans())
    def dropped(self, key: LeaseKey, by_policy: bool) -> None:  # noqa: FBT001 - hypothesis fills it
        self.world.drop(key, by_policy=by_policy)


TestAnyWorld = AnyWorld.TestCase
