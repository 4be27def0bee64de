import asyncio
import json
from datetime import datetime, timedelta
from pathlib import Path
from secrets import token_hex
from urllib.parse import quote_plus

import pytest

from proxy.core.aws_sources import AwsStatic
from proxy.core.credentials import CredentialRef, Derived, ExpressSession, RegistryToken, SourceKind
from proxy.core.lease import Lease, LeaseEvent, NoLease, derived_key
from proxy.core.mounted_sources import MountedSecret
from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.edge import lease_ends
from proxy.edge import lease_keeper as module
from proxy.edge.lease_ends import FAREWELL_SECONDS, RETIRE_SECONDS
from proxy.leasing.derivations import MAX_DERIVED
from proxy.leasing.pace import FIRST_GRACE, MARGIN
from proxy.sources.steps import (
    Acquired,
    Failed,
    HttpCall,
    HttpReply,
    Occasion,
    RevokeSteps,
    SourceSteps,
    StepFailed,
)
from proxy.sources.table import steps_of
from tests.canary import Canary
from tests.lease_world import MOUNTED, OAUTH, REF, LeaseWorld, key_of, token_reply, until, value
from tests.source_world import Request, json_reply
from tests.stand_ins.aws_ecr import Ecr
from tests.stand_ins.aws_express import Express
from tests.stand_ins.aws_signatures import Keys

OWN = key_of(OAUTH)
FILE = key_of(MOUNTED)
REVOCABLE = key_of(
    type(OAUTH)(
        OAUTH.token_url, OAUTH.client_id, OAUTH.auth, revocation_url="https://login.example.com/revoke"
    )
)


@pytest.fixture
def world(tmp_path: Path, canary: Canary) -> LeaseWorld:
    made = LeaseWorld(tmp_path)
    made.write_secret("client", secret=canary.secret("client secret"))
    return made


class Tokens:
    """A token endpoint: a new token each time; revocations are remembered."""

    def __init__(self, canary: Canary, seconds: int = 3600) -> None:
        self.canary = canary
        self.seconds = seconds
        self.issued: list[str] = []
        self.revoked: list[str] = []
        self.down: HttpReply | StepFailed | None = None

    def __call__(self, request: Request) -> HttpReply | StepFailed:
        if self.down is not None:
            return self.down
        if request.path == "/revoke":
            self.revoked.append(request.form["token"])
            return json_reply(200, b"{}")
        self.issued.append(self.canary.secret(f"token {len(self.issued)}"))
        return token_reply(self.issued[-1], self.seconds)


@pytest.fixture
def tokens(world: LeaseWorld, canary: Canary) -> Tokens:
    made = Tokens(canary)
    world.door.answer = made
    return made


# --- mounted secrets ---------------------------------------------------------------------------------


def test_a_lease_holds_what_the_secret_holds(world: LeaseWorld, canary: Canary) -> None:
    token = canary.secret("mounted token")
    world.write_secret("key", k=token)

    lease = world.run(world.lease(FILE))

    assert value(lease) == token
    assert (lease.credential, lease.expires) == (REF, None)
    assert token not in repr(lease)
    assert world.events == [LeaseEvent.ACQUIRED]


def test_a_file_is_read_again_after_a_second(world: LeaseWorld, canary: Canary) -> None:
    first_token, second_token = canary.secret("first"), canary.secret("second")
    world.write_secret("key", k=first_token)
    first = world.run(world.lease(FILE))
    world.write_secret("key", k=second_token)

    world.later(0.5)
    assert world.run(world.lease(FILE)) is first
    world.later(0.5)
    second = world.run(world.lease(FILE))

    assert value(second) == second_token
    assert second.id != first.id


def test_the_same_content_is_the_same_lease(world: LeaseWorld, canary: Canary) -> None:
    world.write_secret("key", k=canary.secret("token"))
    first = world.run(world.lease(FILE))
    world.later(60)
    again = world.run(world.lease(FILE))

    assert (again.id, again.issued) == (first.id, first.issued)


def test_a_secret_that_is_gone_is_not_used_for_a_second_more(world: LeaseWorld, canary: Canary) -> None:
    world.write_secret("key", k=canary.secret("token"))
    world.run(world.lease(FILE))
    (world.secrets / "key" / "k").unlink()
    world.later(1)

    assert "is not mounted, or lacks `k`" in world.run(world.refused(FILE))
    world.write_secret("key", k=canary.secret("new token"))
    world.later(1)

    assert world.run(world.lease(FILE))
    assert world.log.events == [
        "a credential source gives none",
        "a credential source gives credentials again",
    ]


def test_two_sources_of_one_secret_have_two_leases(world: LeaseWorld, canary: Canary) -> None:
    world.write_secret("key", k=canary.secret("token"))

    first, second = world.run(world.lease(FILE)), world.run(world.lease(key_of(MOUNTED, "b")))

    assert (first.credential.name, second.credential.name) == ("a", "b")
    assert first.id != second.id


