"""What is done with a request: which paths there are, how many reviews at one time, and until when.

A review is answered by a plain function on the event loop, where the caches change, too: so it sees them as
they are at one moment. It asks nobody, and takes milliseconds.
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
# How long a review may wait for its turn. After a 503 with Retry-After the API server asks once more, within
# its own time-out (client-go's rest.Request), and perhaps another replica.
MAX_WAIT: Final = 2.0
# All bodies that are read at one time. 64 of the largest would be half a gigabyte; this is four of them, or
# some thousands of ordinary reviews.
MAX_HELD_BODIES: Final = 32 << 20

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
    def leave(self, head: Head) -> None: ...


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
        self._turns = Turns(max_concurrent, MAX_HELD_BODIES)

    async def admit(self, head: Head) -> Reply | None:
        """None: it may send its body, and has its turn until it leaves."""
        refused = self._refused(head)
        if refused is None and await self._turns.take(head.length):
            self._counts.review_began()
            return None
        why, reply = refused or (Refusal.BUSY, _unavailable("there are too many reviews at this time"))
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

    def leave(self, head: Head) -> None:
        self._turns.give(head.length)
        self._counts.review_ended()


def timeout_of(query: str) -> float:
    """How long the API server waits."""
    found = _TIMEOUT(query)
    return min(float(found[1]), MAX_TIMEOUT) if found else DEFAULT_TIMEOUT


def _unavailable(why: str) -> Reply:
    return text_reply(503, f"podkey: {why}", Retry_After="1")


@final
class Turns:
    """So many at one time, and so many bytes together; the others wait in the order in which they came."""

    def __init__(self, most: int, room: int) -> None:
        self._free = most
        self._room = room
        self._waiting: dict[asyncio.Future[None], int] = {}

    async def take(self, size: int, patience: float = MAX_WAIT) -> bool:
        """Whether it got a turn. Its bytes fit into an empty room, or it never gets one."""
        if not self._waiting and self._fits(size):
            self._use(size)
            return True
        turn = asyncio.get_running_loop().create_future()
        self._waiting[turn] = size
        try:
            async with asyncio.timeout(patience):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                # Its turn came in the very moment in which it was given up.
                self.give(size)
            if isinstance(error, TimeoutError):
                return False
            raise
        finally:
            self._waiting.pop(turn, None)
            self._next()
        return True

    def give(self, size: int) -> None:
        self._free += 1
        self._room += size
        self._next()

    def _next(self) -> None:
        while self._waiting:
            turn, size = next(iter(self._waiting.items()))
            if not turn.done():
                if not self._fits(size):
                    return
                self._use(size)
                turn.set_result(None)
            del self._waiting[turn]

    def _fits(self, size: int) -> bool:
        return self._free > 0 and size <= self._room

    def _use(self, size: int) -> None:
        self._free -= 1
        self._room -= size
