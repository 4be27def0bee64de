"""Bytes that two HTTP implementations read in two ways, by the class of the published attack.

Sources: "HTTP Desync Attacks" (2019), "HTTP/2: The Sequel is Always Worse" (2021), "Browser-Powered Desync
Attacks" (2022) and "HTTP/1.1 must die" (2025), all by Kettle; "HTTP Request Smuggling" (Linhart et
al., 2005); "T-Reqs" (Jabiyev et al., 2021); CVE-2025-55315 (a bare LF behind chunk extensions).

Each sample says what our readers make of it: they refuse it, or they read it in the one way written beside
it. What is refused may be refused at any reader: its head, what the target names, or the body.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

HOST: Final = "api.lab.example"
# Stands in all that must not reach anybody as a request, a header or a body of its own.
MARK: Final = b"smuggled"
NEXT: Final = b"GET /v1/smuggled HTTP/1.1\r\nHost: api.lab.example\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Read:
    """The one way: what the head says, the content, and the bytes behind, which are another message."""

    target: str = "/v1/x"
    content: bytes = b""
    rest: bytes = b""


@dataclass(frozen=True, slots=True)
class Sample:
    """`reading` is None where it must be refused."""

    attack: str
    name: str
    sent: bytes
    reading: Read | None = None


def request(
    *lines: bytes, first: bytes = b"GET /v1/x HTTP/1.1", host: bytes = b"Host: api.lab.example"
) -> bytes:
    return b"\r\n".join([first, *([host] if host else []), *lines, b"", b""])


POST: Final = b"POST /v1/x HTTP/1.1"
CHUNKED: Final = b"Transfer-Encoding: chunked"
LAST: Final = b"0\r\n\r\n"


def posted(*lines: bytes, body: bytes = LAST, first: bytes = POST) -> bytes:
    return request(*lines, first=first) + body


def _samples(attack: str, table: dict[str, bytes]) -> Iterator[Sample]:
    return (Sample(attack, name, sent) for name, sent in table.items())


CL_TE = {
    "length, then chunked": posted(b"Content-Length: 6", CHUNKED, body=LAST + b"G"),
    "chunked, then length": posted(CHUNKED, b"Content-Length: 6", body=LAST + b"G"),
    "length of all, request behind the last chunk": posted(
        b"Content-Length: %d" % (5 + len(NEXT)), CHUNKED, body=LAST + NEXT
    ),
    "length 0 and chunked": posted(b"Content-Length: 0", CHUNKED),
}
TE_CL = {
    "request inside a chunk": posted(
        b"Content-Length: 4", CHUNKED, body=b"%x\r\n%b\r\n" % (len(NEXT), NEXT) + LAST
    ),
    "length in HTTP/1.0, chunked beside it": posted(
        b"Content-Length: 5", CHUNKED, first=b"POST /v1/x HTTP/1.0"
    ),
    "chunked in HTTP/1.0": posted(CHUNKED, first=b"POST /v1/x HTTP/1.0"),
}
TE_TE = {
    "xchunked": posted(b"Transfer-Encoding: xchunked"),
    "chunked, identity": posted(b"Transfer-Encoding: chunked, identity"),
    "identity": posted(b"Transfer-Encoding: identity"),
    "twice": posted(CHUNKED, CHUNKED),
    "twice, the second unknown": posted(CHUNKED, b"Transfer-Encoding: x"),
    "twice, the second unknown, in lower case": posted(CHUNKED, b"transfer-encoding: cow"),
    "chunked, then identity": posted(CHUNKED, b"Transfer-Encoding: identity"),
    "twice in one": posted(b"Transfer-Encoding: chunked, chunked"),
    "gzip before it": posted(b"Transfer-Encoding: gzip, chunked"),
    "an empty element": posted(b"Transfer-Encoding: ,chunked"),
    "a parameter": posted(b"Transfer-Encoding: chunked;q=1"),
    "quoted": posted(b'Transfer-Encoding: "chunked"'),
    "single quotes": posted(b"Transfer-Encoding: 'chunked'"),
    "space before the colon": posted(b"Transfer-Encoding : chunked"),
    "tab before the colon": posted(b"Transfer-Encoding\t: chunked"),
    "vertical tab": posted(b"Transfer-Encoding: \x0bchunked"),
    "form feed": posted(b"Transfer-Encoding: \x0cchunked"),
    "vertical tab behind": posted(b"Transfer-Encoding: chunked\x0b"),
    "a no-break space": posted(b"Transfer-Encoding: \xa0chunked"),
    "a next-line": posted(b"Transfer-Encoding: chunked\x85"),
    "NUL": posted(b"Transfer-Encoding: chunked\x00"),
    "byte 0xff before": posted(b"Transfer-Encoding: \xffchunked"),
    "on a folded line": posted(b"Transfer-Encoding:\r\n chunked"),
    "hidden in a fold": posted(b"X: y\r\n Transfer-Encoding: chunked"),
    "behind a bare LF": posted(b"X: y\nTransfer-Encoding: chunked"),
    "behind a bare CR": posted(b"X: y\rTransfer-Encoding: chunked"),
    "LF before the value": posted(b"Transfer-Encoding:\n chunked"),
    "space before the name": posted(b" Transfer-Encoding: chunked"),
    "empty": posted(b"Transfer-Encoding:"),
}
LENGTHS = {
    "two": posted(b"Content-Length: 1", b"Content-Length: 2", body=b"ab"),
    "two that are equal": posted(b"Content-Length: 1", b"Content-Length: 1", body=b"a"),
    "two in two cases": posted(b"Content-Length: 0", b"content-length: %d" % len(NEXT), body=NEXT),
    "a list": posted(b"Content-Length: 1, 1", body=b"a"),
    "signed": posted(b"Content-Length: +1", body=b"a"),
    "negative": posted(b"Content-Length: -1", body=b"a"),
    "hexadecimal": posted(b"Content-Length: 0x1", body=b"a"),
    "zeros in front": posted(b"Content-Length: 010", body=b"0123456789"),
    "underscore": posted(b"Content-Length: 1_0", body=b"0123456789"),
    "exponent": posted(b"Content-Length: 1e1", body=b"0123456789"),
    "a fraction": posted(b"Content-Length: 1.0", body=b"a"),
    "a space within": posted(b"Content-Length: 1 0", body=b"0123456789"),
    "superscript": posted(b"Content-Length: \xb2", body=b"ab"),
    "quoted": posted(b'Content-Length: "1"', body=b"a"),
    "empty": posted(b"Content-Length:", body=b"a"),
    "endless": posted(b"Content-Length: 99999999999999999999", body=b"a"),
    "wraps around 64 bits": posted(b"Content-Length: 18446744073709551617", body=b"a"),
    "wraps around 63 bits": posted(b"Content-Length: 9223372036854775808", body=b"a"),
    "space before the colon": posted(b"Content-Length : %d" % len(NEXT), body=NEXT),
    "NUL behind": posted(b"Content-Length: 1\x00", body=b"a"),
}
CHUNK_LINES = {
    "signed size": b"+5\r\nAAAAA\r\n",
    "negative size": b"-5\r\nAAAAA\r\n",
    "0x": b"0x5\r\nAAAAA\r\n",
    "underscore": b"0_5\r\nAAAAA\r\n",
    "space before": b" 5\r\nAAAAA\r\n",
    "space behind": b"5 \r\nAAAAA\r\n",
    "tab behind": b"5\t\r\nAAAAA\r\n",
    "space before the extension": b"5 ;a\r\nAAAAA\r\n",
    "comma": b"5,5\r\nAAAAA\r\n",
    "no size": b"\r\nAAAAA\r\n",
    "an extension alone": b";a=b\r\nAAAAA\r\n",
    "wraps around 64 bits": b"10000000000000005\r\nAAAAA\r\n",
    "wraps around 63 bits": b"8000000000000005\r\nAAAAA\r\n",
    "wraps around far": b"10000000000000000000000005\r\nAAAAA\r\n",
    "bare LF": b"5\nAAAAA\r\n",
    "bare CR": b"5\rAAAAA\r\n",
    "two CR": b"5\r\r\nAAAAA\r\n",
    "bare LF behind a semicolon (CVE-2025-55315)": b"5;\nAAAAA\r\n",
    "bare LF behind an extension": b"5;a=b\nAAAAA\r\n",
    "bare LF within an extension": b"5;a\nb\r\nAAAAA\r\n",
    "bare CR within an extension": b"5;a\rb\r\nAAAAA\r\n",
    "bare CR behind a semicolon": b"5;\rAAAAA\r\n",
    "NUL in an extension": b"5;a\x00b\r\nAAAAA\r\n",
    "extensions without end": b"5;" + b"a" * 5000 + b"\r\nAAAAA\r\n",
    "no line end behind the data": b"5\r\nAAAAA",
    "bare LF behind the data": b"5\r\nAAAAA\n",
    "bare CR behind the data": b"5\r\nAAAAA\r",
    "other bytes behind the data": b"5\r\nAAAAAXX",
    "more data than the size": b"3\r\nAAAAA\r\n",
}
LAST_CHUNKS = {
    "bare LFs at the end": b"5\r\nAAAAA\r\n0\n\n",
    "bare LF behind the last size": b"5\r\nAAAAA\r\n0\n\r\n",
    "bare LF as the empty line": b"5\r\nAAAAA\r\n0\r\n\n",
    "bare LF behind the last extension": b"5\r\nAAAAA\r\n0;a\n\r\n",
    "bare LF behind a trailer": b"5\r\nAAAAA\r\n0\r\nA: b\n\r\n",
    "a folded trailer": b"5\r\nAAAAA\r\n0\r\nA: b\r\n c\r\n\r\n",
    "a trailer without a colon": b"5\r\nAAAAA\r\n0\r\n" + NEXT,
    "a name of a trailer with a space": b"5\r\nAAAAA\r\n0\r\nA : b\r\n\r\n",
    "200 trailers and one": b"0\r\n" + b"A: b\r\n" * 201 + b"\r\n",
}
NAMES = {
    "space before the colon": request(b"X-A : 1"),
    "tab before the colon": request(b"X-A\t: 1"),
    "NUL in a name": request(b"X-\x00A: 1"),
    "no colon": request(b"X-A"),
    "no name": request(b": 1"),
    "bytes in a name": request(b"X-\xc3\xa4: 1"),
    "a slash in a name": request(b"X/A: 1"),
    "brackets in a name": request(b"X[A]: 1"),
    "Host with a space in it": request(b"Ho st: b.example"),
    "Host with a space behind": request(b"Host : b.example"),
}
FOLDS = {
    "space": request(b"X-A: 1", b" smuggled: 2"),
    "tab": request(b"X-A: 1", b"\tsmuggled: 2"),
    "of the first line": request(b" X-A: 1", host=b""),
    "before a Host": request(b"X-A: 1", b" Host: b.example"),
    "of nothing": request(b"X-A: 1", b" "),
}
LINE_ENDS = {
    "LF everywhere": b"GET /v1/x HTTP/1.1\nHost: api.lab.example\n\n",
    "LF behind the request line": b"GET /v1/x HTTP/1.1\nHost: api.lab.example\r\n\r\n",
    "CR behind the request line": b"GET /v1/x HTTP/1.1\rHost: api.lab.example\r\n\r\n",
    "LF in a value": request(b"X-A: 1\nsmuggled: 2"),
    "LF at the end": b"GET /v1/x HTTP/1.1\r\nHost: api.lab.example\r\nX-A: 1\n\r\n",
    "LF CR LF": b"GET /v1/x HTTP/1.1\r\nHost: api.lab.example\r\n\n\r\n",
    "CR in a value": request(b"X-A: 1\rsmuggled: 2"),
    "two CR": request(b"X-A: 1\r"),
    "NUL in a value": request(b"X-A: 1\x00smuggled"),
    "two empty lines first": b"\r\n\r\n" + request(),
    "LF first": b"\n" + request(),
}
REQUEST_LINES = {
    "HTTP/0.9": b"GET /v1/x\r\n\r\n",
    "HTTP/0.9 with a version": request(first=b"GET /v1/x HTTP/0.9"),
    "HTTP/2.0": request(first=b"GET /v1/x HTTP/2.0"),
    "HTTP/1.2": request(first=b"GET /v1/x HTTP/1.2"),
    "HTTP/1.10": request(first=b"GET /v1/x HTTP/1.10"),
    "HTTP/01.1": request(first=b"GET /v1/x HTTP/01.1"),
    "http/1.1": request(first=b"GET /v1/x http/1.1"),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "two spaces": request(first=b"GET  /v1/x HTTP/1.1"),
    "two spaces before the version": request(first=b"GET /v1/x  HTTP/1.1"),
    "a space behind the version": request(first=b"GET /v1/x HTTP/1.1 "),
    "tabs": request(first=b"GET\t/v1/x\tHTTP/1.1"),
    "vertical tab": request(first=b"GET\x0b/v1/x HTTP/1.1"),
    "a space first": request(first=b" GET /v1/x HTTP/1.1"),
    "a word too many": request(first=b"GET /v1/x HTTP/1.1 smuggled"),
    "a method that is no token": request(first=b"GE:T /v1/x HTTP/1.1"),
    "split by CRLF": request(first=b"GET /v1/x HTTP/1.1\r\nHost: b.example\r\nX: /y HTTP/1.1"),
    "split by LF": request(first=b"GET /v1/x\nHost: b.example HTTP/1.1"),
    "CR in the target": request(first=b"GET /v1/\rx HTTP/1.1"),
    "NUL in the target": request(first=b"GET /v1/\x00 HTTP/1.1"),
    "bytes in the target": request(first=b"GET /v1/\xc3\xa4 HTTP/1.1"),
    "a space in the target": request(first=b"GET /v1/x smuggled HTTP/1.1"),
    "a fragment": request(first=b"GET /v1/x#smuggled HTTP/1.1"),
    "no slash": request(first=b"GET v1/x HTTP/1.1"),
    "a user before the host": request(first=b"GET @b.example/v1/x HTTP/1.1"),
    "a star for GET": request(first=b"GET * HTTP/1.1"),
    "CONNECT": request(first=b"CONNECT b.example:443 HTTP/1.1"),
    "CONNECT with a body": posted(
        b"Content-Length: 4", first=b"CONNECT b.example:443 HTTP/1.1", body=b"smug"
    ),
}
HOSTS = {
    "two": request(b"Host: b.example"),
    "two that are equal": request(b"Host: api.lab.example"),
    "two, in two cases": request(b"hOST: b.example"),
    "none": request(host=b""),
    "empty": request(host=b"Host:"),
    "a list": request(host=b"Host: api.lab.example, b.example"),
    "two words": request(host=b"Host: api.lab.example b.example"),
    "a user": request(host=b"Host: api.lab.example@b.example"),
    "a path": request(host=b"Host: api.lab.example/smuggled"),
    "a port that is none": request(host=b"Host: api.lab.example:@b.example"),
    "an escape": request(host=b"Host: api.lab%2eexample"),
    "an absolute target of another host": request(first=b"GET https://b.example/v1/x HTTP/1.1"),
    "an absolute target of this host, another Host": request(
        first=b"GET https://api.lab.example/v1/x HTTP/1.1", host=b"Host: b.example"
    ),
    "an absolute target in cleartext": request(first=b"GET http://api.lab.example/v1/x HTTP/1.1"),
    "an absolute target with a user": request(first=b"GET https://u@api.lab.example/v1/x HTTP/1.1"),
    "an absolute target of another port": request(first=b"GET https://api.lab.example:444/v1/x HTTP/1.1"),
}

# Read in one way: what stands behind is the next message, and judged as that.
ONE_WAY: Final[Sequence[Sample]] = (
    Sample(
        "CL.0",
        "a GET with a body",
        request(b"Content-Length: 5") + b"AAAAA" + NEXT,
        Read(content=b"AAAAA", rest=NEXT),
    ),
    Sample(
        "CL.0",
        "a POST whose body is a request",
        posted(b"Content-Length: %d" % len(NEXT), body=NEXT),
        Read(content=NEXT),
    ),
    Sample("CL.0", "no length, bytes behind", posted(body=NEXT), Read(rest=NEXT)),
    Sample("0.CL", "a length of 0, bytes behind", posted(b"Content-Length: 0", body=NEXT), Read(rest=NEXT)),
    Sample(
        "0.CL",
        "a length beside Expect",
        posted(b"Content-Length: 5", b"Expect: 100-continue", body=b"AAAAA"),
        Read(content=b"AAAAA"),
    ),
    Sample("TE.TE", "in capitals", posted(b"TRANSFER-ENCODING: CHUNKED", body=LAST + NEXT), Read(rest=NEXT)),
    Sample(
        "TE.TE", "tabs around it", posted(b"Transfer-Encoding:\tchunked\t", body=LAST + NEXT), Read(rest=NEXT)
    ),
    Sample("TE.TE", "another name", posted(b"Transfer_Encoding: chunked", body=NEXT), Read(rest=NEXT)),
    Sample("TE.TE", "x before the name", posted(b"X-Transfer-Encoding: chunked", body=NEXT), Read(rest=NEXT)),
    Sample(
        "chunk extensions",
        "dropped",
        posted(CHUNKED, body=b'5;a=b;c="d;e"\r\nAAAAA\r\n0;x\r\n\r\n' + NEXT),
        Read(content=b"AAAAA", rest=NEXT),
    ),
    Sample(
        "chunk sizes",
        "zeros in front",
        posted(CHUNKED, body=b"0005\r\nAAAAA\r\n000\r\n\r\n"),
        Read(content=b"AAAAA"),
    ),
    Sample(
        "chunk sizes",
        "a request in a chunk",
        posted(CHUNKED, body=b"%x\r\n%b\r\n" % (len(NEXT), NEXT) + LAST),
        Read(content=NEXT),
    ),
    Sample(
        "trailers",
        "framing in them",
        posted(CHUNKED, body=b"0\r\nContent-Length: 99\r\nHost: b.example\r\n\r\n" + NEXT),
        Read(rest=NEXT),
    ),
    Sample("line ends", "one empty line first", b"\r\n" + request() + NEXT, Read(rest=NEXT)),
    Sample(
        "hosts",
        "an absolute target of this host",
        request(first=b"GET https://api.lab.example/v1/x HTTP/1.1"),
        Read(),
    ),
    Sample("names", "Content_Length", posted(b"Content_Length: 50", body=NEXT), Read(rest=NEXT)),
    Sample("values", "blanks around", request(b"X-A: \t 1 \t") + NEXT, Read(rest=NEXT)),
    Sample(
        "values",
        "blanks around a length",
        posted(b"Content-Length: \t5 \t", body=b"AAAAA" + NEXT),
        Read(content=b"AAAAA", rest=NEXT),
    ),
)

REQUESTS: Final[Sequence[Sample]] = (
    *_samples("CL.TE", CL_TE),
    *_samples("TE.CL", TE_CL),
    *_samples("TE.TE", TE_TE),
    *_samples("lengths", LENGTHS),
    *_samples("chunk lines", {k: posted(CHUNKED, body=v + LAST + NEXT) for k, v in CHUNK_LINES.items()}),
    *_samples("last chunks", {k: posted(CHUNKED, body=v + NEXT) for k, v in LAST_CHUNKS.items()}),
    *_samples("names", NAMES),
    *_samples("folds", FOLDS),
    *_samples("line ends", LINE_ENDS),
    *_samples("request lines", REQUEST_LINES),
    *_samples("hosts", HOSTS),
    *ONE_WAY,
)

# --- response splitting and queue poisoning ----------------------------------------------------------

SECOND: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled"


def answer(*lines: bytes, first: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join([first, *lines, b"", b""])


RESPONSES: Final[Sequence[Sample]] = (
    *_samples(
        "framing",
        {
            "length and chunked": answer(b"Content-Length: 5", CHUNKED) + LAST + SECOND,
            "two lengths": answer(b"Content-Length: 5", b"Content-Length: 6") + b"AAAAA" + SECOND,
            "two equal lengths": answer(b"Content-Length: 5", b"Content-Length: 5") + b"AAAAA" + SECOND,
            "a list of lengths": answer(b"Content-Length: 5, 5") + b"AAAAA" + SECOND,
            "a signed length": answer(b"Content-Length: +5") + b"AAAAA" + SECOND,
            "chunked in HTTP/1.0": answer(CHUNKED, first=b"HTTP/1.0 200 OK") + LAST + SECOND,
            "gzip, chunked": answer(b"Transfer-Encoding: gzip, chunked") + LAST + SECOND,
            "identity": answer(b"Transfer-Encoding: identity") + SECOND,
            "a 1xx with a length": answer(b"Content-Length: 5", first=b"HTTP/1.1 103 Early Hints") + SECOND,
            "a 1xx in chunks": answer(CHUNKED, first=b"HTTP/1.1 100 Continue") + SECOND,
        },
    ),
    *_samples(
        "status lines",
        {
            "an empty line first": b"\r\n" + answer(b"Content-Length: 0"),
            "HTTP/0.9": b"<html>smuggled</html>\r\n\r\n",
            "HTTP/2": answer(b"Content-Length: 0", first=b"HTTP/2 200 OK"),
            "a status of two digits": answer(b"Content-Length: 0", first=b"HTTP/1.1 20 OK"),
            "a status of four digits": answer(b"Content-Length: 0", first=b"HTTP/1.1 2000 OK"),
            "a status of 99": answer(b"Content-Length: 0", first=b"HTTP/1.1 099 OK"),
            "a status of 600": answer(b"Content-Length: 0", first=b"HTTP/1.1 600 OK"),
            "a signed status": answer(b"Content-Length: 0", first=b"HTTP/1.1 +20 OK"),
            "two spaces": answer(b"Content-Length: 0", first=b"HTTP/1.1  200 OK"),
            "a bare LF": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
            "a bare CR in the reason": answer(b"Content-Length: 0", first=b"HTTP/1.1 200 O\rK"),
            "NUL in the reason": answer(b"Content-Length: 0", first=b"HTTP/1.1 200 O\x00K"),
        },
    ),
    *_samples(
        "splitting",
        {
            "a bare LF in a value": answer(b"Location: /x\nSet-Cookie: smuggled", b"Content-Length: 0"),
            "a bare CR in a value": answer(b"Location: /x\rSet-Cookie: smuggled", b"Content-Length: 0"),
            "obs-fold": answer(b"X: 1", b" Content-Length: 5", b"Content-Length: 0"),
            "a space before a colon": answer(b"Content-Length : 5", b"Content-Length: 0"),
            "no colon": answer(b"smuggled", b"Content-Length: 0"),
        },
    ),
    *_samples(
        "chunk lines",
        {name: answer(CHUNKED) + body + LAST + SECOND for name, body in CHUNK_LINES.items()},
    ),
    Sample(
        "queue poisoning",
        "an answer behind an answer",
        answer(b"Content-Length: 5") + b"AAAAA" + SECOND,
        Read(content=b"AAAAA", rest=SECOND),
    ),
    Sample("queue poisoning", "behind the last chunk", answer(CHUNKED) + LAST + SECOND, Read(rest=SECOND)),
    Sample(
        "queue poisoning",
        "behind a 204",
        answer(first=b"HTTP/1.1 204 No Content") + SECOND,
        Read(rest=SECOND),
    ),
    Sample(
        "queue poisoning",
        "a 204 with a length",
        answer(b"Content-Length: 8", first=b"HTTP/1.1 204 No Content") + b"smuggled",
        Read(rest=b"smuggled"),
    ),
    Sample(
        "queue poisoning",
        "a 304 with a length",
        answer(b"Content-Length: 8", first=b"HTTP/1.1 304 Not Modified") + SECOND,
        Read(rest=SECOND),
    ),
    Sample("splitting", "no framing at all", answer() + SECOND, Read(content=SECOND)),
)