def test_the_id_tells_nothing_of_the_value_to_another_process(
    world: LeaseWorld, tmp_path: Path, canary: Canary
) -> None:
    token = canary.secret("token")
    (tmp_path / "other").mkdir()
    other = LeaseWorld(tmp_path / "other")
    for one in (world, other):
        one.write_secret("key", k=token)

    ids = {one.run(one.lease(FILE)).id for one in (world, other)}

    assert len(ids) == 2
    assert {len(name) for name in ids} == {12}


def test_the_id_depends_on_which_part_is_which(world: LeaseWorld, canary: Canary) -> None:
    world.write_secret("pair", x=canary.secret("x"), y=canary.secret("y"))
    one = MountedSecret("pair", ((Part.USERNAME, "x"), (Part.PASSWORD, "y")))
    other = MountedSecret("pair", ((Part.USERNAME, "y"), (Part.PASSWORD, "x")))

    assert world.run(world.lease(key_of(one))).id != world.run(world.lease(key_of(other))).id


# --- fetching ----------------------------------------------------------------------------------------


def test_five_hundred_first_requests_make_one_fetch(world: LeaseWorld, tokens: Tokens) -> None:
    async def storm() -> None:
        world.door.gate = asyncio.Event()
        waiting = [asyncio.create_task(world.lease(OWN)) for _ in range(500)]
        await until(lambda: world.door.calls)
        world.door.gate.set()
        leases = await asyncio.gather(*waiting)
        assert len({id(lease) for lease in leases}) == 1

    world.run(storm())

    assert len(tokens.issued) == len(world.door.calls) == 1


def test_whoever_gives_up_waiting_does_not_end_the_fetch_for_the_others(
    world: LeaseWorld, tokens: Tokens
) -> None:
    async def one_leaves() -> None:
        world.door.gate = asyncio.Event()
        first, second = (asyncio.create_task(world.lease(OWN)) for _ in range(2))
        await until(lambda: world.door.calls)
        first.cancel()
        await asyncio.wait({first})
        world.door.gate.set()
        assert value(await second) == tokens.issued[0]

    world.run(one_leaves())
    assert len(tokens.issued) == 1


def test_a_lease_is_refreshed_while_requests_use_the_old_one(world: LeaseWorld, tokens: Tokens) -> None:
    async def life() -> None:
        first = await world.lease(OWN)
        world.later(3600 * 2 / 3)
        world.door.gate = asyncio.Event()
        assert await world.lease(OWN) is first
        assert await world.lease(OWN) is first
        await asyncio.sleep(0)
        assert len(world.door.calls) == 2
        world.door.gate.set()
        await until(lambda: len(tokens.issued) == 2)
        await asyncio.sleep(0)
        assert value(await world.lease(OWN)) == tokens.issued[1]
        await world.keeper.close()

    world.run(life())


def test_a_lease_that_was_used_is_refreshed_without_a_request_and_an_unused_one_is_not(
    world: LeaseWorld, tokens: Tokens
) -> None:
    async def life() -> None:
        await world.lease(OWN)
        await world.lease(OWN)
        world.later(3600 * 0.7)
        world.keeper.tick()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(tokens.issued) == 2
        # The second was never asked for.
        world.later(3600 * 0.7)
        world.keeper.tick()
        await asyncio.sleep(0)
        assert len(tokens.issued) == 2
        await world.keeper.close()

    world.run(life())


def test_a_source_that_fails_is_named_and_left_in_peace(world: LeaseWorld, tokens: Tokens) -> None:
    tokens.down = json_reply(401, b'{"error": "invalid_client", "error_description": "no such secret"}')

    async def ask_often() -> list[str]:
        return [await world.refused(OWN) for _ in range(50)]

    messages = world.run(ask_often())

    assert len(world.door.calls) == 1
    assert all("invalid_client: no such secret" in message for message in messages)
    assert messages[0].endswith("(asked again in 1 s)")
    assert world.events == [LeaseEvent.FAILED]
    assert world.log.events == ["a credential source gives none"]
    assert world.keeper.complaints() == [(REF, world.log.lines[0][1]["why"])]
    assert world.keeper.failing == 1


def test_a_wish_of_the_source_is_heeded(world: LeaseWorld, tokens: Tokens) -> None:
    tokens.down = json_reply(503, b"{}", retry_after="120")

    async def life() -> None:
        await world.refused(OWN)
        world.later(119)
        await world.refused(OWN)
        assert len(world.door.calls) == 1
        tokens.down = None
        world.later(1)
        await world.lease(OWN)
        await world.keeper.close()

    world.run(life())


