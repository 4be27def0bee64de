from typing import Any

import pytest
from hypothesis import given

from proxy.core.oauth_sources import (
    ClientAuth,
    FederatedAssertion,
    PrivateKeyJwt,
    SecretBasic,
    SecretPost,
)
from proxy.core.parts import SecretKey
from proxy.core.signing import SigningAlgorithm
from proxy.documents.oauth_clients import CLIENT_AUTH, CLIENT_ID, KEY_ID, rendered_auth
from proxy.documents.reading import INVALID
from proxy.documents.shapes import Text
from proxy.documents.yaml_nodes import write_documents
from tests.document_strategies import CLIENT_AUTHS, codes, read_shape

KEY = SecretKey("client", "key.pem")
AUTHS: list[tuple[str, ClientAuth]] = [
    ("{secretBasic: {secretName: client, key: key.pem}}", SecretBasic(KEY)),
    ("{secretPost: {secretName: client, key: key.pem}}", SecretPost(KEY)),
    ("{privateKeyJwt: {secretName: client, key: key.pem}}", PrivateKeyJwt(KEY)),
    (
        "{privateKeyJwt: {secretName: client, key: key.pem, keyId: k 1, algorithm: ES256, audience: https://a}}",
        PrivateKeyJwt(KEY, "k 1", SigningAlgorithm.ES256, "https://a"),
    ),
    ("{federated: {audience: podkey}}", FederatedAssertion("podkey")),
]


@pytest.mark.parametrize(("text", "auth"), AUTHS)
def test_reads_how_a_client_proves_itself(text: str, auth: ClientAuth) -> None:
    assert read_shape(CLIENT_AUTH, text) == (auth, [])


@given(auth=CLIENT_AUTHS)
def test_property_what_is_written_is_read_as_it_was(auth: ClientAuth) -> None:
    assert read_shape(CLIENT_AUTH, write_documents([rendered_auth(auth)])) == (auth, [])


def test_says_nothing_about_what_is_as_it_would_be_anyway() -> None:
    written: dict[str, Any] = {"privateKeyJwt": {"secretName": "client", "key": "key.pem"}}
    assert rendered_auth(PrivateKeyJwt(KEY)) == written


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("{}", "exactly_one", "`federated`, `privateKeyJwt`, `secretBasic`, `secretPost`"),
        (
            "{federated: {audience: a}, secretBasic: {secretName: s, key: k}}",
            "exactly_one",
            "`federated` and `secretBasic`; it takes exactly one",
        ),
        ("{federated: {}}", "missing_key", "`audience` is missing"),
        ("{secretBasic: {secretName: s}}", "missing_key", "`key` is missing"),
        ("{secretPost: {secretName: S, key: k}}", "bad_value", "`S` is not a Kubernetes object name"),
        (
            "{privateKeyJwt: {secretName: s, key: k, algorithm: HS256}}",
            "bad_value",
            "`HS256` is not one of: RS256, ES256",
        ),
        ("{privateKeyJwt: {secretName: s, key: k, keyId: ' '}}", "bad_value", "` ` is not a key id"),
        ("{privateKeyJwt: {secretName: s, key: k, audience: a b}}", "bad_value", "`a b` is not an audience"),
    ],
)
def test_tells_what_is_wrong_with_a_client(text: str, code: str, message: str) -> None:
    value, problems = read_shape(CLIENT_AUTH, text)
    assert value is INVALID
    assert codes(problems) == [code]
    assert message in problems[0].message


@pytest.mark.parametrize("shape", [CLIENT_ID, KEY_ID])
def test_an_id_is_any_printable_ascii_as_servers_give_them_out(shape: Text) -> None:
    for text in ("x", "system:serviceaccount:ml:trainer", "my client", "https://a.example/?q#f", "i" * 512):
        assert read_shape(shape, f"'{text}'") == (text, [])
    for text in (" x", "x ", "é", "a\tb", "i" * 513):
        assert read_shape(shape, f'"{text}"')[0] is INVALID
