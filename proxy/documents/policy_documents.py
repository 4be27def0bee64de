"""The AccessPolicy document: its shape, and what makes it an `AccessPolicy`."""

from datetime import datetime, tzinfo
from typing import NamedTuple

from proxy.core.contract import ACCESS_POLICY
from proxy.core.labels import LabelSelector
from proxy.core.paths import PathPattern
from proxy.core.policy import (
    AccessPolicy,
    Gpu,
    Grant,
    ImageRules,
    Limits,
    Mode,
    OnRevoke,
    WorkloadSelector,
)
from proxy.core.validity import Day, Validity, WeeklyWindow
from proxy.documents import values
from proxy.documents.grant_documents import GRANT
from proxy.documents.label_selectors import NAMESPACE_FIX, NOBODY, SELECT_FIX, label_selector
from proxy.documents.limit_documents import LIMITS, require_alone
from proxy.documents.metadata import Metadata, document
from proxy.documents.problems import Fault, ProblemCode
from proxy.documents.shapes import Choice, Field, ListOf, Record

_NOBODY_NAMED = f"neither service accounts nor labels are named: {NOBODY}"
SELECTOR = label_selector("pod")
NAMESPACE_SELECTOR = label_selector("namespace", NAMESPACE_FIX)


def _image_rules(repositories: tuple[PathPattern, ...] = (), digests: tuple[str, ...] = ()) -> ImageRules:
    if not repositories and not digests:
        fix = "add `repositories` or `digests`, or remove `images`"
        raise Fault("`images` allows no image", fix, ProblemCode.EMPTY_SELECTOR)
    return ImageRules(repositories, digests)


IMAGES = Record(
    "image rules",
    (
        Field(
            "repositories",
            ListOf(values.REPOSITORY),
            "Repositories that every container's image must come from: `*` within one part of the path, "
            "`**` for any number of parts.",
        ),
        Field("digests", ListOf(values.DIGEST), "Digests, one of which every image must have."),
    ),
    _image_rules,
)


def _workloads(
    service_accounts: tuple[str, ...] = (),
    pod_selector: LabelSelector | None = None,
    gpu: Gpu = Gpu.ANY,
    images: ImageRules | None = None,
    namespace_selector: LabelSelector | None = None,
) -> WorkloadSelector:
    # With a namespace selector it may belong to limits, which select no pods: `_spec` knows.
    if not service_accounts and pod_selector is None and namespace_selector is None:
        raise Fault(_NOBODY_NAMED, SELECT_FIX, ProblemCode.EMPTY_SELECTOR)
    return WorkloadSelector(service_accounts, pod_selector, gpu, images, namespace_selector)


WORKLOADS = Record(
    "a workload selector",
    (
        Field(
            "serviceAccounts",
            ListOf(
                values.SERVICE_ACCOUNT,
                ProblemCode.EMPTY_SELECTOR,
                f"the list is empty: {NOBODY}",
                SELECT_FIX,
            ),
            'Service accounts in the pod\'s namespace. `"*"` stands for all of them.',
        ),
        Field("podSelector", SELECTOR, "Labels of the pod. With service accounts, both must match."),
        Field(
            "namespaceSelector",
            NAMESPACE_SELECTOR,
            "Labels of the pod's namespace, which may be another one than the policy's: for policies in "
            "podkey's own namespace. The policy's own namespace where it is left out.",
        ),
        Field("gpu", Choice(Gpu), "Whether the pod must, must not or may ask for an accelerator."),
        Field("images", IMAGES, "Images that the pod's containers may run; all of them are looked at."),
    ),
    _workloads,
)


def _window(days: tuple[Day, ...], start_minute: int, end_minute: int, zone: tzinfo) -> WeeklyWindow:
    if start_minute == end_minute:
        fix = 'to mean the whole day, write from: "00:00" and to: "24:00"'
        raise Fault("the window begins and ends at the same time", fix, at="to")
    if start_minute == 24 * 60:
        raise Fault("a window cannot begin at 24:00", 'write from: "00:00"', at="from")
    return WeeklyWindow(tuple(sorted(days)), start_minute, end_minute, zone)


