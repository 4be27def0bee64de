"""What a token endpoint answers: a token that can be attached and how long it lives, or what to mend."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from proxy.core.secret import Secret
from proxy.core.structs import Struct, replace
from proxy.sources.answers import JsonObject, json_object, refusal, seconds_of, shown, text_of
from proxy.sources.steps import Failed, HttpReply

# RFC 6749 §5.1 only recommends `expires_in`. A token's own `exp` is not for the client to read (§1.4), so a
# short life is assumed: five minutes is the shortest that servers give by default (Keycloak). Where it is too
# short, the server is asked more often than it had to be; were it too long, calls would fail.
UNTOLD_LIFETIME: Final = timedelta(minutes=5)
# Visible ASCII, which a header can carry. RFC 6750 §2.1 allows fewer characters; servers issue more.
_TOKEN = re.compile(r"[\x21-\x7e]+").fullmatch

BEARER: Final = frozenset({"bearer"})

# What a code means for the document, beside the server's own words (RFC 6749 §5.2, RFC 8707 §2, RFC 8628
# §3.5, RFC 9449 §8).
HINTS: Final[Mapping[str, str]] = {
    "unauthorized_client": "allow this grant type for the client",
    "unsupported_grant_type": "check `tokenUrl`, and that the server offers this grant type",
    "invalid_scope": "check `scopes`, and that the client may have them",
    "invalid_target": "check `resource` and `audience`, and that the client may have tokens for them",
    "temporarily_unavailable": "the server is asked again after a pause",
    "server_error": "the server is asked again after a pause",
    "slow_down": "the server is asked again after a pause",
    "use_dpop_nonce": "podkey makes no DPoP proofs: let the server issue Bearer tokens to the client",
    "invalid_dpop_proof": "podkey makes no DPoP proofs: let the server issue Bearer tokens to the client",
    # RFC 7009 §2.2.1. Servers that keep no record of JWT access tokens cannot take them back.
    "unsupported_token_type": "the server cannot revoke this kind of token: remove `revocationUrl`",
}
# Where a reply names no code.
_STATUS_HINTS: Final[Mapping[int, str]] = {404: "check the URL", 405: "check the URL"}


class Issued(Struct, frozen=True):
    token: Secret
    lifetime: timedelta
    # RFC 8693 §2.2.1; other grants do not have it.
    issued_type: str


def read_issued(
    who: str,
    reply: HttpReply,
    now: datetime,
    hints: Mapping[str, str],
    token_types: frozenset[str] = BEARER,
) -> Issued | Failed:
    found = json_object(reply)
    # Some servers report an error with 200 (GitHub's OAuth apps do).
    if reply.status != 200 or (found and text_of(found, "error") and "access_token" not in found):
        return refused(who, reply, now, hints)
    if found is None:
        return Failed(f"{who} answered 200 without a JSON object: check the URL")
    token = text_of(found, "access_token")
    if not token:
        return Failed(f"{who} answered no access token: check the URL")
    if not _TOKEN(token):
        return Failed(f"{who} answered an access token that no header can carry")
    fault = _type_fault(text_of(found, "token_type"), token_types)
    if fault:
        return Failed(f"{who} answered {fault}")
    lifetime = _lifetime(found)
    if lifetime is None:
        return Failed(
            f"{who} answered an `expires_in` that is no lifetime: let the server say seconds, or nothing"
        )
    return Issued(Secret(token.encode()), lifetime, text_of(found, "issued_token_type"))


def _type_fault(token_type: str, known: frozenset[str]) -> str:
    """RFC 6749 §7.1: a client must not use a token whose type it does not understand."""
    if token_type.lower() in known:
        return ""
    if not token_type:
        return "a token without its `token_type`, which RFC 6749 §5.1 requires"
    return (
        f"a token of the type `{shown(token_type)}`, and only Bearer tokens can be attached: let the server "
        "issue those to the client"
    )


def _lifetime(found: JsonObject) -> timedelta | None:
    if found.get("expires_in") is None:
        return UNTOLD_LIFETIME
    seconds = seconds_of(found, "expires_in")
    return None if seconds is None else timedelta(seconds=seconds)


def refused(who: str, reply: HttpReply, now: datetime, hints: Mapping[str, str]) -> Failed:
    code = text_of(json_object(reply) or {}, "error")
    hint = hints.get(code) or ("" if code else _STATUS_HINTS.get(reply.status, ""))
    failed = refusal(who, reply, now)
    # Error descriptions are sentences.
    return replace(failed, message=f"{failed.message.rstrip('.')}: {hint}") if hint else failed
