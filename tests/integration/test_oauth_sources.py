"""OAuth sources against a real authorization server (npm oidc-provider), through the real door.

What of the server is the package's own and what is ours stands in tests/oidc_provider/server.mjs.
"""

import asyncio
import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from proxy.core.oauth_sources import (
    ACCESS_TOKEN_TYPE,
    JWT_TYPE,
    ClientAuth,
    FederatedAssertion,
    MountedActor,
    Oauth2ClientCredentials,
    PrivateKeyJwt,
    ProjectedActor,
    SecretBasic,
    SecretPost,
    TokenExchange,
)
from proxy.core.parts import Part, SecretKey
from proxy.core.secret import Secret
from proxy.core.settings import DIRECT
from proxy.core.signing import SigningAlgorithm
from proxy.core.structs import replace
from proxy.edge.outgoing import Outgoing
from proxy.edge.outgoing_trust import tls_context
from proxy.sources.steps import Acquired, Failed, HttpCall, HttpReply, Occasion, Reply, Step
from proxy.sources.table import renewal_of, revocation_of, steps_of
from proxy.x509.certificates import read_certificates
from tests.canary import shared_canary
from tests.oidc_server import (
    ACTOR_AUDIENCE,
    AUDIENCE,
    MISSING,
    OPAQUE_SECONDS,
    RESOURCE,
    RESOURCE_SECONDS,
    OidcServer,
    oidc_server,
)
from tests.pod_tokens import TokenIssuer
from tests.source_world import WHO, World

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)

# As the RFC allows, and as no one expects: the id has a colon, and the secret a blank, a colon and a percent.
BASIC, POST, RSA, EC, FEDERATED, NAMED, PUBLIC = "train:er", "post", "rsa", "ec", "pods", "platform", "anyone"
EXCHANGE_ONLY: Final = "exchange-only"
SUBJECT: Final = "system:serviceaccount:ml:trainer"
AUTHS: Final[dict[str, ClientAuth]] = {
    BASIC: SecretBasic(SecretKey("clients", "basic")),
    POST: SecretPost(SecretKey("clients", "post")),
    RSA: PrivateKeyJwt(SecretKey("clients", "rsa.pem"), "rsa-1"),
    EC: PrivateKeyJwt(SecretKey("clients", "ec.pem"), None, SigningAlgorithm.ES256),
    FEDERATED: FederatedAssertion(AUDIENCE),
    EXCHANGE_ONLY: SecretBasic(SecretKey("clients", "basic")),
}


@dataclass
class Login(World):
    """The world of a source in which HTTP is real."""

    server: OidcServer = field(kw_only=True)
    runner: asyncio.Runner = field(kw_only=True)
    door: Outgoing = field(kw_only=True)

    def perform(self, step: Step) -> Reply:
        return self.runner.run(self.door.call(step)) if isinstance(step, HttpCall) else super().perform(step)

    # --- kinds ---

    def client(self, name: str, **more: Any) -> Oauth2ClientCredentials:
        return Oauth2ClientCredentials(self.server.token_url, name, AUTHS[name], **more)

    def exchange(self, client: str | None = PUBLIC, **more: Any) -> TokenExchange:
        auth = AUTHS.get(client) if client else None
        kind = TokenExchange(self.server.token_url, AUDIENCE, client_id=client, auth=auth)
        return replace(kind, **more)

    # --- what is done with them ---

    def acquire(
        self, kind: Oauth2ClientCredentials | TokenExchange, *, late: timedelta = timedelta(), nonce: str = ""
    ) -> Acquired:
        outcome = self.drive(steps_of(kind, occasion(late, nonce)))
        assert isinstance(outcome, Acquired), outcome
        return outcome

    def refusal(
        self, kind: Oauth2ClientCredentials | TokenExchange, *, late: timedelta = timedelta(), nonce: str = ""
    ) -> str:
        outcome = self.drive(steps_of(kind, occasion(late, nonce)))
        assert isinstance(outcome, Failed), outcome
        return outcome.message

    def revoke(self, kind: Oauth2ClientCredentials | TokenExchange, acquired: Acquired) -> Failed | None:
        steps = revocation_of(kind, acquired, occasion())
        assert steps is not None
        outcome: Failed | None = self.drive(steps)
        return outcome

    def introspected(self, acquired: Acquired) -> dict[str, Any]:
        """What the server itself says of a token (RFC 7662)."""
        call = HttpCall(
            "POST",
            self.server.introspection_url,
            (("Content-Type", "application/x-www-form-urlencoded"),),
            Secret(b"client_id=anyone&token=" + token_of(acquired)),
        )
        reply = self.runner.run(self.door.call(call))
        assert isinstance(reply, HttpReply)
        said: dict[str, Any] = json.loads(reply.body)
        return said


