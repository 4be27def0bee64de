"""The AccessPolicy document: its shape, and what makes it an `AccessPolicy`."""

from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from proxy.core.contract import ACCESS_POLICY
from proxy.core.globs import Glob
from proxy.core.hosts import HostPattern
from proxy.core.labels import LabelRequirement, LabelSelector, Operator, common_labels
from proxy.core.paths import PathPattern
from proxy.core.policy import (
    DEFAULT_PORTS,
    Access,
    AccessPolicy,
    Gpu,
    Grant,
    ImageRules,
    Mode,
    OnForeignCredential,
    OnRevoke,
    WorkloadSelector,
)
from proxy.core.validity import Day, Validity, WeeklyWindow
from proxy.documents import values
from proxy.documents.metadata import Metadata, document
from proxy.documents.problems import Fault, ProblemCode
from proxy.documents.shapes import Choice, Field, ListOf, MapOf, Record

BUCKET_PIN = "bucket"

_NOBODY = "it selects nobody (an empty selector never means everybody)"
_SELECT_FIX = 'name service accounts or labels; `serviceAccounts: ["*"]` selects every pod of the namespace'


def _requirement(key: str, operator: Operator, values: tuple[str, ...] = ()) -> LabelRequirement:
    if operator in {Operator.IN, Operator.NOT_IN} and not values:
        raise Fault(f"`{operator.value}` needs `values`", "add `values: [...]`")
    if operator in {Operator.EXISTS, Operator.DOES_NOT_EXIST} and values:
        fix = "remove `values`, or use `In`"
        raise Fault(f"`{operator.value}` takes no `values`", fix, at="values")
    return LabelRequirement(key, operator, values)


REQUIREMENT = Record(
    "a label requirement",
    (
        Field("key", values.LABEL_KEY, "The label's key.", required=True),
        Field(
            "operator",
            Choice(Operator),
            "How the label is compared; as in Kubernetes.",
            required=True,
        ),
        Field("values", ListOf(values.LABEL_VALUE), "The values for `In` and `NotIn`."),
    ),
    _requirement,
)


def _selector(
    match_labels: tuple[tuple[str, str], ...] = (),
    match_expressions: tuple[LabelRequirement, ...] = (),
) -> LabelSelector:
    selector = LabelSelector(match_labels, match_expressions)
    if not selector.requirements:
        raise Fault(f"the selector is empty: {_NOBODY}", _SELECT_FIX, ProblemCode.EMPTY_SELECTOR)
    if common_labels(selector) is None:
        message = "no pod can have labels that satisfy all of these"
        raise Fault(message, "remove the requirement that contradicts", ProblemCode.NEVER_MATCHES)
    return selector


SELECTOR = Record(
    "a label selector",
    (
        Field(
            "matchLabels",
            MapOf(values.LABEL_VALUE, values.LABEL_KEY, empty_code=ProblemCode.EMPTY_SELECTOR),
            "Labels that the pod must have with exactly these values.",
        ),
        Field(
            "matchExpressions",
            ListOf(
                REQUIREMENT,
                ProblemCode.EMPTY_SELECTOR,
                f"the list is empty: {_NOBODY}",
                _SELECT_FIX,
            ),
            "Requirements on labels; all must hold.",
        ),
    ),
    _selector,
)


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
) -> WorkloadSelector:
    if not service_accounts and pod_selector is None:
        message = f"neither service accounts nor labels are named: {_NOBODY}"
        raise Fault(message, _SELECT_FIX, ProblemCode.EMPTY_SELECTOR)
    return WorkloadSelector(service_accounts, pod_selector, gpu, images)


WORKLOADS = Record(
    "a workload selector",
    (
        Field(
            "serviceAccounts",
            ListOf(
                values.SERVICE_ACCOUNT,
                ProblemCode.EMPTY_SELECTOR,
                f"the list is empty: {_NOBODY}",
                _SELECT_FIX,
            ),
            'Service accounts in the policy\'s namespace. `"*"` stands for all of them.',
        ),
        Field("podSelector", SELECTOR, "Labels of the pod. With service accounts, both must match."),
        Field("gpu", Choice(Gpu), "Whether the pod must, must not or may ask for an accelerator."),
        Field("images", IMAGES, "Images that the pod's containers may run; all of them are looked at."),
    ),
    _workloads,
)


def _window(days: tuple[Day, ...], start_minute: int, end_minute: int, zone: ZoneInfo) -> WeeklyWindow:
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


def _query_entry() -> MapOf:
    return MapOf(ListOf(values.QUERY_VALUE, may_be_empty=True), values.QUERY_NAME)


