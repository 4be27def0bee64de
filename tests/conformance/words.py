r"""What a script of the conformance suite is written in: one line of time, on which an application, the
upstream and the platform team take turns.

    Script(
        "keep-alive",
        Send(request("GET /v1/a")),
        Hear("GET /v1/a"),
        Say(answer(body=b"a")),
        See(200, body=b"a"),
        records=(completed(),),
    )

A script is data. `stage.py` plays it with the real sidecar, whichever lane serves it, and holds at each step
that what came is what stands here; at the end, that nothing else came. Nothing in it waits for a time.

`HOST` in what is sent stands for the script's own name below its family: each script has upstream connections
of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, Final
from zlib import crc32

from proxy.core.arrival import LaneName
from tests.canary import Canary

HOST: Final = b"%HOST%"
# Made when the tests are loaded, so that scripts can say where it stands; the same for each lane.
CREDENTIALS: Final = Canary()
TOKEN: Final = CREDENTIALS.secret("the token of the scripts")
NEXT_TOKEN: Final = CREDENTIALS.secret("the next token of the scripts")
# What a field has in place of the credential that is valid when the request leaves us.
MASK: Final = b"*" * len(TOKEN)

Fields = Mapping[str, str]
NO_FAULTS: Final[Mapping[LaneName, str]] = MappingProxyType({})
NO_FIELDS: Final[Fields] = MappingProxyType({})


class Family(Enum):
    """Which policy speaks for the script's host."""

    BEARER = "bearer"  # GET, HEAD, POST, PUT, DELETE, OPTIONS of /v1/**
    STRICT = "strict"  # the same, and `onForeignCredential: refuse`
    WATCHED = "watched"  # `mode: observe`
    KEY = "key"  # in `x-api-key`
    CUT = "cut"  # `onRevoke: cut`, and a policy for each script
    TURNING = "turning"  # a credential for each script, which `Rotate` replaces
    STRANGE = "strange"  # the upstream's certificate is another name's
    S3 = "s3"  # a bucket for each script, by virtual host


class End(Enum):
    """How one side ends a connection, and how the other sees it."""

    WHOLE = "whole"  # it says so in TLS (RFC 8446 §6.1)
    CUT = "cut"  # without a word
    RESET = "reset"


class Credential(Enum):
    """Which one has to be with a request: no other, and nowhere else in it."""

    NONE = "none of ours"
    FIRST = "the script's own"
    NEXT = "what it was replaced by"


class Over(Enum):
    """Which connection the upstream gets a request over."""

    ANY = "any"
    SAME = "the one of the last request"
    NEW = "a new one"


class Whatever(Enum):
    """To its end, and not looked at; both lanes have to give the same."""

    BODY = "a body"


Body = bytes | Whatever | None

# --- the application ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Connect:
    """A new connection; the first one is opened by the first `Send`."""


@dataclass(frozen=True)
class Send:
    """Each piece is written by itself."""

    pieces: tuple[bytes, ...]

    def __init__(self, *pieces: bytes) -> None:
        object.__setattr__(self, "pieces", pieces)


@dataclass(frozen=True)
class SendSigned:
    """A request that an SDK signed with the pod's placeholder keys."""

    method: str
    path: str
    body: bytes = b""
    mode: str = "sha256"


@dataclass(frozen=True)
class See:
    """An answer, by its head and, unless `body` is None, to its end."""

    status: int
    fields: Fields = NO_FIELDS
    absent: Sequence[str] = ()
    body: Body = b""
    reason: str | None = None
    # No body follows, whatever the head says: it answers a HEAD.
    to_head: bool = False
    # None: it is left to each hop whether its own connection goes on (RFC 9110 §7.6.1).
    closes: bool | None = False


@dataclass(frozen=True)
class SeeBody:
    """So much more of the last answer's body; None: its end."""

    data: bytes | None


@dataclass(frozen=True)
class SeeBytes:
    """Of a connection that has switched protocols."""

    data: bytes


@dataclass(frozen=True)
class SeeEnd:
    """`how`: None where the message itself shows that it was cut, and the connection need not."""

    how: End | None = End.WHOLE


@dataclass(frozen=True)
class Leave:
    """The application ends its connection."""

    how: End = End.WHOLE


# --- the upstream ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hear:
    """One request, by its head and, unless `body` is None, to its end. `fields` are there once; of `absent`
    there is none."""

    line: str = "GET /v1/x"
    fields: Fields = NO_FIELDS
    absent: Sequence[str] = ()
    body: Body = b""
    credential: Credential = Credential.FIRST
    over: Over = Over.ANY
    # Whether its handshake went on with an earlier one's session; None: either.
    resumes: bool | None = None


@dataclass(frozen=True)
class HearBody:
    """So much more of the last request's body; None: its end."""

    data: bytes | None