def occasion(late: timedelta = timedelta(), nonce: str = "") -> Occasion:
    return Occasion(datetime.now(UTC) - late, WHO, nonce or uuid4().hex)


def token_of(acquired: Acquired) -> bytes:
    return acquired.parts[Part.TOKEN].reveal()


def claims_of(acquired: Acquired) -> dict[str, Any]:
    """The server made them a moment ago; its signature is not what is tested."""
    claims: dict[str, Any] = jwt.decode(token_of(acquired), options={"verify_signature": False})
    return claims


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.fixture(scope="module")
def login(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Login]:
    folder = tmp_path_factory.mktemp("oidc")
    cluster = TokenIssuer()
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    ec_key = ec.generate_private_key(ec.SECP256R1())
    with shared_canary() as canary, asyncio.Runner() as runner:
        basic, post = canary.secret("the basic secret", "a b:%"), canary.secret("the post secret", "&=")
        by_secret = "client_secret_basic"
        by_key = {"token_endpoint_auth_method": "private_key_jwt"}
        clients: list[dict[str, Any]] = [
            {"client_id": BASIC, "client_secret": basic, "token_endpoint_auth_method": by_secret},
            {"client_id": POST, "client_secret": post, "token_endpoint_auth_method": "client_secret_post"},
            {
                "client_id": RSA,
                "jwks": {
                    "keys": [{**RSAAlgorithm.to_jwk(rsa_key.public_key(), as_dict=True), "kid": "rsa-1"}]
                },
                **by_key,
            },
            {
                "client_id": EC,
                "jwks": {"keys": [ECAlgorithm.to_jwk(ec_key.public_key(), as_dict=True)]},
                **by_key,
            },
            {"client_id": FEDERATED, "federated_subject": SUBJECT, **by_key},
            {"client_id": NAMED, "jwks": {"keys": [cluster.jwk]}, **by_key},
            {"client_id": PUBLIC, "token_endpoint_auth_method": "none"},
            {
                "client_id": EXCHANGE_ONLY,
                "client_secret": basic,
                "token_endpoint_auth_method": by_secret,
                "grant_types": ["urn:ietf:params:oauth:grant-type:token-exchange"],
            },
        ]
        with oidc_server(folder, cluster, clients) as server:
            found, _ = read_certificates(server.ca.read_bytes())
            door = Outgoing(tls_context(found), DIRECT, lambda _: None)
            secrets = {
                "basic": basic.encode() + b"\n",
                "post": post.encode(),
                "rsa.pem": pem(rsa_key),
                "ec.pem": pem(ec_key),
                "other.pem": pem(ec.generate_private_key(ec.SECP256R1())),
            }
            now = datetime.now(UTC)
            tokens = {one: cluster.token(now, one) for one in (AUDIENCE, ACTOR_AUDIENCE)}
            yield Login(None, tokens, {"clients": secrets}, server=server, runner=runner, door=door)
            runner.run(door.close())


def with_tokens(login: Login, **tokens: bytes) -> Login:
    by_name = {"subject": AUDIENCE, "actor": ACTOR_AUDIENCE}
    return replace(login, tokens={**login.tokens, **{by_name[name]: t for name, t in tokens.items()}})


# --- client credentials ----------------------------------------------------------------------------------


@pytest.mark.parametrize("client", [BASIC, POST, RSA, EC, FEDERATED])
def test_each_way_to_prove_a_client_gets_a_token_that_the_server_calls_active(
    login: Login, client: str
) -> None:
    acquired = login.acquire(login.client(client, scopes=("read",)))

    said = login.introspected(acquired)
    assert (said["active"], said["client_id"], said["token_type"]) == (True, client, "Bearer")
    assert acquired.expires == timedelta(seconds=OPAQUE_SECONDS)


def test_a_token_for_a_resource_is_a_jwt_for_it_with_the_scopes_that_were_asked(login: Login) -> None:
    acquired = login.acquire(login.client(BASIC, scopes=("read",), resource=(RESOURCE,)))

    claims = claims_of(acquired)
    assert (claims["iss"], claims["aud"], claims["client_id"]) == (login.server.issuer, RESOURCE, BASIC)
    assert claims["scope"] == "read"
    assert acquired.expires == timedelta(seconds=RESOURCE_SECONDS)


def test_a_wrong_secret_is_refused_and_the_message_says_where_to_look(login: Login) -> None:
    kind = replace(login.client(BASIC), auth=SecretBasic(SecretKey("clients", "post")))

    message = login.refusal(kind)

    assert "answered 401: invalid_client: client authentication failed" in message
    assert "check `clientId`, the key `post` of the secret `clients`" in message
    assert f"the client `{BASIC}` is registered for client_secret_basic" in message


