"""Where scripts are played: a pod, a sidecar whose HTTP/1.1 one lane serves, and an upstream for all names.

A script's transcript is what both lanes have to agree on: what the upstream got, what the application got,
how connections ended, and the audit records.
"""

import re
import select
import socket
import ssl
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, assert_never

from proxy.core.arrival import LaneName
from tests.canary import SHARED
from tests.conformance.granted import documents, secrets_of
from tests.conformance.wires import PATIENCE, Message, Missed, Wire, read_body, read_message, wait_for
from tests.conformance.words import (
    CREDENTIALS,
    HOST,
    NEXT_TOKEN,
    TOKEN,
    Body,
    Connect,
    Credential,
    Door,
    End,
    Family,
    Hear,
    HearBody,
    HearBytes,
    HearEnd,
    Leave,
    Open,
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
)
from tests.netns import INTERNET_V4
from tests.s3_signer import EMPTY, Keys, Mode, Signer
from tests.sidecar_pod import SidecarPod, sidecar_pod
from tests.sidecar_process import wait_for as wait_until
from tests.upstreams import listen_in, tls_context

# Nothing listens here.
NOWHERE: Final = "203.0.113.20"
REGION: Final = "eu-west-1"
SETTING: Final = {LaneName.FAST: "true", LaneName.MITMPROXY: "false"}
# What differs from run to run, or from lane to lane by its nature.
VARYING: Final = (
    "time",
    "requestId",
    "durationMs",
    "lane",
    "leaseId",
    "tokenIssued",
    "tokenExpires",
    "tokenHash",
    "podUid",
    "issuer",
    "keyId",
)
# What the sums of these counters are does not depend on the lane that counts.
COUNTERS: Final = (
    "podkey_requests_total",
    "podkey_bytes_total",
    "podkey_leases_spent_total",
    "podkey_redactions_total",
    "podkey_requests_cut_total",
    "podkey_static_credentials_seen_total",
    "podkey_upstream_failures_total",
)

# Of a signature: when it was made, and what comes of that.
SIGNED: Final = re.compile(r"\d{8}T\d{6}Z|/\d{8}/|[Ss]ignature=[0-9a-f]{64}")
VALUES: Final = {Credential.NONE: (), Credential.FIRST: (TOKEN,), Credential.NEXT: (NEXT_TOKEN,)}

Transcript = list[tuple[str, object]]


# --- the stage ---------------------------------------------------------------------------------------------


@dataclass
class Stage:
    pod: SidecarPod
    lane: LaneName
    scripts: Sequence[Script]
    listener: socket.socket
    context: ssl.SSLContext
    strange: ssl.SSLContext

    def play(self, script: Script) -> Transcript:
        """Each step, and that nothing comes but what stands there."""
        play = Play(self, script)
        before = self.counters()
        try:
            for number, step in enumerate(script.steps, 1):
                try:
                    play.take(step)
                except AssertionError as error:
                    error.add_note(f"in step {number} of {script.name!r} ({self.lane.value}): {_shown(step)}")
                    error.add_note(f"the application got {_shown(play.application_got)}")
                    raise
            play.finish()
        finally:
            play.close()
        return [*play.transcript, ("counted", self.counters() - before)]

    def apply(self, without: Script) -> None:
        """Take a script's policy away, and wait until that is in force."""
        count = sum(line["event"] == "policy applied" for line in self.pod.sidecar.log_lines())
        self.pod.write_policy(documents(self.scripts, without))
        self.pod.sidecar.wait_log("policy applied", count=count + 1)

    def counters(self) -> Counter[str]:
        """By name and labels, all lanes together."""
        found: Counter[str] = Counter()
        for key, value in self.pod.sidecar.metrics().items():
            name, _, labels = key.partition("{")
            if name in COUNTERS:
                kept = [part for part in labels.rstrip("}").split(",") if not part.startswith("lane=")]
                found[f"{name}{{{','.join(kept)}}}"] += int(value)
        return found

    def check_health(self) -> None:
        """Nothing went past the judge, and nothing broke that a lane did not expect."""
        assert self.pod.sidecar.metric("podkey_fail_open_total") == 0
        errors = [line for line in self.pod.sidecar.log_lines() if line["event"] == "unexpected error"]
        assert not errors, errors


