from ipaddress import ip_network

from injector.core.cluster import PodNeeds
from injector.core.intent import Intent
from injector.craft.measures import Measures, measures_of
from injector.reading.pods import Pod
from proxy.core.settings import Endpoint
from proxy.core.structs import replace
from tests.injected_pods import RULES, SETTINGS, TRANSPARENT, a_plan
from tests.sample_pods import sample_pod

POD = sample_pod({})
SECRETS = (("keys", ("openai", "other")),)
PLAN = a_plan("openai", policies=("ml/train",), audiences=("sts",), secrets=SECRETS, owner="Job/train")


def measured(pod: Pod = POD) -> Measures:
    return measures_of(pod, PLAN, (), SETTINGS, RULES)


def test_pods_that_differ_in_names_and_chance_alone_have_the_same_measures() -> None:
    found = measured()
    other = replace(PLAN, owner="Job/other", placeholders={"A": "b"}, endpoint_token="x")
    assert measures_of(sample_pod({"name": "web"}), other, (), SETTINGS, RULES) == found
    assert hash(found) == hash(measured())
    assert found == Measures(
        intent=Intent(),
        needs=PodNeeds(audiences=("sts",), secrets=SECRETS),
        endpoints=(),
        capture=TRANSPARENT,
        native=True,
        accelerated=False,
        budgeted=frozenset(),
        guaranteed=False,
        sidecar=SETTINGS,
        rules=RULES,
    )


def test_what_a_pod_asks_for_itself_is_measured() -> None:
    limits = {"cpu": "1", "memory": "1Gi"}
    assert measured(sample_pod({"resources": {"limits": limits}})).guaranteed
    assert measured(sample_pod({}, resources={"requests": {"cpu": "1"}})).budgeted == {"cpu"}
    plan = replace(PLAN, accelerated=True)
    assert measures_of(POD, plan, (), SETTINGS, RULES).accelerated


def test_the_size_grows_with_all_that_somebody_else_may_have_written() -> None:
    found = measured()
    net, text = ip_network("10.0.0.0/8"), "x" * 1000
    more = (
        replace(found, intent=Intent(capture_ports=(80,))),
        replace(found, intent=Intent(exclude_ports=(80,))),
        replace(found, intent=Intent(exclude_cidrs=(net,))),
    )
    assert all(one.size > found.size for one in more)
    longer = (
        replace(found, endpoints=(Endpoint(1, text),)),
        replace(found, needs=PodNeeds(audiences=(text,))),
        replace(found, needs=PodNeeds(secrets=((text, ()),))),
        replace(found, needs=PodNeeds(secrets=(("a", (text,)),))),
    )
    assert all(one.size > 1000 for one in longer)
    assert found.size < 1000
