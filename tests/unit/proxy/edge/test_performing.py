import asyncio
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from proxy.core.secret import Secret
from proxy.edge import performing as module
from proxy.edge.performing import MAX_SECRET_BYTES, Performer, Run
from proxy.sources.mounted_secret import MAX_PART_BYTES
from proxy.sources.steps import Files, HttpCall, HttpReply, ReadFiles, ReadToken, Reply, Step, StepFailed
from proxy.tokens.compact import MAX_TOKEN_BYTES
from tests.canary import Canary
from tests.kubelet_volume import KubeletVolume
from tests.lease_world import MovingClock, TestDoor
from tests.pod_tokens import TokenIssuer
from tests.source_world import json_reply

CALL = HttpCall("GET", "https://login.example.com/")


class World:
    def __init__(self, folder: Path) -> None:
        self.clock = MovingClock()
        self.door = TestDoor(self.clock)
        self.secrets, self.tokens = folder / "secrets", folder / "tokens"
        self.secrets.mkdir()
        self.tokens.mkdir()
        self.run = Performer(self.secrets, self.tokens, self.door, self.clock).run()

    def perform(self, step: Step, run: Run | None = None) -> Any:
        def steps() -> Generator[Step, Reply, Reply]:
            return (yield step)

        return asyncio.run((run or self.run).drive(steps()))

    def files(self, *names: str) -> Files:
        found = self.perform(ReadFiles("api", names))
        assert isinstance(found, dict), found
        return found

    def failure(self, step: Step) -> str:
        found = self.perform(step)
        assert isinstance(found, StepFailed), found
        return found.message

    @property
    def seen(self) -> list[bytes]:
        return [secret.reveal() for secret in self.run.seen]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_each_step_gets_its_reply_and_the_outcome_comes_out(world: World, canary: Canary) -> None:
    key = canary.secret("key")
    KubeletVolume(world.secrets / "api", {"key": key.encode()})
    world.door.answer = lambda _request: json_reply(200, b"{}")

    def steps() -> Generator[Step, Reply, list[Reply]]:
        files = yield ReadFiles("api", ("key",))
        reply = yield CALL
        return [files, reply]

    files, reply = asyncio.run(world.run.drive(steps()))

    assert files == {"key": key.encode()}
    assert isinstance(reply, HttpReply)


# --- files -------------------------------------------------------------------------------------------


def test_a_key_that_is_missing_is_none_and_all_others_come(world: World, canary: Canary) -> None:
    key = canary.secret("key")
    volume = KubeletVolume(world.secrets / "api", {"key": f"{key}\n".encode()})

    # As they are: what a line feed means is the source's business.
    assert world.files("key", "other") == {"key": f"{key}\n".encode(), "other": None}
    assert world.seen == [key.encode()]
    volume.swap({"other": b"x"})
    assert world.files("key", "other") == {"key": None, "other": b"x"}


def test_a_secret_that_is_not_mounted_is_named(world: World) -> None:
    assert world.failure(ReadFiles("api", ("key",))) == "the secret api is not mounted"


def test_what_is_no_file_is_named_with_its_reason(world: World) -> None:
    (world.secrets / "api" / "key").mkdir(parents=True)

    assert world.failure(ReadFiles("api", ("key",))) == "the key key of the secret api is not a regular file"


def test_a_secret_that_is_no_folder_is_told_why(world: World) -> None:
    (world.secrets / "api").write_text("")

    assert world.failure(ReadFiles("api", ("key",))) == "the secret api cannot be read: Not a directory"


def test_no_name_leads_out_of_the_folder(world: World, canary: Canary) -> None:
    (world.secrets / "api").mkdir()
    (world.secrets / "other").write_text(canary.secret("another source's"))

    assert "is no name below the folder" in world.failure(ReadFiles("api", ("../other",)))
    assert world.seen == []


