"""A whole message as our readers take it apart: what a lane does with a connection, in one call."""

from proxy.transaction.head import Head, head_of_http1
from proxy.wire.chunks import ChunkReader
from proxy.wire.framing import Chunked, Length, ResponseFraming, UntilClose
from proxy.wire.outcomes import BadHead
from proxy.wire.request_head import RequestHead, read_request_head
from proxy.wire.response_head import ResponseHead, read_response_head
from tests.smuggling_corpus import HOST, Read


def read_request(sent: bytes) -> Read | None:
    """None where a reader refuses, the target names another host, or the message is not whole."""
    head = read_request_head(sent)
    if not isinstance(head, RequestHead):
        return None
    judged = head_of_http1(head)
    if not isinstance(judged, Head) or judged.authority != HOST:
        return None
    return read_body(judged.target, head.framing, sent[head.size :])


def read_response(sent: bytes, method: str = "GET") -> Read | None:
    head = read_response_head(sent, method)
    return read_body("/v1/x", head.framing, sent[head.size :]) if isinstance(head, ResponseHead) else None


def read_body(target: str, framing: ResponseFraming, data: bytes) -> Read | None:
    match framing:
        case Chunked():
            reader = ChunkReader()
            content = reader.feed(data)
            whole = not isinstance(content, BadHead) and reader.is_done
            return Read(target, bytes(content), reader.rest) if whole else None  # type: ignore[arg-type]
        case UntilClose():
            return Read(target, data)
        case Length(size):
            return Read(target, data[:size], data[size:]) if size <= len(data) else None
        case _:
            return Read(target, b"", data)
