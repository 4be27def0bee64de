import asyncio
import os
import socket
from pathlib import Path

import pytest

from proxy.core.arrival import LaneName
from proxy.core.services import Catalogue
from proxy.core.settings import Capture, Endpoint
from proxy.edge.endpoints import (
    TOKEN_BYTES,
    TOKEN_FILE,
    BoundEndpoint,
    EndpointDoor,
    base_urls,
    bind_endpoints,
    load_or_make_token,
    path_prefix,
)
from proxy.edge.reception import Guest
from proxy.lanes.interface import Accepted


def bound(catalogue: Catalogue, *targets: str) -> list[BoundEndpoint]:
    endpoints, problems = bind_endpoints(
        [Endpoint(8100 + number, target) for number, target in enumerate(targets)], catalogue
    )
    assert problems == []
    return endpoints


# --- what they mean --------------------------------------------------------------------------------------


def test_a_service_stands_for_its_main_host(catalogue: Catalogue) -> None:
    (endpoint,) = bound(catalogue, "openai")

    assert (endpoint.port, endpoint.host) == (8100, "api.openai.com")
    assert endpoint.service is catalogue["openai"]


def test_a_host_of_a_service_has_its_variables(catalogue: Catalogue) -> None:
    (endpoint,) = bound(catalogue, "api.openai.com")

    assert endpoint.service is not None
    assert endpoint.service.name == "openai"


def test_a_host_that_nobody_knows_has_no_service(catalogue: Catalogue) -> None:
    (endpoint,) = bound(catalogue, "models.corp.example")

    assert (endpoint.host, endpoint.service) == ("models.corp.example", None)


def test_every_target_that_is_neither_is_told_with_what_may_be_meant(catalogue: Catalogue) -> None:
    endpoints = [Endpoint(8100, "opnai"), Endpoint(8101, "localhost"), Endpoint(8102, "openai")]

    found, problems = bind_endpoints(endpoints, catalogue)

    assert [endpoint.port for endpoint in found] == [8102]
    assert [problem.name for problem in problems] == ["PODKEY_ENDPOINTS"] * 2
    assert "port 8100: `opnai` is neither a service with a host nor a host" in problems[0].message
    assert "openai" in problems[0].fix


# --- the token -------------------------------------------------------------------------------------------


def test_the_token_is_kept_across_restarts(tmp_path: Path) -> None:
    first = load_or_make_token(tmp_path)

    assert load_or_make_token(tmp_path) == first
    assert len(first) == 2 * TOKEN_BYTES
    assert path_prefix(first) == f"/podkey-{first}"


def test_nobody_else_may_read_the_token(tmp_path: Path) -> None:
    load_or_make_token(tmp_path)

    assert (tmp_path / TOKEN_FILE).stat().st_mode & 0o777 == 0o600


def test_pods_have_different_tokens(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()

    assert len({load_or_make_token(folder) for folder in folders}) == 3


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 32, b"../" * 10 + b"ab", b"a" * 65])
def test_a_file_that_holds_no_token_is_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / TOKEN_FILE).write_bytes(content)

    token = load_or_make_token(tmp_path)

    assert token.encode() != content
    assert load_or_make_token(tmp_path) == token


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    (tmp_path / TOKEN_FILE).symlink_to(target)

    with pytest.raises(FileExistsError):
        load_or_make_token(tmp_path)
    assert not target.exists()


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        load_or_make_token(tmp_path / "missing")


# --- what the application reads -----------------------------------------------------------------------


def test_base_urls_are_an_environment_file(catalogue: Catalogue) -> None:
    lines = list(base_urls(bound(catalogue, "openai", "models.corp.example"), "/podkey-0"))

    assert lines[0].startswith("#")
    assert "OPENAI_BASE_URL=http://127.0.0.1:8100/podkey-0/v1" in lines
    assert lines[-1] == "# models.corp.example: http://127.0.0.1:8101/podkey-0"
    assert all("\n" not in line for line in lines)


def test_every_base_url_of_the_catalogue_can_be_an_environment_variable(catalogue: Catalogue) -> None:
    named = [service.name for service in catalogue.values() if service.main_host and service.base_urls]

    for line in list(base_urls(bound(catalogue, *named), "/podkey-0"))[1:]:
        name, _, url = line.partition("=")
        assert name.isidentifier()
        assert url.startswith("http://127.0.0.1:")


# --- the door ------------------------------------------------------------------------------------------


def test_what_comes_to_its_port_is_served_for_its_host(catalogue: Catalogue) -> None:
    class Stop:
        name = LaneName.MITMPROXY
        took: Accepted

        async def serve(self, accepted: Accepted) -> None:
            self.took = accepted

    lane, guest = Stop(), Guest()
    (endpoint,) = bound(catalogue, "openai")
    with socket.socket() as sock:
        asyncio.run(EndpointDoor(endpoint, "/podkey-0", lane).serve(sock, guest))

    accepted = lane.took
    assert guest.accepted is accepted
    assert (accepted.address, accepted.alpn) == (("api.openai.com", 443), None)
    arrival = accepted.arrival
    assert (arrival.name, arrival.port, arrival.capture) == ("api.openai.com", 443, Capture.ENDPOINT)
    assert (arrival.path_prefix, arrival.lane) == ("/podkey-0", LaneName.MITMPROXY)
    assert "podkey-0" not in repr(arrival)


def test_the_umask_does_not_matter(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        load_or_make_token(tmp_path)
    finally:
        os.umask(before)

    assert (tmp_path / TOKEN_FILE).stat().st_mode & 0o777 == 0o600
