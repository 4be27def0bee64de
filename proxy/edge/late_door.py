"""The way out to sources and issuers, whose code is loaded when somebody is first asked.

httpcore with what it stands on takes 60 ms of a start, and a context with all roots 20 ms more. A pod whose
secrets are mounted asks nobody. (proxy/lanes/late.py does the same for the mitmproxy lane.)
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, final

from proxy.core.settings import EgressSettings
from proxy.edge.outgoing_faults import UPSTREAM_CA_FIX
from proxy.sources.steps import HttpCall, HttpReply, StepFailed

if TYPE_CHECKING:
    from proxy.edge.outgoing import Outgoing, OutgoingCall


@final
class LateDoor:
    """An `Outgoing` that is made in a thread, once. `context` is called there."""

    def __init__(
        self,
        context: Callable[[], ssl.SSLContext],
        egress: EgressSettings,
        observe: "Callable[[OutgoingCall], None]",
        *,
        trust_fix: str = UPSTREAM_CA_FIX,
    ) -> None:
        self._context = context
        self._egress = egress
        self._observe = observe
        self._trust_fix = trust_fix
        self._making: asyncio.Task[Outgoing] | None = None
        self._is_closed = False

    async def call(self, call: HttpCall) -> HttpReply | StepFailed:
        """As `Outgoing.call`: raises nothing but CancelledError."""
        if self._making is None:
            if self._is_closed:
                return StepFailed("nobody is asked: podkey is stopping")
            self._making = asyncio.get_running_loop().create_task(asyncio.to_thread(self._made))
        try:
            # Whoever gives up waiting does not take it from the others.
            outgoing = await asyncio.shield(self._making)
        except Exception as error:  # noqa: BLE001 - as in Outgoing: only its type is told
            self._making = None  # the next call tries again
            return StepFailed(f"nobody can be asked, by a defect of podkey ({type(error).__name__})")
        return await outgoing.call(call)

    async def close(self) -> None:
        """Ends what is under way, too."""
        self._is_closed = True
        if self._making is not None:
            (made,) = await asyncio.gather(self._making, return_exceptions=True)
            if not isinstance(made, BaseException):
                await made.close()

    def _made(self) -> "Outgoing":
        from proxy.edge.outgoing import Outgoing  # noqa: PLC0415 - the joint: see above

        return Outgoing(self._context(), self._egress, self._observe, trust_fix=self._trust_fix)