def test_a_good_lease_stays_while_its_source_is_down_until_it_really_ends(
    world: LeaseWorld, tokens: Tokens
) -> None:
    async def hour() -> None:
        first = await world.lease(OWN)
        tokens.down = json_reply(503, b'{"error": "temporarily_unavailable"}')
        for second in range(3600 - 5):
            world.later(1)
            assert await world.lease(OWN) is first, second
            await asyncio.sleep(0)
        asked = len(world.door.calls)
        world.later(5)
        assert "temporarily_unavailable" in await world.refused(OWN)
        assert asked <= 8
        # For an hour nothing; then it is mended, and within one step of the back-off it is used again.
        for _ in range(3600):
            world.later(1)
            await world.refused(OWN)
        tokens.down = None
        waited = 0
        while isinstance(await world.keeper.lease(OWN), NoLease):
            world.later(1)
            waited += 1
        assert waited <= 30
        await world.keeper.close()

    world.dice = 0.999
    world.run(hour())


def test_the_clock_of_the_source_counts(world: LeaseWorld, tokens: Tokens) -> None:
    """Its `expires_in` needs no clock; what it is told of the time does."""
    world.door.skew = timedelta(hours=2)

    async def life() -> None:
        await world.lease(OWN)
        assert 7198 <= world.keeper._occasion(OWN).now.timestamp() - world.clock.wall() <= 7202
        await world.keeper.close()

    world.run(life())


