from ipaddress import ip_network

import pytest

from proxy.core.redirect import Redirect
from proxy.documents.redirect_settings import read_redirect

NOBODY = "many images run as 65534 (nobody), and so does what a user namespace does not map"


def problems(**environment: str) -> list[str]:
    result = read_redirect(environment)
    assert isinstance(result, list)
    assert all(problem.fix for problem in result)
    return [str(problem) for problem in result]


def test_nothing_set_is_the_default() -> None:
    assert read_redirect({}) == Redirect()


def test_every_setting_has_its_field() -> None:
    environment = {
        "PODKEY_PROXY_UID": "7000",
        "PODKEY_TRANSPARENT_PORT": "16001",
        "PODKEY_CAPTURE_PORTS": "443, 8443",
        "PODKEY_EXCLUDE_PORTS": "8443",
        "PODKEY_EXCLUDE_CIDRS": "10.0.0.0/8,fd00::/8",
        "PODKEY_FENCE_METADATA": "false",
        "PODKEY_REJECT_QUIC": "false",
        "PATH": "/bin",
    }

    assert read_redirect(environment) == Redirect(
        proxy_uid=7000,
        port=16001,
        captured_ports=(443, 8443),
        excluded_ports=(8443,),
        excluded_cidrs=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")),
        fence_metadata=False,
        reject_quic=False,
    )


def test_all_problems_are_reported_at_once() -> None:
    found = problems(
        PODKEY_PROXY_UID="root",
        PODKEY_TRANSPARENT_PORT="0",
        PODKEY_CAPTURE_PORTS="https",
        PODKEY_EXCLUDE_PORTS="x",
        PODKEY_EXCLUDE_CIDRS="10.0.0.1/8,everywhere",
        PODKEY_FENCE_METADATA="yes",
        PODKEY_REJECT_QUIC="no",
    )

    assert [problem.partition(":")[0] for problem in found] == [
        "PODKEY_PROXY_UID",
        "PODKEY_TRANSPARENT_PORT",
        "PODKEY_CAPTURE_PORTS",
        "PODKEY_EXCLUDE_PORTS",
        "PODKEY_EXCLUDE_CIDRS",
        "PODKEY_EXCLUDE_CIDRS",
        "PODKEY_FENCE_METADATA",
        "PODKEY_REJECT_QUIC",
    ]


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {"PODKEY_PROXY_UID": "0"},
            "PODKEY_PROXY_UID: everything that runs as root would go around the proxy",
        ),
        (
            {"PODKEY_PROXY_UID": "65534"},
            f"PODKEY_PROXY_UID: {NOBODY}: it would go around the proxy",
        ),
        (
            {"PODKEY_EXCLUDE_PORTS": "80,443,22"},
            "PODKEY_EXCLUDE_PORTS: every captured port is excluded, so nothing would be captured",
        ),
        (
            {"PODKEY_CAPTURE_PORTS": "443,15001"},
            "PODKEY_CAPTURE_PORTS: 15001 is the proxy's own port",
        ),
        (
            {"PODKEY_TRANSPARENT_PORT": "443"},
            "PODKEY_CAPTURE_PORTS: 443 is the proxy's own port",
        ),
        (
            {"PODKEY_EXCLUDE_CIDRS": "0.0.0.0/0"},
            "PODKEY_EXCLUDE_CIDRS: `0.0.0.0/0` leaves nothing of IPv4 to capture",
        ),
        ({"PODKEY_EXCLUDE_CIDRS": "::/0"}, "PODKEY_EXCLUDE_CIDRS: `::/0` leaves nothing of IPv6 to capture"),
    ],
)
def test_what_would_leave_a_hole_is_refused(environment: dict[str, str], message: str) -> None:
    assert problems(**environment) == [message]


def test_a_port_that_is_excluded_may_be_the_proxys() -> None:
    environment = {"PODKEY_CAPTURE_PORTS": "443,15001", "PODKEY_EXCLUDE_PORTS": "15001"}

    assert isinstance(read_redirect(environment), Redirect)


@pytest.mark.parametrize(
    "environment",
    [
        {"PODKEY_CAPTURE_PORTS": "x", "PODKEY_EXCLUDE_PORTS": "443,80"},
        {"PODKEY_CAPTURE_PORTS": "15001,x"},
        {"PODKEY_CAPTURE_PORTS": "15001", "PODKEY_TRANSPARENT_PORT": "x"},
    ],
)
def test_a_broken_setting_is_not_compared_with_others(environment: dict[str, str]) -> None:
    """What stands in for it was not the reader's choice."""
    [problem] = problems(**environment)
    assert problem.endswith("`x` is not a port")
