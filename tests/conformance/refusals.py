"""What is not granted, what cannot be read, and how a request names where it goes."""

from typing import Final

from proxy.core.arrival import LaneName
from tests.conformance.framing import OK
from tests.conformance.words import (
    Credential,
    Family,
    Hear,
    HearEnd,
    Say,
    Script,
    See,
    SeeEnd,
    Send,
    answer,
    attached,
    chunk,
    in_chunks,
    refused,
    request,
)

LONG: Final = "/v1/" + "a" * 1000
MANY: Final = tuple(f"x-{number}: {number}" for number in range(190))

NOT_GRANTED: Final = (
    Script(
        "a path that is not granted",
        Send(request("GET /nowhere?key=1")),
        See(403, {"cache-control": "no-store"}, reason="path_not_granted"),
        Send(request("GET /v1/x")),
        Hear(),
        *OK,
        records=(refused("path_not_granted", 403, path="/nowhere"), attached()),
    ),
    Script(
        "a method that is not granted",
        Send(request("PATCH /v1/x", body=b"hello")),
        See(403, reason="method_not_granted"),
        records=(refused("method_not_granted", 403, sentBytes=0),),
    ),
    Script(
        "a HEAD that is refused has no body",
        Send(request("HEAD /nowhere") + request("GET /v1/x")),
        See(403, reason="path_not_granted", to_head=True),
        Hear(),
        *OK,
        records=(refused("path_not_granted", 403), attached()),
    ),
    Script(
        "a body that is refused is read over",
        Send(request("PUT /nowhere", "Content-Length: 10") + b"hello"),
        See(403, reason="path_not_granted"),
        Send(b"world" + request("GET /v1/x")),
        Hear(),
        *OK,
        records=(refused("path_not_granted", 403), attached()),
    ),
    Script(
        "chunks that are refused are read over",
        Send(request("PUT /nowhere", "Transfer-Encoding: chunked") + chunk(b"hello")),
        See(403, reason="path_not_granted"),
        Send(chunk(b"world") + b"0\r\nx-note: 1\r\n\r\n" + request("GET /v1/x")),
        Hear(),
        *OK,
        records=(refused("path_not_granted", 403), attached()),
    ),
    Script(
        "http 1.0 is refused and closed",
        Send(request("GET /nowhere", version="1.0")),
        See(403, reason="path_not_granted", closes=None),
        SeeEnd(),
        records=(refused("path_not_granted", 403),),
    ),
    Script(
        "a field that is named as an option",
        Send(request("GET /v1/x", "Connection: X-Mine", "X-Mine: 1") + request("GET /v1/smuggled")),
        See(400, reason="malformed_request", closes=True),
        SeeEnd(),
        records=(refused("malformed_request", 400),),
    ),
    Script(
        "TRACE",
        Send(request("TRACE /v1/x")),
        See(403, reason="method_forbidden"),
        records=(refused("method_forbidden", 403),),
    ),
    Script(
        "a method in the path's stead",
        Send(request("POST /v1/x", "X-HTTP-Method-Override: DELETE", body=b"")),
        See(403, reason="override_header"),
        records=(refused("override_header", 403),),
    ),
    Script(
        "dot segments",
        Send(request("GET /v1/../admin")),
        See(403, reason="path_not_granted"),
        Send(request("GET /v1/%2e%2e/admin")),
        See(403, reason="path_not_granted"),
        records=(refused("path_not_granted", 403), refused("path_not_granted", 403)),
    ),
    Script(
        "an encoded slash",
        Send(request("GET /v1%2fx")),
        See(400, reason="ambiguous_path"),
        records=(refused("ambiguous_path", 400),),
    ),
    Script(
        "a signature in the query",
        Send(request("GET /v1/x?X-Amz-Signature=abc&X-Amz-Credential=def")),
        See(403, reason="query_auth_present"),
        records=(refused("query_auth_present", 403),),
    ),
)

