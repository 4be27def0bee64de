"""A pod as somebody sent it, with every field that we look at, of the type that Kubernetes has for it.

The API server shows pods to webhooks before it has validated them: names may be missing or stand twice. And
anything that speaks HTTP can post to us. So a field of the wrong type is a fault that names it, what is
absent or null is what Go makes of it (empty, false, no list), and what we do not know is left alone.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final

from injector.reading.pod_fields import (
    Place,
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
    shown,
    text,
    texts,
    words,
)
from injector.reading.pod_limits import check_limits
from injector.reading.quantities import QuantityFault, read_quantity
from proxy.core.contract import DEFAULT_NAMESPACE, REDIRECT_CONTAINER, SIDECAR_CONTAINER
from proxy.core.structs import Struct

MIRROR_ANNOTATION: Final = "kubernetes.io/config.mirror"


class ContainerKind(Enum):
    """The list of the pod's spec that a container stands in."""

    APP = "containers"
    INIT = "initContainers"
    EPHEMERAL = "ephemeralContainers"


class SecretUse(Struct, frozen=True):
    """A Secret that is shown as files or variables. No keys: all of them."""

    name: str
    keys: tuple[str, ...] = ()


class Security(Struct, frozen=True):
    """A securityContext. The last two exist on pods only, the three before them on containers only."""

    user: int | None = None
    group: int | None = None
    non_root: bool | None = None
    privileged: bool = False
    added_capabilities: tuple[str, ...] = ()
    proc_mount: str = ""
    supplemental_groups: tuple[int, ...] = ()
    fs_group: int | None = None


class Resources(Struct, frozen=True):
    """Quantities in billionths of their units, as `reading/quantities.py` has them."""

    requests: Mapping[str, int]
    limits: Mapping[str, int]
    # Names of the pod's resource claims (DRA) that the container uses.
    claims: tuple[str, ...] = ()


class Mount(Struct, frozen=True):
    volume: str
    path: str
    read_only: bool
    raw: Raw


class Volume(Struct, frozen=True):
    index: int
    name: str
    raw: Raw
    host_path: str | None
    secrets: tuple[SecretUse, ...]
    # Audiences of projected service-account tokens; empty text is the API server's own.
    audiences: tuple[str, ...]


class Container(Struct, frozen=True):
    kind: ContainerKind
    index: int
    name: str
    image: str
    raw: Raw
    # An init container that goes on running (`restartPolicy: Always`).
    sidecar: bool
    # It stands where one of ours would, by our name. Whether it is ours, its content must show.
    is_named_ours: bool
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

    def __str__(self) -> str:
        return f"{_KIND_WORDS[self.kind]} {shown(self.name)}"


_KIND_WORDS: Final = {
    ContainerKind.APP: "container",
    ContainerKind.INIT: "init container",
    ContainerKind.EPHEMERAL: "ephemeral container",
}


class Owner(Struct, frozen=True):
    """The controller that made the pod: a ReplicaSet, Job, StatefulSet, PyTorchJob …"""

    api_version: str
    kind: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


class Pod(Struct, frozen=True):
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
    lists = [objects(spec, kind.value, "spec") for kind in ContainerKind]
    check_limits(metadata, spec, [one for found in lists for one in found])
    containers, inits, ephemerals = map(_containers, ContainerKind, lists)
    node_labels = texts(spec, "nodeSelector", "spec")
    system = text(child(spec, "os", "spec"), "name", ("spec", "os"))
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
        containers=containers,
        init_containers=inits,
        ephemeral_containers=ephemerals,
        volumes=tuple([_volume(item, index, place) for index, (place, item) in volumes]),
        security=_security(spec, "spec"),
        resources=_resources(spec, "spec"),
        resource_claims=tuple([text(claim, "name", place) for place, claim in claims]),
        restart_policy=text(spec, "restartPolicy", "spec"),
        host_network=flag(spec, "hostNetwork", "spec") or False,
        host_pid=flag(spec, "hostPID", "spec") or False,
        share_processes=flag(spec, "shareProcessNamespace", "spec") or False,
        windows=(system or node_labels.get("kubernetes.io/os")) == "windows",
        automount_token=flag(spec, "automountServiceAccountToken", "spec"),
        defaulted="schedulerName" in spec,
    )


def _owner(metadata: Raw) -> Owner | None:
    for place, owner in objects(metadata, "ownerReferences", "metadata"):
        if flag(owner, "controller", place):
            return Owner(*(text(owner, key, place) for key in ("apiVersion", "kind", "name", "uid")))
    return None


def _containers(kind: ContainerKind, found: Sequence[tuple[Place, Raw]]) -> tuple[Container, ...]:
    return tuple([_container(raw, kind, index, place) for index, (place, raw) in enumerate(found)])


def _container(raw: Raw, kind: ContainerKind, index: int, place: Place) -> Container:
    env, env_secrets, env_volumes = _env(raw, place)
    env_from = objects(raw, "envFrom", place)
    for where, entry in env_from:
        secret = text(child(entry, "secretRef", where), "name", (where, "secretRef"))
        env_secrets += [SecretUse(secret)] if secret else []
    ports = objects(raw, "ports", place)
    always = text(raw, "restartPolicy", place) == "Always"
    name = text(raw, "name", place)
    return Container(
        kind=kind,
        index=index,
        name=name,
        image=text(raw, "image", place),
        raw=raw,
        sidecar=always and kind is ContainerKind.INIT,
        is_named_ours=kind in _OURS.get(name, ()),
        env=env,
        env_from=tuple([entry for _, entry in env_from]),
        env_secrets=tuple(env_secrets),
        mounts=tuple([_mount(mount, where) for where, mount in objects(raw, "volumeMounts", place)]),
        devices=tuple([text(item, "name", where) for where, item in objects(raw, "volumeDevices", place)]),
        env_volumes=env_volumes,
        ports=tuple([n for where, port in ports if (n := number(port, "containerPort", where)) is not None]),
        resources=_resources(raw, place),
        security=_security(raw, place),
    )