@contextmanager
def stage(lane: LaneName, scripts: Sequence[Script], **settings: Any) -> Iterator[Stage]:
    with ExitStack() as last:
        SHARED.append(CREDENTIALS)
        last.callback(SHARED.remove, CREDENTIALS)
        pod = last.enter_context(sidecar_pod(CREDENTIALS, internet=[NOWHERE]))
        listener = last.enter_context(listen_in(pod.network.net, INTERNET_V4, 443))
        listener.settimeout(PATIENCE)
        families = [family.value for family in Family if family not in {Family.STRANGE, Family.S3}]
        names = [f"*.{family}.lab.example" for family in families]
        context = tls_context(*pod.upstream_certificate(*names, f"*.s3.{REGION}.amazonaws.com"))
        strange = tls_context(*pod.upstream_certificate("other.lab.example"))
        pod.start_sidecar(documents(scripts), secrets_of(scripts), **settings)
        found = Stage(pod, lane, scripts, listener, context, strange)
        yield found
        found.check_health()


@dataclass
class Play:
    """One script on its way."""

    stage: Stage
    script: Script
    transcript: Transcript = field(default_factory=list)
    application: Wire | None = None
    upstreams: list[Wire] = field(default_factory=list)
    # The upstream's connection of the last request.
    upstream: Wire | None = None
    heard: Message | None = None
    seen: Message | None = None
    _left: list[Wire] = field(default_factory=list)
    _plain: list[socket.socket] = field(default_factory=list)

    def note(self, what: str, meaning: object) -> None:
        self.transcript.append((what, meaning))

    @property
    def application_got(self) -> bytes:
        if self.application is None:
            return b""
        self.application.pull()
        return bytes(self.application.received)

    def take(self, step: Step) -> None:
        match step:
            case Connect():
                self._connect()
            case Send(pieces):
                for piece in pieces:
                    self._app().send(self._named(piece))
            case SendSigned():
                self._app().send(self._signed(step))
            case See():
                self._see(step)
            case SeeBody(data):
                self._body(self._app(), self.seen, data, "of the answer")
            case SeeBytes(data):
                found = self._app().take_exactly(len(data), "bytes of the upstream")
                assert found == data, found
            case SeeEnd(how):
                self._see_end(how)
            case Leave(how):
                self._app().part(how)
            case Hear():
                self._hear(step)
            case HearBody(data):
                self._body(self._up(), self.heard, data, "of the request")
            case HearBytes(data):
                found = self._up().take_exactly(len(data), "bytes of the application")
                assert found == data, found
            case Say(pieces):
                for piece in pieces:
                    self._up().send(self._named(piece))
            case Part(how):
                self._up().part(how)
            case HearEnd():
                wire = self._up()
                wire.wait(lambda: wire.end is not None, "the end of the upstream's connection")
            case Open(door):
                self._open(door)
            case Revoke():
                self.stage.apply(self.script)
            case Rotate():
                self.stage.pod.write_secret(self.script.label, {"key": NEXT_TOKEN.encode()})
            case _:
                assert_never(step)

    def finish(self) -> None:
        """Both sides leave. Whatever came besides is a fault, and so is a record that is missing or one too
        many."""
        self._leave()
        sidecar = self.stage.pod.sidecar
        sidecar.wait_idle()
        for wire in self._left:
            wire.wait(partial(_has_ended, wire), "the end of the application's connection")
            assert not wire.data, f"the application got more: {bytes(wire.data)!r}"
            CREDENTIALS.search(bytes(wire.received), f"what the application got in {self.script.name!r}")
        if _readable(self.stage.listener):
            self._accept()
        for wire in self.upstreams:
            wire.pull()
            assert not wire.data, f"the upstream got more: {bytes(wire.data)!r}"
        records = wait_until(self._records, "the audit records") if self.script.records else self._records()
        assert len(records) == len(self.script.records), records
        for wanted, record in zip(self.script.records, records, strict=True):
            found = {name: record[name] for name in wanted}
            assert found == wanted, found
            assert record["lane"] == self.stage.lane.value
        for record in records:
            kept = {name: value for name, value in record.items() if name not in VARYING}
            self.note("record", kept)
        self.transcript = [
            (what, _without(meaning, [record["requestId"] for record in records]))
            for what, meaning in self.transcript
        ]

    def _records(self) -> list[dict[str, Any]]:
        found = [one for one in self.stage.pod.sidecar.audit() if one["host"] == self.script.host]
        return found if len(found) >= len(self.script.records) else []

    def close(self) -> None:
        self._leave()
        for wire in (*self._left, *self.upstreams):
            wire.close()
        for sock in self._plain:
            sock.close()
        # For the next script.
        while _readable(self.stage.listener):
            with suppress(OSError):
                self.stage.listener.accept()[0].close()

    # --- the application ---

    def _connect(self) -> None:
        self._leave()
        context = ssl.create_default_context(cafile=self.stage.pod.ca)
        context.set_alpn_protocols(["http/1.1"])
        address = NOWHERE if self.script.is_nowhere else INTERNET_V4
        plain = self.stage.pod.dial(address, 443, PATIENCE)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.application = Wire(
            context.wrap_socket(plain, server_hostname=self.script.host, suppress_ragged_eofs=False)
        )

    def _leave(self) -> None:
        if self.application is not None:
            self._left.append(self.application)
            self.application.part(End.WHOLE)
            self.application = None

    def _app(self) -> Wire:
        if self.application is None:
            self._connect()
        assert self.application is not None
        return self.application

    def _named(self, data: bytes) -> bytes:
        return data.replace(HOST, self.script.host.encode())

    def _signed(self, step: SendSigned) -> bytes:
        placeholders = self.stage.pod.placeholders
        keys = Keys(placeholders["AWS_ACCESS_KEY_ID"], placeholders["AWS_SECRET_ACCESS_KEY"])
        signer = Signer(keys, REGION)
        if not step.body:
            fields = signer.signed(step.method, self.script.host, step.path, {}, EMPTY)
            lines = [f"{step.method} {step.path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items()), "", ""]
            return "\r\n".join(lines).encode()
        upload = signer.upload(step.method, self.script.host, step.path, step.body, Mode(step.mode))
        return upload.head + upload.body

    def _see(self, step: See) -> None:
        wire = self._app()
        what = f"an answer with {step.status}"
        seen = self.seen = read_message(wire, what, is_request=False, to_head=step.to_head)
        version, status = seen.first.split(" ")[:2]
        # RFC 9112 §4: a client ignores the phrase. mitmproxy writes the upstream's version, and not its own.
        assert version in {"HTTP/1.1", "HTTP/1.0" if self.stage.lane is LaneName.MITMPROXY else ""}, version
        seen.first = status
        found = seen.values("podkey-reason")
        assert (int(status), found) == (step.status, [step.reason] if step.reason else []), seen
        _check(seen, step.fields, step.absent)
        seen.compares_end = step.closes is not None
        assert step.closes in {None, seen.closes}, seen
        self.note("seen", seen)
        if step.reason is not None:
            read_body(wire, seen, None, what)
        else:
            self._whole(wire, seen, step.body, what)

    def _see_end(self, how: End | None) -> None:
        wire = self._app()
        wire.wait(lambda: wire.end is not None, "the end of the application's connection")
        found = End.WHOLE if wire.end is End.WHOLE else End.CUT
        assert not wire.data, bytes(wire.data)
        assert how in {None, found}, f"it ended {found}"
        self.note("ended", found if how is not None else None)

    # --- the upstream ---

    def _up(self) -> Wire:
        assert self.upstream is not None, "no request has come to the upstream"
        return self.upstream

    def _hear(self, step: Hear) -> None:
        self._next_request(f"a request {step.line!r}", step.over)
        what = f"a request {step.line!r}"
        heard = self.heard = read_message(self._up(), what, is_request=True)
        heard.first, _, version = heard.first.rpartition(" ")
        assert heard.first == step.line
        # mitmproxy writes the version that the client spoke, and not its own (RFC 9110 §2.5).
        assert version in {"HTTP/1.1", "HTTP/1.0" if self.stage.lane is LaneName.MITMPROXY else ""}
        assert heard.values("host") == [self.script.host]
        _check(heard, step.fields, step.absent)
        sent = [value for _, value in heard.fields if TOKEN in value or NEXT_TOKEN in value]
        if self.script.family is not Family.S3:
            prefix = "" if self.script.family is Family.KEY else "Bearer "
            assert sent == [f"{prefix}{value}" for value in VALUES[step.credential]], heard.first
        self.note("heard", heard)
        assert step.resumes in {None, self._up().sock.session_reused}
        self._whole(self._up(), heard, step.body, what)

    def _next_request(self, what: str, over: Over) -> None:
        """Find the connection on which it comes: an open one that speaks, or a new one."""
        before = self.upstream

        def speaking() -> list[Wire]:
            return [wire for wire in self.upstreams if wire.data]

        listener = self.stage.listener
        wait_for(self.upstreams, lambda: bool(speaking()) or _readable(listener), what, listener)
        if _readable(listener) and not speaking():
            self._accept()
        wait_for(self.upstreams, lambda: bool(speaking()), what)
        (self.upstream,) = speaking()
        match over:
            case Over.ANY:
                pass
            case Over.SAME:
                assert self.upstream is before, "it came over another connection"
            case Over.NEW:
                assert self.upstream is not before, "it came over the connection of the last request"

    def _accept(self) -> None:
        plain, _ = self.stage.listener.accept()
        plain.settimeout(PATIENCE)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock = self.stage.context.wrap_socket(plain, server_side=True, suppress_ragged_eofs=False)
        except OSError as error:
            raise Missed(f"the upstream's handshake: {error}") from None
        self.upstreams.append(Wire(sock))

    def _open(self, door: Door) -> None:
        plain, _ = self.stage.listener.accept()
        plain.settimeout(PATIENCE)
        self._plain.append(plain)
        match door:
            case Door.CLOSES:
                plain.close()
            case Door.SAYS_HTTP:
                assert TOKEN.encode() not in plain.recv(65_536)
                plain.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
                plain.shutdown(socket.SHUT_WR)
            case Door.SHOWS_ANOTHER_NAME:
                try:
                    sock = self.stage.strange.wrap_socket(plain, server_side=True)
                except OSError:
                    return
                self._plain.append(sock)
                with suppress(OSError):
                    assert sock.recv(65_536) == b""

    @staticmethod
    def _whole(wire: Wire, message: Message, wanted: Body, what: str) -> None:
        if wanted is None:
            return
        found = read_body(wire, message, None, what)
        assert wanted is Whatever.BODY or found == wanted, f"{what}: its body is {found[:1000]!r}"

    def _body(self, wire: Wire, message: Message | None, data: bytes | None, what: str) -> None:
        assert message is not None
        if data is None:
            rest = read_body(wire, message, None, f"the end {what}")
            assert rest == b"", rest
        else:
            found = read_body(wire, message, len(data), f"{data!r} {what}")
            assert found == data, f"{found!r} {what}"


def _check(message: Message, fields: Mapping[str, str], absent: Sequence[str]) -> None:
    for name, value in fields.items():
        assert message.values(name) == [value], (name, message.values(name))
    for name in absent:
        assert message.values(name) == [], name


def _has_ended(wire: Wire) -> bool:
    return wire.end is not None


def _readable(sock: socket.socket) -> bool:
    return bool(select.select([sock], [], [], 0)[0])


def _shown(step: object) -> str:
    text = CREDENTIALS.blot(repr(step))
    return text if len(text) < 400 else f"{text[:400]} …"


def _without(meaning: object, ids: Sequence[str]) -> object:
    """As it is compared: what a hop may do in its own way is out, and so is what is drawn."""
    if isinstance(meaning, Message):
        meaning = meaning.meaning
    text = SIGNED.sub("<signed>", repr(meaning))
    for number, one in enumerate(ids):
        text = text.replace(one, f"<request {number}>")
    return text