def test_a_file_that_is_too_large_is_not_used_in_part(world: World) -> None:
    (world.secrets / "api").mkdir()
    (world.secrets / "api" / "key").write_bytes(b"a" * MAX_SECRET_BYTES)
    assert len(world.files("key")["key"] or b"") == MAX_SECRET_BYTES
    (world.secrets / "api" / "key").write_bytes(b"a" * 2 * MAX_SECRET_BYTES)

    message = world.failure(ReadFiles("api", ("key",)))

    assert message == f"the key key of the secret api is larger than {MAX_SECRET_BYTES} bytes"


# --- tokens ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def issuer() -> TokenIssuer:
    return TokenIssuer()


def test_a_token_is_read_by_its_audience_without_the_line_feed(world: World, issuer: TokenIssuer) -> None:
    token = issuer.token(world.clock.now(), "vault")
    (world.tokens / "vault").write_bytes(token + b"\n")

    found = world.perform(ReadToken("vault"))

    assert isinstance(found, Secret)
    assert found.reveal() == token
    assert world.run.seen == (found,)


def test_an_audience_that_is_a_url_has_a_file_by_its_hash(world: World, issuer: TokenIssuer) -> None:
    audience = "https://login.example.com/"
    message = world.failure(ReadToken(audience))
    (name,) = [word for word in message.split() if word.startswith("sha256-")]
    (world.tokens / name).write_bytes(issuer.token(world.clock.now(), audience))

    assert isinstance(world.perform(ReadToken(audience)), Secret)


@pytest.mark.parametrize("spoil", [lambda world: None, lambda world: world.tokens.rmdir()])
def test_a_token_that_is_missing_is_told_with_the_file_and_the_folder(world: World, spoil: Any) -> None:
    spoil(world)

    message = world.failure(ReadToken("vault"))

    assert "no token for the audience vault is mounted" in message
    assert "as the file vault into PODKEY_TOKENS_DIR" in message


@pytest.mark.parametrize("content", [b"", b" \n"])
def test_an_empty_token_is_told(world: World, content: bytes) -> None:
    (world.tokens / "vault").write_bytes(content)

    assert "the token for the audience vault is empty" in world.failure(ReadToken("vault"))


def test_a_token_of_two_megabytes_is_none(world: World) -> None:
    (world.tokens / "vault").write_bytes(b"a" * 2 * 1024 * 1024)

    message = world.failure(ReadToken("vault"))

    assert message == f"the token for the audience vault is larger than {MAX_TOKEN_BYTES} bytes"


def test_a_token_that_cannot_be_read_is_told_why(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (world.tokens / "vault").mkdir()
    assert world.failure(ReadToken("vault")) == "the token for the audience vault is not a regular file"

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module, "read_snapshot", denied)

    assert "cannot be read: Permission denied" in world.failure(ReadToken("vault"))


def test_a_token_that_has_ended_is_not_sent_and_its_end_is_named(world: World, issuer: TokenIssuer) -> None:
    (world.tokens / "vault").write_bytes(issuer.token(world.clock.now(), "vault"))
    world.clock.seconds += 3599
    assert isinstance(world.perform(ReadToken("vault")), Secret)
    world.clock.seconds += 1

    message = world.failure(ReadToken("vault"))

    assert "ended at 2026-03-04 13:00:00 UTC, and the kubelet has not renewed it" in message
    # It was read, so it is looked for in messages all the same.
    assert len(world.run.seen) == 2


def test_what_is_no_token_of_kubernetes_is_handed_on_as_it_is(world: World, canary: Canary) -> None:
    """Who it is for can tell; a cluster of another kind may have tokens of its own."""
    opaque = canary.secret("an opaque token")
    (world.tokens / "vault").write_text(opaque)

    found = world.perform(ReadToken("vault"))

    assert isinstance(found, Secret)
    assert found.reveal() == opaque.encode()


