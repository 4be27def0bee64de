import errno
import socket
import struct
from contextlib import closing, suppress

import pytest

from proxy.core.contract import METADATA_ADDRESSES
from proxy.edge import sockets as module
from proxy.edge.sockets import (
    LOOPBACK,
    MAX_NEIGHBOURS,
    NEIGHBOUR_SECONDS,
    Neighbours,
    is_fenced,
    is_loopback,
    is_of_this_machine,
    listen_on_loopback,
    original_destination,
    reset,
)
from tests.lane_world import tcp_pair


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


# --- listeners ---------------------------------------------------------------------------------------


def test_it_listens_on_the_loopback_addresses_and_nowhere_else() -> None:
    port = free_port()

    listeners = listen_on_loopback(port)

    hosts = [listener.getsockname()[0] for listener in listeners]
    assert hosts == list(LOOPBACK[: 2 if has_ipv6() else 1])
    assert all(not listener.getblocking() for listener in listeners)
    for listener in listeners:
        socket.create_connection(listener.getsockname()[:2]).close()
        listener.close()


def test_a_second_process_of_ours_may_listen_beside_the_first() -> None:
    """The kernel deals connections out among all that listen (SO_REUSEPORT), here within one process."""
    port = free_port()
    listeners = [*listen_on_loopback(port), *listen_on_loopback(port)]
    first, second = (one for one in listeners if one.family == socket.AF_INET)

    taken = {first: 0, second: 0}
    for _ in range(200):
        with socket.create_connection(("127.0.0.1", port)):
            for listener in taken:
                with suppress(BlockingIOError):
                    listener.accept()[0].close()
                    taken[listener] += 1

    assert sum(taken.values()) == 200
    assert min(taken.values()) > 0
    for listener in listeners:
        listener.close()


def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        listen_on_loopback(taken.getsockname()[1])


@pytest.mark.parametrize(
    ("fault", "where"),
    [(errno.EAFNOSUPPORT, "socket"), (errno.EADDRNOTAVAIL, "bind")],
)
def test_a_machine_without_ipv6_gets_the_other_one(
    monkeypatch: pytest.MonkeyPatch, fault: int, where: str
) -> None:
    real = socket.socket

    class Limited(real):  # type: ignore[misc, valid-type]
        def __init__(self, family: int, kind: int) -> None:
            if family == socket.AF_INET6 and where == "socket":
                raise OSError(fault, "no IPv6")
            super().__init__(family, kind)

        def bind(self, address: tuple[str, int]) -> None:
            if self.family == socket.AF_INET6:
                raise OSError(fault, "no IPv6")
            super().bind(address)

    monkeypatch.setattr(socket, "socket", Limited)

    (listener,) = listen_on_loopback(free_port())

    assert listener.getsockname()[0] == "127.0.0.1"
    listener.close()


def test_without_sockets_at_all_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(socket, "socket", none)

    with pytest.raises(OSError, match="too many"):
        listen_on_loopback(1)


# --- what the kernel knows -----------------------------------------------------------------------------


def test_a_connection_that_was_not_redirected_has_no_original_destination() -> None:
    theirs, ours = tcp_pair()
    with closing(theirs), closing(ours):
        assert original_destination(ours) is None


class Redirected:
    """A socket of which the tracker knows something."""

    def __init__(self, family: int, raw: bytes, here: tuple[str, int]) -> None:
        self.family = family
        self._raw = raw
        self._here = here
        self.asked: list[tuple[int, int, int]] = []

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        self.asked.append((level, option, size))
        return self._raw

    def getsockname(self) -> tuple[str, int]:
        return self._here


V4 = struct.pack("!HH4s8x", socket.AF_INET, 443, socket.inet_aton("192.0.2.7"))
V6 = struct.pack("!HHI16sI", socket.AF_INET6, 443, 0, socket.inet_pton(socket.AF_INET6, "2001:db8::7"), 0)


