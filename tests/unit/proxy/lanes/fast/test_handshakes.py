import asyncio
import ssl

import pytest

from proxy.lanes.fast.handshakes import shake_hands
from tests.fast_world import opened_pair, perform, turns
from tests.lane_world import Internet, ssl_client, ssl_server

NAME = "api.example.com"


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    internet = Internet()
    return ssl_server(internet.leaf(NAME), tmp_path_factory.mktemp("leaf")), ssl_client(internet.root)


Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


def pair(contexts: Contexts, name: str = NAME) -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
    server, client = contexts
    theirs, ours = opened_pair()
    theirs.setblocking(False)  # noqa: FBT003 - its name
    return (
        server.wrap_socket(ours, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False),
        client.wrap_socket(
            theirs, do_handshake_on_connect=False, server_hostname=name, suppress_ragged_eofs=False
        ),
    )


def test_both_ends_shake_hands_at_once(contexts: Contexts) -> None:
    async def story() -> None:
        server, client = pair(contexts)
        with server, client:
            await asyncio.gather(shake_hands(server), shake_hands(client))
            assert client.selected_alpn_protocol() == server.selected_alpn_protocol() == "http/1.1"

    perform(story)


def test_a_certificate_for_another_name_is_told_to_both(contexts: Contexts) -> None:
    async def story() -> None:
        server, client = pair(contexts, "other.example.com")
        with server, client:
            outcome = await asyncio.gather(shake_hands(server), shake_hands(client), return_exceptions=True)
        assert isinstance(outcome[1], ssl.SSLCertVerificationError)

    perform(story)


def test_an_end_in_the_middle_is_raised(contexts: Contexts) -> None:
    async def story() -> None:
        server, client = pair(contexts)
        with server, client:
            shaking = asyncio.ensure_future(shake_hands(server))
            await turns()
            client.close()
            with pytest.raises(OSError):  # noqa: PT011 - which one is the kernel's choice
                await shaking

    perform(story)


def test_who_stops_waiting_leaves_nothing_behind_in_the_loop(contexts: Contexts) -> None:
    async def story() -> None:
        server, client = pair(contexts)
        with server, client:
            shaking = asyncio.ensure_future(shake_hands(server))
            await turns()
            shaking.cancel()
            await asyncio.wait({shaking})
            assert not asyncio.get_running_loop().remove_reader(server.fileno())
            # It can go on where it stood.
            await asyncio.gather(shake_hands(server), shake_hands(client))

    perform(story)


def test_a_handshake_waits_for_room_to_write(contexts: Contexts) -> None:
    """A peer that reads nothing, and a window that is full."""

    async def story() -> None:
        server, client = pair(contexts)
        real = server.do_handshake
        full = iter([ssl.SSLWantWriteError()])

        def handshake() -> None:
            for error in full:
                raise error
            real()

        class Full:
            """Says that it cannot write, once."""

            do_handshake = staticmethod(handshake)
            fileno = staticmethod(server.fileno)

        with server, client:
            await asyncio.gather(shake_hands(Full()), shake_hands(client))  # type: ignore[arg-type] # as far as it goes
            assert server.selected_alpn_protocol() == "http/1.1"

    perform(story)
