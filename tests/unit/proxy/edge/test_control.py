import asyncio
import json
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from proxy.core.aws_sources import AwsStatic
from proxy.core.credentials import ExpressSession, RegistryToken
from proxy.core.lease import Lease, LeaseEvent, derived_key
from proxy.edge import control as module
from proxy.edge.control import MAX_REQUEST, ControlError, ControlSocket, ask, listed
from proxy.leasing.book import Held
from proxy.sources.steps import Acquired
from tests.canary import Canary
from tests.lease_world import MOUNTED, OAUTH, LeaseWorld, key_of, token_reply, until
from tests.source_world import NOON

MINE = key_of(MOUNTED, "files")
REMOTE = key_of(OAUTH, "login", "read")


class House:
    """A keeper with two leases behind a socket."""

    def __init__(self, folder: Path, canary: Canary) -> None:
        self.path = folder / "control.sock"
        self.world = LeaseWorld(folder)
        self.world.write_secret("key", k=canary.secret("mounted"))
        self.world.write_secret("client", secret=canary.secret("client secret"))
        token = canary.secret("issued token")
        self.world.door.answer = lambda _request: token_reply(token)
        self.strangers: list[int] = []
        self.socket = ControlSocket(self.path, self.world.keeper, self.strangers.append)

    def live(self, work: Callable[[], Awaitable[Any]]) -> Any:
        async def run() -> Any:
            self.world.keeper.use([MINE, REMOTE])
            await self.socket.open()
            try:
                async with asyncio.timeout(10):
                    return await work()
            finally:
                await self.socket.close()
                await self.world.keeper.close()

        return asyncio.run(run())

    async def ask(self, **request: object) -> Any:
        """As `podkey leases` does, in a thread of its own."""
        return await asyncio.to_thread(ask, self.path, request)

    async def say(self, data: bytes, *, end: bool = True) -> bytes:
        """Whatever bytes; empty where it hung up without a word."""
        reader, writer = await asyncio.open_unix_connection(self.path)
        writer.write(data)
        if end:
            writer.write_eof()
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.close()


@pytest.fixture
def house(tmp_path: Path, canary: Canary) -> House:
    made = House(tmp_path, canary)
    canary.watch(made.world.log.text, "the log")
    return made


# --- what is answered --------------------------------------------------------------------------------


def test_live_leases_are_listed_without_their_values(house: House, canary: Canary) -> None:
    async def work() -> Any:
        await house.world.lease(MINE)
        await house.world.lease(REMOTE)
        house.world.later(90)
        return await house.ask(command="list")

    answer = house.live(work)
    canary.watch(json.dumps(answer), "the list")

    assert answer["failing"] == []
    files, login = answer["leases"]
    assert set(files) == {
        *("credential", "kind", "derived", "scope", "lease"),
        *("issued", "expires", "ageSeconds", "unusedSeconds"),
    }
    assert files["derived"] is None
    assert (files["credential"], files["kind"], files["expires"]) == ("ml/files", "mountedSecret", None)
    assert (login["credential"], login["scope"]) == ("ml/login", "read")
    assert login["issued"] == "2026-03-04T12:00:00+00:00"
    assert login["expires"].startswith("2026-03-04T12:59:")
    assert (login["ageSeconds"], login["unusedSeconds"]) == (90, 90)


def test_what_is_derived_is_listed_with_the_kind_of_its_source_and_what_it_is() -> None:
    base = key_of(AwsStatic("store"), "aws")
    session = ExpressSession("b--z--x-s3.example.com", "eu-central-1", read_only=True)
    shown = {}
    for what in (session, RegistryToken("eu-central-1")):
        key = derived_key(base, what)
        held = Held(key, Lease("l-1", key.ref, {}, NOON), Acquired({}), 0.0, None)
        shown[listed(held)["derived"]] = listed(held)["kind"]
    assert shown == {
        "session of b--z--x-s3.example.com, to read": "awsStatic",
        "registry token for eu-central-1": "awsStatic",
    }


