"""What a stream keeps of the first answer, while its request could be sent once more."""

from typing import Final

from mitmproxy.proxy import events
from mitmproxy.proxy.layers.http._events import ResponseData, ResponseHeaders

from proxy.lanes.held_body import HELD_ANSWER
from proxy.transaction.spent import Suspicion

# All that one connection's streams keep, together: an HTTP/2 client may have a hundred requests on their way.
HELD_IN_ALL: Final = 1024 * 1024
# What an event takes besides its data: a million empty ones are memory, too.
EVENT_BYTES: Final = 256


class HeldAnswer:
    """The first answer, while it may turn out that nobody is to see it."""

    def __init__(self, head: ResponseHeaders, suspicion: Suspicion) -> None:
        self.head = head
        self.suspicion = suspicion
        self.events: list[events.Event] = []
        self.size = 0

    def keep(self, event: events.Event) -> None:
        self.events.append(event)
        self.size += EVENT_BYTES
        if isinstance(event, ResponseData):
            self.size += len(event.data)

    @property
    def is_too_long(self) -> bool:
        return self.size > HELD_ANSWER
