"""A refusal as the application gets it: in the words of the service, so that its SDK prints our message."""

import json
from collections.abc import Mapping
from typing import Final, NamedTuple, assert_never
from urllib.parse import quote

from proxy.core.contract import REASON_HEADER
from proxy.core.reason_pages import REASONS
from proxy.core.reasons import Reason
from proxy.core.services import Dialect
from proxy.core.structs import Struct
from proxy.core.verdict import RuleRef

# Percent-encoded it has at most three times the bytes, and still fits into the 8 KiB of metadata that gRPC
# clients take by default, beside the other headers.
MAX_MESSAGE_BYTES: Final = 2000
_ELLIPSIS: Final = " … "

Headers = tuple[tuple[str, str], ...]


class Refusal(Struct, frozen=True):
    """`message` may quote what the application sent; it is made harmless when it is rendered."""

    reason: Reason
    message: str
    rule: RuleRef | None
    dialect: Dialect
    is_grpc: bool
    is_head: bool
    request_id: str


class OwnAnswer(Struct, frozen=True):
    status: int
    headers: Headers
    body: bytes = b""
    trailers: Headers = ()


class _Words(NamedTuple):
    """What the services' own vocabularies have for a status."""

    s3: str
    # AWS's JSON protocols ("Common errors", in the API reference of each service).
    aws: str
    # OCI Distribution Specification, "Error codes".
    oci: str
    openai: str
    anthropic: str
    grpc: int  # https://grpc.io/docs/guides/status-codes/


_FORBIDDEN: Final = _Words(
    "AccessDenied", "AccessDeniedException", "DENIED", "request_forbidden", "permission_error", 7
)
_MALFORMED: Final = _Words(
    "InvalidRequest",
    "ValidationException",
    "UNSUPPORTED",
    "invalid_request_error",
    "invalid_request_error",
    3,
)
_UNAVAILABLE: Final = _Words(
    "ServiceUnavailable", "ServiceUnavailableException", "UNAVAILABLE", "server_error", "api_error", 14
)
_WORDS: Final[Mapping[int, _Words]] = {
    400: _MALFORMED,
    403: _FORBIDDEN,
    413: _Words(
        "EntityTooLarge",
        "RequestEntityTooLargeException",
        "SIZE_INVALID",
        "invalid_request_error",
        "request_too_large",
        8,
    ),
    421: _FORBIDDEN,
    431: _MALFORMED,
    500: _Words("InternalError", "InternalServerException", "UNKNOWN", "server_error", "api_error", 13),
    502: _UNAVAILABLE,
    # What S3 says when it is asked for too much at once; SDKs slow down and try again.
    503: _Words("SlowDown", "ThrottlingException", "TOOMANYREQUESTS", "server_error", "overloaded_error", 8),
    504: _UNAVAILABLE,
}
# After a 502 most SDKs send the request again (boto3 makes three attempts): right where the cause may pass.
# These stay until somebody mends them, and the SDKs that listen are told so. boto3 does not listen.
_STAYS: Final = frozenset({Reason.CREDENTIAL_UNUSABLE, Reason.UPSTREAM_UNVERIFIED})
# RFC 9110 §10.2.3. A body leaves memory within that time, or hangs.
_RETRY_AFTER: Final[Mapping[Reason, Headers]] = {Reason.OVERLOADED: (("retry-after", "1"),)}
_GRPC_FAILED_PRECONDITION: Final = 9  # "do not retry until the state has been fixed"

# gRPC over HTTP/2: printable ASCII but the percent sign stands as it is, the rest percent-encoded.
_GRPC_PLAIN: Final = bytes(set(range(0x20, 0x7F)) - set(b"%")).decode()


