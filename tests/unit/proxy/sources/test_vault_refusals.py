"""Each refusal end to end stands in test_vault.py; here is what no stand-in can be made to say."""

import pytest

from proxy.core.parts import Part
from proxy.core.vault_source import VaultAuth, VaultDynamic, VaultMethod, VaultSecret
from proxy.sources.steps import Failed
from proxy.sources.vault_refusals import login_refused, read_refused, refused
from tests.source_world import NOON, OCCASION
from tests.stand_ins.vault import refuse

SECRET = VaultSecret(
    "https://vault.example.com",
    VaultAuth(VaultMethod.JWT, "jwt", "trainer", "vault"),
    VaultDynamic("aws/creds/trainer", ((Part.TOKEN, "t"),)),
)


@pytest.mark.parametrize(
    ("status", "said", "hint"),
    [
        (400, "error validating token: invalid issuer (iss) claim", "let the issuer in `auth/jwt/config` be"),
        (400, 'expected "iss)" claim', "let the issuer in `auth/jwt/config` be the cluster's"),
        (
            400,
            "sub claim does not match bound subject",
            "bound_subject be `system:serviceaccount:ml:trainer`",
        ),
        (403, "permission denied", "check that an auth method is at `auth/jwt`, and `namespace`"),
        (404, "unsupported path", "enable the auth method at `auth/jwt`"),
        (500, "internal error", "see Vault's own log"),
    ],
)
def test_a_login_is_told_what_to_correct(status: int, said: str, hint: str) -> None:
    message = login_refused(SECRET, refuse(status, said), OCCASION).message
    assert message.startswith(f"Vault's login with the role `trainer` answered {status}: {said}: ")
    assert hint in message


def test_names_with_braces_are_only_names() -> None:
    odd = VaultAuth(VaultMethod.JWT, "{mount}", "{0}", "{audience!r}")
    source = VaultSecret(SECRET.address, odd, SECRET.read)
    message = login_refused(source, refuse(400, "no audiences bound to the role"), OCCASION).message
    assert message.endswith("bound_audiences name `{audience!r}`")


def test_a_read_that_the_service_behind_vault_refused_is_told() -> None:
    assert read_refused(SECRET, "aws/creds/trainer", refuse(400, "Role not found"), NOON) == Failed(
        "Vault's read of `aws/creds/trainer` answered 400: Role not found"
    )


def test_vaults_own_wish_for_patience_is_kept() -> None:
    reply = refuse(429, "request path: rate limit quota exceeded")
    slow = type(reply)(reply.status, {"retry-after": "12"}, reply.body)
    assert refused("Vault's revocation", slow, NOON).retry_after == 12.0
