"""The volumes of an injected pod, and where the sidecar mounts them. All but one are the sidecar's alone.

Every kind is one that the Pod Security level `restricted` allows.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from injector.core.cluster import PodNeeds
from injector.craft.patch_text import Prepared
from proxy.core import contract

type Raw = Mapping[str, Any]

# An authority's key, an endpoint token and a socket.
STATE_SIZE: Final = "16Mi"
# Some 250 kB of roots, three times; more where a platform team adds its own.
TRUST_SIZE: Final = "8Mi"
# The sidecar's user reads what root owns. The volume is in no other container.
_READABLE: Final = 0o444
# Every namespace has it (kube-controller-manager's root-ca-cert-publisher).
_CLUSTER_CA_CONFIG_MAP: Final = "kube-root-ca.crt"
_CLUSTER_CA_KEY: Final = "ca.crt"

# The annotations that the sidecar reads, and the file of each.
POD_FILES: Final = {
    contract.OWNER_FILE: contract.OWNER,
    contract.IMAGES_FILE: contract.IMAGES,
    contract.PLACEHOLDERS_FILE: contract.PLACEHOLDERS,
}

# What application containers get, and all that they get.
TRUST_MOUNT: Final[Raw] = Prepared(name=contract.TRUST_VOLUME, mountPath=contract.TRUST_DIR, readOnly=True)


def volumes_of(needs: PodNeeds, token_seconds: int) -> tuple[Raw, ...]:
    return (
        _memory(contract.STATE_VOLUME, STATE_SIZE),
        _memory(contract.TRUST_VOLUME, TRUST_SIZE),
        # Optional: a namespace that has no policy yet must not keep its pods from starting.
        {
            "name": contract.POLICY_VOLUME,
            "configMap": {"name": contract.POLICY_CONFIG_MAP, "optional": True},
        },
        {"name": contract.POD_VOLUME, "downwardAPI": {"items": list(_pod_files())}},
        {
            "name": contract.TOKENS_VOLUME,
            "projected": {"sources": list(_tokens(needs.audiences, token_seconds))},
        },
        *(
            {"name": f"{contract.SECRET_VOLUME}{number}", "secret": _secret(name, keys)}
            for number, (name, keys) in enumerate(needs.secrets)
        ),
    )


def _memory(name: str, size: str) -> Raw:
    return {"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": size}}


def _pod_files() -> Iterable[Raw]:
    yield {"path": contract.LABELS_FILE, "fieldRef": {"fieldPath": "metadata.labels"}}
    for file, annotation in POD_FILES.items():
        yield {"path": file, "fieldRef": {"fieldPath": f"metadata.annotations['{annotation}']"}}


def _tokens(audiences: Iterable[str], seconds: int) -> Iterable[Raw]:
    for audience in dict.fromkeys((contract.IDENTITY_AUDIENCE, *audiences)):
        yield {"serviceAccountToken": token_source(audience, seconds)}
    # Without an audience it is the API server's own: it is asked for its keys with it.
    yield {"serviceAccountToken": {"path": contract.CLUSTER_TOKEN_FILE, "expirationSeconds": seconds}}
    item = {"key": _CLUSTER_CA_KEY, "path": contract.CLUSTER_CA_PATH}
    yield {"configMap": {"name": _CLUSTER_CA_CONFIG_MAP, "items": [item]}}


def token_source(audience: str, seconds: int) -> Raw:
    return {"path": contract.token_file(audience), "audience": audience, "expirationSeconds": seconds}


def _secret(name: str, keys: Iterable[str]) -> Raw:
    # Optional covers keys, too: what is missing refuses its own requests, and keeps no pod from starting.
    items = [{"key": key, "path": key} for key in keys]
    shown = {"items": items} if items else {}
    return {"secretName": name, **shown, "optional": True, "defaultMode": _READABLE}


def sidecar_mounts(needs: PodNeeds) -> tuple[Raw, ...]:
    return (
        _mount(contract.POLICY_VOLUME, contract.POLICY_DIR),
        _mount(contract.POD_VOLUME, contract.POD_DIR),
        _mount(contract.TOKENS_VOLUME, contract.TOKENS_DIR),
        {"name": contract.STATE_VOLUME, "mountPath": contract.STATE_DIR},
        {"name": contract.TRUST_VOLUME, "mountPath": contract.TRUST_DIR},
        *(
            _mount(f"{contract.SECRET_VOLUME}{number}", f"{contract.SECRETS_DIR}/{name}")
            for number, (name, _) in enumerate(needs.secrets)
        ),
    )


def _mount(volume: str, path: str) -> Raw:
    return {"name": volume, "mountPath": path, "readOnly": True}
