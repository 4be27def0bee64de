import pytest

from proxy.core.hosts import Hostname
from proxy.core.reasons import Reason
from proxy.lanes import faults

NAME = Hostname("api.example.com")


@pytest.mark.parametrize(
    ("fault", "reason", "told"),
    [
        (faults.stalled(NAME, 2.5), Reason.UPSTREAM_STALLED, "for 2.5 s"),
        (faults.stalled(NAME, 60.0), Reason.UPSTREAM_STALLED, "for 60 s"),
        (faults.too_long(NAME, 90.0), Reason.REQUEST_TIMED_OUT, "longer than 90 s in all"),
        (faults.untrusted(NAME, faults.UNVERIFIED), Reason.UPSTREAM_UNVERIFIED, "nothing was sent"),
        (faults.untrusted(NAME, faults.NO_TLS), Reason.UPSTREAM_UNVERIFIED, "does not speak TLS"),
        (faults.too_slow(NAME), Reason.UPSTREAM_UNREACHABLE, "in time"),
        (faults.unreachable(NAME), Reason.UPSTREAM_UNREACHABLE, "could not be connected to"),
        (faults.silent(NAME), Reason.UPSTREAM_FAILED, "before it had answered"),
    ],
)
def test_a_fault_names_the_upstream_and_what_it_did(fault: faults.Fault, reason: Reason, told: str) -> None:
    assert fault[0] is reason
    assert fault[1].startswith(NAME)
    assert told in fault[1]
