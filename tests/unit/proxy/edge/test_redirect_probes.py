"""On loopback, where nothing is redirected: what probes make of it. tests/integration has real redirects."""

import os
import socket
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import pytest

from proxy.core.redirect import Redirect
from proxy.edge import redirect_probes
from proxy.edge.redirect_probes import Check, verify_redirect

FOUR = redirect_probes._FOUR
# UDP may not be connected to it, so there is no route as far as the probes see.
UNREACHABLE = "255.255.255.255"


@pytest.fixture(autouse=True)
def on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """No probe leaves this machine: the address that nobody has is our own, and there is no IPv6."""
    monkeypatch.setattr(redirect_probes, "_FOUR", FOUR._replace(nobody="127.0.0.1"))
    monkeypatch.setattr(redirect_probes, "_SIX", FOUR._replace(name="IPv6", nobody=UNREACHABLE))
    monkeypatch.setattr(redirect_probes, "PROBE_SECONDS", 0.2)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def redirect_to(port: int, captured: int, **changes: object) -> Redirect:
    """A redirect that need not exist: a call to the proxy's own port arrives there anyhow."""
    quiet = Redirect(port=port, captured_ports=(captured,), fence_metadata=False, reject_quic=False)
    return quiet._replace(**changes)  # type: ignore[arg-type]


def tcp(redirect: Redirect) -> Check:
    [_, check] = verify_redirect(redirect)
    assert check.name == "IPv4 TCP"
    return check


def test_a_call_that_arrives_with_its_destination_is_fine() -> None:
    port = free_port()

    assert verify_redirect(redirect_to(port, port)) == [
        Check("IPv6", "no IPv6 here (Permission denied)"),
        Check("IPv4 TCP", f"calls to {port} arrive at 127.0.0.1:{port}"),
    ]


def test_a_listener_that_is_there_already_may_answer(listener: socket.socket) -> None:
    port = listener.getsockname()[1]

    assert tcp(redirect_to(port, port)).ok


def test_a_refused_call_is_missent() -> None:
    assert "is refused" in tcp(redirect_to(free_port(), free_port())).detail


def test_a_call_that_another_program_takes_is_found(listener: socket.socket) -> None:
    captured = listener.getsockname()[1]

    check = tcp(redirect_to(free_port(), captured))

    assert "something else redirects it" in check.detail
    assert "service mesh" in check.fix


def test_a_call_that_has_no_answer_left_the_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(self: socket.socket, address: object) -> None:
        raise TimeoutError

    with monkeypatch.context() as patch:
        patch.setattr(
            redirect_probes, "_no_route", lambda family, _: "why" if family.name == "IPv6" else None
        )
        patch.setattr(socket, "socket", type("Deaf", (socket.socket,), {"connect": connect}))
        check = tcp(redirect_to(free_port(), 443))

    assert check.detail == "port 443 left the pod: it is not redirected (no answer)"


def test_a_lost_destination_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setattr(
        redirect_probes._Family, "original_destination", lambda _, connection: ("10.0.0.1", 443)
    )

    check = tcp(redirect_to(port, port))

    assert check.detail.endswith("but its original destination is lost (10.0.0.1 port 443)")


def test_calls_of_other_programs_are_not_taken_for_ours(listener: socket.socket) -> None:
    place = listener.getsockname()
    with socket.create_connection(place), socket.create_connection(place) as ours:
        arrived = redirect_probes._arrival(FOUR, listener, ours.getsockname(), 443)

    assert arrived == place


def test_a_call_whose_port_was_changed_is_known_by_its_destination(listener: socket.socket) -> None:
    place = listener.getsockname()
    family = FOUR._replace(nobody=place[0])
    with socket.create_connection(place):
        assert redirect_probes._arrival(family, listener, ("127.0.0.1", 1), place[1]) == place


def test_a_place_where_nobody_can_listen_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redirect_probes, "_FOUR", FOUR._replace(nobody="127.0.0.1", loopback="192.0.2.1"))

    check = tcp(redirect_to(free_port(), 443))

    assert check.detail.startswith("nobody can listen on 192.0.2.1:")
    assert check.detail.endswith(": Cannot assign requested address")


def test_udp_that_is_sent_is_a_way_around() -> None:
    redirect = redirect_to(free_port(), free_port(), reject_quic=True)

    checks = {check.name: check for check in verify_redirect(redirect)}

    assert "QUIC goes around the proxy" in checks["IPv4 QUIC"].detail


def test_a_metadata_address_that_takes_datagrams_is_not_fenced() -> None:
    redirect = redirect_to(
        free_port(), 443, fence_metadata=True, metadata_addresses=(ip_address("127.0.0.1"),)
    )

    check = verify_redirect(redirect)[-1]

    assert check.detail == "127.0.0.1 is not fenced: calls to it leave the pod"
    assert "PODKEY_FENCE_METADATA=false" in check.fix


def test_a_metadata_address_without_a_route_needs_no_fence() -> None:
    redirect = redirect_to(
        free_port(), 443, fence_metadata=True, metadata_addresses=(ip_address(UNREACHABLE),)
    )

    assert verify_redirect(redirect)[-1] == Check("metadata", "1 metadata addresses are out of reach")


def test_an_excluded_documentation_network_cannot_be_tried() -> None:
    redirect = redirect_to(free_port(), 443, excluded_cidrs=(ip_network("127.0.0.0/8"),))

    [check] = verify_redirect(redirect)

    assert not check.ok
    assert check.detail == (
        "cannot be tried, because 127.0.0.1 is in an excluded network; no IPv6 here (Permission denied)"
    )


def test_the_proxys_user_proves_nothing() -> None:
    [check] = verify_redirect(Redirect(proxy_uid=os.geteuid()))

    assert check.name == "user"
    assert not check.ok


@pytest.mark.parametrize(("loopback", "shown"), [("127.0.0.1", "127.0.0.1:15001"), ("::1", "[::1]:15001")])
def test_an_ipv6_place_is_written_in_brackets(loopback: str, shown: str) -> None:
    assert FOUR._replace(loopback=loopback).listener_at(15001) == shown
