"""Names and paths in a pod that are podkey's alone, where the user's part of it has one.

A container or volume that stands where ours would, by our name, is not judged here: whether it is ours is
told from its content, in `coverage.py`.
"""

import re
from collections.abc import Iterator
from posixpath import normpath
from typing import Final

from injector.core.outcome import Finding
from injector.reading.pod_fields import listed, shown
from injector.reading.pods import Container, Mount, Pod
from proxy.core.contract import (
    POD_VOLUME,
    POLICY_VOLUME,
    REDIRECT_CONTAINER,
    RESERVED_NAME,
    SECRET_VOLUME,
    SIDECAR_CONTAINER,
    STATE_VOLUME,
    TOKENS_VOLUME,
    TRUST_DIR,
    TRUST_VOLUME,
)
from proxy.core.injection_codes import InjectionCode

_OUR_VOLUMES: Final = frozenset({STATE_VOLUME, TRUST_VOLUME, TOKENS_VOLUME, POLICY_VOLUME, POD_VOLUME})
_SECRET_VOLUME: Final = re.compile(re.escape(SECRET_VOLUME) + r"([0-9]{1,4})").fullmatch
# As normal paths. A mount above them is fine: of ours an application's container has the trust bundle alone,
# and runtimes mount what is deeper later (containerd's and CRI-O's `orderedMounts`), so that it lies inside.
# Where nothing can be made inside, the kubelet's own `/etc/hosts` would have no place either.
_RESERVED_FOLDERS: Final = ("/etc/podkey", "/run/podkey")


def is_named_our_volume(name: str) -> bool:
    """A name that the injector gives to a volume."""
    return name in _OUR_VOLUMES or secret_volume_number(name) is not None


def secret_volume_number(name: str) -> int | None:
    """Which of the volumes with a source's Secret it is, by its name; None for any other volume."""
    found = _SECRET_VOLUME(name) if name.startswith(SECRET_VOLUME) else None
    return None if found is None else int(found[1])


def is_reserved(name: str) -> bool:
    return name == RESERVED_NAME or name.startswith(f"{RESERVED_NAME}-")


def normal_path(path: str) -> str:
    """As the kubelet and the kernel read it, with one name for what `/var/run` is on nearly every system.

    A path without a slash in front counts from the root, too.
    """
    # POSIX lets two slashes in front mean something else, and normpath keeps them.
    plain = normpath("/" + path.lstrip("/"))
    return plain.removeprefix("/var") if f"{plain}/".startswith("/var/run/") else plain


def reserved_uses(pod: Pod) -> Iterator[Finding]:
    """What of the user's has one of our names, lies at one of our paths, or mounts one of our volumes."""
    theirs = [container for container in pod.all_containers if not container.is_named_ours]
    ours = [container.name for container in pod.all_containers if container.is_named_ours]
    twice = [shown(name) for name in (REDIRECT_CONTAINER, SIDECAR_CONTAINER) if ours.count(name) > 1]
    if bad := [*(str(c) for c in theirs if is_reserved(c.name)), *twice]:
        yield Finding(
            InjectionCode.RESERVED_CONTAINER,
            f"only podkey's containers are called `{RESERVED_NAME}` or `{RESERVED_NAME}-…`: {listed(bad)}",
            "rename it",
        )
    names = [v.name for v in pod.volumes if is_reserved(v.name) and not is_named_our_volume(v.name)]
    if names:
        yield Finding(
            InjectionCode.RESERVED_VOLUME,
            f"only podkey's volumes are called `{RESERVED_NAME}-…`: {listed(names, shown)}",
            "rename it",
        )
    if uses := [f"{c} ({shown(name)})" for c in theirs for name in _volumes_of_ours(c)]:
        yield Finding(
            InjectionCode.RESERVED_VOLUME,
            f"a volume of podkey's is mounted or read by {listed(uses)}",
            "take that out: podkey mounts what an application may see of it",
        )
    if paths := [f"{c} ({shown(path)})" for c in theirs for path in _paths_of_ours(c)]:
        yield Finding(
            InjectionCode.RESERVED_PATH,
            f"at or below `/etc/podkey` or `/var/run/podkey` something is mounted by {listed(paths)}",
            "mount it elsewhere",
        )


def _volumes_of_ours(container: Container) -> Iterator[str]:
    for mount in container.mounts:
        if is_reserved(mount.volume) and not _is_trust(mount):
            yield mount.volume
    yield from filter(is_reserved, (*container.devices, *container.env_volumes))


def _paths_of_ours(container: Container) -> Iterator[str]:
    for mount in container.mounts:
        # No path leads to one of them without the word, and a pod can have thousands.
        if not is_reserved(mount.volume) and RESERVED_NAME in mount.path:
            path = normal_path(mount.path)
            if any(f"{path}/".startswith(f"{folder}/") for folder in _RESERVED_FOLDERS):
                yield mount.path


def _is_trust(mount: Mount) -> bool:
    """What we ourselves put into each application container, whole and read-only."""
    whole = not (mount.raw.get("subPath") or mount.raw.get("subPathExpr"))
    return mount.volume == TRUST_VOLUME and mount.path == TRUST_DIR and mount.read_only and whole
