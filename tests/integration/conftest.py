"""What integration tests get: a pod of their own, with nothing started in it yet."""

from collections.abc import Iterator

import pytest

from tests.canary import Canary
from tests.netns import MISSING
from tests.sidecar_pod import SidecarPod, sidecar_pod


@pytest.fixture
def pod(canary: Canary) -> Iterator[SidecarPod]:
    if MISSING:
        pytest.skip(MISSING)
    with sidecar_pod(canary) as pod:
        yield pod
