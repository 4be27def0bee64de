"""A pod as somebody sent it, with every field that we look at, of the type that Kubernetes has for it.

The API server shows pods to webhooks before it has validated them: names may be missing or stand twice. And
anything that speaks HTTP can post to us. So a field of the wrong type is a fault that names it, what is
absent or null is what Go makes of it (empty, false, no list), and what we do not know is left alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from injector.reading.pod_fields import (
    PodFault,
    Raw,
    as_int,
    as_object,
    as_text,
    child,
    flag,
    is_number,
    items,
    mapping,
    number,
    objects,
    place,
    shown,
    text,
    texts,
)
from injector.reading.pod_limits import check_limits
from injector.reading.quantities import QuantityFault, read_quantity
from proxy.core.contract import DEFAULT_NAMESPACE, REDIRECT_CONTAINER, SIDECAR_CONTAINER

MIRROR_ANNOTATION: Final = "kubernetes.io/config.mirror"


class ContainerKind(Enum):
    """The list of the pod's spec that a container stands in."""

    APP = "containers"
    INIT = "initContainers"
    EPHEMERAL = "ephemeralContainers"


@dataclass(frozen=True, slots=True)
class SecretUse:
    """A Secret that is shown as files or variables. No keys: all of them."""

    name: str
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Security:
    """A securityContext. The last two exist on pods only, the three before them on containers only."""

    user: int | None = None
    group: int | None = None
    non_root: bool | None = None
    privileged: bool = False
    added_capabilities: tuple[str, ...] = ()
    proc_mount: str = ""
    supplemental_groups: tuple[int, ...] = ()
    fs_group: int | None = None


@dataclass(frozen=True, slots=True)
class Resources:
    """Quantities in billionths of their units, as `reading/quantities.py` has them."""

    requests: Mapping[str, int]
    limits: Mapping[str, int]
    # Names of the pod's resource claims (DRA) that the container uses.
    claims: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mount:
    volume: str
    path: str
    read_only: bool
    raw: Raw


@dataclass(frozen=True, slots=True)
class Volume:
    index: int
    name: str
    raw: Raw
    host_path: str | None
    secrets: tuple[SecretUse, ...]
    # Audiences of projected service-account tokens; empty text is the API server's own.
    audiences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Container:
    kind: ContainerKind
    index: int
    name: str
    image: str
    raw: Raw
    # An init container that goes on running (`restartPolicy: Always`).
    sidecar: bool
    # By name; where one stands twice, the later one, which is the one that counts for the kubelet.
    env: Mapping[str, Raw]
    env_from: tuple[Raw, ...]
    # Secrets that `env` (also in entries that later ones replace) and `envFrom` name.
    env_secrets: tuple[SecretUse, ...]
    mounts: tuple[Mount, ...]
    # Volumes that it has as block devices.
    devices: tuple[str, ...]
    # Volumes with files that `env` reads variables from (`fileKeyRef`).
    env_volumes: tuple[str, ...]
    # Numbers of `ports[].containerPort`.
    ports: tuple[int, ...]
    resources: Resources
    security: Security

    @property
    def path(self) -> str:
        return f"spec.{self.kind.value}[{self.index}]"

    @property
    def is_named_ours(self) -> bool:
        """It stands where one of ours would, by our name. Whether it is ours, its content must show."""
        if self.name == SIDECAR_CONTAINER:
            return self.kind is not ContainerKind.EPHEMERAL
        return self.name == REDIRECT_CONTAINER and self.kind is ContainerKind.INIT

    def __str__(self) -> str:
        return f"{_KIND_WORDS[self.kind]} {shown(self.name)}"


_KIND_WORDS: Final = {
    ContainerKind.APP: "container",
    ContainerKind.INIT: "init container",
    ContainerKind.EPHEMERAL: "ephemeral container",
}


