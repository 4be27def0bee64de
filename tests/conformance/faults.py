"""Upstreams that break, at every stage."""

from collections.abc import Mapping
from typing import Final

from proxy.core.arrival import LaneName
from tests.conformance.framing import BINARY, OK
from tests.conformance.words import (
    NO_FAULTS,
    Door,
    End,
    Family,
    Hear,
    HearBody,
    HearEnd,
    Open,
    Over,
    Part,
    Say,
    Script,
    See,
    SeeBody,
    SeeEnd,
    Send,
    answer,
    attached,
    chunk,
    head,
    request,
)

FAILED: Final = {"reason": "upstream_failed", "status": 502}
UNREACHABLE: Final = {"reason": "upstream_unreachable", "status": 502}
UNVERIFIED: Final = {"reason": "upstream_unverified", "status": 502}


def garbled(name: str, *pieces: bytes, faults: Mapping[LaneName, str] = NO_FAULTS) -> Script:
    """An answer that cannot be read: ours is given, and the connection is not used again."""
    return Script(
        name,
        Send(request()),
        Hear(),
        Say(*pieces),
        Part(),
        See(502, reason="upstream_failed"),
        HearEnd(),
        Send(request("GET /v1/y")),
        Hear("GET /v1/y", over=Over.NEW),
        *OK,
        records=(FAILED, attached()),
        faults=faults,
    )


DOORS: Final = (
    Script(
        "nobody listens",
        Send(request()),
        See(502, reason="upstream_unreachable"),
        records=(UNREACHABLE,),
        is_nowhere=True,
    ),
    Script(
        "an upstream that closes within its handshake",
        Send(request()),
        Open(Door.CLOSES),
        See(502, reason="upstream_unreachable"),
        Send(request("GET /v1/y")),
        Hear("GET /v1/y"),
        *OK,
        records=(UNREACHABLE, attached()),
    ),
    Script(
        "an upstream that speaks no tls",
        Send(request()),
        Open(Door.SAYS_HTTP),
        See(502, reason="upstream_unverified"),
        records=(UNVERIFIED,),
    ),
    Script(
        "an upstream with another name's certificate",
        Send(request("PUT /v1/x", body=b"hello")),
        Open(Door.SHOWS_ANOTHER_NAME),
        See(502, reason="upstream_unverified"),
        records=(UNVERIFIED,),
        family=Family.STRANGE,
    ),
)

