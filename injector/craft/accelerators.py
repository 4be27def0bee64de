"""Which pods ask for an accelerator: by the names of extended resources, or by a resource claim (DRA).

Network cards and their kin (`rdma/*`, `nvidia.com/hostdev`, `vpc.amazonaws.com/efa`) are none. What is
missing here, or was renamed in a device plugin's configuration, is a setting of the injector.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from injector.reading.pods import Pod
from proxy.core.globs import glob_expression

# As the vendors' device plugins register them; a star stands for any run of characters.
ACCELERATORS: Final = (
    # NVIDIA/k8s-device-plugin: gpu, gpu.shared (time slices with `renameByDefault`), MIG profiles with
    # `migStrategy: mixed`. Also Project-HAMi: gpumem, gpumem-percentage, gpucores.
    "nvidia.com/gpu*",
    "nvidia.com/mig-*",
    # NVIDIA/kubevirt-gpu-device-plugin, with its aliases for whole and virtual GPUs.
    "nvidia.com/pgpu",
    "nvidia.com/vgpu*",
    # ROCm/k8s-device-plugin; partitions with `resource_naming_strategy=mixed` (cpx_nps4).
    "amd.com/gpu*",
    "amd.com/*px_nps*",
    # intel/intel-device-plugins-for-kubernetes: i915, xe (and tiles, millicores, memory.max); the NPU.
    "gpu.intel.com/*",
    "npu.intel.com/*",
    # HabanaAI: gaudi, goya.
    "habana.ai/*",
    # GKE: TPUs of TPU slices; Cloud TPUs of the older kind.
    "google.com/tpu*",
    "cloud-tpus.google.com/*",
    # aws-neuron: neuron, neuroncore, neurondevice. And awslabs' virtual GPUs.
    "aws.amazon.com/neuron*",
    "k8s.amazonaws.com/vgpu",
    # Schedulers that share GPUs: Volcano (vgpu-number …), Alibaba Cloud, Tencent's gpu-manager, Koordinator.
    "volcano.sh/vgpu-*",
    "volcano.sh/gpu-*",
    "aliyun.com/gpu-*",
    "tencent.com/vcuda-*",
    "koordinator.sh/gpu*",
    # Ascend, Qualcomm Cloud AI, Cambricon, Hygon, MetaX, Moore Threads, Iluvatar, Enflame, Kunlun, FuriosaAI.
    "huawei.com/Ascend*",
    "huawei.com/npu*",
    "qualcomm.com/qaic*",
    "cambricon.com/*mlu*",
    "hygon.com/dcu*",
    "metax-tech.com/*gpu*",
    "mthreads.com/*gpu*",
    "iluvatar.ai/*",
    "enflame.com/*gcu*",
    "kunlunxin.com/*xpu*",
    "furiosa.ai/*",
)


def accelerators_of(pod: Pod, more: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The accelerators that a pod asks for, by name, sorted. A claim is called `resourceClaims/NAME`.

    What a claim is for stands in another object; it is taken for an accelerator, for that is what claims are
    made for.
    """
    # Containers ask for the same few, so each name is compared once.
    asked: set[str] = set()
    used: set[str] = set()
    for resources in (pod.resources, *[c.resources for c in pod.all_containers if not c.is_named_ours]):
        for quantities in (resources.requests, resources.limits):
            asked.update([name for name, amount in quantities.items() if amount > 0])
        used.update(resources.claims)
    claimed = [f"resourceClaims/{name}" for name in used.intersection(pod.resource_claims)]
    return tuple(sorted({*filter(_matcher(more), asked), *claimed}))


@lru_cache(maxsize=8)  # the setting is the same for the whole life of the injector; tests have several
def _matcher(more: tuple[str, ...]) -> Callable[[str], object]:
    return re.compile("|".join(map(glob_expression, (*ACCELERATORS, *more)))).fullmatch
