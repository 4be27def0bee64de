"""Which header fields of a request travel on, and which end here."""

from collections.abc import Collection, Iterable, Iterator
from typing import Final

from proxy.core.reasons import Reason
from proxy.transaction.head import Head, HeadProblem, HttpVersion, options_of

# RFC 9110 §7.6.1, and what old clients add. Transfer-Encoding is the lane's own: it writes the framing.
HOP_BY_HOP: Final = frozenset({
    "connection", "keep-alive", "proxy-connection", "proxy-authorization", "proxy-authenticate", "te",
    "upgrade", "http2-settings",
})  # fmt: skip

# Fields that frame the request, or that we set or read: they are spelled with hyphens, or refused.
SPELLED_ONE_WAY: Final = HOP_BY_HOP | {
    "accept-encoding", "content-encoding", "content-length", "content-type", "sec-websocket-extensions",
    "transfer-encoding", "x-amz-content-sha256", "x-amz-decoded-content-length",
    "x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner", "x-amz-trailer",
}  # fmt: skip

# With a credential on the request, the response is asked for uncompressed: redaction reads bytes.
IDENTITY_ENCODING: Final = ("Accept-Encoding", "identity")

# What Connection may name. To name any other field asks us to drop it on the way, `Connection: authorization`
# for one; no common client does it, and what a field means must not depend on who stands between.
CONNECTION_OPTIONS: Final = frozenset({
    "close", "keep-alive", "te", "upgrade", "http2-settings", "proxy-connection",
})  # fmt: skip


def end_to_end(head: Head) -> tuple[tuple[str, str], ...] | HeadProblem:
    """The fields that travel on, in their order."""
    keys = [name.lower() for name, _ in head.fields]
    if HOP_BY_HOP.isdisjoint(keys):
        return head.fields
    named = options_of(head) - CONNECTION_OPTIONS
    if named:
        message = f"the Connection header names `{min(named)[:40]}`"
        return HeadProblem(Reason.MALFORMED_REQUEST, message)
    return tuple(_kept(head))


def twin(fields: Iterable[tuple[str, str]], judged: Collection[str]) -> HeadProblem | None:
    """A field that some servers take for one that we judged or set: to a CGI-like one, `_` is `-`.

    `judged`: the names that a decision looks at.
    """
    for name, _ in fields:
        if "_" in name:
            key = name.lower()
            other = key.replace("_", "-")
            if other in SPELLED_ONE_WAY or (other in judged and key not in judged):
                message = f"the header `{name[:40]}` is `{other[:40]}` to some servers"
                return HeadProblem(Reason.MALFORMED_REQUEST, message)
    return None


def _kept(head: Head) -> Iterator[tuple[str, str]]:
    for field in head.fields:
        key = field[0].lower()
        if key not in HOP_BY_HOP:
            yield field
        elif key == "upgrade" and head.wants_websocket:
            yield field
            yield "Connection", "Upgrade"
        elif key == "te" and head.version is HttpVersion.HTTP2:
            # `trailers` is all that HTTP/2 allows here, and gRPC servers insist on it.
            yield field
