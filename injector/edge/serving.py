"""What is done with a request: which paths there are, how many reviews at one time, and until when.

A review is answered by a plain function on the event loop, where the caches change, too: so it sees them as
they are at one moment. It asks nobody, and takes milliseconds. It has its turn when its body is whole: who
sends a head and nothing else is in nobody's way.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from http import HTTPStatus
from typing import Final, Protocol, final

from injector.edge.clock import Clock
from injector.edge.http_messages import TEXT, Head, Reply, text_reply

# What a handler is: the body of a request and the time become a status and the body of the answer: JSON with
# 200, else a text for people. It may raise, and is answered for with a 500.
Handler = Callable[[bytes, datetime], tuple[int, bytes]]

# An API server says how long it waits (`?timeout=5s`, apiserver's webhook client); ours are told 5 s.
DEFAULT_TIMEOUT: Final = 5.0
# `timeoutSeconds` of a webhook is at most that.
MAX_TIMEOUT: Final = 30.0
# Reviews that come together begin within a part of it after one another. One that comes by itself finds a
# loop that has seen to everything else, and another round of it would take a twentieth of the review.
BREATH_SECONDS: Final = 0.001

_TIMEOUT: Final = re.compile(r"(?:.*&)?timeout=([0-9]{1,4})s(?:&.*)?").fullmatch


class Refusal(Enum):
    """Why no handler saw a request."""

    PATH = "path"
    METHOD = "method"
    MEDIA_TYPE = "media_type"
    NOT_READY = "not_ready"
    BUSY = "busy"
    TOO_LATE = "too_late"


class Counts(Protocol):
    """Of the injector's metrics what is counted here."""

    def rejected(self, why: Enum) -> None: ...
    def review_began(self) -> None: ...
    def review_ended(self) -> None: ...
    def review_took(self, path: str, seconds: float) -> None: ...
    def review_failed(self, path: str) -> None: ...


class Site(Protocol):
    """What a listener serves. Whoever is admitted leaves, whether its body came or not."""

    async def admit(self, head: Head) -> Reply | None: ...
    async def answer(self, head: Head, body: bytes, since: float) -> Reply: ...
    def leave(self) -> None: ...


@final
class ReviewSite:
    """The webhooks. While `ready` says no, the caches are cold, and no review is judged by them."""

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        *,
        ready: Callable[[], bool],
        counts: Counts,
        failed: Callable[[str, Exception], None],
        clock: Clock,
        max_concurrent: int,
    ) -> None:
        self._handlers = handlers
        self._ready = ready
        self._counts = counts
        self._failed = failed
        self._clock = clock
        self._max_concurrent = max_concurrent
        # Reviews that are there, and the one of them that has its turn.
        self._whole = 0
        self._turn = asyncio.Lock()
        # When the last one was over.
        self._judged_at = -BREATH_SECONDS

    async def admit(self, head: Head) -> Reply | None:
        """None: it may send its body."""
        refused = self._refused(head)
        if refused is None:
            self._counts.review_began()
            return None
        why, reply = refused
        self._counts.rejected(why)
        return reply

    def _refused(self, head: Head) -> tuple[Refusal, Reply] | None:
        if head.path not in self._handlers:
            return Refusal.PATH, text_reply(404, "podkey: there is no such webhook")
        if head.method != "POST":
            return Refusal.METHOD, text_reply(405, "podkey: a review is posted", Allow="POST")
        if head.media_type != "application/json" or not head.plain:
            text = "podkey: a review is application/json, and not compressed"
            return Refusal.MEDIA_TYPE, text_reply(415, text, Accept="application/json")
        if not self._ready():
            return Refusal.NOT_READY, _unavailable("the injector has not read the cluster yet")
        return None

    async def answer(self, head: Head, body: bytes, since: float) -> Reply:
        """`since` is when the review began to come."""
        if self._whole >= self._max_concurrent:
            # After a 503 with Retry-After the API server asks once more, within its own time-out (client-go's
            # rest.Request), and perhaps another replica.
            self._counts.rejected(Refusal.BUSY)
            return _unavailable("there are too many reviews at this time")
        self._whole += 1
        try:
            async with self._turn:
                if self._clock.monotonic() - self._judged_at < BREATH_SECONDS:
                    # Between two reviews the loop sees to connections, probes and watches.
                    await asyncio.sleep(0)
                reply = self._judged(head, body, since)
                self._judged_at = self._clock.monotonic()
                return reply
        finally:
            self._whole -= 1

    def _judged(self, head: Head, body: bytes, since: float) -> Reply:
        began = self._clock.monotonic()
        if began - since > timeout_of(head.query):
            # Nobody waits for the answer any more, and others wait for their turn.
            self._counts.rejected(Refusal.TOO_LATE)
            return _unavailable("the review came too late to be judged")
        try:
            status, answer = self._handlers[head.path](body, self._clock.now())
        except Exception as error:  # noqa: BLE001 - its text may quote the pod; the log tells type and place
            self._counts.review_failed(head.path)
            self._failed(head.path, error)
            return text_reply(500, "podkey failed on this review; the injector's log says where")
        self._counts.review_took(head.path, self._clock.monotonic() - began)
        # An API server shows people what a refusal says only where it is plain text (client-go).
        return Reply(status, answer) if status == HTTPStatus.OK else Reply(status, answer, TEXT)

    def leave(self) -> None:
        self._counts.review_ended()


def timeout_of(query: str) -> float:
    """How long the API server waits."""
    found = _TIMEOUT(query)
    return min(float(found[1]), MAX_TIMEOUT) if found else DEFAULT_TIMEOUT


def _unavailable(why: str) -> Reply:
    return text_reply(503, f"podkey: {why}", Retry_After="1")
