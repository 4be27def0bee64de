"""Why a pod gets a sidecar, does not, or may not start: the codes of the injector and their documentation.

The same code stands in the admission response, its warnings, the Event, the log, the metric and the docs. A
code is never renamed. They stand here because `podkey reasons` explains them, too.
"""

from enum import Enum
from typing import Final

from proxy.core.structs import Struct


class CodeKind(Enum):
    """What a code can be the reason of."""

    INJECT = "inject"
    SKIP = "skip"
    REFUSE = "refuse"
    WARN = "warn"


class InjectionCode(Enum):
    # --- why a pod gets one ---
    ASKED = "asked"
    EVERY_POD = "every_pod"
    ACCELERATOR = "accelerator"
    POLICY_SELECTS = "policy_selects"
    # --- why it gets none ---
    NOT_A_NEW_POD = "not_a_new_pod"
    PROTECTED_NAMESPACE = "protected_namespace"
    NAMESPACE_NOT_ENABLED = "namespace_not_enabled"
    DISABLED = "disabled"
    NOT_NEEDED = "not_needed"
    MIRROR_POD = "mirror_pod"
    # --- why it gets none, or may not start where it asked for one ---
    HOST_NETWORK = "host_network"
    HOST_PID = "host_pid"
    WINDOWS = "windows"
    # --- why it may not start ---
    BAD_ANNOTATION = "bad_annotation"
    BAD_NAMESPACE_LABEL = "bad_namespace_label"
    UNREADABLE_POD = "unreadable_pod"
    RESERVED_ANNOTATION = "reserved_annotation"
    RESERVED_CONTAINER = "reserved_container"
    RESERVED_VOLUME = "reserved_volume"
    RESERVED_PATH = "reserved_path"
    PROXY_UID = "proxy_uid"
    SHARED_PROCESSES = "shared_processes"
    STATE_EXPOSED = "state_exposed"
    CAPTURE_NOT_ALLOWED = "capture_not_allowed"
    RESOURCES_OUT_OF_BOUNDS = "resources_out_of_bounds"
    SIDECAR_TARGETED = "sidecar_targeted"
    RESERVED_CONFIG_MAP = "reserved_config_map"
    NAMESPACE_UNKNOWN = "namespace_unknown"
    # --- refused, or only warned of, as a setting says ---
    PRIVILEGED = "privileged"
    CAPABILITY = "capability"
    SECRET_IN_APPLICATION = "secret_in_application"  # noqa: S105 - a reason code
    # --- what deserves a word ---
    USER_UNKNOWN = "user_unknown"
    TOKEN_IN_APPLICATION = "token_in_application"  # noqa: S105 - a reason code
    API_TOKEN = "api_token"  # noqa: S105 - a reason code
    NO_POLICY = "no_policy"
    OLD_KUBELETS = "old_kubelets"
    JOB_WILL_NOT_END = "job_will_not_end"
    VARIABLE_KEPT = "variable_kept"
    VARIABLES_UNSEEN = "variables_unseen"
    PROXY_KEPT = "proxy_kept"
    NOT_CAPTURED = "not_captured"


class InjectionPage(Struct, frozen=True):
    kinds: tuple[CodeKind, ...]
    meaning: str
    change: str


_INJECT: Final = (CodeKind.INJECT,)
_SKIP: Final = (CodeKind.SKIP,)
_REFUSE: Final = (CodeKind.REFUSE,)
_WARN: Final = (CodeKind.WARN,)
_SKIP_OR_REFUSE: Final = (CodeKind.SKIP, CodeKind.REFUSE)
_REFUSE_OR_WARN: Final = (CodeKind.REFUSE, CodeKind.WARN)