def test_a_source_that_hangs_is_cut(
    world: LeaseWorld, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FETCH_SECONDS", 0.01)

    async def hang() -> str:
        world.door.gate = asyncio.Event()
        return await world.refused(OWN)

    assert world.run(hang()).startswith("the source gave no answer within 0.01 s")


def test_a_source_that_breaks_is_a_refusal_and_no_exception(
    world: LeaseWorld, monkeypatch: pytest.MonkeyPatch, canary: Canary
) -> None:
    secret = canary.secret("in an exception")

    def broken(*_arguments: object) -> SourceSteps:
        raise ValueError(secret)
        yield

    monkeypatch.setattr(module, "steps_of", broken)

    assert world.run(world.refused(OWN)).startswith("podkey failed on its answer")
    # The logger shows type and place of an error, never its text.
    assert world.log.lines[0][0] == "unexpected error"
    world.log.lines.clear()


def test_what_a_provider_quotes_is_not_repeated(world: LeaseWorld, canary: Canary) -> None:
    def quoting(request: Request) -> HttpReply:
        secret = request.form["client_secret"]
        return json_reply(
            400, f'{{"error": "invalid_client", "error_description": "{secret} is wrong"}}'.encode()
        )

    world.door.answer = quoting

    assert "invalid_client: (removed) is wrong" in world.run(world.refused(OWN))


def test_a_credential_that_has_ended_already_is_none(world: LeaseWorld, canary: Canary) -> None:
    world.door.answer = Tokens(canary, seconds=1)

    assert "has ended by the source's own clock" in world.run(world.refused(OWN))
    assert world.events == [LeaseEvent.FAILED]


def test_secrets_that_passed_through_are_overwritten_and_the_lease_is_not(
    world: LeaseWorld, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    make = world.keeper._performer.run

    def noted() -> object:
        runs.append(make())
        return runs[-1]

    monkeypatch.setattr(world.keeper._performer, "run", noted)
    seen: list[Secret] = []

    def noting(request: Request) -> HttpReply | StepFailed:
        seen.extend(runs[-1].seen)
        return tokens(request)

    world.door.answer = noting
    lease = world.run(world.lease(OWN))

    assert seen
    assert not any(seen)
    assert value(lease) == tokens.issued[0]


# --- renewing ----------------------------------------------------------------------------------------


class Renewing:
    """Stands in for a kind whose leases are renewed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, canary: Canary) -> None:
        self.acquired = 0
        self.renewals: list[bool] = []
        self.canary = canary
        monkeypatch.setattr(module, "steps_of", self.acquire)
        monkeypatch.setattr(module, "renewal_of", self.renew)

    def acquire(self, *_: object) -> SourceSteps:
        self.acquired += 1
        token = Secret(self.canary.secret(f"token {self.acquired}").encode())
        handle = {"lease_id": Secret(b"lease-of-this-test")}
        return Acquired({Part.TOKEN: token}, timedelta(hours=1), handle, renewable=True)
        yield

    def renew(self, _kind: object, acquired: Acquired, _occasion: object) -> SourceSteps | None:
        return self._renewed(acquired) if self.renewals else None

    def _renewed(self, acquired: Acquired) -> SourceSteps:
        if not self.renewals.pop(0):
            return Failed("the longest life is reached")
        return Acquired(acquired.parts, timedelta(hours=1), acquired.handle, renewable=True)
        yield


def test_a_lease_that_can_be_renewed_is_and_stays_the_same(
    world: LeaseWorld, monkeypatch: pytest.MonkeyPatch, canary: Canary
) -> None:
    source = Renewing(monkeypatch, canary)
    source.renewals = [True, False]

    async def life() -> None:
        first = await world.lease(OWN)
        for _ in range(3):
            world.later(3600 * 0.7)
            await world.lease(OWN)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        last = await world.lease(OWN)
        assert last.id != first.id
        # The first is still whole: requests that began with it may be on their way.
        assert value(first)
        world.later(RETIRE_SECONDS)
        world.keeper.tick()
        with pytest.raises(ValueError, match="overwritten"):
            value(first)
        await world.keeper.close()

    world.run(life())
    assert source.acquired == 3
    assert world.events[:3] == [LeaseEvent.ACQUIRED, LeaseEvent.RENEWED, LeaseEvent.ACQUIRED]


# --- ends --------------------------------------------------------------------------------------------


def test_an_upstream_that_calls_a_lease_worthless_is_believed_once_it_is_not_new(
    world: LeaseWorld, tokens: Tokens
) -> None:
    async def life() -> None:
        first = await world.lease(OWN)
        world.keeper.spent(OWN, first.id)
        assert await world.lease(OWN) is first
        world.later(FIRST_GRACE)
        world.keeper.spent(OWN, first.id)
        second = await world.lease(OWN)
        assert second.id != first.id
        world.keeper.spent(OWN, first.id)
        assert await world.lease(OWN) is second
        await world.keeper.close()

    world.run(life())
    assert world.log.events == ["an upstream called a lease expired or revoked"]


def test_what_no_policy_names_is_revoked_and_overwritten(world: LeaseWorld, tokens: Tokens) -> None:
    async def life() -> None:
        world.use(REVOCABLE)
        lease = await world.lease(REVOCABLE)
        token = value(lease)
        world.use()
        await until(lambda: tokens.revoked)
        await asyncio.sleep(0)
        assert tokens.revoked == [token]
        with pytest.raises(ValueError, match="overwritten"):
            value(lease)
        assert world.keeper.held() == []
        await world.keeper.close()

    world.run(life())
    assert world.events == [LeaseEvent.ACQUIRED, LeaseEvent.REVOKED]
    assert world.log.lines[-1][1]["why"] == "no policy names it any more"


def test_a_lease_that_arrives_when_nobody_wants_it_any_more_is_revoked(
    world: LeaseWorld, tokens: Tokens
) -> None:
    async def life() -> None:
        world.use(REVOCABLE)
        world.door.gate = asyncio.Event()
        waiting = asyncio.create_task(world.refused(REVOCABLE))
        await until(lambda: world.door.calls)
        world.use()
        world.door.gate.set()
        assert await waiting == "the CredentialSource ml/a has not answered yet"
        assert await world.refused(REVOCABLE) == "no policy names the CredentialSource ml/a any more"
        await until(lambda: tokens.revoked)
        assert tokens.revoked == tokens.issued
        await world.keeper.close()

    world.run(life())


def test_a_source_that_cannot_revoke_is_told_of(world: LeaseWorld, tokens: Tokens) -> None:
    async def life() -> None:
        world.use(REVOCABLE)
        await world.lease(REVOCABLE)
        tokens.down = json_reply(503, b"{}")
        world.use()
        await until(lambda: LeaseEvent.REVOKE_FAILED in world.events)
        await world.keeper.close()

    world.run(life())
    assert world.log.events[-1] == "a lease could not be revoked"


def test_at_the_end_everything_is_revoked(world: LeaseWorld, tokens: Tokens) -> None:
    async def life() -> None:
        world.use(REVOCABLE)
        await world.lease(REVOCABLE)
        world.later(3600 * 0.9)
        await world.lease(REVOCABLE)
        await until(lambda: len(tokens.issued) == 2)
        await asyncio.sleep(0)
        await world.keeper.close()

    world.run(life())
    assert sorted(tokens.revoked) == sorted(tokens.issued)


def test_the_end_does_not_wait_for_a_source_that_hangs(
    world: LeaseWorld, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert FAREWELL_SECONDS == 3.0
    monkeypatch.setattr(lease_ends, "FAREWELL_SECONDS", 0.01)

    async def life() -> None:
        world.use(REVOCABLE)
        await world.lease(REVOCABLE)
        world.door.gate = asyncio.Event()
        await world.keeper.close()

    world.run(life())
    assert world.log.events == ["leases were not revoked in time"]


def test_a_fetch_under_way_ends_with_the_sidecar(world: LeaseWorld, tokens: Tokens) -> None:
    async def life() -> None:
        world.door.gate = asyncio.Event()
        world.use(OWN)
        waiting = asyncio.create_task(world.keeper.lease(OWN))
        await until(lambda: world.door.calls)
        await world.keeper.close()
        assert isinstance(await waiting, NoLease)

    world.run(life())


def test_a_lease_dropped_by_hand_is_fetched_anew(world: LeaseWorld, tokens: Tokens) -> None:
    async def life() -> None:
        world.use(OWN)
        first = await world.lease(OWN)
        (held,) = world.keeper.held()
        assert (held.lease, held.age) == (first, 0.0)
        assert world.keeper.live == 1
        assert world.keeper.drop(CredentialRef("ml", "other")) == 0
        assert world.keeper.drop(REF) == 1
        assert (await world.lease(OWN)).id != first.id
        assert world.keeper.drop(None) == 1
        await world.keeper.close()

    world.run(life())


def test_a_lease_is_never_handed_out_in_its_last_seconds(world: LeaseWorld, tokens: Tokens) -> None:
    async def life() -> None:
        first = await world.lease(OWN)
        tokens.down = StepFailed("login.example.com could not be asked")
        world.later(3600 - MARGIN - 0.1)
        assert await world.lease(OWN) is first
        world.later(0.1)
        assert "could not be asked" in await world.refused(OWN)
        await world.keeper.close()

    world.run(life())


def test_a_request_of_yesterdays_policy_does_not_bring_its_lease_back(
    world: LeaseWorld, tokens: Tokens
) -> None:
    async def life() -> None:
        world.use(OWN)
        await world.lease(OWN)
        world.use()
        assert await world.refused(OWN) == "no policy names the CredentialSource ml/a any more"
        await world.keeper.close()

    world.run(life())
    assert len(tokens.issued) == 1


def test_a_clock_that_is_set_back_while_a_source_is_asked_makes_no_lease_longer(
    world: LeaseWorld, canary: Canary
) -> None:
    """The end is absolute, by the source's clock; ours is turned between its answer and the lease."""

    def absolute(request: Request) -> HttpReply:
        end = (world.clock.now() + timedelta(minutes=10)).isoformat()
        return json_reply(200, json.dumps({"end": end}).encode())

    def steps(*_: object) -> SourceSteps:
        reply = yield HttpCall("GET", "https://login.example.com/")
        assert isinstance(reply, HttpReply)
        world.clock.turned = -3600.0
        end = datetime.fromisoformat(json.loads(reply.body)["end"])
        return Acquired({Part.TOKEN: Secret(canary.secret("absolute").encode())}, end)

    world.door.answer = absolute

    async def life() -> None:
        await world.lease(OWN)
        world.later(600)
        assert world.keeper.live == 0
        await world.keeper.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "steps_of", steps)
        world.run(life())


def test_one_value_of_a_form_that_a_provider_quotes_is_not_repeated(
    world: LeaseWorld, canary: Canary
) -> None:
    """A token of the first step stands in the form of the second, among other fields."""
    token = canary.secret("first step") * 2

    def steps(*_: object) -> SourceSteps:
        reply = yield HttpCall(
            "POST",
            "https://login.example.com/",
            body=Secret(f"grant_type=x&assertion={quote_plus(token)}".encode()),
        )
        assert isinstance(reply, HttpReply)
        return Failed(f"login.example.com answered 400: {reply.body.decode()}")

    world.door.answer = lambda _request: json_reply(400, f"{token} is wrong".encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "steps_of", steps)
        message = world.run(world.refused(OWN))

    assert token not in message
    assert "is wrong" in message


def test_nothing_is_refreshed_while_nobody_proves_the_pod(world: LeaseWorld, tokens: Tokens) -> None:
    async def life() -> None:
        await world.lease(OWN)
        await world.lease(OWN)
        world.later(3600 * 0.7)
        world.proved = False
        world.keeper.tick()
        await asyncio.sleep(0)
        assert len(world.door.calls) == 1
        world.proved = True
        world.keeper.tick()
        await until(lambda: len(tokens.issued) == 2)
        await world.keeper.close()

    world.run(life())


def test_what_an_upstream_calls_worthless_is_revoked_a_minute_later(
    world: LeaseWorld, tokens: Tokens
) -> None:
    async def life() -> None:
        world.use(REVOCABLE)
        first = await world.lease(REVOCABLE)
        token = value(first)
        world.later(FIRST_GRACE)
        world.keeper.spent(REVOCABLE, first.id)
        await world.lease(REVOCABLE)
        world.keeper.tick()
        assert value(first) == token
        world.later(RETIRE_SECONDS)
        world.keeper.tick()
        await until(lambda: tokens.revoked == [token])
        await world.keeper.close()

    world.run(life())


def test_what_has_ended_is_overwritten(world: LeaseWorld, tokens: Tokens) -> None:
    async def life() -> None:
        lease = await world.lease(OWN)
        world.later(3600)
        world.keeper.tick()
        with pytest.raises(ValueError, match="overwritten"):
            value(lease)
        await world.keeper.close()

    world.run(life())


def test_a_mounted_secret_that_an_upstream_calls_worthless_is_read_at_once(
    world: LeaseWorld, canary: Canary
) -> None:
    old, new = canary.secret("old"), canary.secret("new")

    async def life() -> None:
        world.write_secret("key", k=old)
        first = await world.lease(FILE)
        world.write_secret("key", k=new)
        world.keeper.spent(FILE, first.id)
        assert value(await world.lease(FILE)) == new
        await world.keeper.close()

    world.run(life())


def test_a_lease_that_is_dropped_while_it_is_renewed_breaks_nothing(
    world: LeaseWorld, monkeypatch: pytest.MonkeyPatch, canary: Canary
) -> None:
    """What the renewal brings are the very secrets that the drop has overwritten."""
    source = Renewing(monkeypatch, canary)
    gate = asyncio.Event()

    def renewed(acquired: Acquired) -> SourceSteps:
        yield HttpCall("POST", "https://vault.example.com/renew")
        return Acquired(acquired.parts, timedelta(hours=1), acquired.handle, renewable=True)

    async def life() -> None:
        world.use(OWN)
        await world.lease(OWN)
        source.renewals = [True]
        source._renewed = renewed  # type: ignore[method-assign]
        world.door.gate = gate
        world.later(3600 * 0.7)
        await world.lease(OWN)
        await until(lambda: world.door.calls)
        (flight,) = world.keeper._flying
        world.keeper.drop(REF)
        gate.set()
        await asyncio.wait({flight})
        assert flight.exception() is None
        assert world.keeper.held() == []
        await world.keeper.close()

    world.run(life())
    assert world.events == [LeaseEvent.ACQUIRED]


# --- derived from a lease ----------------------------------------------------------------------------

PAIR = key_of(AwsStatic("store"))
REGISTRY = derived_key(PAIR, RegistryToken("eu-central-1"))
BUCKET = "data--euc1-az1--x-s3"
SESSION = derived_key(
    PAIR,
    ExpressSession(
        f"{BUCKET}.s3express-euc1-az1.eu-central-1.amazonaws.com", "eu-central-1", read_only=False
    ),
)


class Aws:
    """S3 Express and ECR, whose clock is the world's. `rotate` puts another key pair where it is mounted."""

    def __init__(self, world: LeaseWorld, canary: Canary) -> None:
        self.world, self.canary = world, canary
        self.pairs: dict[str, Keys] = {}
        self.express = Express(self.pairs, {})
        self.ecr = Ecr(self.pairs, frozenset())
        world.door.answer = self.answer
        self.rotate()

    def rotate(self) -> None:
        pair = Keys(f"example{token_hex(6)}", self.canary.secret("secret-key"))
        self.pairs[pair.access_key_id] = pair
        self.express.may = dict.fromkeys(self.pairs, ("ReadOnly", "ReadWrite"))
        self.ecr.may = frozenset(self.pairs)
        self.world.write_secret(
            "store", accessKeyId=pair.access_key_id, secretAccessKey=pair.secret_access_key
        )

    def answer(self, request: Request) -> HttpReply:
        self.express.now = self.ecr.now = self.world.clock.now()
        return (self.ecr if request.host.startswith("api.ecr.") else self.express).answer(request)


@pytest.fixture
def aws(world: LeaseWorld, canary: Canary) -> Aws:
    return Aws(world, canary)


def password(lease: Lease) -> str:
    return value(lease, Part.PASSWORD)


def test_what_is_derived_is_made_once_and_kept(world: LeaseWorld, aws: Aws) -> None:
    async def life() -> None:
        world.use(PAIR)
        first = await world.lease(SESSION)
        assert await world.lease(SESSION) is first
        token = await world.lease(REGISTRY)
        assert password(token) == aws.ecr.passwords[0]
        assert (first.credential, token.credential) == (REF, REF)
        assert [held.key for held in world.keeper.held()] == [PAIR, REGISTRY, SESSION]
        assert len(world.door.calls) == 2
        await world.keeper.close()

    world.run(life())


def test_a_session_that_is_used_is_refreshed_and_one_that_nobody_uses_ends(
    world: LeaseWorld, aws: Aws
) -> None:
    async def life() -> None:
        world.use(PAIR)
        await world.lease(SESSION)
        for _ in range(200):
            world.later(1)
            world.keeper.tick()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        # It was asked for before the first came, and so renewed once; nobody asked for the second.
        await until(lambda: len(aws.express.sessions) == 2)
        for _ in range(600):
            world.later(1)
            world.keeper.tick()
            await asyncio.sleep(0)
        assert len(aws.express.sessions) == 2
        assert [held.key for held in world.keeper.held()] == [PAIR]
        assert list(world.keeper._derived) == []
        await world.keeper.close()

    world.run(life())


def test_it_goes_with_the_policy_that_names_its_source(world: LeaseWorld, aws: Aws) -> None:
    async def life() -> None:
        world.use(PAIR)
        session = await world.lease(SESSION)
        world.use(OWN)
        assert world.keeper.held() == []
        with pytest.raises(ValueError, match="overwritten"):
            value(session, Part.SECRET_ACCESS_KEY)
        assert await world.refused(SESSION) == "no policy names the CredentialSource ml/a any more"
        await world.keeper.close()

    world.run(life())


def test_it_stays_when_another_policy_names_the_same_source(world: LeaseWorld, aws: Aws) -> None:
    async def life() -> None:
        world.use(PAIR)
        session = await world.lease(SESSION)
        world.use(PAIR, OWN)
        assert await world.lease(SESSION) is session
        await world.keeper.close()

    world.run(life())


def test_it_is_made_anew_when_the_key_pair_was_replaced(world: LeaseWorld, aws: Aws) -> None:
    async def life() -> None:
        world.use(PAIR)
        first = await world.lease(REGISTRY)
        aws.rotate()
        world.later(1)
        second = await world.lease(REGISTRY)
        assert password(second) == aws.ecr.passwords[1]
        # The first may be on its way.
        assert password(first) == aws.ecr.passwords[0]
        world.later(RETIRE_SECONDS)
        world.keeper.tick()
        with pytest.raises(ValueError, match="overwritten"):
            password(first)
        await world.keeper.close()

    world.run(life())


def test_it_is_worth_no_more_than_the_lease_that_it_is_made_of(world: LeaseWorld, aws: Aws) -> None:
    async def life() -> None:
        world.use(PAIR)
        await world.lease(REGISTRY)
        (world.secrets / "store" / "accessKeyId").unlink()
        world.later(1)
        assert "the secret `store` lacks `accessKeyId`" in await world.refused(REGISTRY)
        await world.keeper.close()

    world.run(life())


def test_storms_of_first_requests_make_one_of_each(world: LeaseWorld, aws: Aws) -> None:
    async def storm() -> None:
        world.use(PAIR)
        world.door.gate = asyncio.Event()
        waiting = [asyncio.create_task(world.lease(key)) for _ in range(50) for key in (SESSION, REGISTRY)]
        await until(lambda: len(world.door.calls) == 2)
        world.door.gate.set()
        assert len({id(lease) for lease in await asyncio.gather(*waiting)}) == 2
        await world.keeper.close()

    world.run(storm())
    assert len(world.door.calls) == 2


def test_the_keys_that_it_is_made_with_live_on(world: LeaseWorld, aws: Aws) -> None:
    async def life() -> None:
        world.use(PAIR)
        pair = await world.lease(PAIR)
        await world.lease(SESSION)
        assert value(pair, Part.SECRET_ACCESS_KEY) in {keys.secret_access_key for keys in aws.pairs.values()}
        await world.keeper.close()

    world.run(life())


def test_what_aws_refuses_is_said_and_asked_again_later(world: LeaseWorld, aws: Aws) -> None:
    aws.ecr.may = frozenset()

    async def life() -> None:
        world.use(PAIR)
        for _ in range(20):
            assert "may ecr:GetAuthorizationToken" in await world.refused(REGISTRY)
        assert len(world.door.calls) == 1
        [(ref, why)] = world.keeper.complaints()
        assert (ref, "AccessDeniedException" in why) == (REF, True)
        assert await world.lease(SESSION)
        world.later(120)
        world.keeper.tick()
        assert world.keeper.complaints() == []
        await world.keeper.close()

    world.run(life())


def test_names_that_an_application_makes_up_push_none_out_that_is_good(world: LeaseWorld, aws: Aws) -> None:
    async def life() -> None:
        world.use(PAIR)
        good = await world.lease(SESSION)
        tokens = [derived_key(PAIR, RegistryToken(f"eu-central-{n}")) for n in range(MAX_DERIVED + 9)]
        world.door.answer = lambda _request: HttpReply(400, {}, b"{}")
        for key in tokens:
            assert "without an error" in await world.refused(key)
        assert len(world.keeper.complaints()) <= MAX_DERIVED
        assert (await world.lease(SESSION)).id == good.id
        await world.keeper.close()

    world.run(life())


def test_drop_by_hand_drops_what_was_derived(world: LeaseWorld, aws: Aws) -> None:
    async def life() -> None:
        world.use(PAIR)
        first = await world.lease(SESSION)
        assert world.keeper.drop(REF) == 2
        assert (await world.lease(SESSION)).id != first.id
        await world.keeper.close()

    world.run(life())


class Issuing:
    """Stands in for a remote kind whose keys can be revoked."""

    def __init__(self, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
        self.aws = aws
        self.issued: list[Keys] = []
        self.revoked: list[str] = []
        self.down = False
        monkeypatch.setattr(module, "steps_of", self.steps)
        monkeypatch.setattr(lease_ends, "revocation_of", self.revocation)

    def steps(self, kind: SourceKind, occasion: Occasion) -> SourceSteps:
        return steps_of(kind, occasion) if isinstance(kind, Derived) else self.issue()

    def issue(self) -> SourceSteps:
        if self.down:
            return Failed("the issuer is down")
        self.aws.rotate()
        self.issued.append(list(self.aws.pairs.values())[-1])
        parts = {
            Part.ACCESS_KEY_ID: Secret(self.issued[-1].access_key_id.encode()),
            Part.SECRET_ACCESS_KEY: Secret(self.issued[-1].secret_access_key.encode()),
        }
        return Acquired(parts, timedelta(hours=1))
        yield

    def revocation(self, kind: SourceKind, acquired: Acquired, _occasion: Occasion) -> RevokeSteps | None:
        return None if isinstance(kind, Derived) else self.revoke(acquired)

    def revoke(self, acquired: Acquired) -> RevokeSteps:
        self.revoked.append(acquired.parts[Part.ACCESS_KEY_ID].reveal().decode())
        return None
        yield


ISSUED = key_of(OAUTH)
ISSUED_REGISTRY = derived_key(ISSUED, RegistryToken("eu-central-1"))


@pytest.fixture
def issuing(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Issuing:
    return Issuing(aws, monkeypatch)


def test_the_lease_that_it_is_made_of_is_revoked_once_and_with_it_all_that_was_made_of_it(
    world: LeaseWorld, issuing: Issuing
) -> None:
    async def life() -> None:
        world.use(ISSUED)
        await world.lease(ISSUED_REGISTRY)
        world.use()
        await until(lambda: issuing.revoked)
        assert issuing.revoked == [issuing.issued[0].access_key_id]
        assert world.keeper.held() == []
        await world.keeper.close()

    world.run(life())
    assert len(issuing.issued) == len(issuing.revoked) == 1


def test_a_lease_is_refreshed_for_what_is_made_of_it(world: LeaseWorld, issuing: Issuing, aws: Aws) -> None:
    """A token lives for twelve hours, and its keys for one."""

    async def life() -> None:
        world.use(ISSUED)
        for _ in range(3 * 60):
            await world.lease(ISSUED_REGISTRY)
            world.later(60)
            world.keeper.tick()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert len(issuing.issued) == len(aws.ecr.passwords) == 5
        await world.keeper.close()

    world.run(life())


def test_keys_that_aws_calls_worthless_are_replaced(world: LeaseWorld, issuing: Issuing, aws: Aws) -> None:
    async def life() -> None:
        world.use(ISSUED)
        await world.lease(ISSUED)
        aws.pairs.clear()  # somebody has revoked them
        world.later(FIRST_GRACE)
        assert "UnrecognizedClientException" in await world.refused(ISSUED_REGISTRY)
        world.later(2)
        assert await world.lease(ISSUED_REGISTRY)
        assert len(issuing.issued) == 2
        await world.keeper.close()

    world.run(life())


def test_a_source_that_gives_none_is_what_is_missing(world: LeaseWorld, issuing: Issuing) -> None:
    issuing.down = True
    world.use(ISSUED)
    assert world.run(world.refused(ISSUED_REGISTRY)).startswith("the issuer is down")
    assert world.door.calls == []


def test_a_refresh_without_its_lease_is_a_failure_and_no_end(world: LeaseWorld, issuing: Issuing) -> None:
    async def life() -> None:
        world.use(ISSUED)
        session = derived_key(ISSUED, SESSION.source.kind.what)  # type: ignore[union-attr]
        await world.lease(session)
        # The lease that it was made of was dropped meanwhile, and its source is down.
        world.later(250)
        issuing.down = True
        world.keeper._book.drop(ISSUED, world.clock.monotonic())
        world.keeper.tick()
        await until(lambda: world.events.count(LeaseEvent.FAILED) == 2)
        await world.keeper.close()

    world.run(life())


def test_a_clock_that_is_known_to_be_wrong_is_known_for_what_is_derived(
    world: LeaseWorld, tokens: Tokens
) -> None:
    world.door.skew = timedelta(hours=2)

    async def life() -> None:
        await world.lease(OWN)
        now = world.keeper._occasion(derived_key(OWN, RegistryToken("eu-central-1"))).now
        assert 7198 <= now.timestamp() - world.clock.wall() <= 7202
        await world.keeper.close()

    world.run(life())


# --- what is at hand -----------------------------------------------------------------------------------


def test_a_live_lease_is_at_hand_and_one_that_is_to_be_fetched_is_not(
    world: LeaseWorld, tokens: Tokens
) -> None:
    async def work() -> None:
        assert world.keeper.at_hand(OWN) is None
        lease = await world.lease(OWN)
        assert world.keeper.at_hand(OWN) is lease
        world.keeper.drop(None)
        assert world.keeper.at_hand(OWN) is None

    world.run(work())
    assert len(tokens.issued) == 1


def test_what_is_at_hand_is_refreshed_while_it_is_used(world: LeaseWorld, tokens: Tokens) -> None:
    async def work() -> None:
        lease = await world.lease(OWN)
        world.later(3000)
        assert world.keeper.at_hand(OWN) is lease
        await until(lambda: len(tokens.issued) == 2)
        await until(lambda: world.keeper.at_hand(OWN) is not lease)

    world.run(work())


def test_a_lease_that_no_policy_names_is_not_refreshed_for_whoever_asks(
    world: LeaseWorld, tokens: Tokens
) -> None:
    async def work() -> None:
        await world.lease(OWN)
        world.later(3000)
        world.keeper._keys = frozenset()
        assert world.keeper.at_hand(OWN) is None

    world.run(work())
    assert len(tokens.issued) == 1
