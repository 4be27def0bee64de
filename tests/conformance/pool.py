"""The fast lane alone: connections to upstreams that all of an application's connections share.

Each of these is what goes wrong with a shared pool: an answer that reaches somebody else, a request that is
sent twice, one that is lost.
"""

from collections.abc import Mapping
from typing import Any, Final

from tests.conformance.framing import BINARY, OK
from tests.conformance.words import (
    Connect,
    End,
    Hear,
    HearBody,
    HearEnd,
    Leave,
    Over,
    Part,
    Say,
    Script,
    See,
    SeeBody,
    Send,
    Step,
    answer,
    attached,
    chunk,
    head,
    in_chunks,
    request,
)

FAILED: Final = {"reason": "upstream_failed", "status": 502}
# The first request of a script, after which a connection is idle.
FIRST: Final = (Send(request("GET /v1/a")), Hear("GET /v1/a", over=Over.NEW), *OK)


def next_over(over: Over) -> tuple[Step, ...]:
    """Another connection of the application asks."""
    return (Connect(), Send(request("GET /v1/b")), Hear("GET /v1/b", over=over), *OK)


def poisoned(name: str, *steps: Step, first: Mapping[str, Any] | None = None) -> Script:
    """Whatever came out of turn, its connection is gone before anybody else could get it."""
    return Script(name, *steps, HearEnd(), *next_over(Over.NEW), records=(first or attached(), attached()))


SHARED: Final = (
    Script(
        "the next connection of the application gets the upstream's connection of the last",
        *FIRST,
        *next_over(Over.SAME),
        *next_over(Over.SAME),
        records=(attached(), attached(), attached()),
    ),
    Script(
        "after a refusal the upstream's connection is still good",
        *FIRST,
        Connect(),
        Send(request("GET /nowhere")),
        See(403, reason="path_not_granted"),
        *next_over(Over.SAME),
        records=(attached(), {"status": 403}, attached()),
    ),
    Script(
        "the next handshake goes on with the last session",
        *FIRST,
        Part(),
        HearEnd(),
        Connect(),
        Send(request("GET /v1/b")),
        Hear("GET /v1/b", over=Over.NEW, resumes=True),
        *OK,
        records=(attached(), attached()),
    ),
    Script(
        "an answer in chunks leaves its connection in order",
        Send(request("GET /v1/a")),
        Hear("GET /v1/a"),
        Say(head("200 Fine", "Transfer-Encoding: chunked", BINARY)),
        Say(chunk(b"ok") + b"0\r\nx-note: 1\r\n\r\n"),
        See(200, body=b"ok"),
        *next_over(Over.SAME),
        records=(attached(), attached()),
    ),
)


def dies(name: str, sent: bytes, line: str, body: bytes, how: End = End.WHOLE, *, again: bool) -> Script:
    """A connection that was idle takes a request, and ends before the first byte of an answer."""
    after: tuple[Step, ...] = (See(502, reason="upstream_failed"),)
    if again:
        after = (Hear(line, body=body, over=Over.NEW), *OK)
    return Script(
        name,
        *FIRST,
        Send(sent),
        Hear(line, body=body, over=Over.SAME),
        Part(how),
        *after,
        records=(attached(), attached(sentBytes=len(body)) if again else FAILED),
    )


DYING: Final = (
    dies("a GET whose connection had died", request(), "GET /v1/x", b"", again=True),
    dies("a GET whose connection is reset", request(), "GET /v1/x", b"", End.RESET, again=True),
    dies("a GET whose connection is cut", request(), "GET /v1/x", b"", End.CUT, again=True),
    dies(
        "a DELETE whose connection is reset",
        request("DELETE /v1/x"),
        "DELETE /v1/x",
        b"",
        End.RESET,
        again=True,
    ),
    dies(
        "a small PUT whose connection had died",
        request("PUT /v1/x", body=b"hello"),
        "PUT /v1/x",
        b"hello",
        again=True,
    ),
    dies(
        "a PUT in chunks whose connection had died",
        in_chunks("PUT /v1/x", b"hello", b"world"),
        "PUT /v1/x",
        b"helloworld",
        again=True,
    ),
    dies(
        "a large PUT whose connection had died",
        request("PUT /v1/x", body=bytes(70_000)),
        "PUT /v1/x",
        bytes(70_000),
        again=False,
    ),
    dies(
        "a POST whose connection had died",
        request("POST /v1/x", body=b"hello"),
        "POST /v1/x",
        b"hello",
        again=False,
    ),
    dies(
        "an empty POST whose connection had died",
        request("POST /v1/x", body=b""),
        "POST /v1/x",
        b"",
        again=False,
    ),
    Script(
        "half an upload whose connection dies",
        *FIRST,
        Send(request("PUT /v1/x", "Content-Length: 10") + b"hello"),
        Hear("PUT /v1/x", body=None, over=Over.SAME),
        HearBody(b"hello"),
        Part(End.RESET),
        See(502, reason="upstream_failed"),
        records=(attached(), FAILED),
    ),
    Script(
        "a request that is sent again is sent once more and no third time",
        *FIRST,
        Send(request()),
        Hear(over=Over.SAME),
        Part(),
        Hear(over=Over.NEW),
        Part(),
        See(502, reason="upstream_failed"),
        records=(attached(), FAILED),
    ),
    Script(
        "a new connection that dies is not tried again",
        Send(request()),
        Hear(over=Over.NEW),
        Part(),
        See(502, reason="upstream_failed"),
        records=(FAILED,),
    ),
    Script(
        "a connection that dies within its answer's head is not tried again",
        *FIRST,
        Send(request()),
        Hear(over=Over.SAME),
        Say(b"HTTP/1.1 2"),
        Part(),
        See(502, reason="upstream_failed"),
        records=(attached(), FAILED),
    ),
    Script(
        "a connection that dies behind an interim answer is not tried again",
        *FIRST,
        Send(request()),
        Hear(over=Over.SAME),
        Say(head("103 Early Hints")),
        Part(),
        See(502, reason="upstream_failed"),
        records=(attached(), FAILED),
    ),
)

