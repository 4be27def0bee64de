"""How a client proves itself to an authorization server: `clientId` and `auth`."""

import re
from collections.abc import Callable
from typing import Any, Final, assert_never

from proxy.core.oauth_sources import (
    ClientAuth,
    FederatedAssertion,
    PrivateKeyJwt,
    SecretBasic,
    SecretPost,
)
from proxy.core.parts import SecretKey
from proxy.core.signing import SigningAlgorithm
from proxy.documents.problems import Fault
from proxy.documents.shapes import Choice, Field, Record, Text
from proxy.documents.source_values import AUDIENCE, SECRET_KEY_OF, written_key

# RFC 6749 appendix A.1: printable ASCII. Subjects of service accounts and URLs fit in several times.
_PRINTABLE = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,510}[\x21-\x7e])?").fullmatch


def _printable(what: str, fix: str, example: str) -> Text:
    def parse(text: str) -> str:
        if not _PRINTABLE(text):
            raise Fault(f"`{text[:80]}` is not {what}", fix)
        return text

    return Text(what, parse, examples=(example,))


CLIENT_ID: Final = _printable(
    "a client id", "write the id that the authorization server gave the client", "trainer"
)
KEY_ID: Final = _printable("a key id", "write the `kid` that the authorization server knows", "2026-03")


def only(**chosen: Any) -> Any:  # noqa: ANN401 - a union by key: whichever record was there
    (value,) = chosen.values()
    return value


def _with_secret(kind: type[SecretBasic | SecretPost]) -> Callable[[str, str], SecretBasic | SecretPost]:
    def build(secret_name: str, key: str) -> SecretBasic | SecretPost:
        return kind(SecretKey(secret_name, key))

    return build


def _private_key_jwt(
    secret_name: str,
    key: str,
    key_id: str | None = None,
    algorithm: SigningAlgorithm = SigningAlgorithm.RS256,
    audience: str | None = None,
) -> PrivateKeyJwt:
    return PrivateKeyJwt(SecretKey(secret_name, key), key_id, algorithm, audience)


_FEDERATED: Final = Record(
    "a federated assertion",
    (
        Field(
            "audience",
            AUDIENCE,
            "The audience of the pod's token, which the server expects of tokens of this cluster.",
            required=True,
        ),
    ),
    FederatedAssertion,
)
_PRIVATE_KEY_JWT: Final = Record(
    "a private key that signs assertions",
    (
        *SECRET_KEY_OF.fields,
        Field("keyId", KEY_ID, "The `kid` of the key, as the server knows it."),
        Field("algorithm", Choice(SigningAlgorithm), "How it signs; RS256 where it is left out."),
        Field(
            "audience",
            AUDIENCE,
            "The audience of the assertion; the token endpoint where it is left out. Some servers want their "
            "issuer here.",
        ),
    ),
    _private_key_jwt,
)
_KINDS: Final = (
    Field(
        "federated",
        _FEDERATED,
        "The pod's own token is the client's assertion (RFC 7523): no secret is kept anywhere. Prefer it "
        "where the server can trust the cluster's issuer.",
    ),
    Field(
        "privateKeyJwt",
        _PRIVATE_KEY_JWT,
        "`private_key_jwt` (RFC 7523): an assertion that is signed with a mounted key, which is never sent.",
    ),
    Field(
        "secretBasic",
        Record("a client secret", SECRET_KEY_OF.fields, _with_secret(SecretBasic)),
        "`client_secret_basic`: the client's secret in the Authorization header (RFC 6749 §2.3.1).",
    ),
    Field(
        "secretPost",
        Record("a client secret", SECRET_KEY_OF.fields, _with_secret(SecretPost)),
        "`client_secret_post`: the client's secret in the form, for servers that do not take the header.",
    ),
)

CLIENT_AUTH: Final = Record(
    "a client authentication", _KINDS, only, exactly_one=(tuple(field.name for field in _KINDS),)
)


def rendered_auth(auth: ClientAuth) -> dict[str, Any]:
    match auth:
        case SecretBasic(secret):
            return {"secretBasic": written_key(secret)}
        case SecretPost(secret):
            return {"secretPost": written_key(secret)}
        case PrivateKeyJwt():
            return {"privateKeyJwt": _rendered_key(auth)}
        case FederatedAssertion(audience):
            return {"federated": {"audience": audience}}
        case _:
            assert_never(auth)


def _rendered_key(auth: PrivateKeyJwt) -> dict[str, str]:
    written = written_key(auth.key)
    if auth.algorithm is not SigningAlgorithm.RS256:
        written["algorithm"] = auth.algorithm.value
    if auth.key_id is not None:
        written["keyId"] = auth.key_id
    if auth.audience is not None:
        written["audience"] = auth.audience
    return written