@pytest.mark.parametrize(
    ("family", "raw", "here", "found"),
    [
        (socket.AF_INET, V4, ("127.0.0.1", 15001), ("192.0.2.7", 443)),
        (socket.AF_INET6, V6, ("::1", 15001), ("2001:db8::7", 443)),
        (socket.AF_INET, V4, ("192.0.2.7", 443), None),
        (socket.AF_INET6, V6, ("2001:db8:0::7", 443), None),
        (socket.AF_INET, V4, ("192.0.2.7", 15001), ("192.0.2.7", 443)),
    ],
)
def test_where_a_redirected_connection_was_meant_to_go_is_read(
    family: int, raw: bytes, here: tuple[str, int], found: tuple[str, int] | None
) -> None:
    sock = Redirected(family, raw, here)

    assert original_destination(sock) == found  # type: ignore[arg-type]
    assert sock.asked[0][1:] == (80, len(raw))


@pytest.mark.parametrize(
    ("host", "ours"),
    [("127.0.0.1", True), ("127.8.9.10", True), ("::1", True), ("192.0.2.7", False), ("2001:db8::7", False)],
)
def test_only_this_machines_own_addresses_are_its_own(host: str, ours: bool) -> None:  # noqa: FBT001
    assert is_of_this_machine(host) is ours


def test_without_a_descriptor_to_ask_with_nobody_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(socket, "socket", none)

    assert not is_of_this_machine("192.0.2.7")
    assert is_of_this_machine("127.0.0.1")


# --- the fence -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        *METADATA_ADDRESSES,
        "::ffff:169.254.169.254",
        "::ffff:a9fe:aa17",
        "2002:a9fe:a9fe::",
        "2002:a9fe:a9fe::1",
        "64:ff9b::a9fe:a9fe",
        "fd00:ec2:0::254",
        "0.0.0.0",
        "::",
        "::ffff:0.0.0.0",
        "fd00:ec2::254%eth0",
    ],
)
def test_metadata_and_unspecified_addresses_are_fenced(host: str) -> None:
    assert is_fenced(host)


@pytest.mark.parametrize(
    "host",
    [
        "192.0.2.7",
        "169.254.1.1",
        "127.0.0.1",
        "::1",
        "2001:db8::7",
        "2002:c000:0207::",
        "64:ff9b::c000:207",
        "::ffff:192.0.2.7",
        "fe80::1%eth0",
    ],
)
def test_other_addresses_are_not(host: str) -> None:
    assert not is_fenced(host)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("192.0.2.7", False),
        ("::ffff:192.0.2.7", False),
    ],
)
def test_loopback_is_known_in_all_its_forms(host: str, loopback: bool) -> None:  # noqa: FBT001
    assert is_loopback(host) is loopback


def test_a_reset_is_seen_as_one() -> None:
    theirs, ours = tcp_pair()
    with closing(theirs):
        reset(ours)

        with pytest.raises(ConnectionResetError):
            theirs.recv(1)
    assert ours.fileno() == -1
    reset(ours)  # again: it is closed, and that is all


# --- who is of this machine, remembered -----------------------------------------------------------------


class Asked:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hosts: list[str] = []
        self.is_ours = True
        self.now = 0.0
        monkeypatch.setattr(module, "is_of_this_machine", self._answer)
        self.neighbours = Neighbours(lambda: self.now)

    def _answer(self, host: str) -> bool:
        self.hosts.append(host)
        return self.is_ours


def test_an_address_that_is_ours_is_so_for_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch)
    assert asked.neighbours("192.0.2.7")
    asked.is_ours = False
    asked.now = NEIGHBOUR_SECONDS - 0.1
    assert asked.neighbours("192.0.2.7")
    assert not asked.neighbours("192.0.2.8")
    asked.now = NEIGHBOUR_SECONDS
    assert not asked.neighbours("192.0.2.7")
    assert asked.hosts == ["192.0.2.7", "192.0.2.8", "192.0.2.7"]


def test_an_address_that_is_not_ours_is_asked_for_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch)
    asked.is_ours = False
    assert not asked.neighbours("192.0.2.7")
    asked.is_ours = True
    assert asked.neighbours("192.0.2.7")


def test_no_more_addresses_are_remembered_than_a_pod_has(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch)
    for number in range(MAX_NEIGHBOURS + 1):
        assert asked.neighbours(f"127.0.0.{number}")
    assert list(asked.neighbours._until) == [f"127.0.0.{MAX_NEIGHBOURS}"]
