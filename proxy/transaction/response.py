"""What of a response reaches the application: no credential of ours, in a header or in a text body."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from proxy.transaction.opening import Forward
from proxy.transaction.redaction import Forms, Redactor, is_text, redact_value, shows

# Response fields whose whole purpose is to hand over a credential, or a session that stands for one. A
# session that was opened with our credential would outlive the grant. WWW-Authenticate stays: registries'
# clients need the challenge, and it holds none.
CREDENTIAL_FIELDS: Final = frozenset({
    "set-cookie", "set-cookie2", "authorization", "proxy-authorization", "authentication-info",
    "proxy-authentication-info", "x-amz-security-token", "x-auth-token", "x-subject-token",
})  # fmt: skip
# Upgrades that nobody asked for; connection management is the lane's own.
NOT_FORWARDED: Final = frozenset({"keep-alive", "proxy-connection", "alt-svc"})


_SPECIAL: Final = CREDENTIAL_FIELDS | NOT_FORWARDED
_CODING: Final = "content-encoding"


class ResponseEdits(NamedTuple):
    """`redactor` is None where the body is passed on as it is."""

    fields: tuple[tuple[str, str], ...]
    redactor: Redactor | None
    # Fields that were dropped for what they are, and values in which our credential was found.
    dropped: int = 0
    redacted: int = 0


def edit_response(
    forward: Forward, status: int, fields: Iterable[tuple[str, str]], keys: Sequence[str] | None = None
) -> ResponseEdits:
    """The response's header fields as they go to the application, and what its body is fed through. Fields
    with which nothing has to be done are given back as they are, the very tuple.

    `keys`: their names in lower case, where somebody has them.
    """
    sent = tuple(fields)
    if keys is None:
        keys = [name.lower() for name, _ in sent]
    if not forward.attached:
        if NOT_FORWARDED.isdisjoint(keys):
            return ResponseEdits(sent, None)
        return ResponseEdits(tuple([field for field in sent if field[0].lower() not in NOT_FORWARDED]), None)
    forms, redactor, is_shown = forward.forms, None, False
    if forms:
        # No form has a line break in it, so none lies in two values.
        together = "\n".join([value for _, value in sent]).encode("latin-1", "backslashreplace")
        is_shown = shows(together, forms)
        if status != 101 and is_text(_joined(sent, keys, "content-type"), _joined(sent, keys, _CODING)):
            redactor = Redactor(forms)
    secret = forward.credential_fields
    if not is_shown and _SPECIAL.isdisjoint(keys) and secret.isdisjoint(keys):
        return ResponseEdits(sent, redactor)
    edited: list[tuple[str, str]] = []
    dropped = redacted = 0
    for key, (name, value) in zip(keys, sent, strict=True):
        if key in CREDENTIAL_FIELDS or key in secret:
            dropped += 1
        elif key not in NOT_FORWARDED:
            clean = redact_value(value, forms) if is_shown else value
            redacted += clean != value
            edited.append((name, clean))
    return ResponseEdits(tuple(edited), redactor, dropped, redacted)


def is_plain(
    forward: Forward, keys: Sequence[str], lines: Iterable[bytes], body: bytes, *, is_clean: bool = False
) -> bool:
    """Whether nothing would be done with any of it: with the lines of its head, with its fields, of these
    names in lower case, and with its body, which is whole. `is_clean`: that was looked through before."""
    if not _looked_at(forward.credential_fields).isdisjoint(keys):
        return False
    forms = forward.forms
    # No form has a line break in it, so none lies in two lines; and most lines are shorter than each of them.
    shortest = forms.shortest if isinstance(forms, Forms) else 0
    long = [line for line in lines if len(line) >= shortest]
    return not (long and shows(b"\n".join(long), forms)) and (is_clean or not shows(body, forms))


@lru_cache(maxsize=64)  # A few, of each policy.
def _looked_at(credential_fields: frozenset[str]) -> frozenset[str]:
    return _SPECIAL | credential_fields


def edit_trailers(forward: Forward, fields: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Trailers are fields like any other; `grpc-message` may quote what it was sent."""
    return edit_response(forward, 101, fields).fields


def _joined(fields: tuple[tuple[str, str], ...], keys: Sequence[str], wanted: str) -> str | None:
    """A field that is there twice counts twice: who knows which one the client takes."""
    if wanted not in keys:
        return None
    return ",".join([field[1] for key, field in zip(keys, fields, strict=True) if key == wanted]) or None
