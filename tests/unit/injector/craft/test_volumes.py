from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from injector.core.cluster import PodNeeds
from injector.craft.volumes import TRUST_MOUNT, sidecar_mounts, volumes_of
from proxy.core import contract

NEEDS = PodNeeds(
    audiences=("sts.amazonaws.com", "api://AzureADTokenExchange"),
    secrets=(("openai", ("key",)), ("whole", ())),
)


def by_name(needs: PodNeeds = NEEDS) -> dict[str, Any]:
    return {volume["name"]: volume for volume in volumes_of(needs, 3600)}


def test_the_sidecar_mounts_each_volume_and_each_mount_has_one() -> None:
    volumes = by_name()
    mounts = sidecar_mounts(NEEDS)
    assert sorted(volumes) == sorted(mount["name"] for mount in mounts)
    assert len({mount["mountPath"] for mount in mounts}) == len(mounts)


def test_only_state_and_trust_can_be_written_and_they_are_memory() -> None:
    writable = [mount["name"] for mount in sidecar_mounts(NEEDS) if not mount.get("readOnly")]
    assert writable == [contract.STATE_VOLUME, contract.TRUST_VOLUME]
    for name in writable:
        assert by_name()[name]["emptyDir"]["medium"] == "Memory"
        assert by_name()[name]["emptyDir"]["sizeLimit"]
    assert TRUST_MOUNT["readOnly"] is True


def test_a_namespace_without_policies_keeps_no_pod_from_starting() -> None:
    assert by_name()["podkey-policy"]["configMap"] == {"name": "podkey-policy", "optional": True}


def test_each_token_lies_where_the_sidecar_looks_for_its_audience() -> None:
    sources = by_name()["podkey-tokens"]["projected"]["sources"]
    tokens = [source["serviceAccountToken"] for source in sources if "serviceAccountToken" in source]
    assert [(token["path"], token.get("audience")) for token in tokens] == [
        ("podkey", "podkey"),
        ("sts.amazonaws.com", "sts.amazonaws.com"),
        ("sha256-49fa09d46c7104a7f724dc47ce302093", "api://AzureADTokenExchange"),
        ("kubernetes", None),
    ]
    assert {token["expirationSeconds"] for token in tokens} == {3600}
    assert sources[-1] == {
        "configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "cluster/ca.crt"}]}
    }


def test_a_secret_that_is_missing_keeps_no_pod_from_starting() -> None:
    volumes = by_name()
    assert volumes["podkey-secret-0"]["secret"] == {
        "secretName": "openai",
        "items": [{"key": "key", "path": "key"}],
        "optional": True,
        "defaultMode": 0o444,
    }
    assert "items" not in volumes["podkey-secret-1"]["secret"]
    paths = {mount["name"]: mount["mountPath"] for mount in sidecar_mounts(NEEDS)}
    assert paths["podkey-secret-0"] == "/var/run/podkey/secrets/openai"


def test_the_downward_api_gives_what_the_sidecar_reads_of_the_pod() -> None:
    items = by_name()["podkey-pod"]["downwardAPI"]["items"]
    assert {item["path"]: item["fieldRef"]["fieldPath"] for item in items} == {
        "labels": "metadata.labels",
        "owner": "metadata.annotations['podkey.io/owner']",
        "images": "metadata.annotations['podkey.io/images']",
        "placeholders": "metadata.annotations['podkey.io/placeholders']",
    }


@given(
    st.lists(st.sampled_from(["podkey", "vault", "api://x", "kubernetes", "sts.amazonaws.com"]), max_size=6)
)
def test_no_two_tokens_lie_at_one_path(audiences: list[str]) -> None:
    sources = by_name(PodNeeds(audiences=tuple(audiences)))["podkey-tokens"]["projected"]["sources"]
    paths = [s["serviceAccountToken"]["path"] for s in sources if "serviceAccountToken" in s]
    assert len(paths) == len(set(paths))
    assert {"podkey", "kubernetes"} <= set(paths)