@pytest.mark.parametrize("client", [RSA, EC])
def test_an_assertion_that_has_expired_is_refused(login: Login, client: str) -> None:
    message = login.refusal(login.client(client), late=timedelta(minutes=2))

    assert "answered 401: invalid_client" in message
    assert f"the server takes the audience `{login.server.token_url}`" in message


def test_an_assertion_holds_for_a_server_whose_clock_is_some_seconds_behind_or_ahead(login: Login) -> None:
    login.acquire(login.client(RSA), late=timedelta(seconds=-8))
    login.acquire(login.client(RSA), late=timedelta(seconds=40))


def test_an_assertion_of_another_key_is_refused(login: Login) -> None:
    other = PrivateKeyJwt(SecretKey("clients", "other.pem"), algorithm=SigningAlgorithm.ES256)
    message = login.refusal(replace(login.client(EC), auth=other))

    assert "invalid_client" in message
    assert "the public half of the key `other.pem` of the secret `clients`" in message


def test_an_assertion_for_the_issuer_is_taken_and_one_for_somebody_else_is_not(login: Login) -> None:
    auth = PrivateKeyJwt(SecretKey("clients", "rsa.pem"), audience=login.server.issuer)
    login.acquire(replace(login.client(RSA), auth=auth))

    message = login.refusal(replace(login.client(RSA), auth=replace(auth, audience="https://b.example")))
    assert "the server takes the audience `https://b.example` (`auth.privateKeyJwt.audience`)" in message


def test_an_assertion_is_good_once_and_each_run_makes_its_own(login: Login) -> None:
    kind = login.client(RSA)
    login.acquire(kind, nonce="only-once")
    assert "invalid_client" in login.refusal(kind, nonce="only-once")
    login.acquire(kind)


def test_the_servers_words_on_what_was_asked_come_with_what_to_mend(login: Login) -> None:
    scope = login.refusal(login.client(BASIC, scopes=("write",)))
    assert "invalid_scope: requested scope is not allowed: check `scopes`" in scope
    target = login.refusal(login.client(BASIC, resource=("https://other.example",)))
    assert "invalid_target: unknown resource: check `resource` and `audience`" in target
    grant = login.refusal(login.client(EXCHANGE_ONLY))
    assert "requested grant type is not allowed for this client" in grant
    place = login.refusal(replace(login.client(BASIC), token_url=f"{login.server.issuer}/nowhere"))
    assert "answered 404" in place


def test_a_server_that_nobody_vouches_for_is_told_nothing(login: Login) -> None:
    door = Outgoing(ssl.create_default_context(), DIRECT, lambda _: None)
    stranger = replace(login, door=door)

    message = stranger.refusal(login.client(POST))

    assert message.startswith(f"the token endpoint of {login.server.issuer[8:]} cannot be asked: ")
    login.runner.run(door.close())


# --- federation ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"account": "intruder"}, 'unexpected "sub" claim value'),
        ({"audience": "https://b.example"}, 'unexpected "aud" claim value'),
        ({"now": datetime.now(UTC) - timedelta(hours=2)}, '"exp" claim timestamp check failed'),
    ],
)
def test_a_pods_token_that_the_trust_does_not_cover_is_refused(
    login: Login, told: dict[str, Any], why: str
) -> None:
    token = login.server.cluster.token(**{"now": datetime.now(UTC), "audience": AUDIENCE, **told})

    message = with_tokens(login, subject=token).refusal(login.client(FEDERATED))

    assert f"invalid_client: federated assertion refused: {why}" in message
    assert f"check that the server trusts this cluster's issuer, the subject `{SUBJECT}`" in message


def test_a_pods_token_of_another_cluster_is_refused(login: Login) -> None:
    stranger = TokenIssuer(login.server.cluster.issuer)
    stranger.key_id = login.server.cluster.key_id
    token = stranger.token(datetime.now(UTC), AUDIENCE)

    message = with_tokens(login, subject=token).refusal(login.client(FEDERATED))

    assert "federated assertion refused: signature verification failed" in message


def test_a_server_without_federation_takes_an_assertion_of_the_platform_that_names_the_client(
    login: Login,
) -> None:
    # All of this is the package's own: it verifies a token that the cluster's key signed and we only carry.
    cluster, kind = login.server.cluster, replace(login.client(FEDERATED), client_id=NAMED)
    claims = cluster.claims(datetime.now(UTC), login.server.issuer) | {"iss": NAMED, "sub": NAMED}
    carrying = with_tokens(login, subject=cluster.sign(claims))

    assert login.introspected(carrying.acquire(kind))["client_id"] == NAMED
    # Such servers take a token once (RFC 7523 §3, `jti`), and the kubelet writes a new one every hour.
    assert "invalid_client" in carrying.refusal(kind)


