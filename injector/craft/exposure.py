"""Volumes and variables that show an application what only the sidecar should hold.

What a PersistentVolume, an inline CSI volume or an image holds cannot be seen from the pod. Nor can where a
node's folders really lie: a kubelet with another `--root-dir`, or a link, is not known here.
"""

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Final

from injector.core.cluster import PodNeeds
from injector.core.outcome import Finding
from injector.craft.reserved import is_named_our_volume, normal_path, secret_volume_number
from injector.reading.pod_fields import listed, shown
from injector.reading.pods import Container, Pod, SecretUse, Volume
from proxy.core.contract import CLUSTER_URL, IDENTITY_AUDIENCE, TOKENS_VOLUME
from proxy.core.injection_codes import InjectionCode

# Folders of a node in which pods' volumes, processes or runtimes can be seen, and so everything of a sidecar.
# What holds one of them shows it as well: `/`, `/run`, `/var`, `/var/lib`.
NODE_FOLDERS: Final = (
    "/proc",
    # Also as `/var/run/…`. By any of these every container's files can be had: the runtimes' own folders and
    # sockets, and those of who starts programs on the node. What others keep in /run, such as the socket of
    # an agent of SPIRE's or Datadog's, is the user's affair.
    "/run/buildkit",
    "/run/containerd",
    "/run/containers",
    "/run/cri-dockerd.sock",
    "/run/crio",
    "/run/crun",
    "/run/dbus",
    "/run/docker",
    "/run/docker.sock",
    "/run/dockershim.sock",
    "/run/k0s",
    "/run/k3s",
    "/run/kata",
    "/run/kata-containers",
    "/run/nri",
    "/run/podkey",
    "/run/podman",
    "/run/runc",
    "/run/systemd",
    # Runtimes without root keep all of it there.
    "/run/user",
    "/run/vc",
    # The volumes of all pods.
    "/var/lib/kubelet",
    # Containers' files and the kubelet's volumes as containerd, Docker, CRI-O, k3s and RKE2, k0s and MicroK8s
    # lay them.
    "/var/lib/containerd",
    "/var/lib/docker",
    "/var/lib/containers",
    "/var/lib/rancher",
    "/var/lib/k0s",
    "/var/snap/microk8s",
    # Keys of the kubelet, of the API server or of an administrator, with which any Secret is read, and the
    # database: as kubeadm, RKE2 and k3s, and GKE lay them, and as root on a node has them.
    "/etc/kubernetes",
    "/etc/rancher",
    "/etc/srv/kubernetes",
    "/root",
    "/srv/kubernetes",
    "/var/lib/etcd",
)
_NODE_FOLDERS: Final = frozenset(NODE_FOLDERS)
# A pod can have a thousand volumes, so each is looked up, and none compared with all of the folders.
_ABOVE_NODE_FOLDERS: Final = frozenset(
    str(above) for path in NODE_FOLDERS for above in PurePosixPath(path).parents
)
_DEPTH: Final = max(path.count("/") for path in NODE_FOLDERS)
# How the API server's own audience may be written.
_API_AUDIENCES: Final = frozenset({"", CLUSTER_URL, f"{CLUSTER_URL}.cluster.local"})


def exposures_of(pod: Pod, needs: PodNeeds) -> Iterator[Finding]:
    """What breaks the promise. Also a volume that nobody mounts: an ephemeral container could, later."""
    if shown_folders := [
        f"{shown(volume.name)} ({shown(volume.host_path)})"
        for volume in pod.volumes
        if volume.host_path is not None and _shows_node(volume.host_path)
    ]:
        yield Finding(
            InjectionCode.STATE_EXPOSED,
            f"these hostPath volumes show what the node keeps of other containers: {listed(shown_folders)}",
            "take them out",
        )
    if tokens := [v for v in pod.volumes if IDENTITY_AUDIENCE in v.audiences and v.name != TOKENS_VOLUME]:
        yield Finding(
            InjectionCode.STATE_EXPOSED,
            f"a token of the audience `{IDENTITY_AUDIENCE}` proves the pod to podkey, and is in "
            f"{listed(shown(volume.name) for volume in tokens)}",
            "take the token out",
        )
    yield from _credentials(pod, needs)


def _shows_node(host_path: str) -> bool:
    path = normal_path(host_path)
    if path in _ABOVE_NODE_FOLDERS:
        return True
    # What lies deeper than any of the folders counts as its beginning.
    parts = path.split("/", _DEPTH + 1)[: _DEPTH + 1]
    return any("/".join(parts[:length]) in _NODE_FOLDERS for length in range(2, len(parts) + 1))


def _credentials(pod: Pod, needs: PodNeeds) -> Iterator[Finding]:
    held = dict(needs.secrets)
    found = [
        f"volume {shown(volume.name)} ({shown(use.name)})"
        for volume in pod.volumes
        # The sidecar's own; that nobody else mounts them is seen to by `reserved.py`.
        if secret_volume_number(volume.name) is None
        for use in _held(volume.secrets, held)
    ]
    found += [
        f"the variables of {container} ({shown(use.name)})"
        for container in _theirs(pod)
        for use in _held(container.env_secrets, held)
    ]
    if found:
        yield Finding(
            InjectionCode.SECRET_IN_APPLICATION,
            f"a Secret that podkey keeps from the application is in {listed(found)}",
            "take it out: the sidecar attaches it",
        )


def _held(uses: Iterable[SecretUse], held: dict[str, tuple[str, ...]]) -> Iterator[SecretUse]:
    """Another key of the same Secret is none of our business."""
    for use in uses:
        if use.name in held and (not use.keys or not held[use.name] or {*use.keys} & {*held[use.name]}):
            yield use


def token_warnings(pod: Pod, needs: PodNeeds) -> Iterator[Finding]:
    """Tokens with which an application could get for itself what the sidecar gets for it."""
    volumes = {volume.name: volume for volume in pod.volumes if not is_named_our_volume(volume.name)}
    mounted = [
        (container, volumes[mount.volume])
        for container in _theirs(pod)
        for mount in container.mounts
        if mount.volume in volumes
    ]
    exchanged = [
        f"{container} (audience {shown(audience)})"
        for container, volume in mounted
        for audience in volume.audiences
        if audience in needs.audiences
    ]
    if exchanged:
        yield Finding(
            InjectionCode.TOKEN_IN_APPLICATION,
            f"a token that a CredentialSource exchanges is mounted by {listed(exchanged)}",
            "take it out",
        )
    if needs.secrets and _reaches_api(pod, mounted):
        secrets = listed(shown(name) for name, _ in needs.secrets)
        yield Finding(
            InjectionCode.API_TOKEN,
            f"the application has the token of service account {shown(pod.service_account)}, whose namespace "
            f"holds {secrets}",
            "write `automountServiceAccountToken: false`, or see that the account may not read Secrets",
        )


def _reaches_api(pod: Pod, mounted: list[tuple[Container, Volume]]) -> bool:
    if any(_API_AUDIENCES.intersection(volume.audiences) for _, volume in mounted):
        return True
    # A pod that the API server has not seen has no mount yet, and gets one unless somebody says no.
    return pod.automount_token is not False and not pod.defaulted


def _theirs(pod: Pod) -> Iterator[Container]:
    return (container for container in pod.all_containers if not container.is_named_ours)
