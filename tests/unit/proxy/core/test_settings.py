import pickle
from dataclasses import FrozenInstanceError

import pytest

from proxy.core.identity import ImageReference, WorkloadIdentity
from proxy.core.settings import PodSettings

POD = PodSettings(
    namespace="ml",
    service_account="trainer",
    pod_name="train-0",
    pod_uid="0f3d",
    node="gpu-7",
    cluster="prod",
    labels_file=None,
    images=(ImageReference("registry.example.com/ml/trainer"),),
    wants_gpu=True,
)


def test_the_identity_is_what_the_settings_say_with_the_labels_of_the_file() -> None:
    assert POD.identity({"app": "train"}) == WorkloadIdentity(
        namespace="ml",
        service_account="trainer",
        cluster="prod",
        pod_name="train-0",
        pod_uid="0f3d",
        node="gpu-7",
        labels={"app": "train"},
        images=(ImageReference("registry.example.com/ml/trainer"),),
        wants_gpu=True,
    )


def test_settings_never_change() -> None:
    with pytest.raises(FrozenInstanceError):
        POD.namespace = "other"  # type: ignore[misc]


def test_settings_hold_nothing_that_must_not_be_shown() -> None:
    # Were one of the fields a secret, pickling would refuse it.
    assert pickle.loads(pickle.dumps(POD)) == POD
