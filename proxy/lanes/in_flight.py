"""Requests on their way that end when their grant does."""

from typing import Protocol

from proxy.transaction.pod import PodState
from proxy.transaction.rejudging import Rejudge


class UnderWay(Protocol):
    """A request that travels with a credential. None of its methods raises."""

    def still_granted(self, rejudge: Rejudge) -> bool: ...
    def condemn(self) -> None: ...
    def cut(self) -> None: ...


class InFlight:
    """Only those whose policy says `onRevoke: cut`: nobody asks for the others."""

    def __init__(self) -> None:
        self._requests: dict[UnderWay, None] = {}

    def __len__(self) -> int:
        return len(self._requests)

    def add(self, request: UnderWay) -> None:
        self._requests[request] = None

    def discard(self, request: UnderWay) -> None:
        self._requests.pop(request, None)

    def recheck(self, pod: PodState) -> int:
        """To be called when a policy was replaced, after it is in force. How many requests were cut."""
        if not self._requests:
            return 0
        rejudge = Rejudge(pod)
        revoked = [request for request in self._requests if not request.still_granted(rejudge)]
        for request in revoked:
            self.discard(request)
            request.condemn()
        # Only then: where one ends, another that waited for its place would begin.
        for request in revoked:
            request.cut()
        return len(revoked)
