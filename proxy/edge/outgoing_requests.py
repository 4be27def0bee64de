"""A source's call becomes a request of known shape, or is refused before anything is connected to.

Documents were checked when they were read, and sources write the rest. This stands behind both: whatever an
expression in a document made of a URL or a header, it does not leave in clear text or as a second request.
"""

import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final

from proxy import __version__
from proxy.core.hosts import parse_hostname
from proxy.core.secret import Secret
from proxy.core.structs import Struct, hiding
from proxy.edge.sockets import is_fenced
from proxy.sources.steps import HttpCall, StepFailed

USER_AGENT: Final = f"podkey/{__version__}"
HTTPS: Final = 443

_URL = re.compile(
    r"(?P<scheme>https?)://(?P<user>[^/?#]*@)?(?P<host>\[[0-9a-f:.]+\]|[^/?#@:\[\]]+)(?P<port>:[0-9]{1,5})?"
    r"(?P<target>[/?][!-~]*)?",
    re.IGNORECASE,
).fullmatch
_METHOD = re.compile(r"[A-Z]{1,16}").fullmatch
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}").fullmatch  # RFC 9110 §5.6.2
# RFC 9110 §5.5: no control character, no blank at either end. Empty is allowed.
_VALUE = re.compile(rb"([!-~\x80-\xff]([\t -~\x80-\xff]*[!-~\x80-\xff])?)?").fullmatch
# Those that frame the message or the connection (RFC 9110 §7.6.1), which are ours to write.
_FRAMING: Final = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# Methods whose requests say how long nothing is (RFC 9110 §8.6).
_WITH_BODY: Final = frozenset({"PATCH", "POST", "PUT"})
# RFC 9110 §9.2.1, of those that somebody uses here: what was lost on the way may be sent again.
_SAFE: Final = frozenset({"GET", "HEAD"})


class Place(Struct, frozen=True):
    """Where a request goes, and whose name the certificate has to show."""

    host: str
    port: int

    @property
    def bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def with_port(self) -> str:
        return f"{self.bracketed}:{self.port}"

    def __str__(self) -> str:
        return self.bracketed if self.port == HTTPS else self.with_port


class OutgoingRequest(Struct, frozen=True):
    place: Place
    method: str
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    largest_answer: int

    __repr__ = hiding("target", "headers", "body")

    @property
    def is_safe(self) -> bool:
        return self.method in _SAFE


def prepared(call: HttpCall) -> OutgoingRequest | StepFailed:
    found = _URL(call.url)
    host = found and _host(found["host"])
    port = int(found["port"][1:]) if found and found["port"] else HTTPS
    if not found or not host or not 0 < port < 65536:
        return StepFailed("the URL of a source is not sound: write it as `https://host/path`, in ASCII")
    if found["scheme"].lower() != "https":
        return StepFailed(f"{host} is named with plain http, which shows secrets to the network: use https")
    if found["user"] is not None:
        return StepFailed(f"the URL of {host} holds a user name: leave it out, the source has a field for it")
    if _is_metadata(host):
        return StepFailed(
            f"{host} is a metadata service, which no source is: name the provider's own endpoint"
        )
    if not _METHOD(call.method) or call.method == "CONNECT":
        return StepFailed(f"{host} was to be asked with a method that is none: this is a defect of podkey")
    problem = next(_header_problems(call), None)
    if problem is not None:
        return StepFailed(f"the request to {host} was not sent: {problem}")
    place = Place(host, port)
    body = call.body.reveal() if call.body is not None else b""
    target = found["target"] or "/"
    return OutgoingRequest(
        place,
        call.method,
        target.encode() if target.startswith("/") else b"/" + target.encode(),
        tuple(_headers(call, place, body)),
        body,
        call.largest_answer,
    )


def _host(text: str) -> str | None:
    try:
        return str(ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        return parse_hostname(text)


def _is_metadata(host: str) -> bool:
    try:
        return is_fenced(host)
    except ValueError:
        return False  # a name; its address is looked at once it is connected to


def _header_problems(call: HttpCall) -> Iterator[str]:
    for name, value in call.headers:
        if not _TOKEN(name):
            yield "the name of a header holds what no header name may"
        elif name.lower() in _FRAMING:
            yield f"the header `{name}` is podkey's own to write: leave it out of the source"
        elif (raw := _bytes(value)) is None or not _VALUE(raw):
            yield f"the value of the header `{name}` holds a line break, or what no header may: correct it"


def _bytes(value: str | Secret) -> bytes | None:
    if isinstance(value, Secret):
        return value.reveal()
    return value.encode() if value.isascii() else None


def _headers(call: HttpCall, place: Place, body: bytes) -> Iterator[tuple[bytes, bytes]]:
    yield b"Host", str(place).encode()
    given = {name.lower() for name, _ in call.headers}
    for name, default in (("User-Agent", USER_AGENT), ("Accept-Encoding", "identity")):
        if name.lower() not in given:
            yield name.encode(), default.encode()
    for name, value in call.headers:
        yield name.encode(), _bytes(value) or b""
    if body or call.method in _WITH_BODY:
        yield b"Content-Length", str(len(body)).encode()
