"""What becomes of credentials: the application's own, ours on its way back, one that is spent, and one that
is taken away."""

from base64 import b64encode
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

from tests.conformance.connections import SWITCH, SWITCHED
from tests.conformance.framing import BINARY, OK
from tests.conformance.words import (
    MASK,
    TOKEN,
    Credential,
    End,
    Family,
    Hear,
    HearBody,
    HearEnd,
    Leave,
    Over,
    Part,
    Revoke,
    Rotate,
    Say,
    Script,
    See,
    SeeBody,
    SeeBytes,
    SeeEnd,
    Send,
    SendSigned,
    Step,
    Whatever,
    answer,
    attached,
    chunk,
    chunks,
    head,
    in_chunks,
    refused,
    request,
)

OWN: Final = "Authorization: Bearer mine"
TEXT: Final = "Content-Type: text/plain"
SECRET: Final = TOKEN.encode()
HIDDEN: Final = b"you sent <" + MASK + b">, and nothing else"
SHOWN: Final = b"you sent <" + SECRET + b">, and nothing else"
HALF: Final = len(b"you sent <") + len(SECRET) // 2


def forms() -> Sequence[tuple[str, bytes]]:
    return [
        ("base64", b64encode(b"user:" + SECRET)),
        ("percent", quote(TOKEN, safe="").encode()),
        ("hexadecimal", SECRET.hex().encode()),
    ]


FOREIGN: Final = (
    Script(
        "the application's own credential goes",
        Send(request("GET /v1/x", OWN, "authorization: Bearer mine2")),
        Hear("GET /v1/x", {"authorization": f"Bearer {TOKEN}"}),
        *OK,
        records=(attached(staticCredentialSeen=True),),
    ),
    Script(
        "the application's own credential is refused where the grant says so",
        Send(request("POST /v1/x", OWN, body=b"hello")),
        See(403, reason="foreign_credential"),
        Send(request("GET /v1/x")),
        Hear(),
        *OK,
        records=(refused("foreign_credential", 403, staticCredentialSeen=True), attached()),
        family=Family.STRICT,
    ),
    Script(
        "a slot behind underscores is the same slot",
        Send(request("GET /v1/x", "X_API_Key: mine", "x-api-key: mine", OWN)),
        Hear("GET /v1/x", {"x-api-key": TOKEN}, absent=("x_api_key",)),
        *OK,
        records=(attached(staticCredentialSeen=True),),
        family=Family.KEY,
    ),
    Script(
        "authorization that is named as an option",
        Send(request("GET /v1/x", "Connection: authorization", OWN)),
        See(400, reason="malformed_request", closes=True),
        SeeEnd(),
        records=(refused("malformed_request", 400),),
    ),
)