NAMES: Final = (
    Script(
        "OPTIONS of the whole server",
        Send(request("OPTIONS *")),
        See(400, reason="malformed_path"),
        records=(refused("malformed_path", 400),),
    ),
    Script(
        "OPTIONS of a path",
        Send(request("OPTIONS /v1/x", "Origin: https://a.example")),
        Hear("OPTIONS /v1/x", {"origin": "https://a.example"}),
        Say(
            answer("204 No Content", "Access-Control-Allow-Origin: *", body=b"").replace(
                b"Content-Length: 0\r\n", b""
            )
        ),
        See(204, {"access-control-allow-origin": "*"}),
        records=(attached(204),),
    ),
    Script(
        "an absolute URL goes on in origin form",
        Send(request("GET https://%HOST%/v1/x?y=1")),
        Hear("GET /v1/x?y=1"),
        *OK,
        records=(attached(path="/v1/x"),),
    ),
    Script(
        "an absolute URL with the port",
        Send(request("GET https://%HOST%:443/v1/x").replace(b"Host: %HOST%", b"Host: %HOST%:443")),
        Hear("GET /v1/x"),
        *OK,
        records=(attached(),),
    ),
    Script(
        "an absolute URL of another host",
        Send(request("GET https://other.lab.example/v1/x")),
        See(421, reason="name_mismatch", closes=True),
        SeeEnd(),
        records=(refused("name_mismatch", 421),),
    ),
    Script(
        "a Host in capitals with the port",
        Send(request("GET /v1/x").replace(b"Host: %HOST%", b"HOST:   %HOST%:443  ")),
        Hear("GET /v1/x"),
        *OK,
        records=(attached(),),
    ),
    Script(
        "a Host of another name",
        Send(request("GET /v1/x").replace(b"%HOST%", b"other.bearer.lab.example")),
        See(421, reason="name_mismatch"),
        Send(request("GET /v1/x")),
        Hear(),
        *OK,
        records=(refused("name_mismatch", 421), attached()),
    ),
    Script(
        "a Host of another port",
        Send(request("GET /v1/x").replace(b"%HOST%", b"%HOST%:8443")),
        See(421, reason="name_mismatch"),
        records=(refused("name_mismatch", 421),),
    ),
    Script(
        "two Hosts",
        Send(request("GET /v1/x", "Host: other.lab.example")),
        See(400, reason="malformed_request", closes=True),
        SeeEnd(),
        records=(refused("malformed_request", 400),),
    ),
    Script(
        "a long target",
        Send(request(f"GET {LONG}?q={'b' * 14_000}")),
        Hear(f"GET {LONG}?q={'b' * 14_000}"),
        *OK,
        records=(attached(),),
    ),
    Script(
        "a query goes on byte for byte",
        Send(request("GET /v1/a%20b/c+d?e=%2F&&f==g&h=%E4&i")),
        Hear("GET /v1/a%20b/c+d?e=%2F&&f==g&h=%E4&i"),
        *OK,
        records=(attached(),),
    ),
    Script(
        "many fields",
        Send(request("GET /v1/x", *MANY)),
        Hear("GET /v1/x", {"x-0": "0", "x-189": "189"}),
        *OK,
        records=(attached(),),
    ),
    Script(
        "fields go on as they are",
        Send(request("GET /v1/x", "X-A:1", "X-a:  2  ", "x-b: \xe4\xf6", "X-Empty:", "Cookie: a=b; c=d")),
        Hear("GET /v1/x", {"x-b": "\xe4\xf6", "x-empty": "", "cookie": "a=b; c=d"}),
        *OK,
        records=(attached(),),
    ),
    Script(
        "hop by hop fields end here",
        Send(
            request(
                "GET /v1/x",
                "Connection: keep-alive, TE",
                "Keep-Alive: timeout=5",
                "TE: trailers",
                "Proxy-Connection: keep-alive",
                "Proxy-Authorization: Basic abc",
            )
        ),
        Hear(
            "GET /v1/x",
            absent=("connection", "keep-alive", "te", "proxy-connection", "proxy-authorization"),
        ),
        *OK,
        records=(attached(),),
    ),
)

LIMITS: Final = (
    Script(
        "a field that is too large",
        Send(request("GET /v1/x", "X-A: " + "a" * 70_000)),
        See(431, reason="headers_too_large", closes=True),
        SeeEnd(),
        records=(refused("headers_too_large", 431),),
    ),
    Script(
        "a target that is too long",
        Send(request(f"GET /v1/{'a' * 17_000}")),
        See(431, reason="headers_too_large", closes=True),
        SeeEnd(),
        records=(refused("headers_too_large", 431),),
    ),
    Script(
        "too many fields",
        Send(request("GET /v1/x", *(f"x-{number}: 1" for number in range(201)))),
        See(431, reason="headers_too_large", closes=True),
        SeeEnd(),
        records=(refused("headers_too_large", 431),),
    ),
    Script(
        "a length beside chunks",
        Send(in_chunks("POST /v1/x", b"hello", fields=["Content-Length: 5"]) + request("GET /v1/smuggled")),
        See(400, reason="malformed_request", closes=True),
        SeeEnd(),
        records=(refused("malformed_request", 400),),
    ),
    Script(
        "a size of a chunk that is none",
        Send(request("POST /v1/x", "Transfer-Encoding: chunked")),
        Hear("POST /v1/x", body=None),
        Send(b"0x5\r\nhello\r\n0\r\n\r\n" + request("GET /v1/smuggled")),
        HearEnd(),
        See(400, reason="malformed_request", closes=True),
        SeeEnd(),
        records=({"status": 400, "sentBytes": 0},),
        faults={LaneName.MITMPROXY: "it ends the connection without a word"},
    ),
)

WATCHED: Final = (
    Script(
        "under an observing policy what would be refused goes on without a credential",
        Send(request("GET /nowhere", "Authorization: Bearer mine")),
        Hear("GET /nowhere", {"authorization": "Bearer mine"}, credential=Credential.NONE),
        *OK,
        records=(
            {"verdict": "pass_through", "reason": "would_refuse", "status": 200, "would": "path_not_granted"},
        ),
        family=Family.WATCHED,
    ),
    Script(
        "under an observing policy what is granted goes on with one",
        Send(request("GET /v1/x")),
        Hear("GET /v1/x"),
        *OK,
        records=({"verdict": "attach", "status": 200},),
        family=Family.WATCHED,
    ),
    Script(
        "under an observing policy the pod's own credential stays",
        Send(request("GET /v1/x", "Authorization: Bearer mine")),
        Hear("GET /v1/x", {"authorization": "Bearer mine"}, credential=Credential.NONE),
        *OK,
        records=({"verdict": "pass_through", "reason": "would_attach", "status": 200},),
        family=Family.WATCHED,
    ),
    Script(
        "under an observing policy a head that cannot be read is still refused",
        Send(request("GET /v1/x", "X-A : 1")),
        See(400, reason="malformed_request", closes=True),
        SeeEnd(),
        records=(refused("malformed_request", 400),),
        family=Family.WATCHED,
    ),
)

SCRIPTS: Final = (*NOT_GRANTED, *NAMES, *LIMITS, *WATCHED)
