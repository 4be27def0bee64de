"""podkey on a real cluster, from `helm install` to `helm uninstall`.

`make e2e KUBECONFIG=…` with three images that the cluster can pull. APP_IMAGE is any with a shell (busybox).
"""

import os
from collections.abc import Iterator

import pytest

from tests.e2e_cluster import Cluster, of_kubeconfig
from tests.e2e_steps import MUTATING, NAME, STEPS, Step
from tests.helm_chart import MISSING as NO_HELM

KUBECONFIG = os.environ.get("PODKEY_E2E_KUBECONFIG", "")

pytestmark = [
    pytest.mark.skipif(not KUBECONFIG, reason="no KUBECONFIG was given: make e2e KUBECONFIG=…"),
    pytest.mark.skipif(bool(NO_HELM), reason=NO_HELM),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    made = of_kubeconfig(KUBECONFIG, os.environ)
    # What somebody uses is neither replaced nor taken away.
    assert made.admin.get(MUTATING, NAME).status == 404, "podkey is installed there already"
    try:
        made.install()
        yield made
    finally:
        made.clean()


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_on_a_real_cluster(cluster: Cluster, step: Step, capsys: pytest.CaptureFixture[str]) -> None:
    step(cluster)
    while cluster.measured:
        with capsys.disabled():
            print(f"\n{cluster.measured.pop(0)}")  # noqa: T201 - what `make e2e` is asked for
