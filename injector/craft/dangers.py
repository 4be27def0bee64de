"""Containers that could become the sidecar, look into it, or take the redirect away: by user or by privilege.

Judged for every container but those of our names; whether these are ours is the matter of `coverage.py`.
"""

from collections.abc import Iterator
from typing import Final

from injector.core.outcome import Finding
from injector.reading.pod_fields import listed
from injector.reading.pods import Container, Pod
from proxy.core.contract import PROXY_UID
from proxy.core.injection_codes import InjectionCode

# What each of them is good for here. SETUID is not listed: it is among the default capabilities of the
# container runtimes, so that a container has it that says nothing, and root in it can become user 1337 and
# leave without a credential. docs say so.
DANGEROUS_CAPABILITIES: Final = {
    "ALL": "is all of them",
    "NET_ADMIN": "changes the redirect",
    "NET_RAW": "sends packets that no redirect sees, and reads those of the sidecar",
    "SYS_PTRACE": "reads the memory of other processes",
    "SYS_ADMIN": "mounts, and enters other namespaces",
    "SYS_MODULE": "loads kernel modules",
    "SYS_RAWIO": "reads the node's memory",
    "BPF": "loads programs that see other processes' calls",
    "PERFMON": "traces other processes",
    "DAC_READ_SEARCH": "opens files by handle, past all folders",
}
# The name of Istio's proxy and of its init containers. Its user is 1337, as ours is.
_ISTIO: Final = "istio-"


def dangers_of(pod: Pod) -> Iterator[Finding]:
    """Everything of the pod's containers that breaks the sidecar's walls, each thing once."""
    containers = [container for container in pod.all_containers if not container.is_named_ours]
    yield from _same_user(pod, containers)
    yield from _same_group(pod, containers)
    if pod.share_processes:
        yield Finding(
            InjectionCode.SHARED_PROCESSES,
            "`shareProcessNamespace` is true",
            "take it out: an application could read the sidecar's files below /proc",
        )
    yield from _privileged(containers)
    if unmasked := [c for c in containers if c.security.proc_mount.lower() == "unmasked"]:
        yield Finding(
            InjectionCode.PRIVILEGED,
            f"{listed(unmasked)} has `procMount: Unmasked`, with which /proc shows the node's memory",
            "take it out",
        )
    yield from _capable(containers)


def users_unknown(pod: Pod) -> Iterator[Finding]:
    """`runAsNonRoot` says too little: the image may still have the sidecar's user."""
    if unknown := [c for c in pod.all_containers if not c.is_named_ours and user_of(pod, c) is None]:
        yield Finding(
            InjectionCode.USER_UNKNOWN,
            f"the image says as which user these run: {listed(unknown)}",
            f"write `runAsUser`, and see that it is not {PROXY_UID}",
        )


def user_of(pod: Pod, container: Container) -> int | None:
    user = container.security.user
    return pod.security.user if user is None else user


def dangerous_capabilities(container: Container) -> tuple[str, ...]:
    """The added ones, sorted. The runtimes take names in any case, with or without `CAP_`."""
    added = {name.upper().removeprefix("CAP_") for name in container.security.added_capabilities}
    return tuple(sorted(added & DANGEROUS_CAPABILITIES.keys()))


def _same_user(pod: Pod, containers: list[Container]) -> Iterator[Finding]:
    found: list[object] = [c for c in containers if user_of(pod, c) == PROXY_UID]
    if pod.security.user == PROXY_UID:
        # Refused also where each container has another user: an ephemeral container would inherit it.
        found.insert(0, "the pod")
    if found:
        istio = any(c.name.startswith(_ISTIO) for c in containers)
        yield Finding(
            InjectionCode.PROXY_UID,
            f"user {PROXY_UID} is the sidecar's, and also that of {listed(found)}",
            'annotate the pod with `sidecar.istio.io/inject: "false"`: Istio\'s proxy has the same user'
            if istio
            else "write another `runAsUser`",
        )


def _same_group(pod: Pod, containers: list[Container]) -> Iterator[Finding]:
    """The redirect asks for the user only, and the sidecar's files are for their owner only (0600 and 0700).

    So a group opens nothing today, neither as `runAsGroup` nor as one that the pod adds to all processes. (A
    projected token is 0640 and of the group `fsGroup`, whichever it is; but only the sidecar mounts it.) It
    is refused all the same: no file of the sidecar shall depend on its mode bits alone.
    """
    found: list[object] = [c for c in containers if c.security.group == PROXY_UID]
    pod_groups = (pod.security.group, pod.security.fs_group, *pod.security.supplemental_groups)
    if PROXY_UID in pod_groups:
        found.insert(0, "the pod")
    if found:
        yield Finding(
            InjectionCode.PROXY_UID,
            f"group {PROXY_UID} is the sidecar's, and also that of {listed(found)}",
            "write another `runAsGroup`, `fsGroup` or `supplementalGroups`",
        )


def _privileged(containers: list[Container]) -> Iterator[Finding]:
    if found := [c for c in containers if c.security.privileged]:
        yield Finding(
            InjectionCode.PRIVILEGED,
            f"{listed(found)} is privileged",
            "take `privileged: true` out, and add the one capability that is needed",
        )


def _capable(containers: list[Container]) -> Iterator[Finding]:
    found = [(c, added) for c in containers if (added := dangerous_capabilities(c))]
    if found:
        names = sorted({name for _, added in found for name in added})
        what = "; ".join(f"{name} {DANGEROUS_CAPABILITIES[name]}" for name in names)
        yield Finding(
            InjectionCode.CAPABILITY,
            f"{listed(c for c, _ in found)} adds {', '.join(names)}",
            f"take it out of `capabilities.add` ({what}); where another webhook adds it: exempt "
            "the pod there, or set `onDanger: warn`",
        )
