import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from injector.core.settings import InjectorSettings, ServingSettings, SidecarSettings
from injector.edge import life
from injector.edge.life import Work
from tests.injector_life_world import World, living, secret
from tests.injector_serving_world import PATH, Client, TestAuthority, running

AUTHORITY = TestAuthority()


def play(scenario: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await scenario()

    running(run())


def test_it_becomes_ready_part_by_part_and_says_what_is_missing() -> None:
    async def scenario() -> None:
        world = World()
        async with living(world):
            assert await world.missing() == {
                "certificate": "there is no certificate yet",
                "namespaces": "pending",
            }
            world.saw(secret())
            await world.port()
            assert await world.missing() == {"namespaces": "pending"}
            world.synced()
            assert await world.probe("/readyz") == (200, b'{"ready": true, "missing": []}\n')
            assert b"podkey_injector_ready 1" in (await world.probe("/metrics"))[1]
            assert ("ready", {}) in world.log.told
        assert world.acts == ["started", "settled", "closed"]

    play(scenario)


def test_reviews_are_judged_by_warm_caches_only() -> None:
    async def scenario() -> None:
        world = World()
        async with living(world):
            data = secret()
            world.saw(data)
            port = await world.port()
            context = AUTHORITY.client()
            context.load_verify_locations(cadata=data["ca.crt"].decode())
            client = await Client.open(port, context)
            assert (await client.post())[0] == 503
            await client.close()
            world.synced()
            client = await Client.open(port, context)
            assert await client.post(b"{}") == (200, b'{"bytes": 2}')
            await client.close()

    play(scenario)


def test_told_to_stop_it_goes_on_answering_for_a_while() -> None:
    async def scenario() -> None:
        world = World(linger=3600)
        async with living(world) as life_of_it:
            data = secret()
            world.saw(data)
            world.synced()
            port = await world.port()
            context = AUTHORITY.client()
            context.load_verify_locations(cadata=data["ca.crt"].decode())
            old = await Client.open(port, context)
            world.stop.set()
            await world.log.until("draining")
            assert (await world.probe("/readyz"))[0] == 503
            assert (await world.probe("/healthz"))[0] == 200
            new = await Client.open(port, context)
            for client in (old, new):
                assert (await client.post())[0] == 200
                assert await client.ended() == b""
            world.injector.hurry()
            assert await world.log.until("drained") == {"cut": 0}
            await life_of_it
            with pytest.raises(OSError, match="Connect call failed"):
                await Client.open(port)

    play(scenario)


def test_told_to_stop_before_it_listens_it_ends() -> None:
    async def scenario() -> None:
        world = World()
        async with living(world):
            pass
        assert world.acts == ["started", "closed"]
        assert all(event != "listening" for event, _ in world.log.told)

    play(scenario)


def test_a_port_that_is_taken_ends_it() -> None:
    async def scenario() -> None:
        world = World()
        async with living(world):
            taken = world.injector._probes._socket
            assert taken is not None
            other = World()
            other.injector._settings = InjectorSettings(
                SidecarSettings("x"),
                serving=ServingSettings("127.0.0.1", 0, "127.0.0.1", taken.getsockname()[1]),
            )
            with pytest.raises(OSError, match="in use"):
                await other.injector.run()

    play(scenario)


# --- certificates ---------------------------------------------------------------------------------


def test_a_certificate_from_a_folder_is_shown_and_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(life, "LOOK_SECONDS", 0)

    async def scenario() -> None:
        AUTHORITY.write(tmp_path)
        world = World(tmp_path)
        async with living(world):
            port = await world.port()
            world.synced()
            world.saw(secret())  # somebody else's authority has no effect
            first = await Client.open(port, AUTHORITY.client())
            AUTHORITY.write(tmp_path)
            await world.log.until("there is a new certificate", 2)
            second = await Client.open(port, AUTHORITY.client())
            shown = {
                c.writer.get_extra_info("ssl_object").getpeercert(binary_form=True) for c in (first, second)
            }
            assert len(shown) == 2
            for client in (first, second):
                assert (await client.post())[0] == 200
                await client.close()

    play(scenario)


def test_a_folder_that_is_empty_or_wrong_is_told_and_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(life, "LOOK_SECONDS", 0)

    async def scenario() -> None:
        world = World(tmp_path)
        async with living(world):
            told = await world.log.until("the folder of the certificate cannot be read, the one before stays")
            assert told["why"] == "tls.crt does not exist"
            AUTHORITY.write(tmp_path, "elsewhere.test")
            told = await world.log.until("a certificate cannot be used, the one before stays")
            assert "elsewhere" not in told["why"]
            assert await world.missing() == {
                "certificate": "there is no certificate yet",
                "namespaces": "pending",
            }
            AUTHORITY.write(tmp_path)
            await world.port()
            assert await world.missing() == {"namespaces": "pending"}

    play(scenario)


def test_a_certificate_that_ended_makes_it_unready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(life, "RENEWAL_SECONDS", 0)

    async def scenario() -> None:
        AUTHORITY.write(tmp_path)
        world = World(tmp_path)
        async with living(world):
            await world.port()
            world.synced()
            assert await world.missing() == {}
            world.injector._certificate.ends = datetime.now(UTC) - timedelta(seconds=1)
            while not (lacks := await world.missing()):
                pass
            assert lacks["certificate"].startswith("the certificate ended at")

    play(scenario)


# --- the background -------------------------------------------------------------------------------


def test_work_that_breaks_is_told_and_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(life, "RETRY_SECONDS", 0)

    def works(world: World) -> list[Work]:
        async def work() -> None:
            world.acts.append("worked")
            if world.acts.count("worked") < 3:
                raise ValueError("of ours")
            await asyncio.Event().wait()

        return [work]

    async def scenario() -> None:
        world = World(background=works)
        async with living(world):
            told = await world.log.until("work in the background failed and begins again", 2)
            assert isinstance(told["error"], ValueError)
            assert b"podkey_injector_background_failures_total 2" in (await world.probe("/metrics"))[1]

    play(scenario)


def test_what_fails_is_told_by_its_type(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        world = World()
        world.injector._review_failed(PATH, ValueError("of ours"))
        world.injector._connection_failed(ValueError("of ours"))

        assert [(event, type(fields["error"])) for event, fields in world.log.told] == [
            ("a review failed", ValueError),
            ("a connection failed", ValueError),
        ]

    play(scenario)