def test_sources_that_give_none_are_listed_with_what_they_said(house: House) -> None:
    async def work() -> Any:
        (house.world.secrets / "key" / "k").unlink()
        await house.world.refused(MINE)
        return await house.ask(command="list")

    answer = house.live(work)

    assert answer["leases"] == []
    [failing] = answer["failing"]
    assert failing["credential"] == "ml/files"
    assert "lacks `k`" in failing["why"]


def test_a_lease_that_nobody_used_since_it_was_refreshed_says_so(house: House) -> None:
    async def work() -> Any:
        await house.world.lease(MINE)
        (held,) = house.world.keeper.held()
        return listed(held)

    assert house.live(work)["unusedSeconds"] in {0, None}


@pytest.mark.parametrize(("credential", "dropped"), [("ml/files", 1), ("ml/login", 1), (None, 2)])
def test_leases_are_dropped_by_name_or_all(house: House, credential: str | None, dropped: int) -> None:
    async def work() -> Any:
        await house.world.lease(MINE)
        await house.world.lease(REMOTE)
        return await house.ask(command="drop", credential=credential)

    assert house.live(work) == {"dropped": dropped}


def test_a_source_that_is_not_there_is_told_with_the_nearest_one(house: House) -> None:
    async def work() -> str:
        await house.world.lease(MINE)
        with pytest.raises(ControlError) as caught:
            await house.ask(command="drop", credential="ml/fils")
        assert house.world.keeper.live == 1
        return str(caught.value)

    assert house.live(work) == (
        "the policy in force names no CredentialSource ml/fils; did you mean `ml/files`?"
    )


def test_where_the_policy_names_no_source_it_says_so(house: House) -> None:
    async def work() -> str:
        house.world.keeper.use([])
        with pytest.raises(ControlError) as caught:
            await house.ask(command="drop", credential="ml/files")
        return str(caught.value)

    assert house.live(work).endswith("names no CredentialSource ml/files; it names none")


def test_what_was_dropped_is_fetched_anew(house: House) -> None:
    async def work() -> None:
        await house.world.lease(REMOTE)
        await house.ask(command="drop", credential="ml/login")
        await house.world.lease(REMOTE)

    house.live(work)

    assert house.world.events.count(LeaseEvent.ACQUIRED) == 2


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"list\n",
        b"\xff\xfe\n",
        b"[]\n",
        b'"list"\n',
        b"null\n",
        b"7\n",
        b'{"credential": "ml/files"}\n',
        b"[" * 4000 + b"\n",
        b'{"command": "list"',
    ],
)
def test_what_cannot_be_read_is_told_so(house: House, line: bytes) -> None:
    answer = house.live(lambda: house.say(line))

    assert json.loads(answer) == {"error": "the request could not be read"}


@pytest.mark.parametrize(
    "request_",
    [
        {"command": "dump"},
        {"command": None},
        {"command": ["list"]},
        {"command": "drop", "credential": "files"},
        {"command": "drop", "credential": "a/b/c"},
        {"command": "drop", "credential": 7},
    ],
)
def test_an_unknown_command_does_nothing(house: House, request_: dict[str, object]) -> None:
    async def work() -> bytes:
        await house.world.lease(MINE)
        answer = await house.say(json.dumps(request_).encode() + b"\n")
        assert house.world.keeper.live == 1
        return answer

    assert json.loads(house.live(work)) == {"error": "there is no such command"}


def test_a_request_that_is_too_long_gets_no_answer_and_the_next_one_does(house: House) -> None:
    async def work() -> tuple[bytes, Any]:
        long = await house.say(b"a" * 4 * MAX_REQUEST + b"\n", end=False)
        return long, await house.ask(command="list")

    assert house.live(work) == (b"", {"leases": [], "failing": []})


def test_one_who_says_nothing_is_let_go_and_holds_nobody_up(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.2)

    async def work() -> tuple[bytes, Any]:
        silent = asyncio.create_task(house.say(b'{"command"', end=False))
        await asyncio.sleep(0)
        return await house.ask(command="list"), await silent

    assert house.live(work) == ({"leases": [], "failing": []}, b"")