# --- http --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [-300, 0, 42, 3600])
def test_the_clock_of_a_source_is_measured_by_its_answers(world: World, seconds: int) -> None:
    world.door.answer = lambda _request: json_reply(200, b"{}")
    world.door.skew = timedelta(seconds=seconds)

    world.perform(CALL)

    assert world.run.skew is not None
    assert abs(world.run.skew - seconds) <= 1


def test_an_answer_without_a_clock_leaves_what_was_measured(world: World) -> None:
    world.door.answer = lambda _request: json_reply(401, b"{}")
    world.door.skew = timedelta(minutes=5)
    world.perform(CALL)
    measured = world.run.skew
    # Years off is no clock.
    for skew in (None, timedelta(days=900)):
        world.door.skew = skew
        world.perform(CALL)

    assert world.run.skew == measured


def test_a_call_that_failed_measures_nothing_and_is_handed_on(world: World) -> None:
    assert world.failure(CALL) == "nobody answers"
    assert world.run.skew is None


def test_two_runs_measure_apart(world: World) -> None:
    world.door.answer = lambda _request: json_reply(200, b"{}")
    world.perform(CALL)

    assert Performer(world.secrets, world.tokens, world.door, world.clock).run().skew is None


def test_what_is_secret_in_a_request_is_remembered(world: World, canary: Canary) -> None:
    bearer, body = Secret(canary.secret("bearer").encode()), Secret(canary.secret("form").encode())
    headers: tuple[tuple[str, str | Secret], ...] = (("Accept", "*/*"), ("Authorization", bearer))

    world.perform(HttpCall("POST", "https://login.example.com/", headers, body))

    assert world.run.seen == (bearer, body)


@pytest.mark.parametrize(
    "body",
    [
        "grant_type=x&client_secret={}&empty=",
        '{{"role": "x", "jwt": "{}", "n": 7, "m": {{}}, "u": "\\ud800"}}',
    ],
)
def test_each_value_of_a_body_is_remembered_by_itself(world: World, canary: Canary, body: str) -> None:
    """A server quotes one of them, not the whole."""
    value = canary.secret("value").replace("+", "-")
    canary.remember(value, "the value in the body")

    world.perform(HttpCall("POST", "https://login.example.com/", (), Secret(body.format(value).encode())))

    whole, *values = world.seen
    assert values == [value.encode()]
    assert value.encode() in whole


# --- the end -----------------------------------------------------------------------------------------


def test_all_that_passed_through_is_overwritten_but_what_is_kept(world: World, canary: Canary) -> None:
    kept, gone = (Secret(canary.secret(name).encode()) for name in ("kept", "gone"))
    world.perform(HttpCall("POST", "https://login.example.com/", (("X-Vault-Token", kept),), gone))
    KubeletVolume(world.secrets / "api", {"key": canary.secret("key").encode()})
    world.files("key")
    remembered = world.run.seen

    world.run.overwrite([kept])

    assert [bool(secret) for secret in remembered] == [True, False, False]
    assert kept.reveal()
    assert world.run.seen == ()


def test_an_equal_secret_is_not_the_same(world: World, canary: Canary) -> None:
    """What is kept has a place of its own in memory, and so has what passed through."""
    value = canary.secret("token").encode()
    passed = Secret(value)
    world.perform(HttpCall("POST", "https://login.example.com/", (), passed))

    world.run.overwrite([Secret(value)])

    assert not passed


def test_what_is_too_large_for_a_credential_is_not_looked_for_in_messages(world: World) -> None:
    """To look for a megabyte in a sentence would hold the loop up for a second."""
    folder = world.secrets / "api"
    folder.mkdir()
    (folder / "key").write_bytes(b"k" * (MAX_PART_BYTES + 1))
    (folder / "small").write_bytes(b"s" * MAX_PART_BYTES)

    world.files("key", "small")

    assert [len(secret) for secret in world.seen] == [MAX_PART_BYTES]
