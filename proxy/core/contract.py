"""Every name that one part of podkey writes and another reads stands here, once."""

from typing import Final

API_GROUP: Final = "podkey.io"
API_VERSION: Final = f"{API_GROUP}/v1alpha1"

ACCESS_POLICY: Final = "AccessPolicy"
CREDENTIAL_SOURCE: Final = "CredentialSource"
CATALOGUE_ENTRY: Final = "CatalogueEntry"

# Kubernetes reads a namespaced object without a namespace as one in this namespace; so do we.
DEFAULT_NAMESPACE: Final = "default"

# --- the sidecar's place in the pod ----------------------------------------------------------------

# The user the sidecar runs as. The redirect knows it by this number, so no application container may have it.
PROXY_UID: Final = 1337
# Loopback ports. They stay clear of what ML programs listen on (6006, 7860, 8000, 8080, 8265, 8888 …) and lie
# below the ephemeral range, so that no outgoing connection of the pod can take one by chance.
TRANSPARENT_PORT: Final = 15001
EXPLICIT_PORT: Final = 15002
ADMIN_PORT: Final = 15020

# Where the injector mounts things, and where the sidecar writes.
POLICY_DIR: Final = "/etc/podkey/policy"
SECRETS_DIR: Final = "/var/run/podkey/secrets"
STATE_DIR: Final = "/var/run/podkey/state"
# The pod's projected service-account tokens, one file for each audience. Only the sidecar mounts them.
TOKENS_DIR: Final = "/var/run/podkey/tokens"
# Shared with the application containers, which mount it read-only.
TRUST_DIR: Final = "/etc/podkey/ca"

# Files in TRUST_DIR.
CA_FILE: Final = "ca.pem"
BUNDLE_FILE: Final = "bundle.pem"
JAVA_TRUST_STORE_FILE: Final = "truststore.p12"
JAVA_TRUST_STORE_PASSWORD: Final = "changeit"  # noqa: S105 - Java wants one; the file holds public certificates
ENDPOINTS_FILE: Final = "endpoints.env"

# Below STATE_DIR: where `podkey leases` speaks with the sidecar.
CONTROL_SOCKET: Final = "private/control.sock"

# The audience of the token that proves the pod to us, and so the name of its file.
IDENTITY_AUDIENCE: Final = "podkey"
# The cluster as the pod sees it: whose keys the token is verified with, and whose certificate we trust there.
CLUSTER_URL: Final = "https://kubernetes.default.svc"
CLUSTER_CA_FILE: Final = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
# The token with which the cluster is asked for its keys; in TOKENS_DIR. It has the cluster's own audience.
CLUSTER_TOKEN_FILE: Final = "kubernetes"  # noqa: S105 - a file's name


_HASHED: Final = "sha256-"


def token_file(audience: str) -> str:
    """The file in TOKENS_DIR with the token for an audience: its name where that can be one, or its hash.

    Upper and lower case may be one on a disk, and a name that begins with a dot is the kubelet's.
    """
    # These two take milliseconds to load, for which an init container of a pod should not wait.
    import re  # noqa: PLC0415

    plain = re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,62}", audience)
    if plain and audience != CLUSTER_TOKEN_FILE and not audience.startswith(_HASHED):
        return audience
    from hashlib import sha256  # noqa: PLC0415

    return f"{_HASHED}{sha256(audience.encode()).hexdigest()[:32]}"


# What an application that opens a session at a directory bucket (S3 Express) gets in its place. The same in
# every pod: they say nothing, and nobody accepts them.
SESSION_ACCESS_KEY_ID: Final = "PODKEYEXPRESSSESSION"
SESSION_SECRET_KEY: Final = "podkey-s3-express-session-secret-000000"  # noqa: S105 - a placeholder
SESSION_TOKEN: Final = "podkey-s3-express-session-token"  # noqa: S105 - a placeholder
SESSION_PLACEHOLDERS: Final = frozenset({SESSION_ACCESS_KEY_ID, SESSION_SECRET_KEY, SESSION_TOKEN})

