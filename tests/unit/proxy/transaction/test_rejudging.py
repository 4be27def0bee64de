from datetime import timedelta

import pytest

from proxy.core.evidence import Unverified
from proxy.core.structs import replace
from proxy.transaction import rejudging
from proxy.transaction.pod import PodState
from proxy.transaction.rejudging import Rejudge
from proxy.transaction.steps import Steps, WantBody, WantLease
from tests.judge_world import NOON, policy
from tests.lane_world import GOVERNING, POLICY, SOURCE, arrival_of, get, pod_of


def source_in(pod: PodState, target: str = "/v1/models") -> object:
    return Rejudge(pod).source(arrival_of(), get(target), NOON)


def test_what_is_still_granted_has_its_source() -> None:
    assert source_in(GOVERNING) == GOVERNING.policies.source(SOURCE)


@pytest.mark.parametrize(
    "grant",
    [
        "{hosts: [api.example.com], paths: [/v2/**], credential: a}",
        "{hosts: [other.example.com], credential: a}",
    ],
    ids=["refused", "ungoverned"],
)
def test_what_is_granted_no_more_has_none(grant: str) -> None:
    assert source_in(pod_of(policy(grant))) is None


def test_a_source_that_was_withdrawn_is_none() -> None:
    assert source_in(replace(GOVERNING, withdrawn=frozenset({SOURCE}))) is None


def test_another_credential_is_another_source() -> None:
    pod = pod_of(POLICY.replace("credential: a", "credential: b"))

    assert source_in(pod) == pod.policies.source(SOURCE._replace(name="b"))


def test_a_pod_that_is_not_proved_any_more_was_proved_when_it_asked() -> None:
    assert source_in(replace(GOVERNING, proof=Unverified("its token ended"))) is not None


def test_a_time_window_that_closed_meanwhile_takes_nothing_away() -> None:
    ends = NOON + timedelta(minutes=1)
    text = POLICY.replace("grants:", f"validity: {{notAfter: {ends:%Y-%m-%dT%H:%M:%SZ}}}\n  grants:")
    rejudge = Rejudge(pod_of(text))

    assert rejudge.source(arrival_of(), get("/v1/models"), NOON) is not None
    assert rejudge.source(arrival_of(), get("/v1/models"), ends) is None


def test_what_had_ended_when_the_state_was_made_does_not_come_back_with_the_question() -> None:
    """Else a policy that is over could make a session policy too large, and cut what is granted."""
    ends = NOON - timedelta(days=1)
    text = POLICY.replace("grants:", f"validity: {{notAfter: {ends:%Y-%m-%dT%H:%M:%SZ}}}\n  grants:")
    state = replace(pod_of(text), as_of=NOON)

    assert state.leases == {}
    assert Rejudge(state)._pod.leases == {}


# --- what is judged with its body ------------------------------------------------------------------------


def asks_for_a_body(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """A transaction that wants its body first, and then a lease."""
    given: list[object] = []

    def steps(*_: object, **__: object) -> Steps:
        given.append((yield WantBody(10)))
        yield WantLease(SOURCE)
        raise AssertionError("it was given a lease")

    monkeypatch.setattr(rejudging, "open_request", steps)
    return given


def test_what_was_read_of_it_then_is_judged_again(monkeypatch: pytest.MonkeyPatch) -> None:
    given = asks_for_a_body(monkeypatch)

    found = Rejudge(GOVERNING).source(arrival_of(), get(), NOON, b"keys")

    assert found == GOVERNING.policies.source(SOURCE)
    assert given == [b"keys"]


def test_a_policy_that_asks_for_a_body_that_nobody_read_grants_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = asks_for_a_body(monkeypatch)

    assert Rejudge(GOVERNING).source(arrival_of(), get(), NOON) is None
    assert given == []
