"""Ours must not be told from the real thing, but by its key."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from proxy.core.signing import SigningAlgorithm
from proxy.tokens.compact import Compact, read_compact
from proxy.tokens.dev_issuer import (
    DEFAULT_ISSUER,
    DevPod,
    discovery,
    key_id,
    key_set,
    pod_claims,
    public_jwk,
    signed_token,
)
from proxy.tokens.jose import PrivateKey, new_private_key
from proxy.tokens.jwks import KeySet, read_jwks
from proxy.tokens.pod_token import Expected, Verified, verify
from tests.real_tokens import DISCOVERY, JWKS, issued, real_claims, real_token

NOW = datetime(2026, 11, 20, 14, tzinfo=UTC)
RS256, ES256 = (new_private_key(algorithm) for algorithm in SigningAlgorithm)


def blanked(text: str, *values: str) -> str:
    for value in values:
        text = text.replace(value, "*")
    return text


def dump(claims: object) -> str:
    return json.dumps(claims, separators=(",", ":"))


@pytest.mark.parametrize("name", ["kubelet-projected-aud-podkey", "unbound-aud-podkey"])
def test_claims_are_those_of_kubernetes_to_the_last_byte_but_for_the_uids(name: str) -> None:
    real = real_claims(name)
    about = real["kubernetes.io"]
    bound = "pod" in about
    pod = DevPod(
        namespace="ml",
        service_account="trainer",
        name=about["pod"]["name"] if bound else "",
        uid=about["pod"]["uid"] if bound else "",
        node=about["node"]["name"] if bound else "",
    )

    ours = pod_claims(
        pod,
        issuer=DEFAULT_ISSUER,
        audience="podkey",
        token_id=real["jti"],
        now=issued(name),
        lifetime=timedelta(hours=1),
    )

    def uids(claims: dict[str, dict[str, dict[str, str]]]) -> list[str]:
        return [
            entry["uid"]
            for key, entry in claims["kubernetes.io"].items()
            if key in {"node", "serviceaccount"}
        ]

    assert blanked(dump(ours), *uids(ours)) == blanked(dump(real), *uids(real))
    assert ours["kubernetes.io"].get("pod") == about.get("pod")


def header_of(token: bytes) -> dict[str, str]:
    read = read_compact(token)
    assert isinstance(read, Compact)
    return dict(read.header)


def test_the_header_is_that_of_kubernetes() -> None:
    header = header_of(signed_token({}, RS256).reveal())
    real = header_of(real_token("rotated-1"))

    assert list(header) == list(real)
    assert header == {"alg": "RS256", "kid": key_id(RS256)}


def test_a_published_key_looks_like_a_real_one() -> None:
    [real] = json.loads(JWKS)["keys"]

    assert list(public_jwk(RS256)) == list(real)
    assert len(key_id(RS256)) == len(real["kid"])
    assert list(public_jwk(ES256)) == ["use", "kty", "kid", "alg", "crv", "x", "y"]


def test_the_discovery_document_is_that_of_an_api_server() -> None:
    ours = json.loads(discovery(DEFAULT_ISSUER, "RS256"))
    real = json.loads(DISCOVERY)

    assert {**ours, "jwks_uri": ""} == {**real, "jwks_uri": ""}
    assert ours["jwks_uri"] == f"{DEFAULT_ISSUER}/openid/v1/jwks"


@pytest.mark.parametrize("signer", [RS256, ES256], ids=["RS256", "ES256"])
def test_its_tokens_verify_with_its_keys(signer: PrivateKey) -> None:
    keys = read_jwks(key_set(public_jwk(ES256), public_jwk(RS256)))
    claims = pod_claims(
        DevPod("ml", "trainer", "train-0", node="laptop"),
        issuer="https://laptop.example",
        audience="podkey",
        token_id="1",
        now=NOW,
        lifetime=timedelta(minutes=5),
    )

    assert isinstance(keys, KeySet)
    expected = Expected("https://laptop.example", "podkey", "ml", "trainer", "train-0", node="laptop")
    verified = verify(signed_token(claims, signer).reveal(), keys, expected, NOW)

    assert isinstance(verified, Verified)
    assert verified.evidence.key_id == key_id(signer)


def test_a_pod_of_one_name_keeps_its_uid() -> None:
    first, second, other = (
        pod_claims(
            DevPod("ml", "trainer", name, node="laptop"),
            issuer=DEFAULT_ISSUER,
            audience="podkey",
            token_id="1",
            now=NOW,
            lifetime=timedelta(hours=1),
        )["kubernetes.io"]["pod"]
        for name in ("train-0", "train-0", "train-1")
    )

    assert first == second
    assert first["uid"] != other["uid"]
