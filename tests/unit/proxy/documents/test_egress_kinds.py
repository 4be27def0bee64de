from ipaddress import ip_network

import pytest

from proxy.core.settings import EgressProxy
from proxy.documents.egress_kinds import NO_PROXY_ENTRY, PROXY
from proxy.documents.problems import Fault


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("http://proxy.example.com:3128", EgressProxy("proxy.example.com", 3128, tls=False)),
        ("HTTPS://Proxy.example.com:443/", EgressProxy("proxy.example.com", 443, tls=True)),
        ("http://10.0.0.1:3128", EgressProxy("10.0.0.1", 3128, tls=False)),
        ("http://[FD00::1]:3128", EgressProxy("fd00::1", 3128, tls=False)),
    ],
)
def test_a_proxy_is_a_scheme_a_host_and_a_port(text: str, proxy: EgressProxy) -> None:
    assert PROXY.parse(text) == proxy


@pytest.mark.parametrize(
    "text",
    [
        "proxy.example.com:3128",
        "http://proxy.example.com",
        "http://proxy.example.com:0",
        "http://proxy.example.com:65536",
        "http://proxy.example.com:3128/path",
        "socks5://proxy.example.com:1080",
        "http://:3128",
        "http://fd00::1:3128",
        "http://[proxy]:3128",
        "http://*.example.com:3128",
        "http://127.1:3128",
    ],
)
def test_what_is_no_proxys_url_is_said_to_be_none(text: str) -> None:
    with pytest.raises(Fault, match="is not the URL of a proxy") as caught:
        PROXY.parse(text)

    assert "http://proxy.example.com:3128" in caught.value.fix


@pytest.mark.parametrize(
    "text", ["http://hunter:2@proxy:3128", "hunter@proxy", "hunter:2@proxy.example.com:3128"]
)
def test_credentials_in_the_url_are_refused_and_not_shown(text: str) -> None:
    with pytest.raises(Fault, match="an environment is no place for one") as caught:
        PROXY.parse(text)

    assert "hunter" not in caught.value.message + caught.value.fix
    assert "PODKEY_EGRESS_PROXY_AUTH_FILE" in caught.value.fix


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("*", "*"),
        ("IDP.example.com", "idp.example.com"),
        (".Svc", ".svc"),
        ("localhost", "localhost"),
        ("10.0.0.1", ip_network("10.0.0.1/32")),
        ("fd00::1", ip_network("fd00::1/128")),
        ("10.0.0.0/8", ip_network("10.0.0.0/8")),
        ("fd00::/8", ip_network("fd00::/8")),
    ],
)
def test_what_goes_without_the_proxy_is_a_name_or_a_network(text: str, entry: object) -> None:
    assert NO_PROXY_ENTRY.parse(text) == entry


@pytest.mark.parametrize("text", ["*.example.com", "example.com:443", "https:", ".", "..svc", "-", "10.0.0"])
def test_what_is_neither_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(Fault, match="is neither a host nor a network") as caught:
        NO_PROXY_ENTRY.parse(text)

    assert "without scheme and port" in caught.value.fix


def test_a_network_with_bits_behind_its_prefix_is_refused() -> None:
    with pytest.raises(Fault, match="has bits set behind its prefix"):
        NO_PROXY_ENTRY.parse("10.0.0.1/8")