# The header of every refusal, with the reason code in it.
REASON_HEADER: Final = "podkey-reason"

# --- what is captured ------------------------------------------------------------------------------

# HTTPS, and plain HTTP for the calls that should have been HTTPS. Every port more is one on which NCCL, MPI
# or a parameter server may be slowed down; those choose random ones.
CAPTURED_PORTS: Final = (443, 80)
# Where a cloud hands out the node's or the pod's credentials: EC2, GCE and Azure; ECS; the EKS agent; and in
# IPv6 EC2, the EKS agent and GCE.
METADATA_ADDRESSES: Final = (
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
)

# The environment of the init container and of the sidecar.
PROXY_UID_VARIABLE: Final = "PODKEY_PROXY_UID"
TRANSPARENT_PORT_VARIABLE: Final = "PODKEY_TRANSPARENT_PORT"
CAPTURE_PORTS_VARIABLE: Final = "PODKEY_CAPTURE_PORTS"
EXCLUDE_PORTS_VARIABLE: Final = "PODKEY_EXCLUDE_PORTS"
EXCLUDE_CIDRS_VARIABLE: Final = "PODKEY_EXCLUDE_CIDRS"
FENCE_METADATA_VARIABLE: Final = "PODKEY_FENCE_METADATA"
REJECT_QUIC_VARIABLE: Final = "PODKEY_REJECT_QUIC"

# --- what the injector writes into a pod -----------------------------------------------------------

# A namespace's label, and a pod's annotation, that say whether pods get a sidecar.
INJECT: Final = f"{API_GROUP}/inject"
# Names in a pod that are ours alone: this one, and what begins with it and a hyphen.
RESERVED_NAME: Final = "podkey"
SIDECAR_CONTAINER: Final = RESERVED_NAME
REDIRECT_CONTAINER: Final = f"{RESERVED_NAME}-redirect"
STATE_VOLUME: Final = f"{RESERVED_NAME}-state"
TRUST_VOLUME: Final = f"{RESERVED_NAME}-trust"
TOKENS_VOLUME: Final = f"{RESERVED_NAME}-tokens"
POLICY_VOLUME: Final = f"{RESERVED_NAME}-policy"
POD_VOLUME: Final = f"{RESERVED_NAME}-pod"
# One for each Secret, with its number.
SECRET_VOLUME: Final = f"{RESERVED_NAME}-secret-"

# Annotations that the injector writes; the downward API gives the last three to the sidecar as files.
INJECTED: Final = f"{API_GROUP}/injected"
OWNER: Final = f"{API_GROUP}/owner"
IMAGES: Final = f"{API_GROUP}/images"
PLACEHOLDERS: Final = f"{API_GROUP}/placeholders"

# Where the downward API's files lie, and what they are called.
POD_DIR: Final = "/etc/podkey/pod"
LABELS_FILE: Final = "labels"
OWNER_FILE: Final = "owner"
IMAGES_FILE: Final = "images"
PLACEHOLDERS_FILE: Final = "placeholders"
# The cluster's authority, in TOKENS_DIR: a folder, so that no audience can be called like it.
CLUSTER_CA_PATH: Final = "cluster/ca.crt"

# --- what the injector writes into a namespace -----------------------------------------------------

# The policies that sidecars of the namespace mount, and the trust variables for containers with `envFrom`.
POLICY_CONFIG_MAP: Final = "podkey-policy"
POLICY_KEY: Final = "policy.yaml"
TRUST_CONFIG_MAP: Final = "podkey-trust"
# What every object that the injector writes for others carries.
MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "podkey-injector"

# Kubernetes puts this label with the namespace's own name on every namespace (1.22).
NAMESPACE_NAME_LABEL: Final = "kubernetes.io/metadata.name"
