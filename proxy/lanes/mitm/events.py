"""What our layers say to each other and to the handler, besides mitmproxy's own events and commands."""

from collections.abc import Callable
from dataclasses import dataclass

from mitmproxy.connection import Connection
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers.http._events import HttpEvent

from proxy.lanes.exchange import Exchange
from proxy.lanes.faults import Fault


@dataclass
class JudgeRequestHook(commands.StartHook):  # type: ignore[no-untyped-call] # mitmproxy's registry
    """Pauses the stream until its transaction has opened. The handler that runs it is total."""

    exchange: Exchange


@dataclass
class DrainUpstreamHook(commands.StartHook):  # type: ignore[no-untyped-call] # mitmproxy's registry
    """Pauses the stream until the upstream has taken what was written, or until that is not waited for."""

    connection: Connection
    is_stopped: bool = False
    # Set by the handler, once it waits.
    cancel: Callable[[], object] = lambda: None

    def stop(self) -> None:
        self.is_stopped = True
        self.cancel()


@dataclass
class CutStream(events.Event):
    """The grant of this request was taken away, and its policy says `cut`; or it takes too long, as `fault`
    says."""

    exchange: Exchange
    fault: Fault | None = None


@dataclass
class Forget(HttpEvent):
    """A stream's answer was the first of two: what still comes of it is nobody's, and what is sent next is a
    request of its own."""


@dataclass
class GoOn(HttpEvent):
    """100 Continue (RFC 9110 §15.2.1): from the upstream to the stream, and from the stream to the client."""
