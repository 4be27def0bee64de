import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.tokens.discovery import MAX_DISCOVERY_BYTES, Discovery, DiscoveryFault, read_discovery

GOOD = {"issuer": "https://issuer.example.com", "jwks_uri": "https://10.0.0.1:6443/openid/v1/jwks"}


def fault(data: bytes) -> str:
    found = read_discovery(data)
    assert isinstance(found, DiscoveryFault)
    return found.message


def test_an_issuer_names_itself_and_its_keys() -> None:
    whole = {**GOOD, "response_types_supported": ["id_token"]}

    assert read_discovery(json.dumps(whole).encode()) == Discovery(GOOD["issuer"], GOOD["jwks_uri"])


@pytest.mark.parametrize("name", ["issuer", "jwks_uri"])
@pytest.mark.parametrize("value", [None, "", 7, ["x"]])
def test_without_one_of_them_it_is_of_no_use(name: str, value: object) -> None:
    assert fault(json.dumps({**GOOD, name: value}).encode()) == f"the discovery document names no `{name}`"


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example.com/keys",
        "//issuer.example.com/keys",
        "file:///etc/passwd",
        "https:///keys",
        "https://somebody@issuer.example.com/keys",
        "https://issuer.example.com:0/keys",
        "https://issuer.example.com:99999/keys",
        "https://[::1/keys",
    ],
)
def test_keys_come_over_https_alone(url: str) -> None:
    assert "which is no https URL" in fault(json.dumps({**GOOD, "jwks_uri": url}).encode())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is not JSON"),
        (b"<html>", "is not JSON"),
        (b"[]", "is not a JSON object"),
        (b"\xff", "is not UTF-8"),
        (b'{"issuer": "a", "issuer": "b"}', "has a member twice"),
        (b" " * (MAX_DISCOVERY_BYTES + 1), "more than any issuer's"),
    ],
)
def test_what_is_no_discovery_document_is_named(data: bytes, said: str) -> None:
    assert said in fault(data)


@given(st.binary(max_size=200))
def test_whatever_the_bytes_are_there_is_an_answer(data: bytes) -> None:
    assert isinstance(read_discovery(data), DiscoveryFault)


def test_no_prefix_is_taken_for_the_whole() -> None:
    whole = json.dumps(GOOD).encode()

    assert all(isinstance(read_discovery(whole[:end]), DiscoveryFault) for end in range(len(whole)))
