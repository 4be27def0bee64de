"""How a request to a credential source ends, and what people are told where it ends badly.

Messages are made from host names, numbers and what the operating system or OpenSSL calls the problem. What a
server wrote, and what was sent to it, never becomes part of one.
"""

import errno
import socket
import ssl
from enum import Enum
from typing import Final

UPSTREAM_CA_FIX: Final = "if it is your own, add the authority that signed it to PODKEY_UPSTREAM_CA_FILES"


class AskOutcome(Enum):
    """The closed set by which requests to sources are counted."""

    OK = "ok"
    REFUSED = "refused"  # 4xx
    FAILED = "failed"  # 5xx
    UNREACHABLE = "unreachable"
    UNTRUSTED = "untrusted"
    REDIRECTED = "redirected"
    TOO_LARGE = "too_large"
    TOO_SLOW = "too_slow"
    MALFORMED = "malformed"


class OutgoingError(Exception):
    """There is no answer; `message` is one clause for people."""

    def __init__(self, outcome: AskOutcome, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.message = message


def by_status(status: int) -> AskOutcome | None:
    """None: HTTP has no such answer, or it is one on the way to another."""
    return {
        2: AskOutcome.OK,
        3: AskOutcome.REDIRECTED,
        4: AskOutcome.REFUSED,
        5: AskOutcome.FAILED,
    }.get(status // 100)


# --- no connection --------------------------------------------------------------------------------


def not_connected(who: str, error: object) -> OutgoingError:
    """`error` is what resolving the name or connecting raised."""
    match _root(error):
        case socket.gaierror(errno=socket.EAI_AGAIN):
            return _unreachable(
                f"{who} cannot be resolved: the pod's DNS does not answer; look at its resolver"
            )
        case socket.gaierror():
            return _unreachable(f"{who} is not a name that the pod's DNS knows: correct the host, or the DNS")
        case ConnectionRefusedError():
            return _unreachable(f"{who} refuses the connection: check the port, and that the server runs")
        case OSError(errno=int(number)) if number in errno.errorcode:
            why = errno.errorcode[number]
            return _unreachable(f"{who} cannot be connected to ({why}): check routes and network policies")
        case _:
            return _unreachable(f"{who} cannot be connected to: check routes and network policies")


def not_connected_in_time(who: str, seconds: float) -> OutgoingError:
    message = f"{who} took no connection within {seconds:g} s: check network policies, or set an egress proxy"
    return _unreachable(message)


def hung_up(who: str, when: str, fix: str) -> OutgoingError:
    return _unreachable(f"{who} closed the connection {when}: {fix}")


def _root(error: object) -> object:
    """Several addresses were tried: the first failure tells most."""
    while isinstance(error, BaseException):
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        elif isinstance(error, OSError) and error.errno is None and error.__cause__ is not None:
            error = error.__cause__
        else:
            break
    return error


def _unreachable(message: str) -> OutgoingError:
    return OutgoingError(AskOutcome.UNREACHABLE, message)


# --- no trust -------------------------------------------------------------------------------------

# X509_V_ERR_…, openssl/x509_vfy.h.
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_OTHER_NAME: Final = frozenset({62, 64})  # of a host, of an address


def not_trusted(who: str, error: ssl.SSLError, trust_fix: str) -> OutgoingError:
    return OutgoingError(AskOutcome.UNTRUSTED, _distrust(who, error, trust_fix))


def _distrust(who: str, error: ssl.SSLError, trust_fix: str) -> str:
    if not isinstance(error, ssl.SSLCertVerificationError):
        why = getattr(error, "reason", None) or "UNKNOWN"  # only those that OpenSSL itself raised have one
        return f"there is no TLS with {who} ({why}): check that its port speaks TLS 1.2 or later"
    if error.verify_code in _OTHER_NAME:
        return f"{who} showed a certificate for another name: check the host, and what answers there"
    if error.verify_code == _EXPIRED:
        return f"{who} showed a certificate that has expired: have it renewed"
    if error.verify_code == _NOT_YET_VALID:
        return f"{who} showed a certificate that is not valid yet: check the clocks, the node's first"
    return f"{who} showed a certificate that is not trusted ({error.verify_message}): {trust_fix}"


# --- no answer ------------------------------------------------------------------------------------


def redirected(who: str) -> OutgoingError:
    message = (
        f"{who} answered with a redirect, which podkey does not follow: name the final host in the source"
    )
    return OutgoingError(AskOutcome.REDIRECTED, message)


def too_large(who: str, most: int) -> OutgoingError:
    message = f"the answer of {who} is larger than {most} bytes, as no token or key set is: check the URL"
    return OutgoingError(AskOutcome.TOO_LARGE, message)


def too_slow(who: str, seconds: float) -> OutgoingError:
    return OutgoingError(
        AskOutcome.TOO_SLOW, f"{who} did not answer within {seconds:g} s: check its health and the way to it"
    )


def malformed(who: str, why: str) -> OutgoingError:
    return OutgoingError(AskOutcome.MALFORMED, f"{who} {why}: check what answers at that host and port")