# Where we put them.
_OURS: Final = {
    SIDECAR_CONTAINER: (ContainerKind.INIT, ContainerKind.APP),
    REDIRECT_CONTAINER: (ContainerKind.INIT,),
}


def _env(container: Raw, place: Place) -> tuple[dict[str, Raw], list[SecretUse], tuple[str, ...]]:
    """A pod can have thousands of them: nearly all are a name and a text, and told at a glance."""
    env: dict[str, Raw] = {}
    secrets: list[SecretUse] = []
    volumes: list[str] = []
    for index, entry in enumerate(items(container, "env", place)):
        name = entry.get("name") if isinstance(entry, dict) else None
        if not (isinstance(name, str) and isinstance(entry.get("value", ""), str)) or "valueFrom" in entry:
            where: Place = ((place, "env"), index)
            name = text(as_object(entry, where), "name", where)
            text(entry, "value", where)
            source = child(entry, "valueFrom", where)
            where = (where, "valueFrom")
            volume = text(child(source, "fileKeyRef", where), "volumeName", (where, "fileKeyRef"))
            volumes += [volume] if volume else []
            reference = child(source, "secretKeyRef", where)
            where = (where, "secretKeyRef")
            secret, key = text(reference, "name", where), text(reference, "key", where)
            secrets += [SecretUse(secret, (key,))] if secret else []
        env[name] = entry
    return env, secrets, tuple(volumes)


def _mount(raw: Raw, place: Place) -> Mount:
    read_only = flag(raw, "readOnly", place) or False
    return Mount(text(raw, "name", place), text(raw, "mountPath", place), read_only, raw)


def _volume(raw: Raw, index: int, place: Place) -> Volume:
    secrets = _secret_files(child(raw, "secret", place), "secretName", (place, "secret"))
    audiences = []
    for where, source in objects(child(raw, "projected", place), "sources", (place, "projected")):
        secrets += _secret_files(child(source, "secret", where), "name", (where, "secret"))
        if source.get("serviceAccountToken") is not None:
            token = child(source, "serviceAccountToken", where)
            audiences.append(text(token, "audience", (where, "serviceAccountToken")))
    is_host_path = raw.get("hostPath") is not None
    host_path = text(child(raw, "hostPath", place), "path", (place, "hostPath"))
    return Volume(
        index=index,
        name=text(raw, "name", place),
        raw=raw,
        host_path=host_path if is_host_path else None,
        secrets=tuple(secrets),
        audiences=tuple(audiences),
    )


def _secret_files(reference: Raw, name_key: str, place: Place) -> list[SecretUse]:
    name = text(reference, name_key, place)
    keys = tuple([text(item, "key", where) for where, item in objects(reference, "items", place)])
    return [SecretUse(name, keys)] if name else []


def _security(owner: Raw, place: Place) -> Security:
    raw, place = child(owner, "securityContext", place), (place, "securityContext")
    if not raw:
        return _NO_SECURITY
    capabilities = (place, "capabilities")
    added = items(child(raw, "capabilities", place), "add", capabilities)
    groups = items(raw, "supplementalGroups", place)
    return Security(
        user=number(raw, "runAsUser", place),
        group=number(raw, "runAsGroup", place),
        non_root=flag(raw, "runAsNonRoot", place),
        privileged=flag(raw, "privileged", place) or False,
        added_capabilities=tuple([as_text(n, ((capabilities, "add"), i)) for i, n in enumerate(added)]),
        proc_mount=text(raw, "procMount", place),
        supplemental_groups=tuple(
            [as_int(group, ((place, "supplementalGroups"), i)) for i, group in enumerate(groups)]
        ),
        fs_group=number(raw, "fsGroup", place),
    )


_NO_SECURITY: Final = Security()


def _resources(owner: Raw, place: Place) -> Resources:
    raw, place = child(owner, "resources", place), (place, "resources")
    if not raw:
        return _NO_RESOURCES
    claims = objects(raw, "claims", place)
    return Resources(
        requests=_quantities(raw, "requests", place),
        limits=_quantities(raw, "limits", place),
        claims=tuple([text(claim, "name", where) for where, claim in claims]),
    )


_NO_RESOURCES: Final = Resources({}, {})


def _quantities(resources: Raw, key: str, place: Place) -> dict[str, int]:
    found = {}
    for name, value in mapping(resources, key, place).items():
        written = value if isinstance(value, str) else _written(value, ((place, key), name))
        try:
            found[name] = read_quantity(written)
        except QuantityFault as fault:
            raise PodFault(f"{words(((place, key), name))} is {fault}") from None
    return found


def _written(value: object, place: Place) -> str:
    """YAML that nobody has put through the API server yet may hold plain numbers."""
    return repr(value) if is_number(value) else "0" if value is None else as_text(value, place)