@dataclass(frozen=True)
class HearBytes:
    """Of a connection that has switched protocols."""

    data: bytes


@dataclass(frozen=True)
class Say:
    """Each piece is a TLS record of its own."""

    pieces: tuple[bytes, ...]

    def __init__(self, *pieces: bytes) -> None:
        object.__setattr__(self, "pieces", pieces)


@dataclass(frozen=True)
class Part:
    """The upstream ends the last request's connection."""

    how: End = End.WHOLE


@dataclass(frozen=True)
class HearEnd:
    """The last request's connection is ended by us."""


class Door(Enum):
    """What an upstream does that does not take a connection as it should."""

    CLOSES = "closes the connection at once"
    SAYS_HTTP = "answers in cleartext"
    SHOWS_ANOTHER_NAME = "shows a certificate for another name"


@dataclass(frozen=True)
class Open:
    """The upstream's door, for one connection."""

    door: Door


# --- the platform team -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Revoke:
    """The script's policy is taken away, and that is in force."""


@dataclass(frozen=True)
class Rotate:
    """The script's credential is replaced by `NEXT_TOKEN`."""


Step = (
    Connect
    | Send
    | SendSigned
    | See
    | SeeBody
    | SeeBytes
    | SeeEnd
    | Leave
    | Hear
    | HearBody
    | HearBytes
    | Say
    | Part
    | HearEnd
    | Open
    | Revoke
    | Rotate
)


@dataclass(frozen=True)
class Script:
    """`records`: of each audit record what counts, in the order in which the requests ended."""

    name: str
    steps: tuple[Step, ...]
    records: tuple[Mapping[str, Any], ...]
    family: Family = Family.BEARER
    # Where nothing listens.
    is_nowhere: bool = False
    # In its host, its bucket or its credential: a name that fits into a label of DNS.
    label: str = field(init=False)
    # What a lane does otherwise, and is known to.
    faults: Mapping[LaneName, str] = NO_FAULTS

    def __init__(
        self,
        name: str,
        *steps: Step,
        records: Sequence[Mapping[str, Any]],
        family: Family = Family.BEARER,
        is_nowhere: bool = False,
        faults: Mapping[LaneName, str] = NO_FAULTS,
    ) -> None:
        for key, value in {
            "name": name,
            "steps": steps,
            "records": tuple(records),
            "family": family,
            "is_nowhere": is_nowhere,
            "faults": faults,
            "label": f"s{crc32(name.encode()):08x}",
        }.items():
            object.__setattr__(self, key, value)

    @property
    def host(self) -> str:
        if self.family is Family.S3:
            return f"{self.label}.s3.eu-west-1.amazonaws.com"
        return f"{self.label}.{self.family.value}.lab.example"


# --- what is sent ------------------------------------------------------------------------------------------


def request(line: str = "GET /v1/x", *fields: str, body: bytes | None = None, version: str = "1.1") -> bytes:
    """With the script's Host, and with a length where there is a body."""
    length = () if body is None else (f"Content-Length: {len(body)}",)
    lines = [f"{line} HTTP/{version}", f"Host: {HOST.decode()}", *fields, *length, "", ""]
    return "\r\n".join(lines).encode("latin-1") + (body or b"")


def in_chunks(line: str, *pieces: bytes, fields: Sequence[str] = (), trailers: Sequence[str] = ()) -> bytes:
    return request(line, "Transfer-Encoding: chunked", *fields) + chunks(*pieces, trailers=trailers)


def chunks(*pieces: bytes, trailers: Sequence[str] = ()) -> bytes:
    """A whole body in chunks."""
    end = "".join(f"{trailer}\r\n" for trailer in trailers).encode("latin-1")
    return b"".join(map(chunk, pieces)) + b"0\r\n" + end + b"\r\n"


def chunk(data: bytes, extension: bytes = b"") -> bytes:
    return b"%x%s\r\n%s\r\n" % (len(data), extension, data)


def head(line: str = "200 Fine", *fields: str) -> bytes:
    """Of an answer."""
    return "\r\n".join([f"HTTP/1.1 {line}", *fields, "", ""]).encode("latin-1")


def answer(line: str = "200 Fine", *fields: str, body: bytes = b"ok", kind: str = "text/plain") -> bytes:
    return head(line, f"Content-Type: {kind}", *fields, f"Content-Length: {len(body)}") + body


# --- records -----------------------------------------------------------------------------------------------


def attached(status: int = 200, ending: str = "completed", **more: Any) -> Mapping[str, Any]:
    return {"verdict": "attach", "reason": "granted", "status": status, "ending": ending, **more}


def refused(reason: str, status: int, ending: str = "refused", **more: Any) -> Mapping[str, Any]:
    return {"verdict": "refuse", "reason": reason, "status": status, "ending": ending, **more}
