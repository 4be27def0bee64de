"""What integration tests get: a pod of their own, with nothing started in it yet."""

from collections.abc import Iterator

import pytest

from tests.api_server import MISSING as NO_API_SERVER
from tests.api_server import ApiServer, kubernetes
from tests.canary import Canary
from tests.netns import MISSING
from tests.sidecar_pod import SidecarPod, sidecar_pod


@pytest.fixture
def pod(canary: Canary) -> Iterator[SidecarPod]:
    if MISSING:
        pytest.skip(MISSING)
    with sidecar_pod(canary) as pod:
        yield pod


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """One for all tests: each makes a namespace of its own, and removes what it made outside of it."""
    if NO_API_SERVER:
        pytest.skip(NO_API_SERVER)
    with kubernetes(tmp_path_factory.mktemp("api-server") / "server") as server:
        yield server
