from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.core.intent import Quantities
from injector.core.settings import SidecarSettings
from injector.craft.resources import (
    NOTHING_ASKED,
    REDIRECT_RESOURCES,
    budgeted,
    container_resources,
    cpu_text,
    is_guaranteed,
    memory_text,
    sidecar_quantities,
)
from injector.reading.pods import Resources
from injector.reading.quantities import read_quantity, thousandths, whole_units
from proxy.core.injection_codes import InjectionCode
from tests.sample_pods import sample_pod

SETTINGS = SidecarSettings(image="x")
MI = 1 << 20
NOTHING = budgeted(Resources({}, {}))


# --- what is chosen -------------------------------------------------------------------------------


def test_nothing_asked_is_what_the_settings_say() -> None:
    assert sidecar_quantities(NOTHING_ASKED, SETTINGS) == SETTINGS.resources


def test_a_limit_that_nobody_asked_for_makes_room_for_the_request() -> None:
    chosen = sidecar_quantities(Quantities(cpu_request=2000, memory_request=1024 * MI), SETTINGS)
    assert chosen == Quantities(2000, 2000, 1024 * MI, 1024 * MI)


def test_a_request_that_nobody_asked_for_goes_below_the_limit() -> None:
    chosen = sidecar_quantities(Quantities(cpu_limit=50, memory_limit=100 * MI), SETTINGS)
    assert chosen == Quantities(50, 50, 100 * MI, 100 * MI)


def test_what_the_settings_leave_open_stays_open() -> None:
    open_ended = SidecarSettings(image="x", resources=Quantities(), least=Quantities(), most=Quantities())
    assert sidecar_quantities(Quantities(cpu_request=7), open_ended) == Quantities(7, 7)


ABOVE = (
    "`podkey.io/sidecar-memory-request` asks for 64Mi, above the limit of 500 in "
    "`podkey.io/sidecar-memory-limit`"
)


def test_everything_that_is_out_of_bounds_is_told_at_once() -> None:
    found = sidecar_quantities(Quantities(5, 9000, 64 * MI, 500), SETTINGS)
    assert isinstance(found, tuple)
    assert {finding.code for finding in found} == {InjectionCode.RESOURCES_OUT_OF_BOUNDS}
    assert [finding.message for finding in found] == [
        "`podkey.io/sidecar-cpu-request` asks for 5m; the platform team allows from 10m to 4",
        "`podkey.io/sidecar-cpu-limit` asks for 9; the platform team allows from 10m to 8",
        "`podkey.io/sidecar-memory-request` asks for 64Mi; the platform team allows from 96Mi to 4Gi",
        "`podkey.io/sidecar-memory-limit` asks for 500; the platform team allows from 96Mi to 8Gi",
        ABOVE,
    ]


def test_a_bound_that_is_not_set_is_not_told() -> None:
    settings = SidecarSettings(image="x", least=Quantities(cpu_request=100), most=Quantities())
    found = sidecar_quantities(Quantities(cpu_request=1), settings)
    assert isinstance(found, tuple)
    assert found[0].message.endswith("allows from 100m")


def test_a_request_above_its_limit_is_refused() -> None:
    found = sidecar_quantities(Quantities(cpu_request=200, cpu_limit=100), SETTINGS)
    assert isinstance(found, tuple)
    assert [finding.message.partition(", ")[2] for finding in found] == [
        "above the limit of 100m in `podkey.io/sidecar-cpu-limit`"
    ]


# --- as a pod has them ----------------------------------------------------------------------------


def test_requests_and_limits_of_both_kinds_are_written() -> None:
    written = container_resources(REDIRECT_RESOURCES, NOTHING_ASKED, NOTHING, guaranteed=False)
    assert written == {
        "requests": {"cpu": "10m", "memory": "32Mi"},
        "limits": {"cpu": "1", "memory": "128Mi"},
    }


def test_a_guaranteed_pod_stays_guaranteed() -> None:
    written = container_resources(REDIRECT_RESOURCES, NOTHING_ASKED, NOTHING, guaranteed=True)
    assert written["requests"] == written["limits"] == {"cpu": "1", "memory": "128Mi"}


def test_in_a_guaranteed_pod_a_request_alone_means_both() -> None:
    asked = Quantities(cpu_request=250, memory_request=200 * MI, memory_limit=300 * MI)
    chosen = sidecar_quantities(asked, SETTINGS)
    assert isinstance(chosen, Quantities)
    written = container_resources(chosen, asked, NOTHING, guaranteed=True)
    assert written["requests"] == written["limits"] == {"cpu": "250m", "memory": "300Mi"}


def test_what_the_pod_budgets_itself_is_left_to_it_unless_somebody_asks() -> None:
    budget = budgeted(Resources({"cpu": 10**9, "nvidia.com/gpu": 1}, {"memory": 10**18}))
    assert budget == {"cpu", "memory"}
    assert container_resources(REDIRECT_RESOURCES, NOTHING_ASKED, budget, guaranteed=False) == {}
    asked = Quantities(cpu_request=100)
    written = container_resources(SETTINGS.resources, asked, budget, guaranteed=False)
    assert written == {"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}}


def test_a_quantity_that_is_open_is_not_written() -> None:
    assert container_resources(Quantities(), NOTHING_ASKED, NOTHING, guaranteed=False) == {}


ALIKE = {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}}


@pytest.mark.parametrize(
    ("resources", "guaranteed"),
    [
        ([ALIKE], True),
        ([{"limits": ALIKE["limits"]}], True),
        ([{"limits": {**ALIKE["limits"], "nvidia.com/gpu": "1"}}], True),
        ([ALIKE, {}], False),
        ([{}], False),
        ([{"limits": {"cpu": "1"}}], False),
        ([{"limits": {"cpu": "1", "memory": "0"}}], False),
        ([{**ALIKE, "requests": {"cpu": "500m"}}], False),
    ],
)
def test_a_pod_is_guaranteed_when_each_container_is(resources: list[Any], *, guaranteed: bool) -> None:
    assert is_guaranteed(sample_pod(*({"resources": one} for one in resources))) is guaranteed


def test_init_containers_count_and_ours_do_not() -> None:
    init = {"name": "init", "image": "x"}
    assert not is_guaranteed(sample_pod({"resources": ALIKE}, initContainers=[init]))
    assert is_guaranteed(sample_pod({"resources": ALIKE}, initContainers=[{**init, "name": "podkey"}]))
    assert not is_guaranteed(sample_pod({"name": "podkey"}))


# --- quantities -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "text"), [(100, "100m"), (1000, "1"), (1500, "1500m"), (0, "0")])
def test_cpu_is_written_as_the_api_server_does(value: int, text: str) -> None:
    assert cpu_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (128 << 20, "128Mi"),
        (1 << 30, "1Gi"),
        (1536 << 20, "1536Mi"),
        (1 << 60, "1Ei"),
        (1 << 70, "1024Ei"),
        (1000, "1k"),
        (10**9, "1G"),
        (1500, "1500"),
        (123, "123"),
    ],
)
def test_memory_is_written_as_the_api_server_does(value: int, text: str) -> None:
    assert memory_text(value) == text


@given(st.integers(0, 1 << 44))
def test_a_quantity_that_is_written_is_read_as_the_same(value: int) -> None:
    assert whole_units(read_quantity(memory_text(value))) == value
    assert thousandths(read_quantity(cpu_text(value))) == value
