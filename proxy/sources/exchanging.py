"""What exchanging the pod's token for a service's own has in common: how it is asked, and how the reply is read."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode

from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.sources.answers import JsonObject, json_object, refusal, seconds_of, shown, text_of
from proxy.sources.asking import Asking, http, token
from proxy.sources.steps import Acquired, Failed, HttpCall, HttpReply, StepFailed

TOKEN_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - RFC 8693 §2.1, no secret
JWT: Final = "urn:ietf:params:oauth:token-type:jwt"  # RFC 8693 §3

# RFC 6750 §2.1 takes less than this; none of the providers has ever sent more.
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
    """The answer of RFC 6749 §5.1, which RFC 8693 and RFC 7523 share.

    A lifetime is not optional here: every provider that is read with this documents one, and a token that
    lives nobody knows how long would be sent after its end.
    """
    if reply.status != HTTPStatus.OK:
        return refused(who, reply, now)
    found = json_object(reply)
    if found is None:
        return Failed(f"{who} answered 200 without a JSON object: something else answers at its address")
    kind = found.get("token_type", "Bearer")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        named = f" `{shown(kind)}`" if isinstance(kind, str) else ""
        return Failed(f"{who} gave a token of another type{named}: only bearer tokens can be attached")
    value = visible(found, "access_token")
    if value is None:
        return Failed(f"{who} answered 200 without a usable `access_token`")
    seconds = seconds_of(found, "expires_in")
    if seconds is None:
        return Failed(f"{who} gave a token and did not say in `expires_in` how long it lives")
    return Acquired({Part.TOKEN: value}, timedelta(seconds=seconds))


def visible(found: JsonObject, key: str) -> Secret | None:
    """A member that can stand in a header; None where there is none."""
    value = text_of(found, key)
    return Secret(value.encode()) if _VISIBLE(value) else None