INJECTION_CODES: Final[dict[InjectionCode, InjectionPage]] = {
    InjectionCode.ASKED: InjectionPage(
        _INJECT, "The pod's annotation `podkey.io/inject` asks for a sidecar.", "Nothing."
    ),
    InjectionCode.EVERY_POD: InjectionPage(
        _INJECT, "The namespace's label `podkey.io/inject` is `all`.", "Nothing."
    ),
    InjectionCode.ACCELERATOR: InjectionPage(
        _INJECT,
        "The pod asks for an accelerator: a device in its resources, or a resource claim.",
        "Nothing. A pod that should have no sidecar says `podkey.io/inject: disabled`.",
    ),
    InjectionCode.POLICY_SELECTS: InjectionPage(
        _INJECT, "An AccessPolicy selects the pod by its service account or its labels.", "Nothing."
    ),
    InjectionCode.NOT_A_NEW_POD: InjectionPage(
        _SKIP,
        "The review is not about a new pod: another kind, operation or sub-resource. It is let through.",
        "Nothing; the webhook configuration of the chart asks for new pods only.",
    ),
    InjectionCode.PROTECTED_NAMESPACE: InjectionPage(
        _SKIP,
        "Pods of kube-system, kube-public, kube-node-lease and podkey's own namespace never get a sidecar.",
        "Run the workload in another namespace.",
    ),
    InjectionCode.NAMESPACE_NOT_ENABLED: InjectionPage(
        _SKIP,
        "The namespace has no label `podkey.io/inject`, or the label is `disabled`.",
        "`kubectl label namespace NAME podkey.io/inject=enabled`.",
    ),
    InjectionCode.DISABLED: InjectionPage(
        _SKIP, "The pod's annotation `podkey.io/inject` is `disabled`.", "Take the annotation away."
    ),
    InjectionCode.NOT_NEEDED: InjectionPage(
        _SKIP,
        "The pod asks for no accelerator, and no AccessPolicy selects it.",
        "Where it should have one: name its service account or labels in a policy, or annotate its template "
        "with `podkey.io/inject: enabled`.",
    ),
    InjectionCode.MIRROR_POD: InjectionPage(
        _SKIP, "The pod is the image of a static pod; the API server cannot change it.", "Nothing."
    ),
    InjectionCode.HOST_NETWORK: InjectionPage(
        _SKIP_OR_REFUSE,
        "The pod uses the node's network, where a redirect would catch everybody's calls. It is skipped; "
        "refused where it asks for a sidecar.",
        "Take `hostNetwork: true` out of the pod, or say `podkey.io/inject: disabled`.",
    ),
    InjectionCode.HOST_PID: InjectionPage(
        _SKIP_OR_REFUSE,
        "The pod sees the node's processes, and so would see the sidecar's. It is skipped; refused where it "
        "asks for a sidecar.",
        "Take `hostPID: true` out of the pod, or say `podkey.io/inject: disabled`.",
    ),
    InjectionCode.WINDOWS: InjectionPage(
        _SKIP_OR_REFUSE,
        "The pod is for Windows, where the sidecar does not run. It is skipped; refused where it asks for "
        "a sidecar.",
        "Say `podkey.io/inject: disabled`.",
    ),
    InjectionCode.BAD_ANNOTATION: InjectionPage(
        _REFUSE,
        "An annotation that begins with `podkey.io/` is unknown, or its value is. Guessing could leave a pod "
        "without the sidecar that somebody meant it to have.",
        "Write what the message says.",
    ),
    InjectionCode.BAD_NAMESPACE_LABEL: InjectionPage(
        _REFUSE,
        "The namespace's label `podkey.io/inject` is none of `enabled`, `all` and `disabled`.",
        "`kubectl label --overwrite namespace NAME podkey.io/inject=enabled`.",
    ),
    InjectionCode.UNREADABLE_POD: InjectionPage(
        _REFUSE,
        "A field of the pod is of another type than Kubernetes has for it.",
        "Mend the field that the message names.",
    ),
    InjectionCode.RESERVED_ANNOTATION: InjectionPage(
        _REFUSE,
        "The pod brings an annotation that only the injector writes.",
        "Take it out of the pod or its template.",
    ),
    InjectionCode.RESERVED_CONTAINER: InjectionPage(
        _REFUSE,
        "The pod brings a container called `podkey`, or `podkey-…`, that is not what the injector writes.",
        "Rename the container. Where another webhook changed the sidecar, exempt podkey's containers there.",
    ),
    InjectionCode.RESERVED_VOLUME: InjectionPage(
        _REFUSE,
        "The pod brings a volume called `podkey-…` that is not what the injector writes, or mounts one of "
        "ours where it does not belong.",
        "Rename the volume.",
    ),
    InjectionCode.RESERVED_PATH: InjectionPage(
        _REFUSE,
        "A container mounts a volume at or below `/etc/podkey` or `/var/run/podkey`, which would hide what "
        "podkey mounts there.",
        "Mount it elsewhere.",
    ),
    InjectionCode.PROXY_UID: InjectionPage(
        _REFUSE,
        "A container runs as the sidecar's user or group (1337): the redirect would take it for the "
        "sidecar, and it could read what the sidecar keeps.",
        "Run it as another user.",
    ),
    InjectionCode.SHARED_PROCESSES: InjectionPage(
        _REFUSE,
        "The containers share their processes (`shareProcessNamespace`), so the application could read the "
        "sidecar's files by way of /proc.",
        "Take `shareProcessNamespace: true` out of the pod.",
    ),
    InjectionCode.STATE_EXPOSED: InjectionPage(
        _REFUSE,
        "A volume would show the application what the sidecar keeps: the node's folders of pods or "
        "processes, or a token of the audience that proves the pod to podkey.",
        "Take the volume out of the pod.",
    ),
    InjectionCode.CAPTURE_NOT_ALLOWED: InjectionPage(
        _REFUSE,
        "The pod asks to be captured with a redirect, and its namespace's Pod Security level forbids the "
        "capability NET_ADMIN that loading it takes.",
        "Leave the annotation `podkey.io/capture` out, or say `explicit`.",
    ),
    InjectionCode.RESOURCES_OUT_OF_BOUNDS: InjectionPage(
        _REFUSE,
        "An annotation asks for more or less for the sidecar than the platform team allows, or for a "
        "request above its limit.",
        "Ask for what the message names.",
    ),
    InjectionCode.SIDECAR_TARGETED: InjectionPage(
        _REFUSE,
        "An ephemeral container, or a command, is meant for podkey's own containers, or would run as the "
        "sidecar's user.",
        "Target an application container, as another user. `podkey leases` runs as the sidecar: a platform "
        "team that needs it switches the guard off for that time.",
    ),
    InjectionCode.RESERVED_CONFIG_MAP: InjectionPage(
        _REFUSE,
        "Somebody else than the injector writes or deletes the ConfigMap `podkey-policy` or `podkey-trust`. "
        "The sidecars of the namespace obey what stands there.",
        "Change the AccessPolicies and CredentialSources; the injector writes the ConfigMaps from them.",
    ),
    InjectionCode.NAMESPACE_UNKNOWN: InjectionPage(
        _REFUSE,
        "The namespace was made a moment ago, and the injector has not seen it yet. Whether its pods get a "
        "sidecar is not known, so none may start without.",
        "Nothing: controllers and kubectl ask again by themselves. If it stays, see whether the injector can "
        "watch namespaces.",
    ),
    InjectionCode.PRIVILEGED: InjectionPage(
        _REFUSE_OR_WARN,
        "A container is privileged: it can become the sidecar, and take the redirect away.",
        "Give it the one capability it needs. The injector's setting `onDanger: warn` lets it pass.",
    ),
    InjectionCode.CAPABILITY: InjectionPage(
        _REFUSE_OR_WARN,
        "A container adds NET_ADMIN, NET_RAW, SYS_PTRACE, SYS_ADMIN or another capability with which it can "
        "change the redirect or look into the sidecar.",
        "Take the capability away. The injector's setting `onDanger: warn` lets it pass.",
    ),
    InjectionCode.SECRET_IN_APPLICATION: InjectionPage(
        _REFUSE_OR_WARN,
        "An application container reads the very Secret that a CredentialSource of its policies names: then "
        "it holds the credential itself.",
        "Take the volume or the variable out of the container. `onDanger: warn` lets it pass.",
    ),
    InjectionCode.USER_UNKNOWN: InjectionPage(
        _WARN,
        "Neither the pod nor the container says as which user it runs, so its image does. An image with the "
        "user 1337 would go around the redirect.",
        "Write `runAsUser`, or `runAsNonRoot` with a numeric user.",
    ),
    InjectionCode.TOKEN_IN_APPLICATION: InjectionPage(
        _WARN,
        "An application container mounts a service-account token of an audience that a CredentialSource "
        "exchanges: it could exchange it, too.",
        "Take the token out of the container.",
    ),
    InjectionCode.API_TOKEN: InjectionPage(
        _WARN,
        "The application has the service account's token for the API server, and a CredentialSource of its "
        "policies is a Secret of the same namespace: if the account may read Secrets, the application may.",
        "`automountServiceAccountToken: false`, or see that its roles do not read Secrets.",
    ),
    InjectionCode.NO_POLICY: InjectionPage(
        _WARN,
        "No AccessPolicy selects the pod: nothing is granted yet, and no placeholder is set.",
        "Add a policy. Its grants reach the running pod; placeholders and mounted secrets do not.",
    ),
    InjectionCode.OLD_KUBELETS: InjectionPage(
        _WARN,
        "A node runs a kubelet before 1.29, which knows no native sidecars: the sidecar is an ordinary "
        "container. Init containers run before it, without credentials.",
        "Upgrade the nodes.",
    ),
    InjectionCode.JOB_WILL_NOT_END: InjectionPage(
        _WARN,
        "On kubelets before 1.29 the sidecar keeps running when the Job's own containers have ended, and so "
        "does the Job.",
        "Upgrade the nodes, or end the pod by `activeDeadlineSeconds`.",
    ),
    InjectionCode.VARIABLE_KEPT: InjectionPage(
        _WARN,
        "The container sets a variable itself that podkey would set. It is never overwritten: a trust "
        "variable may make the program distrust the sidecar, a key is removed from each governed request.",
        "Take the variable out of the container.",
    ),
    InjectionCode.VARIABLES_UNSEEN: InjectionPage(
        _WARN,
        "The container takes variables from a ConfigMap or Secret, whose names the injector does not see. No "
        "placeholder is set there, for it could overwrite one of them.",
        "Write the placeholders' variables into `env`, or annotate the pod with "
        "`podkey.io/placeholders-beside-env-from: set`.",
    ),
    InjectionCode.PROXY_KEPT: InjectionPage(
        _WARN,
        "The pod is captured by `HTTPS_PROXY`, and the container sets one itself. It is never overwritten: "
        "its calls do not come to the sidecar.",
        "Take the variable out of the container.",
    ),
    InjectionCode.NOT_CAPTURED: InjectionPage(
        _WARN,
        "A policy names a host on a port that the redirect does not capture.",
        "Annotate the pod with `podkey.io/capture-ports`.",
    ),
}
