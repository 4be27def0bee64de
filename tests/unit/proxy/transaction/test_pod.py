"""The pod's state is one value: one policy, one identity, one set of placeholders."""

from dataclasses import FrozenInstanceError

import pytest

from proxy.transaction.pod import PodState
from proxy.transaction.slots import Placeholders
from tests.transaction_world import POD, POLICIES, WHO, forwarded, head


def test_a_request_is_judged_by_one_state_that_nobody_changes() -> None:
    with pytest.raises(FrozenInstanceError):
        POD.evidence = "verified"  # type: ignore[misc]


def test_an_identity_rests_on_the_pods_word_until_something_proves_it() -> None:
    proven = PodState(POLICIES, WHO, Placeholders(), "service-account-token")

    assert POD.evidence == "declared"
    assert forwarded(head()).record.evidence == "declared"
    assert forwarded(head(), pod=proven).record.evidence == "service-account-token"
