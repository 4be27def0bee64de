import errno
import socket
import ssl

import pytest

from proxy.edge.outgoing_faults import (
    UPSTREAM_CA_FIX,
    AskOutcome,
    OutgoingError,
    by_status,
    hung_up,
    malformed,
    not_connected,
    not_connected_in_time,
    not_trusted,
    redirected,
    too_large,
    too_slow,
)


def _chained(error: OSError) -> OSError:
    """As anyio tells that all of several addresses failed."""
    several = OSError("All connection attempts failed")
    several.__cause__ = ExceptionGroup("several", [error, TimeoutError()])
    return several


def _single(error: OSError) -> OSError:
    several = OSError("All connection attempts failed")
    several.__cause__ = error
    return several


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (socket.gaierror(socket.EAI_NONAME, "x"), "is not a name that the pod's DNS knows"),
        (socket.gaierror(socket.EAI_AGAIN, "x"), "cannot be resolved: the pod's DNS does not answer"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), "refuses the connection"),
        (_chained(ConnectionRefusedError(errno.ECONNREFUSED, "x")), "refuses the connection"),
        (_single(OSError(errno.ENETUNREACH, "x")), "cannot be connected to (ENETUNREACH)"),
        (OSError(errno.EHOSTUNREACH, "x"), "cannot be connected to (EHOSTUNREACH)"),
        (OSError("what the system knows nothing of"), "cannot be connected to: check routes"),
        (None, "cannot be connected to: check routes"),
    ],
)
def test_why_there_is_no_connection_comes_from_the_operating_system(error: object, said: str) -> None:
    fault = not_connected("idp.example", error)

    assert fault.outcome is AskOutcome.UNREACHABLE
    assert fault.message.startswith(f"idp.example {said}")


def test_a_fault_never_quotes_what_an_exception_says() -> None:
    assert "hunter2" not in not_connected("idp.example", OSError(errno.EPERM, "hunter2")).message
    assert "hunter2" not in not_trusted("idp.example", ssl.SSLError(1, "hunter2"), "fix").message


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (62, "idp.example showed a certificate for another name"),
        (64, "idp.example showed a certificate for another name"),
        (10, "idp.example showed a certificate that has expired"),
        (9, "idp.example showed a certificate that is not valid yet: check the clocks"),
        (18, f"idp.example showed a certificate that is not trusted (self-signed): {UPSTREAM_CA_FIX}"),
    ],
)
def test_openssls_verdict_on_a_certificate_is_put_into_words(code: int, said: str) -> None:
    error = ssl.SSLCertVerificationError(1, "x")
    error.verify_code = code
    error.verify_message = "self-signed"

    fault = not_trusted("idp.example", error, UPSTREAM_CA_FIX)

    assert fault.outcome is AskOutcome.UNTRUSTED
    assert fault.message.startswith(said)


def test_a_handshake_that_fails_otherwise_is_named_as_openssl_names_it() -> None:
    error = ssl.SSLError(1, "x")
    assert "(UNKNOWN)" in not_trusted("idp.example", error, "fix").message
    error.reason = "WRONG_VERSION_NUMBER"
    assert (
        "no TLS with idp.example (WRONG_VERSION_NUMBER)" in not_trusted("idp.example", error, "fix").message
    )


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (redirected("idp.example"), AskOutcome.REDIRECTED),
        (too_large("idp.example", 10), AskOutcome.TOO_LARGE),
        (too_slow("idp.example", 10.0), AskOutcome.TOO_SLOW),
        (malformed("idp.example", "says nothing"), AskOutcome.MALFORMED),
        (hung_up("idp.example", "at once", "do that"), AskOutcome.UNREACHABLE),
        (not_connected_in_time("idp.example", 5.0), AskOutcome.UNREACHABLE),
    ],
)
def test_every_fault_names_who_it_was_and_a_fix(fault: OutgoingError, outcome: AskOutcome) -> None:
    assert fault.outcome is outcome
    assert "idp.example" in fault.message
    assert ": " in fault.message
    assert not fault.message.endswith(".")
    assert str(fault) == fault.message


def test_a_status_tells_the_outcome_and_others_are_no_answer() -> None:
    assert [by_status(status) for status in (101, 200, 299, 304, 404, 503, 600, 999)] == [
        None,
        AskOutcome.OK,
        AskOutcome.OK,
        AskOutcome.REDIRECTED,
        AskOutcome.REFUSED,
        AskOutcome.FAILED,
        None,
        None,
    ]
