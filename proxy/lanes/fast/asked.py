"""What this lane reads of a request's head, besides what is judged. The same for each request that says the
same, so it is kept with what is remembered of it."""

from proxy.core.reasons import Reason
from proxy.core.structs import Struct
from proxy.lanes.fast.messages import CONTINUE
from proxy.transaction.head import Head, HeadProblem, head_of_http1, options_of, problem_of
from proxy.wire.framing import CHUNKED, Framing
from proxy.wire.outcomes import BadHead, NeedMore
from proxy.wire.request_head import read_request_head


class Asked(Struct, frozen=True):
    head: Head
    framing: Framing
    minor_version: int
    # The client sends its body when it is told to (RFC 9110 §10.1.1): one of HTTP/1.0 does not, whatever it
    # says, and who sends no body need not.
    waits: bool
    # Another request may follow on its connection.
    goes_on: bool

    # It is nothing but a head, and no other protocol is asked for.
    is_usual: bool

    @property
    def is_chunked(self) -> bool:
        return self.framing == CHUNKED

    def elsewhere(self, head: Head) -> "Asked":
        """Of a head that differs in its target alone."""
        return Asked(head, self.framing, self.minor_version, self.waits, self.goes_on, self.is_usual)


def read_asked(raw: bytes) -> Asked | HeadProblem:
    """From a head to its empty line."""
    reading = read_request_head(raw)
    if isinstance(reading, NeedMore):
        return HeadProblem(Reason.MALFORMED_REQUEST, "its head has no end")
    if isinstance(reading, BadHead):
        return problem_of(reading)
    head = head_of_http1(reading)
    if isinstance(head, HeadProblem):
        return head
    is_new = reading.minor_version > 0
    waits = head.has_body and is_new and ",".join(head.values("expect")).strip().lower() == CONTINUE
    goes_on = is_new and "close" not in options_of(head)
    is_usual = goes_on and not head.has_body and not head.wants_websocket
    return Asked(head, reading.framing, reading.minor_version, waits, goes_on, is_usual)
