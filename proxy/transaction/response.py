"""What of a response reaches the application: no credential of ours, in a header or in a text body."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from proxy.transaction.opening import Forward
from proxy.transaction.redaction import Redactor, is_text, redact_value

# Response fields whose whole purpose is to hand over a credential, or a session that stands for one. A
# session that was opened with our credential would outlive the grant. WWW-Authenticate stays: registries'
# clients need the challenge, and it holds none.
CREDENTIAL_FIELDS: Final = frozenset({
    "set-cookie", "set-cookie2", "authorization", "proxy-authorization", "authentication-info",
    "proxy-authentication-info", "x-amz-security-token", "x-auth-token", "x-subject-token",
})  # fmt: skip
# Upgrades that nobody asked for; connection management is the lane's own.
NOT_FORWARDED: Final = frozenset({"keep-alive", "proxy-connection", "alt-svc"})


@dataclass(frozen=True, slots=True)
class ResponseEdits:
    """`redactor` is None where the body is passed on as it is."""

    fields: tuple[tuple[str, str], ...]
    redactor: Redactor | None
    # Fields that were dropped for what they are, and values in which our credential was found.
    dropped: int = 0
    redacted: int = 0


def edit_response(forward: Forward, status: int, fields: Iterable[tuple[str, str]]) -> ResponseEdits:
    """The response's header fields as they go to the application, and what its body is fed through."""
    sent = tuple(fields)
    if not forward.attached:
        kept = tuple(field for field in sent if field[0].lower() not in NOT_FORWARDED)
        return ResponseEdits(kept, None)
    secret = CREDENTIAL_FIELDS | forward.credential_fields
    edited: list[tuple[str, str]] = []
    dropped = redacted = 0
    for name, value in sent:
        key = name.lower()
        if key in secret:
            dropped += 1
        elif key not in NOT_FORWARDED:
            clean = redact_value(value, forward.forms)
            redacted += clean != value
            edited.append((name, clean))
    redactor = Redactor(forward.forms) if forward.forms and status != 101 and _is_text(sent) else None
    return ResponseEdits(tuple(edited), redactor, dropped, redacted)


def edit_trailers(forward: Forward, fields: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Trailers are fields like any other; `grpc-message` may quote what it was sent."""
    return edit_response(forward, 101, fields).fields


def _is_text(fields: tuple[tuple[str, str], ...]) -> bool:
    return is_text(_joined(fields, "content-type"), _joined(fields, "content-encoding"))


def _joined(fields: tuple[tuple[str, str], ...], wanted: str) -> str | None:
    """A field that is there twice counts twice: who knows which one the client takes."""
    return ",".join(value for name, value in fields if name.lower() == wanted) or None