REDACTED: Final = (
    Script(
        "our credential in a text",
        Send(request()),
        Hear(),
        Say(answer(body=SHOWN)),
        See(200, {"content-length": str(len(SHOWN))}, body=HIDDEN),
        records=(attached(redactions=1, receivedBytes=len(SHOWN)),),
    ),
    Script(
        "our credential over the boundary of two pieces",
        Send(request()),
        Hear(),
        Say(head("200 Fine", TEXT, f"Content-Length: {len(SHOWN)}")),
        See(200, body=None),
        Say(SHOWN[:HALF], SHOWN[HALF:]),
        SeeBody(HIDDEN),
        SeeBody(None),
        records=(attached(redactions=1),),
    ),
    Script(
        "our credential over the boundary of two chunks",
        Send(request()),
        Hear(),
        Say(head("200 Fine", TEXT, "Transfer-Encoding: chunked")),
        Say(chunk(SHOWN[:HALF]), chunk(SHOWN[HALF:]), b"0\r\n\r\n"),
        See(200, body=HIDDEN),
        records=(attached(redactions=1),),
    ),
    Script(
        "our credential in single bytes",
        Send(request()),
        Hear(),
        Say(head("200 Fine", TEXT, "Transfer-Encoding: chunked")),
        Say(*(chunk(SHOWN[at : at + 1]) for at in range(len(SHOWN))), b"0\r\n\r\n"),
        See(200, body=HIDDEN),
        records=(attached(redactions=1),),
    ),
    Script(
        "our credential in a text until the connection ends",
        Send(request()),
        Hear(),
        Say(b"HTTP/1.0 200 Fine\r\nContent-Type: text/plain\r\nContent-Length: 49\r\n\r\n" + SHOWN[:49]),
        See(200, body=(HIDDEN if len(SHOWN) == 49 else HIDDEN[:49])),
        records=(attached(),),
    ),
    *(
        Script(
            f"our credential in {name}",
            Send(request()),
            Hear(),
            Say(answer(body=b'{"sent": "' + form + b'"}', kind="application/json")),
            See(200, body=Whatever.BODY),
            records=(attached(redactions=1),),
        )
        for name, form in forms()
    ),
    Script(
        "our credential in a field",
        Send(request()),
        Hear(),
        Say(answer("400 Bad", f"X-Debug: you sent {TOKEN}", "Set-Cookie: session=1", body=b"no")),
        See(400, {"x-debug": f"you sent {MASK.decode()}"}, absent=("set-cookie",), body=b"no"),
        records=(attached(400, redactions=1),),
    ),
    Script(
        "our credential in the reason phrase",
        Send(request()),
        Hear(),
        Say(answer(f"400 {TOKEN}", body=b"no")),
        See(400, body=b"no"),
        records=(attached(400),),
    ),
    Script(
        "our credential in bytes that are no text",
        Send(request()),
        Hear(),
        Say(answer(body=b"\x00" + b"x" * 100, kind="image/png")),
        See(200, body=b"\x00" + b"x" * 100),
        records=(attached(redactions=0),),
    ),
    Script(
        "our credential cut off in the middle",
        Send(request()),
        Hear(),
        Say(head("200 Fine", TEXT, "Content-Length: 1000") + b"line\n" + SHOWN[:HALF]),
        See(200, body=None),
        SeeBody(b"line\n"),
        Leave(),
        HearEnd(),
        records=(attached(200, "client_gone"),),
    ),
    Script(
        "our credential in a websocket",
        Send(request("GET /v1/socket", *SWITCH)),
        Hear("GET /v1/socket"),
        Say(SWITCHED),
        See(101),
        Say(b"\x81\x35" + SHOWN),
        SeeBytes(b"\x81\x35" + HIDDEN),
        Leave(),
        HearEnd(),
        Part(),
        records=(attached(101, redactions=1),),
    ),
)

SPENT: Final = answer("401 Unauthorized", "WWW-Authenticate: Bearer", body=b"spent", kind="application/json")


def again(name: str, line: str, sent: bytes, body: bytes) -> Script:
    """The credential is replaced while the request is under way: the application sees one answer."""
    return Script(
        name,
        Send(sent),
        Hear(line, body=body),
        Rotate(),
        Say(SPENT),
        Hear(line, body=body, credential=Credential.NEXT, over=Over.SAME),
        *OK,
        records=(attached(retried=True, sentBytes=len(body)),),
        family=Family.TURNING,
    )


def not_again(name: str, *steps: Step, **record: Any) -> Script:
    return Script(name, *steps, records=(attached(401, retried=False, **record),), family=Family.TURNING)


TURNING: Final = (
    again("a spent credential", "GET /v1/x", request(), b""),
    again(
        "a spent credential of an upload",
        "PUT /v1/x",
        request("PUT /v1/x", body=b"hello" * 100),
        b"hello" * 100,
    ),
    again(
        "a spent credential of chunks", "PUT /v1/x", in_chunks("PUT /v1/x", b"hello", b"world"), b"helloworld"
    ),
    not_again(
        "a spent credential of a POST",
        Send(request("POST /v1/x", body=b"hello")),
        Hear("POST /v1/x", body=b"hello"),
        Rotate(),
        Say(SPENT),
        See(401, {"www-authenticate": "Bearer"}, body=b"spent"),
    ),
    not_again(
        "a spent credential of a large upload",
        Send(request("PUT /v1/x", body=bytes(70_000))),
        Hear("PUT /v1/x", body=bytes(70_000)),
        Rotate(),
        Say(SPENT),
        See(401, body=b"spent"),
        sentBytes=70_000,
    ),
    not_again(
        "a credential that is called spent and is not",
        Send(request()),
        Hear(),
        Say(SPENT),
        See(401, body=b"spent"),
    ),
    not_again(
        "a spent credential in a long answer",
        Send(request()),
        Hear(),
        Rotate(),
        Say(answer("401 Unauthorized", body=b"x" * 20_000)),
        See(401, body=b"x" * 20_000),
    ),
    Script(
        "a credential that is spent twice",
        Send(request()),
        Hear(),
        Rotate(),
        Say(SPENT),
        Hear(credential=Credential.NEXT),
        Say(SPENT),
        See(401, body=b"spent"),
        records=(attached(401, retried=True),),
        family=Family.TURNING,
    ),
    Script(
        "a spent credential in an answer in chunks",
        Send(request()),
        Hear(),
        Rotate(),
        Say(head("401 Unauthorized", "Transfer-Encoding: chunked") + chunks(b"spent")),
        Hear(credential=Credential.NEXT),
        *OK,
        records=(attached(retried=True),),
        family=Family.TURNING,
    ),
    Script(
        "a spent credential whose answer ends with its connection",
        Send(request()),
        Hear(),
        Rotate(),
        Say(answer("401 Unauthorized", "Connection: close", body=b"spent")),
        Hear(credential=Credential.NEXT, over=Over.NEW),
        *OK,
        records=(attached(retried=True),),
        family=Family.TURNING,
    ),
)