@dataclass(frozen=True, slots=True)
class Owner:
    """The controller that made the pod: a ReplicaSet, Job, StatefulSet, PyTorchJob …"""

    api_version: str
    kind: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class Pod:
    """Nothing in it is ever changed: what is written into a pod is written by operations of a patch."""

    raw: Raw
    name: str
    generate_name: str
    namespace: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    service_account: str
    owner: Owner | None
    containers: tuple[Container, ...]
    init_containers: tuple[Container, ...]
    ephemeral_containers: tuple[Container, ...]
    volumes: tuple[Volume, ...]
    security: Security
    # The pod's own (`spec.resources`), not those of its containers.
    resources: Resources
    # Names in `spec.resourceClaims`.
    resource_claims: tuple[str, ...]
    restart_policy: str
    host_network: bool
    host_pid: bool
    share_processes: bool
    windows: bool
    # None: as the service account has it.
    automount_token: bool | None
    # The API server has filled in its defaults, and so also mounted the account's token where it does.
    defaulted: bool

    @property
    def all_containers(self) -> tuple[Container, ...]:
        """In the order in which they are started."""
        return self.init_containers + self.containers + self.ephemeral_containers

    @property
    def mirror(self) -> bool:
        return MIRROR_ANNOTATION in self.annotations

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name or self.generate_name + '…'}"


def read_pod(raw: object, namespace: str) -> Pod:
    """`namespace` is the review's: a new pod need not say its own."""
    pod = as_object(raw, "the pod")
    metadata, spec = child(pod, "metadata", ""), child(pod, "spec", "")
    lists = {kind: objects(spec, kind.value, "spec") for kind in ContainerKind}
    check_limits(metadata, spec, [found for listed in lists.values() for found in listed])
    found = {
        kind: tuple(_container(item, kind, index, path) for index, (path, item) in enumerate(listed))
        for kind, listed in lists.items()
    }
    node_labels = texts(spec, "nodeSelector", "spec")
    system = text(child(spec, "os", "spec"), "name", "spec.os") or node_labels.get("kubernetes.io/os", "")
    volumes = enumerate(objects(spec, "volumes", "spec"))
    claims = objects(spec, "resourceClaims", "spec")
    # The second name is the field's old one, which the API server still reads.
    account = text(spec, "serviceAccountName", "spec") or text(spec, "serviceAccount", "spec")
    return Pod(
        raw=pod,
        name=text(metadata, "name", "metadata"),
        generate_name=text(metadata, "generateName", "metadata"),
        namespace=namespace or text(metadata, "namespace", "metadata") or DEFAULT_NAMESPACE,
        labels=texts(metadata, "labels", "metadata"),
        annotations=texts(metadata, "annotations", "metadata"),
        service_account=account or "default",
        owner=_owner(metadata),
        containers=found[ContainerKind.APP],
        init_containers=found[ContainerKind.INIT],
        ephemeral_containers=found[ContainerKind.EPHEMERAL],
        volumes=tuple(_volume(item, index, path) for index, (path, item) in volumes),
        security=_security(spec, "spec"),
        resources=_resources(spec, "spec"),
        resource_claims=tuple(text(claim, "name", path) for path, claim in claims),
        restart_policy=text(spec, "restartPolicy", "spec"),
        host_network=flag(spec, "hostNetwork", "spec") or False,
        host_pid=flag(spec, "hostPID", "spec") or False,
        share_processes=flag(spec, "shareProcessNamespace", "spec") or False,
        windows=system == "windows",
        automount_token=flag(spec, "automountServiceAccountToken", "spec"),
        defaulted="schedulerName" in spec,
    )


def _owner(metadata: Raw) -> Owner | None:
    for path, owner in objects(metadata, "ownerReferences", "metadata"):
        if flag(owner, "controller", path):
            return Owner(*(text(owner, key, path) for key in ("apiVersion", "kind", "name", "uid")))
    return None


def _container(raw: Raw, kind: ContainerKind, index: int, path: str) -> Container:
    env, env_secrets, env_volumes = _env(raw, path)
    env_from = objects(raw, "envFrom", path)
    for where, entry in env_from:
        name = text(child(entry, "secretRef", where), "name", f"{where}.secretRef")
        env_secrets += [SecretUse(name)] if name else []
    ports = (number(port, "containerPort", where) for where, port in objects(raw, "ports", path))
    always = text(raw, "restartPolicy", path) == "Always"
    return Container(
        kind=kind,
        index=index,
        name=text(raw, "name", path),
        image=text(raw, "image", path),
        raw=raw,
        sidecar=always and kind is ContainerKind.INIT,
        env=env,
        env_from=tuple(entry for _, entry in env_from),
        env_secrets=tuple(env_secrets),
        mounts=tuple(_mount(mount, where) for where, mount in objects(raw, "volumeMounts", path)),
        devices=tuple(text(item, "name", where) for where, item in objects(raw, "volumeDevices", path)),
        env_volumes=env_volumes,
        ports=tuple(port for port in ports if port is not None),
        resources=_resources(raw, path),
        security=_security(raw, path),
    )


