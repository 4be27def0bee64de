"""`/healthz`, `/readyz` and `/metrics` for the kubelet and Prometheus, over plain HTTP.

There is nothing to find out: no Secret and no pod is in reach of this module, and nothing that a client sends
comes back.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Final, final

from injector.edge.http_messages import Head, Reply, text_reply
from proxy import __version__

# The kubelet and some Prometheus servers use two or three.
MAX_CONNECTIONS: Final = 64

_INDEX: Final = text_reply(
    200, f"podkey-injector {__version__}\n/healthz  alive\n/readyz   ready\n/metrics  Prometheus"
)
# That this is answered shows that the loop turns; where it does not, the probe times out.
_ALIVE: Final = text_reply(200, "ok")


@final
class Readiness:
    """What each part lacks: it is pending at first, then fine or failed, and may be tried again."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self._lacks: dict[str, str] = {}
        self._changed = changed
        self._draining = False

    def expect(self, part: str) -> None:
        """A part without which it is not ready."""
        self._lacks.setdefault(part, "pending")
        self._changed()

    def ok(self, part: str) -> None:
        self.failed(part, "")

    def failed(self, part: str, why: str) -> None:
        """The injector is alive and not ready."""
        if self._lacks.get(part) != why:
            self._lacks[part] = why
            self._changed()

    def draining(self) -> None:
        """Readiness ends, and reviews are still answered: some API server has not heard of it yet."""
        self._draining = True
        self._changed()

    def cold(self) -> dict[str, str]:
        """Without what no review can be answered."""
        return {part: why for part, why in self._lacks.items() if why}

    def missing(self) -> dict[str, str]:
        """What is not as it should be, and why."""
        return self.cold() | ({"draining": "the injector is shutting down"} if self._draining else {})


@final
class ProbeSite:
    def __init__(self, readiness: Readiness, exposition: Callable[[], tuple[bytes, str]]) -> None:
        self._readiness = readiness
        self._exposition = exposition

    async def admit(self, head: Head) -> Reply | None:
        if head.method not in {"GET", "HEAD"}:
            return text_reply(405, "GET and HEAD only", Allow="GET, HEAD")
        return text_reply(413, "a probe has no body") if head.length else None

    async def answer(self, head: Head, _body: bytes, _since: float) -> Reply:
        match head.path:
            case "/":
                return _INDEX
            case "/healthz":
                return _ALIVE
            case "/readyz":
                return self._ready()
            case "/metrics":
                # In a thread: reviews do not wait for it.
                body, media_type = await asyncio.to_thread(self._exposition)
                return Reply(200, body, media_type)
            case _:
                return text_reply(404, "there are /healthz, /readyz and /metrics")

    def leave(self) -> None:
        """Nothing is held for a probe."""

    def _ready(self) -> Reply:
        missing = self._readiness.missing()
        listed = [{"condition": name, "reason": why} for name, why in missing.items()]
        body = json.dumps({"ready": not missing, "missing": listed}) + "\n"
        return Reply(503 if missing else 200, body.encode())
