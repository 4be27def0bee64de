import asyncio
import socket
import ssl
from pathlib import Path

import pytest

from proxy.lanes.fast.handshakes import Handshake, shake_hands
from tests.fast_world import opened_pair, perform, turns
from tests.lane_world import Internet, ssl_client, ssl_server

NAME = "api.example.com"


@pytest.fixture(scope="module")
def internet() -> Internet:
    return Internet()


@pytest.fixture
def contexts(
    internet: Internet, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
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


def is_corked(sock: ssl.SSLSocket) -> bool:
    return bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK))


def test_one_that_is_given_up_ends_and_is_not_watched(contexts: Contexts) -> None:
    async def story() -> None:
        server, client = pair(contexts)
        with server, client:
            handshake = Handshake(server)
            shaking = asyncio.ensure_future(handshake.run())
            await turns()
            handshake.give_up()
            handshake.give_up()
            with pytest.raises(TimeoutError):
                await shaking
            assert not asyncio.get_running_loop().remove_reader(server.fileno())
            with pytest.raises(TimeoutError):
                await handshake.run()

    perform(story, asyncio.new_event_loop)


def test_behind_one_that_went_well_the_socket_is_still_watched(contexts: Contexts) -> None:
    async def story() -> None:
        server, client = pair(contexts)
        with server, client:
            await asyncio.gather(Handshake(server).run(), shake_hands(client))
            assert asyncio.get_running_loop().remove_reader(server.fileno())
            assert not asyncio.get_running_loop().remove_reader(client.fileno())

    perform(story, asyncio.new_event_loop)  # which says whether there was one


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("corks", [False, True])
def test_what_nobody_waits_for_is_held_back(
    contexts: Contexts, version: ssl.TLSVersion, *, corks: bool
) -> None:
    """In TLS 1.3 a ticket; before, what the server says last is what the client waits for."""

    async def story() -> None:
        contexts[1].maximum_version = version
        server, client = pair(contexts)
        with server, client:
            handshake = Handshake(server, corks=corks)
            await asyncio.gather(handshake.run(), shake_hands(client))
            assert client.version() == ("TLSv1.2" if version is ssl.TLSVersion.TLSv1_2 else "TLSv1.3")
            held = corks and version is ssl.TLSVersion.TLSv1_3
            assert (handshake.is_corked, is_corked(server)) == (held, held)

    perform(story)


def test_who_has_to_say_hello_again_is_answered_at_once(internet: Internet, tmp_path: Path) -> None:
    """The server asks for another group (RFC 8446 §4.1.4), and sends its flight in the second round."""

    async def story() -> None:
        server_context = ssl_server(internet.leaf(NAME), tmp_path)
        server_context.set_ecdh_curve("secp384r1")
        server, client = pair((server_context, ssl_client(internet.root)))
        with server, client:
            handshake = Handshake(server, corks=True)
            begun = asyncio.get_running_loop().time()
            await asyncio.gather(handshake.run(), shake_hands(client))
            # The kernel lets go of what is corked after 200 ms.
            assert asyncio.get_running_loop().time() - begun < 0.15
            assert handshake.is_corked

    perform(story)
