import pytest

from injector.core.cluster import PodNeeds
from injector.core.intent import Intent, Quantities
from injector.core.outcome import Refuse
from injector.craft import outfit as module
from injector.craft.measures import Measures, measures_of
from injector.craft.outfit import MAX_KEPT_SIZE, Outfit, outfit_of
from proxy.core.injection_codes import InjectionCode
from proxy.core.redirect import Redirect
from proxy.core.settings import Capture, Endpoint
from proxy.core.structs import replace
from tests.injected_pods import EXPLICIT, RULES, SETTINGS, a_plan
from tests.sample_pods import sample_pod

MEASURES = measures_of(sample_pod({}), a_plan(), (), SETTINGS, RULES)
# Each differs from the one above in one thing that the containers or volumes show.
OTHERS = (
    replace(MEASURES, intent=Intent(exclude_ports=(8080,))),
    replace(MEASURES, intent=Intent(sidecar=Quantities(cpu_request=200))),
    replace(MEASURES, needs=PodNeeds(audiences=("sts.amazonaws.com",))),
    replace(MEASURES, needs=PodNeeds(secrets=(("keys", ("openai",)),))),
    replace(MEASURES, endpoints=(Endpoint(15101, "openai"),), capture=frozenset({Capture.ENDPOINT})),
    replace(MEASURES, capture=EXPLICIT),
    replace(MEASURES, native=False),
    replace(MEASURES, accelerated=True),
    replace(MEASURES, budgeted=frozenset({"cpu"})),
    replace(MEASURES, guaranteed=True),
    # By the same image, and so of the same hash.
    replace(MEASURES, sidecar=replace(SETTINGS, environment={"PODKEY_MODE": "observe"})),
    replace(MEASURES, sidecar=replace(SETTINGS, token_seconds=600)),
)


def made(measures: Measures) -> Outfit:
    found = outfit_of(measures)
    assert isinstance(found, Outfit), found
    return found


def test_the_sidecar_is_the_last_and_the_redirect_is_there_where_it_is_wanted() -> None:
    found = made(MEASURES)
    assert [container["name"] for container in found.containers] == ["podkey-redirect", "podkey"]
    assert found.redirect == Redirect()
    found = made(replace(MEASURES, capture=EXPLICIT))
    assert [container["name"] for container in found.containers] == ["podkey"]
    assert found.redirect == Redirect(captured_ports=())


def test_pods_of_the_same_measures_get_the_very_same_one() -> None:
    assert made(MEASURES) is made(replace(MEASURES))


@pytest.mark.parametrize("other", OTHERS)
def test_pods_of_other_measures_get_another_one(other: Measures) -> None:
    plain, found = made(MEASURES), made(other)
    assert (found.containers, found.volumes) != (plain.containers, plain.volumes)
    assert made(other) is found


def test_a_large_one_is_as_good_and_is_not_kept() -> None:
    large = replace(MEASURES, needs=PodNeeds(audiences=("x" * MAX_KEPT_SIZE,)))
    assert made(large) == made(large)
    assert made(large) is not made(large)


def test_only_so_many_are_kept() -> None:
    assert made(MEASURES) is made(MEASURES)
    for port in range(1, 200):
        made(replace(MEASURES, intent=Intent(exclude_ports=(port,))))
    kept = module._kept.cache_info()
    assert kept.maxsize == kept.currsize == 128


def test_all_that_is_wrong_with_the_annotations_is_told_at_once() -> None:
    intent = Intent(sidecar=Quantities(cpu_request=10**9), exclude_ports=(443, 80))
    found = outfit_of(replace(MEASURES, intent=intent))
    assert isinstance(found, Refuse)
    codes = [finding.code for finding in found.reasons]
    assert codes == [InjectionCode.RESOURCES_OUT_OF_BOUNDS, InjectionCode.BAD_ANNOTATION]
    without = outfit_of(replace(MEASURES, intent=intent, capture=EXPLICIT))
    assert isinstance(without, Refuse)
    assert [finding.code for finding in without.reasons] == [InjectionCode.RESOURCES_OUT_OF_BOUNDS]
