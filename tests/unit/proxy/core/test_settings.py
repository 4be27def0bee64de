import pickle
from ipaddress import ip_network

import pytest

from proxy.core.identity import ImageReference, WorkloadIdentity
from proxy.core.settings import DIRECT, EgressProxy, EgressSettings, PodSettings

POD = PodSettings(
    namespace="ml",
    service_account="trainer",
    pod_name="train-0",
    pod_uid="0f3d",
    node="gpu-7",
    cluster="prod",
    labels_file=None,
    owner_file=None,
    images_file=None,
    wants_gpu=True,
)


IMAGES = (ImageReference("registry.example.com/ml/trainer"),)


def test_the_identity_is_what_the_settings_and_the_files_say_and_nobody_vouches_for_it() -> None:
    identity = POD.identity({"app": "train"}, "Job/train", IMAGES)

    assert identity == WorkloadIdentity(
        namespace="ml",
        service_account="trainer",
        cluster="prod",
        pod_name="train-0",
        pod_uid="0f3d",
        node="gpu-7",
        labels={"app": "train"},
        images=IMAGES,
        wants_gpu=True,
        owner="Job/train",
    )
    assert identity.attested == frozenset()


def test_what_no_file_says_is_empty() -> None:
    identity = POD.identity({})

    assert (identity.labels, identity.owner, identity.images) == ({}, "", ())


def test_settings_never_change() -> None:
    with pytest.raises(AttributeError):
        POD.namespace = "other"  # type: ignore[misc]


def test_settings_hold_nothing_that_must_not_be_shown() -> None:
    # Were one of the fields a secret, pickling would refuse it.
    assert pickle.loads(pickle.dumps(POD)) == POD


PROXY = EgressProxy("proxy.example", 3128, tls=False)


@pytest.mark.parametrize(
    ("entry", "without", "through"),
    [
        ("example.com", ["example.com", "idp.example.com"], ["example.org", "badexample.com"]),
        (".example.com", ["idp.example.com", "a.b.example.com"], ["example.com", "badexample.com"]),
        ("*", ["example.com", "10.0.0.1", "fd00::1"], []),
        (ip_network("10.0.0.0/8"), ["10.1.2.3"], ["11.0.0.1", "fd00::1", "example.com"]),
        (ip_network("fd00::/8"), ["fd00::1"], ["10.1.2.3", "fe80::1"]),
    ],
)
def test_what_is_listed_goes_without_the_proxy(entry: object, without: list[str], through: list[str]) -> None:
    egress = EgressSettings(PROXY, None, ("other.example", entry))  # type: ignore[arg-type] # of several types

    assert [egress.proxy_for(host) for host in without] == [None] * len(without)
    assert [egress.proxy_for(host) for host in through] == [PROXY] * len(through)


def test_without_a_proxy_everything_goes_straight() -> None:
    assert DIRECT.proxy_for("example.com") is None


def test_a_proxy_is_shown_as_its_host_and_port() -> None:
    assert str(PROXY) == "proxy.example:3128"
    assert str(EgressProxy("fd00::1", 3128, tls=True)) == "[fd00::1]:3128"