POISON: Final = (
    poisoned(
        "an answer for the next client, behind ours",
        Send(request()),
        Hear(),
        Say(answer(body=b"a") + answer(body=b"smuggled")),
        See(200, body=b"a"),
    ),
    poisoned(
        "an answer for the next client, after ours",
        *FIRST,
        Say(answer(body=b"smuggled")),
    ),
    poisoned("half an answer for the next client", *FIRST, Say(b"HTTP/1.1 200 Fine\r\nX: ")),
    poisoned("an interim answer for the next client", *FIRST, Say(head("100 Continue"))),
    poisoned("an empty line for the next client", *FIRST, Say(b"\r\n")),
    poisoned(
        "a body behind an answer to HEAD, for the next client",
        Send(request("HEAD /v1/x")),
        Hear("HEAD /v1/x"),
        Say(head("200 Fine", "Content-Length: 8") + b"smuggled"),
        See(200, to_head=True),
    ),
    poisoned(
        "a body behind 304, for the next client",
        Send(request()),
        Hear(),
        Say(head("304 Not Modified", "Content-Length: 8") + b"smuggled"),
        See(304),
        first=attached(304),
    ),
    poisoned(
        "more chunks than the last, for the next client",
        Send(request()),
        Hear(),
        Say(head("200 Fine", "Transfer-Encoding: chunked", BINARY) + b"0\r\n\r\n" + chunk(b"smuggled")),
        See(200, body=b""),
    ),
    poisoned(
        "a client that leaves within its answer leaves the rest to nobody",
        Send(request()),
        Hear(),
        Say(head("200 Fine", "Content-Length: 10", BINARY) + b"hello"),
        See(200, body=None),
        SeeBody(b"hello"),
        Leave(End.RESET),
        first=attached(200, "client_gone"),
    ),
    poisoned(
        "a client that leaves before its answer leaves it to nobody",
        Send(request()),
        Hear(),
        Leave(End.RESET),
        first={"ending": "client_gone", "status": None},
    ),
    poisoned(
        "a client that leaves within its upload leaves no place for another request",
        Send(request("PUT /v1/x", "Content-Length: 100") + b"hello"),
        Hear("PUT /v1/x", body=None),
        HearBody(b"hello"),
        Leave(End.RESET),
        first={"ending": "client_gone"},
    ),
    poisoned(
        "a client that leaves within an upload that was answered leaves no place for another request",
        Send(request("PUT /v1/x", "Content-Length: 100") + b"hello"),
        Hear("PUT /v1/x", body=None),
        HearBody(b"hello"),
        Say(answer("413 Too Large", body=b"no")),
        See(413, body=b"no"),
        Leave(End.RESET),
        first={"status": 413},
    ),
    poisoned(
        "an upload that its upstream did not wait for leaves no place for another request",
        Send(request("PUT /v1/x", "Expect: 100-continue", "Content-Length: 5")),
        Hear("PUT /v1/x", body=None),
        Say(answer("403 No", body=b"no")),
        See(403, body=b"no", closes=True),
        first=attached(403),
    ),
    poisoned(
        "an answer in http 1.0 ends its connection",
        Send(request()),
        Hear(),
        Say(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        See(200, body=b"ok"),
    ),
    poisoned(
        "an answer that says close ends its connection",
        Send(request()),
        Hear(),
        Say(answer("200 OK", "Connection: Close")),
        See(200, body=b"ok", closes=None),
    ),
)

SCRIPTS: Final = (*SHARED, *DYING, *POISON)