WINDOW = Record(
    "a weekly window",
    (
        Field("days", ListOf(values.DAY), "The days on which the window begins.", required=True),
        Field("from", values.TIME_OF_DAY, "When it begins.", "start_minute", required=True),
        Field(
            "to",
            values.TIME_OF_DAY,
            "When it ends; earlier than `from` means the next day.",
            "end_minute",
            required=True,
        ),
        Field("timeZone", values.ZONE, "Whose clock counts.", "zone", required=True),
    ),
    _window,
)


def _validity(
    not_before: datetime | None = None,
    not_after: datetime | None = None,
    windows: tuple[WeeklyWindow, ...] = (),
) -> Validity:
    if not_before is not None and not_after is not None and not_before >= not_after:
        message = "the policy ends before it begins: it is never valid"
        raise Fault(message, "swap or correct the times", ProblemCode.NEVER_MATCHES, at="notAfter")
    return Validity(not_before, not_after, windows)


# Each is looked at on every request, until one is open. A week has seven days.
MAX_WINDOWS = 21

VALIDITY = Record(
    "a validity",
    (
        Field("notBefore", values.TIMESTAMP, "The first moment of validity."),
        Field("notAfter", values.TIMESTAMP, "The end of validity."),
        Field("windows", ListOf(WINDOW, most=MAX_WINDOWS), "Weekly windows; inside any of them is enough."),
    ),
    _validity,
)


class PolicySpec(NamedTuple):
    workloads: WorkloadSelector
    grants: tuple[Grant, ...]
    mode: Mode = Mode.ENFORCE
    validity: Validity = Validity()
    on_revoke: OnRevoke = OnRevoke.FINISH
    limits: Limits | None = None


def _spec(
    *,
    workloads: WorkloadSelector,
    grants: tuple[Grant, ...] = (),
    limits: Limits | None = None,
    mode: Mode | None = None,
    validity: Validity | None = None,
    on_revoke: OnRevoke | None = None,
) -> PolicySpec:
    if limits is None:
        if not workloads.service_accounts and workloads.pod_selector is None:
            raise Fault(_NOBODY_NAMED, SELECT_FIX, ProblemCode.EMPTY_SELECTOR, at="workloads")
    else:
        require_alone(workloads, {"mode": mode, "validity": validity, "onRevoke": on_revoke})
    return PolicySpec(
        workloads,
        grants,
        mode or Mode.ENFORCE,
        validity or Validity(),
        on_revoke or OnRevoke.FINISH,
        limits,
    )


POLICY_SPEC = Record(
    "a policy",
    (
        Field("workloads", WORKLOADS, "Who: the pods that the policy is about.", required=True),
        Field(
            "grants",
            ListOf(GRANT, empty_message="the policy grants nothing"),
            "What they may do, and with which credential. What no grant covers is refused.",
        ),
        Field(
            "limits",
            LIMITS,
            "The alternative to `grants`, with a `namespaceSelector`: what the policies of these namespaces "
            "may grant. Where several limits select a namespace, each of them holds.",
        ),
        Field(
            "mode",
            Choice(Mode),
            "`enforce` (default), or `observe`: nothing is refused and an application's own credential "
            "still works, while the verdict says what enforcing would do. Where another policy enforces a "
            "host, one that observes changes nothing.",
        ),
        Field("validity", VALIDITY, "When the policy is valid; always where it is left out."),
        Field(
            "onRevoke",
            Choice(OnRevoke),
            "What becomes of requests on their way when a new policy does not grant them any more, or their "
            "source is gone: `finish` (default) lets them end, `cut` ends them at once.",
        ),
    ),
    _spec,
    exactly_one=(("grants", "limits"),),
)


def _policy(metadata: Metadata, spec: PolicySpec) -> AccessPolicy:
    return AccessPolicy(metadata.namespace, metadata.name, *spec)


POLICY_DOCUMENT = document(
    ACCESS_POLICY, POLICY_SPEC, "Which workloads may do what, and with which credential.", _policy
)