def render_refusal(refusal: Refusal) -> OwnAnswer:
    page = REASONS[refusal.reason]
    message = presentable(refusal.message)
    if refusal.is_grpc:
        return _grpc(refusal, message, _WORDS[page.status])
    content_type, headers, body = _in_dialect(refusal, message, _WORDS[page.status])
    return OwnAnswer(
        page.status,
        (
            ("content-type", content_type),
            ("content-length", str(len(body))),
            ("cache-control", "no-store"),
            (REASON_HEADER, refusal.reason.value),
            *_RETRY_AFTER.get(refusal.reason, ()),
            *headers,
        ),
        b"" if refusal.is_head else body,
    )


def presentable(text: str) -> str:
    """One printable line of bounded length. What is too long loses its middle: the end tells what to do."""
    line = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )
    data = line.encode()
    if len(data) <= MAX_MESSAGE_BYTES:
        return line
    half = (MAX_MESSAGE_BYTES - len(_ELLIPSIS.encode())) // 2
    return data[:half].decode(errors="ignore") + _ELLIPSIS + data[-half:].decode(errors="ignore")


def _in_dialect(refusal: Refusal, message: str, words: _Words) -> tuple[str, Headers, bytes]:
    """Content type, further headers and body."""
    code, request_id = refusal.reason.value, refusal.request_id
    match refusal.dialect:
        case Dialect.S3_XML:
            body = (
                '<?xml version="1.0" encoding="UTF-8"?>\n'
                f"<Error><Code>{words.s3}</Code><Message>{escaped(message)}</Message>"
                f"<RequestId>{escaped(request_id)}</RequestId></Error>"
            )
            return "application/xml", (("x-amz-request-id", request_id),), body.encode()
        case Dialect.OPENAI_JSON:
            error = {"message": message, "type": words.openai, "param": None, "code": code}
            headers = (("x-request-id", request_id), *_retry_advice(refusal.reason))
            return "application/json", headers, _json({"error": error})
        case Dialect.ANTHROPIC_JSON:
            error = {"type": words.anthropic, "message": message}
            headers = (("request-id", request_id), *_retry_advice(refusal.reason))
            body_of = {"type": "error", "error": error, "request_id": request_id}
            return "application/json", headers, _json(body_of)
        case Dialect.HUGGINGFACE_JSON:
            headers = (
                ("x-request-id", request_id),
                ("x-error-code", code),
                # A header: what is not ASCII is written as a number.
                ("x-error-message", message.encode("ascii", "backslashreplace").decode()),
            )
            return "application/json", headers, _json({"error": message})
        case Dialect.AWS_JSON:
            headers = (("x-amzn-requestid", request_id), ("x-amzn-errortype", words.aws))
            # Some of its services write the message with a capital.
            return "application/json", headers, _json({"__type": words.aws, "message": message})
        case Dialect.OCI_JSON:
            detail = {"reason": code, "requestId": request_id}
            refusals = [{"code": words.oci, "message": message, "detail": detail}]
            return "application/json", (("x-request-id", request_id),), _json({"errors": refusals})
        case Dialect.PLAIN_JSON:
            plain = {"code": code, "message": message, "requestId": request_id}
            if refusal.rule is not None:
                plain["grant"] = str(refusal.rule)
            return "application/json", (("x-request-id", request_id),), _json({"error": plain})
        case _:
            assert_never(refusal.dialect)


def _retry_advice(reason: Reason) -> Headers:
    """What the SDKs of OpenAI and Anthropic obey before they look at the status."""
    return (("x-should-retry", "false"),) if reason in _STAYS else ()


def escaped(text: str) -> str:
    """For the content of XML. Not by `html`, which brings two thousand names of characters along."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _grpc(refusal: Refusal, message: str, words: _Words) -> OwnAnswer:
    """Trailers-Only: one block of headers that ends the stream. Its clients read no status but this one."""
    code = _GRPC_FAILED_PRECONDITION if refusal.reason in _STAYS else words.grpc
    return OwnAnswer(
        200,
        (
            ("content-type", "application/grpc"),
            ("grpc-status", str(code)),
            ("grpc-message", quote(message, safe=_GRPC_PLAIN)),
            (REASON_HEADER, refusal.reason.value),
            ("x-request-id", refusal.request_id),
        ),
    )
