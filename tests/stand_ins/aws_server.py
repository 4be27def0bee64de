"""AWS at one address out on the internet of a pod: several hosts, each played by a function.

A part answers a request that came whole, or hands back a handler that streams its answer. What AWS would say
to a signature that is wrong is kept in `denied`, so that a test can show that there was none.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

from proxy.sources.steps import HttpReply
from tests.netns import INTERNET_V4
from tests.sidecar_pod import SidecarPod
from tests.source_world import Request as Whole
from tests.stand_ins.aws_signatures import NotSignedError
from tests.upstream_requests import Handler, Request
from tests.upstreams import Upstream, tls_context

DENIED: Final = 403

Part = Callable[[Whole], HttpReply | Handler]


class AwsServer(Upstream):
    def __init__(self, pod: SidecarPod, parts: Mapping[str, Part]) -> None:
        pod.resolve(*parts, to=[INTERNET_V4])
        context = tls_context(*pod.upstream_certificate(*parts))
        super().__init__(context, ns=pod.network.net, addresses=[INTERNET_V4])
        self._parts = parts
        # By host: why a request was not taken for a caller's.
        self.denied: list[tuple[str, str]] = []

    def handler(self, _path: str) -> Handler:
        return self._handle

    def came_to(self, host: str) -> list[Request]:
        return [request for request in self.requests if request.header("host") == [host]]

    def _handle(self, request: Request) -> None:
        if "100-continue" in request.header("expect"):
            request.start(100)
        [host] = request.header("host")
        headers = {name.lower(): value for name, value in request.fields}
        body = b"".join(request.pieces())
        whole = Whole(request.method, f"https://{host}{request.target}", headers, body)
        try:
            reply = self._parts[host](whole)
        except NotSignedError as fault:
            self.denied.append((host, f"{fault.fault}: {fault.message}"))
            reply = HttpReply(DENIED, {}, fault.message.encode())
        if not isinstance(reply, HttpReply):
            reply(request)
            return
        date = format_datetime(datetime.now(UTC), usegmt=True)
        fields = {"date": date, **reply.headers, "content-length": str(len(reply.body))}
        request.start(reply.status, *fields.items())
        if reply.body and request.method != "HEAD":
            request.send(reply.body)
        request.end()