def test_a_server_without_federation_refuses_a_pods_token_and_the_message_names_the_trust(
    login: Login,
) -> None:
    message = login.refusal(replace(login.client(FEDERATED), client_id=NAMED))

    assert (
        "invalid_request: client_id mismatch: check that the server trusts this cluster's issuer" in message
    )


# --- token exchange --------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", [PUBLIC, BASIC, POST, RSA, FEDERATED, EXCHANGE_ONLY])
def test_a_pods_token_is_exchanged_for_one_of_the_servers_own(login: Login, client: str) -> None:
    acquired = login.acquire(login.exchange(client))

    said = login.introspected(acquired)
    assert (said["active"], said["client_id"], said["pod"]) == (True, client, SUBJECT)
    assert acquired.expires == timedelta(seconds=OPAQUE_SECONDS)


@pytest.mark.parametrize("requested", [None, ACCESS_TOKEN_TYPE, JWT_TYPE])
def test_an_exchanged_token_is_for_the_resource_and_names_the_actor(
    login: Login, requested: str | None
) -> None:
    kind = login.exchange(
        resource=(RESOURCE,), requested_token_type=requested, actor=ProjectedActor(ACTOR_AUDIENCE)
    )

    claims = claims_of(login.acquire(kind))

    assert (claims["aud"], claims["pod"], claims["act"]) == (RESOURCE, SUBJECT, {"sub": SUBJECT})


def test_an_actor_may_be_a_mounted_token(login: Login) -> None:
    actor = login.server.cluster.token(datetime.now(UTC), ACTOR_AUDIENCE, account="gateway")
    kind = login.exchange(actor=MountedActor(SecretKey("actor", "token"), JWT_TYPE), resource=(RESOURCE,))

    claims = claims_of(replace(login, secrets={"actor": {"token": actor + b"\n"}}).acquire(kind))

    assert claims["act"] == {"sub": "system:serviceaccount:ml:gateway"}


def test_a_subject_that_the_server_does_not_take_is_told_with_the_trust_that_it_needs(login: Login) -> None:
    old = login.server.cluster.token(datetime.now(UTC) - timedelta(hours=2), AUDIENCE)

    message = with_tokens(login, subject=old).refusal(login.exchange())

    assert 'invalid_request: subject_token is not acceptable: "exp" claim timestamp check failed' in message
    assert f"the subject `{SUBJECT}` and the audience `{AUDIENCE}`" in message


def test_an_exchange_for_an_unknown_resource_or_type_is_refused(login: Login) -> None:
    target = login.refusal(login.exchange(resource=("https://other.example",)))
    assert "invalid_target: unknown resource: check `resource` and `audience`" in target
    saml = "urn:ietf:params:oauth:token-type:saml2"
    assert "requested_token_type is not supported" in login.refusal(login.exchange(requested_token_type=saml))


# --- revocation ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", [BASIC, POST, RSA, EC, FEDERATED])
def test_a_revoked_token_is_dead(login: Login, client: str) -> None:
    kind = login.client(client, revocation_url=login.server.revocation_url)
    acquired, other = login.acquire(kind), login.acquire(kind)

    assert login.introspected(acquired)["active"]
    assert login.revoke(kind, acquired) is None
    assert login.introspected(acquired) == {"active": False}
    assert login.introspected(other)["active"]
    # A second time is no error (RFC 7009 §2.2).
    assert login.revoke(kind, acquired) is None


def test_an_exchanged_token_is_revoked_by_the_client_that_got_it(login: Login) -> None:
    kind = login.exchange(revocation_url=login.server.revocation_url)
    acquired = login.acquire(kind)

    assert login.revoke(kind, acquired) is None
    assert login.introspected(acquired) == {"active": False}


def test_a_token_that_the_server_cannot_revoke_is_told_with_the_fix(login: Login) -> None:
    kind = login.client(BASIC, resource=(RESOURCE,), revocation_url=login.server.revocation_url)

    failed = login.revoke(kind, login.acquire(kind))

    assert failed is not None
    assert "unsupported_token_type" in failed.message
    assert failed.message.endswith("the server cannot revoke this kind of token: remove `revocationUrl`")


def test_without_a_revocation_url_tokens_are_left_to_expire_and_none_is_renewed(login: Login) -> None:
    kind = login.client(BASIC)
    acquired = login.acquire(kind)
    assert revocation_of(kind, acquired, occasion()) is None
    assert renewal_of(kind, acquired, occasion()) is None
