from injector.core.cluster import PodNeeds
from injector.core.intent import Intent
from injector.core.plan import Plan
from proxy.core.settings import Capture


def test_a_plan_says_no_more_than_it_was_told() -> None:
    plan = Plan(Intent(), PodNeeds(), (), frozenset({Capture.TRANSPARENT}), native=True)
    assert plan.placeholders == {}
    assert (plan.owner, plan.endpoint_token, plan.accelerated) == ("", "", False)