BREAKING: Final = (
    Script(
        "an upstream that closes before its answer",
        Send(request("POST /v1/x", body=b"hello")),
        Hear("POST /v1/x", body=b"hello"),
        Part(),
        See(502, reason="upstream_failed"),
        records=(FAILED,),
    ),
    Script(
        "an upstream that resets before its answer",
        Send(request("POST /v1/x", body=b"hello")),
        Hear("POST /v1/x", body=b"hello"),
        Part(End.RESET),
        See(502, reason="upstream_failed"),
        records=(FAILED,),
    ),
    Script(
        "an upstream that closes within an upload",
        Send(request("POST /v1/x", "Content-Length: 10") + b"hello"),
        Hear("POST /v1/x", body=None),
        HearBody(b"hello"),
        Part(),
        See(502, reason="upstream_failed"),
        records=(FAILED,),
    ),
    garbled("an upstream that closes within its head", b"HTTP/1.1 200 Fine\r\nContent-Le"),
    garbled("an upstream that talks nonsense", b"\x00\x01\x02 nonsense\r\n\r\n"),
    garbled("an answer with two lengths", head("200 Fine", "Content-Length: 1", "Content-Length: 2") + b"ab"),
    garbled(
        "an answer with a length and chunks",
        head("200 Fine", "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    ),
    garbled("an answer with a length that is none", head("200 Fine", "Content-Length: -1")),
    garbled(
        "an answer with a folded field",
        b"HTTP/1.1 200 Fine\r\nX-A: 1\r\n 2\r\nContent-Length: 0\r\n\r\n",
        faults={LaneName.MITMPROXY: "it passes the fold on as it is"},
    ),
    garbled(
        "an answer with a space before a colon", b"HTTP/1.1 200 Fine\r\nX-A : 1\r\nContent-Length: 0\r\n\r\n"
    ),
    garbled("an answer of another protocol", b"ICY 200 OK\r\nContent-Length: 0\r\n\r\n"),
    garbled("an answer with a status that is none", b"HTTP/1.1 2OO Fine\r\nContent-Length: 0\r\n\r\n"),
    Script(
        "an upstream that closes within its body",
        Send(request()),
        Hear(),
        Say(head("200 Fine", "Content-Length: 10", BINARY) + b"hello"),
        See(200, body=None),
        SeeBody(b"hello"),
        Part(),
        SeeEnd(None),
        records=(attached(200, "upstream_failed", receivedBytes=5),),
    ),
    Script(
        "an upstream that resets within its body",
        Send(request()),
        Hear(),
        Say(head("200 Fine", "Content-Length: 10", BINARY) + b"hello"),
        See(200, body=None),
        SeeBody(b"hello"),
        Part(End.RESET),
        SeeEnd(None),
        records=(attached(200, "upstream_failed", receivedBytes=5),),
    ),
    Script(
        "an upstream that closes within its chunks",
        Send(request()),
        Hear(),
        Say(head("200 Fine", "Transfer-Encoding: chunked", BINARY) + chunk(b"hello")),
        See(200, body=None),
        SeeBody(b"hello"),
        Part(),
        SeeEnd(None),
        records=(attached(200, "upstream_failed", receivedBytes=5),),
    ),
    Script(
        "an upstream whose chunks are none",
        Send(request()),
        Hear(),
        Say(head("200 Fine", "Transfer-Encoding: chunked", BINARY) + chunk(b"hello")),
        See(200, body=None),
        SeeBody(b"hello"),
        Say(b"0x5\r\nhello\r\n0\r\n\r\n"),
        SeeEnd(None),
        HearEnd(),
        records=(attached(200, "upstream_failed", receivedBytes=5),),
    ),
    Script(
        "two answers to one request",
        Send(request()),
        Hear(),
        Say(answer(body=b"a") + answer(body=b"smuggled")),
        See(200, body=b"a"),
        HearEnd(),
        Send(request("GET /v1/y")),
        Hear("GET /v1/y", over=Over.NEW),
        *OK,
        records=(attached(), attached()),
    ),
    Script(
        "an answer that nobody asked for",
        Send(request()),
        Hear(),
        *OK,
        Say(answer(body=b"smuggled")),
        HearEnd(),
        Send(request("GET /v1/y")),
        Hear("GET /v1/y", over=Over.NEW),
        *OK,
        records=(attached(), attached()),
    ),
    Script(
        "more bytes than the answer's length",
        Send(request()),
        Hear(),
        Say(answer(body=b"ok") + b"smuggled"),
        See(200, body=b"ok"),
        HearEnd(),
        Send(request("GET /v1/y")),
        Hear("GET /v1/y", over=Over.NEW),
        *OK,
        records=(attached(), attached()),
    ),
    Script(
        "a body behind an answer that has none",
        Send(request("HEAD /v1/x")),
        Hear("HEAD /v1/x"),
        Say(head("200 Fine", "Content-Length: 8") + b"smuggled"),
        See(200, to_head=True),
        HearEnd(),
        Send(request("GET /v1/y")),
        Hear("GET /v1/y", over=Over.NEW),
        *OK,
        records=(attached(), attached()),
    ),
    Script(
        "a head of an answer that does not end",
        Send(request()),
        Hear(),
        Say(head("200 Fine").removesuffix(b"\r\n") + b"X-A: aaaaaaaa\r\n" * 30_000),
        See(502, reason="upstream_failed"),
        HearEnd(),
        records=(FAILED,),
    ),
)

SCRIPTS: Final = (*DOORS, *BREAKING)