def _grant(
    *,
    credential: str,
    service: str | None = None,
    hosts: tuple[HostPattern, ...] = (),
    ports: tuple[int, ...] = DEFAULT_PORTS,
    methods: tuple[str, ...] = (),
    paths: tuple[PathPattern, ...] = (),
    query: tuple[tuple[str, tuple[str, ...]], ...] = (),
    buckets: tuple[Glob, ...] = (),
    pins: tuple[tuple[str, tuple[Glob, ...]], ...] = (),
    prefixes: tuple[str, ...] = (),
    access: tuple[Access, ...] = (),
    actions: tuple[str, ...] = (),
    expected_bucket_owner: str | None = None,
    allow_minting: tuple[str, ...] = (),
    on_foreign_credential: OnForeignCredential = OnForeignCredential.REPLACE,
) -> Grant:
    if buckets:
        if any(name == BUCKET_PIN for name, _ in pins):
            fix = "keep `buckets`"
            raise Fault("`pins.bucket` and `buckets` say the same", fix, at="pins")
        pins = tuple(sorted((*pins, (BUCKET_PIN, buckets))))
    if hosts:
        narrowed = {
            "pins": pins,
            "prefixes": prefixes,
            "access": access,
            "actions": actions,
            "expectedBucketOwner": expected_bucket_owner,
            "allowMinting": allow_minting,
        }
        for key, value in narrowed.items():
            if value:
                shown = "buckets" if key == "pins" and buckets else key
                fix = "name the `service` instead of `hosts`, or narrow with `paths`"
                raise Fault(f"`{shown}` needs a service that can read it", fix, at=shown)
    return Grant(
        credential,
        service,
        hosts,
        ports,
        methods,
        paths,
        query,
        pins,
        prefixes,
        access,
        actions,
        expected_bucket_owner,
        allow_minting,
        on_foreign_credential,
    )


GRANT = Record(
    "a grant",
    (
        Field(
            "service",
            values.FIELD_NAME,
            "A service of the catalogue (`podkey services` lists them); the alternative to `hosts`.",
        ),
        Field(
            "hosts",
            ListOf(values.HOST),
            "Hosts by name: exact, or one leading `*.` for exactly one label.",
        ),
        Field("credential", values.NAME, "The CredentialSource that is attached.", required=True),
        Field("ports", ListOf(values.PORT), "TCP ports; 443 where it is left out."),
        Field("methods", ListOf(values.METHOD), "HTTP methods; all where it is left out."),
        Field(
            "paths",
            ListOf(values.PATH),
            "Patterns for the normalised path: `*` within one segment, `**` for any number of segments.",
        ),
        Field(
            "query",
            _query_entry(),
            "Parameters that must be there, each with one of the listed values; an empty list takes any.",
        ),
        Field("buckets", ListOf(values.PIN), "S3: the buckets. Short for `pins: {bucket: …}`."),
        Field(
            "prefixes",
            ListOf(values.PREFIX),
            "S3: key prefixes. `train` covers the key `train` and all below `train/`; `train*` covers "
            "every key that begins so.",
        ),
        Field("access", ListOf(Choice(Access)), "S3: classes of operations."),
        Field(
            "actions",
            ListOf(values.FIELD_NAME),
            "S3: single operations by name, for what no class of `access` covers.",
        ),
        Field(
            "expectedBucketOwner",
            values.BUCKET_OWNER,
            "S3: the account that must own the bucket; S3 itself refuses when another one does.",
        ),
        Field(
            "pins",
            MapOf(ListOf(values.PIN), values.FIELD_NAME),
            "Tenants within the service, by the names that `podkey services NAME` lists.",
        ),
        Field(
            "allowMinting",
            ListOf(values.FIELD_NAME),
            "Credential-minting APIs, by name, whose answers the application may see after all.",
        ),
        Field(
            "onForeignCredential",
            Choice(OnForeignCredential),
            "What becomes of a request that carries a credential of the application's own: `replace` "
            "(default) puts ours in its place, `refuse` answers 403. It never passes.",
        ),
    ),
    _grant,
    exactly_one=(("service", "hosts"),),
)


class PolicySpec(NamedTuple):
    workloads: WorkloadSelector
    grants: tuple[Grant, ...]
    mode: Mode = Mode.ENFORCE
    validity: Validity = Validity()
    on_revoke: OnRevoke = OnRevoke.FINISH


POLICY_SPEC = Record(
    "a policy",
    (
        Field("workloads", WORKLOADS, "Who: the pods that the policy is about.", required=True),
        Field(
            "grants",
            ListOf(GRANT, empty_message="the policy grants nothing"),
            "What they may do, and with which credential. What no grant covers is refused.",
            required=True,
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
    PolicySpec,
)


def _policy(metadata: Metadata, spec: PolicySpec) -> AccessPolicy:
    return AccessPolicy(metadata.namespace, metadata.name, *spec)


POLICY_DOCUMENT = document(
    ACCESS_POLICY, POLICY_SPEC, "Which workloads may do what, and with which credential.", _policy
)
