"""Which pods ask for an accelerator: by the names of extended resources, or by a resource claim (DRA).

Network cards and their kin (`rdma/*`, `nvidia.com/hostdev`, `vpc.amazonaws.com/efa`) are none. What is missing
here, or was renamed in a device plugin's configuration, is a setting of the injector.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from injector.reading.pods import Pod, Resources
from proxy.core.globs import glob_expression

# As the vendors' device plugins register them; a star stands for any run of characters.
ACCELERATORS: Final = (
    # NVIDIA/k8s-device-plugin: gpu, gpu.shared (time slices with `renameByDefault`), MIG profiles with
    # `migStrategy: mixed`. Also Project-HAMi: gpumem, gpumem-percentage, gpucores.
    "nvidia.com/gpu*",
    "nvidia.com/mig-*",
    # The GPU operator's sandbox plugin: whole GPUs and vGPUs for virtual machines under their model's name.
    "nvidia.com/pgpu",
    "nvidia.com/vgpu*",
    "nvidia.com/GA*",
    "nvidia.com/GH*",
    "nvidia.com/GRID_*",
    # ROCm/k8s-device-plugin; partitions with `resource_naming_strategy=mixed` (cpx_nps4).
    "amd.com/gpu*",
    "amd.com/[a-z]px_nps*",
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