def _env(container: Raw, path: str) -> tuple[dict[str, Raw], list[SecretUse], tuple[str, ...]]:
    """A pod can have thousands of them: nearly all are a name and a text, and told at a glance."""
    env: dict[str, Raw] = {}
    secrets: list[SecretUse] = []
    volumes: list[str] = []
    for index, entry in enumerate(items(container, "env", path)):
        name = entry.get("name") if isinstance(entry, dict) else None
        if not (isinstance(name, str) and isinstance(entry.get("value", ""), str)) or "valueFrom" in entry:
            where = f"{path}.env[{index}]"
            name = text(as_object(entry, where), "name", where)
            text(entry, "value", where)
            source = child(entry, "valueFrom", where)
            where += ".valueFrom"
            volume = text(child(source, "fileKeyRef", where), "volumeName", f"{where}.fileKeyRef")
            volumes += [volume] if volume else []
            reference = child(source, "secretKeyRef", where)
            where += ".secretKeyRef"
            secret, key = text(reference, "name", where), text(reference, "key", where)
            secrets += [SecretUse(secret, (key,))] if secret else []
        env[name] = entry
    return env, secrets, tuple(volumes)


def _mount(raw: Raw, path: str) -> Mount:
    read_only = flag(raw, "readOnly", path) or False
    return Mount(text(raw, "name", path), text(raw, "mountPath", path), read_only, raw)


def _volume(raw: Raw, index: int, path: str) -> Volume:
    secrets = _secret_files(child(raw, "secret", path), "secretName", f"{path}.secret")
    audiences = []
    for where, source in objects(child(raw, "projected", path), "sources", f"{path}.projected"):
        secrets += _secret_files(child(source, "secret", where), "name", f"{where}.secret")
        if source.get("serviceAccountToken") is not None:
            token = child(source, "serviceAccountToken", where)
            audiences.append(text(token, "audience", f"{where}.serviceAccountToken"))
    is_host_path = raw.get("hostPath") is not None
    host_path = text(child(raw, "hostPath", path), "path", f"{path}.hostPath")
    return Volume(
        index=index,
        name=text(raw, "name", path),
        raw=raw,
        host_path=host_path if is_host_path else None,
        secrets=tuple(secrets),
        audiences=tuple(audiences),
    )


def _secret_files(reference: Raw, name_key: str, path: str) -> list[SecretUse]:
    name = text(reference, name_key, path)
    keys = tuple(text(item, "key", where) for where, item in objects(reference, "items", path))
    return [SecretUse(name, keys)] if name else []


def _security(owner: Raw, path: str) -> Security:
    raw, path = child(owner, "securityContext", path), f"{path}.securityContext"
    if not raw:
        return _NO_SECURITY
    added = items(child(raw, "capabilities", path), "add", f"{path}.capabilities")
    groups = items(raw, "supplementalGroups", path)
    return Security(
        user=number(raw, "runAsUser", path),
        group=number(raw, "runAsGroup", path),
        non_root=flag(raw, "runAsNonRoot", path),
        privileged=flag(raw, "privileged", path) or False,
        added_capabilities=tuple(as_text(n, f"{path}.capabilities.add[{i}]") for i, n in enumerate(added)),
        proc_mount=text(raw, "procMount", path),
        supplemental_groups=tuple(as_int(g, f"{path}.supplementalGroups[{i}]") for i, g in enumerate(groups)),
        fs_group=number(raw, "fsGroup", path),
    )


_NO_SECURITY: Final = Security()


def _resources(owner: Raw, path: str) -> Resources:
    raw, path = child(owner, "resources", path), f"{path}.resources"
    if not raw:
        return _NO_RESOURCES
    claims = objects(raw, "claims", path)
    return Resources(
        requests=_quantities(raw, "requests", path),
        limits=_quantities(raw, "limits", path),
        claims=tuple(text(claim, "name", where) for where, claim in claims),
    )


_NO_RESOURCES: Final = Resources({}, {})


def _quantities(resources: Raw, key: str, path: str) -> dict[str, int]:
    found = {}
    for name, value in mapping(resources, key, path).items():
        where = place(f"{path}.{key}", name)
        # YAML that nobody has put through the API server yet may hold plain numbers.
        written = repr(value) if is_number(value) else "0" if value is None else as_text(value, where)
        try:
            found[name] = read_quantity(written)
        except QuantityFault as fault:
            raise PodFault(f"{where} is {fault}") from None
    return found
