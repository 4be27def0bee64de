"""A stand-in that answers `Request -> HttpReply`, as a TLS server out on the internet of a pod."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Final

from proxy.sources.steps import HttpReply
from tests.sidecar_pod import SidecarPod
from tests.source_world import Request as SourceRequest
from tests.upstream_requests import Handler, Request
from tests.upstreams import Upstream, tls_context

# Beside the address of the API that a test calls; for `sidecar_pod(internet=[PROVIDERS])`.
PROVIDERS: Final = "203.0.113.20"

Answer = Callable[[SourceRequest], HttpReply]


class StandInServer(Upstream):
    """Every path leads to the stand-in. `requests` has what came."""

    def __init__(
        self,
        pod: SidecarPod,
        host: str,
        answer: Answer,
        *,
        port: int = 443,
        addresses: Sequence[str] = (PROVIDERS,),
        **certificate: Any,
    ) -> None:
        pod.resolve(host, to=addresses)
        context = tls_context(*pod.upstream_certificate(host, **certificate))
        super().__init__(context, ns=pod.network.net, addresses=addresses, port=port)
        self._base = f"https://{host}" if port == 443 else f"https://{host}:{port}"
        self._answer = answer

    def handler(self, _path: str) -> Handler:
        def handle(request: Request) -> None:
            body = b"".join(request.pieces())
            headers = {name.lower(): value for name, value in request.fields}
            reply = self._answer(SourceRequest(request.method, self._base + request.target, headers, body))
            fields = {
                "date": format_datetime(datetime.now(UTC), usegmt=True),
                **reply.headers,
                "content-length": str(len(reply.body)),
            }
            request.start(reply.status, *fields.items())
            if reply.body and request.method != "HEAD":
                request.send(reply.body)
            request.end()

        return handle
