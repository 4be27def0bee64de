import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.craft.accelerators import ACCELERATORS, accelerators_of
from tests.sample_pods import gpus, sample_pod


@pytest.mark.parametrize(
    "name",
    [
        "nvidia.com/gpu",
        "nvidia.com/gpu.shared",
        "nvidia.com/mig-1g.5gb",
        "nvidia.com/mig-3g.40gb.shared",
        "nvidia.com/gpumem-percentage",
        "amd.com/gpu",
        "amd.com/cpx_nps4",
        "gpu.intel.com/i915",
        "gpu.intel.com/xe",
        "npu.intel.com/accel",
        "habana.ai/gaudi",
        "google.com/tpu",
        "cloud-tpus.google.com/preemptible-v3",
        "aws.amazon.com/neuron",
        "aws.amazon.com/neuroncore",
        "aws.amazon.com/neurondevice",
        "huawei.com/Ascend910",
        "volcano.sh/vgpu-number",
        "qualcomm.com/qaic",
        "cambricon.com/vmlu",
        "hygon.com/dcunum",
        "metax-tech.com/gpu",
    ],
)
def test_a_pod_that_asks_for_it_asks_for_an_accelerator(name: str) -> None:
    assert accelerators_of(sample_pod(gpus("1", name))) == (name,)


@pytest.mark.parametrize(
    "name",
    [
        *("cpu", "memory", "ephemeral-storage", "hugepages-2Mi", "rdma/ib", "nvidia.com/hostdev"),
        *("vpc.amazonaws.com/efa", "intel.com/qat", "sgx.intel.com/epc", "example.com/nvidia.com/gpu"),
        *("nvidia-com/gpu", "xnvidia.com/gpu", "devices.kubevirt.io/kvm", "smarter-devices/fuse", ""),
    ],
)
def test_other_resources_are_no_accelerators(name: str) -> None:
    assert accelerators_of(sample_pod(gpus("1", name))) == ()


@pytest.mark.parametrize("amount", ["0", 0, "0m", "-1", None])
def test_none_of_a_thing_is_nothing(amount: object) -> None:
    assert accelerators_of(sample_pod(gpus(amount))) == ()


@pytest.mark.parametrize("amount", ["1", 1, 0.5, "500m", "8", "1e3"])
def test_any_part_of_one_counts(amount: object) -> None:
    assert accelerators_of(sample_pod(gpus(amount))) == ("nvidia.com/gpu",)


def test_limits_or_requests_of_any_container_or_of_the_pod_count() -> None:
    amount = {"nvidia.com/gpu": "1"}
    for part in ({"limits": amount}, {"requests": amount}):
        assert accelerators_of(sample_pod({}, {"name": "other", "resources": part}))
        assert accelerators_of(sample_pod(initContainers=[{"name": "warm", "resources": part}]))
        assert accelerators_of(sample_pod(resources=part))


def test_what_our_own_container_has_does_not_count() -> None:
    assert not accelerators_of(sample_pod(initContainers=[{"name": "podkey", **gpus()}]))


def test_a_resource_claim_counts_where_a_container_uses_it() -> None:
    claims = [{"name": "gpu", "resourceClaimTemplateName": "one-gpu"}]
    uses = {"resources": {"claims": [{"name": "gpu", "request": "first"}]}}
    assert accelerators_of(sample_pod(uses, resourceClaims=claims)) == ("resourceClaims/gpu",)
    assert accelerators_of(sample_pod(resourceClaims=claims, resources=uses["resources"]))
    assert not accelerators_of(sample_pod(resourceClaims=claims))
    assert not accelerators_of(sample_pod(uses))


def test_a_setting_adds_names_and_patterns() -> None:
    pod = sample_pod(gpus("1", "example.com/chip-x"))
    assert not accelerators_of(pod)
    assert accelerators_of(pod, ("example.com/chip-*",)) == ("example.com/chip-x",)
    assert accelerators_of(pod, ("example.com/chip-x",)) == ("example.com/chip-x",)
    assert not accelerators_of(pod, ("example.com/chip", "example.com/*y"))


def test_the_names_are_sorted_and_stand_once() -> None:
    pod = sample_pod(
        gpus("1", "nvidia.com/gpu"), {"name": "b", **gpus("1", "amd.com/gpu")}, {"name": "c", **gpus()}
    )
    assert accelerators_of(pod) == ("amd.com/gpu", "nvidia.com/gpu")


def test_the_list_has_names_of_extended_resources_only() -> None:
    for pattern in ACCELERATORS:
        assert re.fullmatch(r"[a-z0-9.-]+\.[a-z]+/[A-Za-z0-9*][A-Za-z0-9._*-]*", pattern), pattern
    assert len(set(ACCELERATORS)) == len(ACCELERATORS)


@given(st.text(max_size=30))
def test_no_text_of_a_cluster_scope_is_taken_by_chance(name: str) -> None:
    if "/" not in name:
        assert accelerators_of(sample_pod(gpus("1", name))) == ()