CUT: Final = (
    Script(
        "a download is cut",
        Send(request()),
        Hear(),
        Say(head("200 Fine", "Content-Length: 10", BINARY) + b"hello"),
        See(200, body=None),
        SeeBody(b"hello"),
        Revoke(),
        SeeEnd(End.CUT),
        HearEnd(),
        records=(attached(200, "cut", receivedBytes=5),),
        family=Family.CUT,
    ),
    Script(
        "an answer until the connection ends does not look whole when it is cut",
        Send(request()),
        Hear(),
        Say(head("200 Fine", BINARY) + b"hello"),
        See(200, body=None, closes=True),
        SeeBody(b"hello"),
        Revoke(),
        SeeEnd(End.CUT),
        HearEnd(),
        records=(attached(200, "cut"),),
        family=Family.CUT,
    ),
    Script(
        "an upload is cut",
        Send(request("PUT /v1/x", "Content-Length: 10") + b"hello"),
        Hear("PUT /v1/x", body=None),
        HearBody(b"hello"),
        Revoke(),
        SeeEnd(None),
        HearEnd(),
        records=({"verdict": "attach", "ending": "cut", "sentBytes": 5},),
        family=Family.CUT,
    ),
    Script(
        "a websocket is cut",
        Send(request("GET /v1/socket", *SWITCH)),
        Hear("GET /v1/socket"),
        Say(SWITCHED),
        See(101),
        Revoke(),
        SeeEnd(End.CUT),
        HearEnd(),
        records=(attached(101, "cut"),),
        family=Family.CUT,
    ),
    Script(
        "an idle connection is not cut and its next request gets nothing",
        Send(request()),
        Hear(),
        *OK,
        Revoke(),
        Send(request()),
        Hear(credential=Credential.NONE),
        *OK,
        records=(attached(), {"verdict": "pass_through", "reason": "ungoverned_host", "status": 200}),
        family=Family.CUT,
    ),
)

ELSEWHERE: Final = (
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=THEIRS00000000000001%2F20260101%2Feu-west-1%2Fs3%2Faws4_request"
    "&X-Amz-Date=20260101T000000Z&X-Amz-Expires=300&X-Amz-SignedHeaders=host&X-Amz-Signature=" + "ab" * 32
)

SIGNED: Final = (
    Script(
        "a signed GET is signed with our keys",
        SendSigned("GET", "/train/a"),
        Hear("GET /train/a", absent=("x-amz-security-token",)),
        Say(answer(kind="binary/octet-stream")),
        See(200, body=b"ok"),
        records=(attached(action="s3:GetObject", staticCredentialSeen=False),),
        family=Family.S3,
    ),
    Script(
        "a signed PUT is signed with our keys",
        SendSigned("PUT", "/train/a", b"hello"),
        Hear("PUT /train/a", {"content-length": "5"}, body=b"hello"),
        *OK,
        records=(attached(action="s3:PutObject", sentBytes=5),),
        family=Family.S3,
    ),
    Script(
        "a PUT in signed chunks is signed anew",
        SendSigned("PUT", "/train/a", b"hello" * 20_000, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
        Hear("PUT /train/a", {"x-amz-decoded-content-length": "100000"}, body=Whatever.BODY),
        *OK,
        records=(attached(action="s3:PutObject"),),
        family=Family.S3,
    ),
    Script(
        "a PUT without a signature is read whole",
        Send(request("PUT /train/a", body=b"hello")),
        Hear("PUT /train/a", {"content-length": "5"}, body=b"hello"),
        *OK,
        records=(attached(action="s3:PutObject", sentBytes=5),),
        family=Family.S3,
    ),
    Script(
        "a url that somebody else has signed",
        Send(request(f"GET /train/a?{ELSEWHERE}")),
        See(403, reason="foreign_presigned"),
        records=(refused("foreign_presigned", 403),),
        family=Family.S3,
    ),
)

SCRIPTS: Final = (*FOREIGN, *REDACTED, *TURNING, *CUT, *SIGNED)
