"""What exchanges of the pod's token for a provider's own have in common: how they ask, and what they read."""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final
from urllib.parse import urlencode

from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.core.structs import replace
from proxy.sources.answers import JsonObject, refusal, text_of
from proxy.sources.asking import Asking, http, token
from proxy.sources.oauth_answers import read_issued
from proxy.sources.steps import Acquired, Failed, HttpCall, HttpReply, StepFailed

TOKEN_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - RFC 8693 §2.1, no secret
JWT: Final = "urn:ietf:params:oauth:token-type:jwt"  # RFC 8693 §3

# What a header can carry, and a token is made of.
_VISIBLE = re.compile(r"[\x21-\x7e]+").fullmatch


def pod_token(audience: str) -> Asking[str]:
    """The pod's token for an audience, as text that any body can hold."""
    found = yield from token(audience)
    if isinstance(found, StepFailed):
        return StepFailed(f"the pod's token for the audience `{audience}` cannot be read: {found.message}")
    text = found.reveal().decode("latin-1")
    if not _VISIBLE(text):
        return StepFailed(f"the pod's token for the audience `{audience}` is no token: it holds odd bytes")
    return text


def asked(who: str, call: HttpCall) -> Asking[HttpReply]:
    reply = yield from http(call)
    return StepFailed(f"{who} cannot be asked: {reply.message}") if isinstance(reply, StepFailed) else reply


def form_call(url: str, fields: Mapping[str, str]) -> HttpCall:
    headers = (("Content-Type", "application/x-www-form-urlencoded"), ("Accept", "application/json"))
    return HttpCall("POST", url, headers, Secret(urlencode(fields).encode()))


def json_call(url: str, members: Mapping[str, object], *more: tuple[str, str | Secret]) -> HttpCall:
    headers = (("Content-Type", "application/json"), ("Accept", "application/json"), *more)
    return HttpCall("POST", url, headers, Secret(json.dumps(members).encode()))


def refused(who: str, reply: HttpReply, now: datetime, hint: str = "") -> Failed:
    """What the provider said, and what it means here."""
    failed = refusal(who, reply, now)
    return replace(failed, message=f"{failed.message.rstrip('.')}: {hint}") if hint else failed


def bearer_token(who: str, reply: HttpReply, now: datetime) -> Acquired | Failed:
    issued = read_issued(who, reply, now, {})
    return issued if isinstance(issued, Failed) else Acquired({Part.TOKEN: issued.token}, issued.lifetime)


def visible(found: JsonObject, key: str) -> Secret | None:
    """A member that can stand in a header; None where there is none."""
    value = text_of(found, key)
    return Secret(value.encode()) if _VISIBLE(value) else None