# --- who is answered ---------------------------------------------------------------------------------


@pytest.mark.parametrize("uid", [4242, 65534])
def test_another_user_is_not_answered_and_told_of(
    house: House, monkeypatch: pytest.MonkeyPatch, uid: int
) -> None:
    monkeypatch.setattr(module, "_peer", lambda _socket: uid)

    async def work() -> None:
        with pytest.raises(ControlError, match="only root and its own user are answered"):
            await house.ask(command="drop")

    house.live(work)

    assert house.strangers == [uid]


@pytest.mark.parametrize("uid", [0, os.geteuid()])
def test_root_and_our_own_user_are_answered(house: House, monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
    monkeypatch.setattr(module, "_peer", lambda _socket: uid)

    assert house.live(lambda: house.ask(command="list"))["leases"] == []


def test_the_kernel_says_who_asks() -> None:
    here, there = socket.socketpair()
    with here, there:
        assert module._peer(here) == os.getuid()


def test_the_socket_is_for_its_user_alone(house: House) -> None:
    async def work() -> int:
        return stat.S_IMODE(house.path.stat().st_mode)

    assert house.live(work) == 0o600


# --- its life ----------------------------------------------------------------------------------------


def test_a_socket_that_a_killed_process_left_behind_is_replaced(house: House) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(house.path))
    with pytest.raises(ControlError, match="no sidecar listens"):
        ask(house.path, {"command": "list"})

    assert house.live(lambda: house.ask(command="list"))["leases"] == []


def test_it_is_gone_when_the_sidecar_is_gone(house: House) -> None:
    async def work() -> bool:
        return house.path.exists()

    assert house.live(work)
    assert not house.path.exists()


def test_the_end_does_not_wait_for_one_who_says_nothing(house: House) -> None:
    async def work() -> None:
        silent = asyncio.create_task(house.say(b"{", end=False))
        await until(lambda: house.socket._writers)
        await house.socket.close()
        assert await silent == b""

    house.live(work)


def test_a_place_that_cannot_be_used_is_told_and_nothing_is_left_open(house: House, tmp_path: Path) -> None:
    missing = ControlSocket(tmp_path / "missing" / "control.sock", house.world.keeper, house.strangers.append)
    too_long = ControlSocket(tmp_path / ("x" * 200), house.world.keeper, house.strangers.append)

    for one in (missing, too_long):
        with pytest.raises(OSError, match=r"No such file|too long"):
            asyncio.run(one.open())
        asyncio.run(one.close())


# --- asking ------------------------------------------------------------------------------------------


def test_without_a_sidecar_the_setting_is_named(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="set PODKEY_STATE_DIR as the sidecar has it"):
        ask(tmp_path / "control.sock", {"command": "list"})


@contextmanager
def answering(path: Path, answer: bytes) -> Iterator[None]:
    """A sidecar that answers one request with these bytes."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            taken, _ = listener.accept()
            with taken:
                taken.recv(MAX_REQUEST)
                taken.sendall(answer)

        thread = Thread(target=serve)
        thread.start()
        yield
        thread.join()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "the sidecar did not answer: only root and its own user are answered"),
        (b'{"leases": [', "the sidecar's answer broke off: ask again"),
        (b'{"error": "there is no such command"}\n', "there is no such command"),
    ],
)
def test_what_is_no_answer_is_told(tmp_path: Path, answer: bytes, message: str) -> None:
    path = tmp_path / "control.sock"
    with answering(path, answer), pytest.raises(ControlError, match=message):
        ask(path, {"command": "list"})


def test_who_may_not_open_the_socket_is_told_who_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(socket.socket):
        def connect(self, _address: object) -> None:
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "socket", Closed)

    with pytest.raises(ControlError, match="is for root and the sidecar's user alone"):
        ask(tmp_path / "control.sock", {"command": "list"})


def test_a_sidecar_that_does_not_answer_in_time_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.05)
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with pytest.raises(ControlError, match="timed out"):
            ask(path, {"command": "list"})
