"""Why there is no answer of the upstream: the reason, and one clause for people. The same in every lane."""

from typing import Final

from proxy.core.hosts import Hostname
from proxy.core.reasons import Reason

Fault = tuple[Reason, str]

UNVERIFIED: Final = "its certificate does not prove the name; nothing was sent"
NO_TLS: Final = "it does not speak TLS that podkey accepts"
TWO_READINGS: Final = "the upstream's response head can be read in two ways"
UNASKED_SWITCH: Final = "the upstream switched protocols, which nobody asked for"


def stalled(name: Hostname, seconds: float) -> Fault:
    return Reason.UPSTREAM_STALLED, f"{name}: no byte moved in either direction for {seconds:g} s"


def too_long(name: Hostname, seconds: float) -> Fault:
    return Reason.REQUEST_TIMED_OUT, f"{name}: the request took longer than {seconds:g} s in all"


def untrusted(name: Hostname, why: str) -> Fault:
    return Reason.UPSTREAM_UNVERIFIED, f"{name}: {why}"


def too_slow(name: Hostname) -> Fault:
    return Reason.UPSTREAM_UNREACHABLE, f"{name} gave no TLS connection in time"


def unreachable(name: Hostname) -> Fault:
    return Reason.UPSTREAM_UNREACHABLE, f"{name} could not be connected to"


def silent(name: Hostname) -> Fault:
    return Reason.UPSTREAM_FAILED, f"{name} closed the connection before it had answered"
