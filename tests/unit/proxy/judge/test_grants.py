"""One grant: what it covers, and the first thing that a request lacks."""

from typing import Any

import pytest

from proxy.core.credentials import Bearer, SigV4
from proxy.core.globs import Glob
from proxy.core.hosts import Hostname
from proxy.core.identity import ImageReference, WorkloadIdentity
from proxy.core.paths import PathPattern
from proxy.core.policy import (
    AccessPolicy,
    Gpu,
    Grant,
    ImageRules,
    OnForeignCredential,
    StoreEndpoint,
    WorkloadSelector,
)
from proxy.core.reasons import Reason
from proxy.core.request import Removal
from proxy.core.services import Catalogue, Service
from proxy.core.structs import replace
from proxy.core.verdict import Attach
from proxy.judge.grants import DISTANCE, BoundGrant, any_path, unfit
from proxy.judge.reading import Reading
from tests.judge_world import DIGEST, NOON, POD, ask, ask_all, credential, index_of, policy, ref


def bound(grant: Grant, service: Service | None = None) -> BoundGrant:
    one = AccessPolicy("ml", "p", WorkloadSelector(("trainer",)), (grant,))
    return BoundGrant(one, 0, Bearer(), service, None)


def miss_of(grants: str, catalogue: Catalogue, line: str, **headers: str) -> Reason | None:
    request = ask(line, {name.replace("_", "-"): value for name, value in headers.items()})
    (asked,) = ask_all(index_of(policy(grants), catalogue), POD, request, NOON)
    return asked.miss


# --- the order in which a request is asked -----------------------------------------------------------


def test_every_reason_of_a_grant_has_a_distance_that_grows_in_the_order_of_asking() -> None:
    assert [reason for reason, _ in sorted(DISTANCE.items(), key=lambda item: item[1])] == [
        Reason.PORT_NOT_GRANTED,
        Reason.METHOD_NOT_GRANTED,
        Reason.PATH_NOT_GRANTED,
        Reason.PIN_UNREADABLE,
        Reason.PIN_NOT_GRANTED,
        Reason.UNKNOWN_ACTION,
        Reason.ACTION_NOT_GRANTED,
        Reason.AMBIGUOUS_QUERY,
        Reason.QUERY_NOT_GRANTED,
        Reason.MINTING_API,
        Reason.GPU_REQUIRED,
        Reason.GPU_FORBIDDEN,
        Reason.IMAGE_NOT_ALLOWED,
        Reason.UNKNOWN_CREDENTIAL,
        Reason.NOT_YET_VALID,
        Reason.EXPIRED,
        Reason.OUTSIDE_WINDOW,
    ]
    assert all(distance >= 0 for distance in DISTANCE.values())


EVERYTHING = (
    "{service: s3, ports: [8443], methods: [GET, PUT], paths: [/data/**], buckets: [data], "
    "prefixes: [train/], access: [list], actions: ['s3:CreateSession'], query: {team: [a]}, credential: aws}"
)
HOST = "https://s3.eu-central-1.amazonaws.com"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"POST {HOST}/x", Reason.PORT_NOT_GRANTED),
        (f"POST {HOST}:8443/x", Reason.METHOD_NOT_GRANTED),
        (f"GET {HOST}:8443/x", Reason.PATH_NOT_GRANTED),
        (f"GET {HOST}:8443/data/k?team", Reason.UNKNOWN_ACTION),
        (f"GET {HOST}:8443/data/k", Reason.ACTION_NOT_GRANTED),
        (f"GET {HOST}:8443/data", Reason.PIN_NOT_GRANTED),
        (f"GET {HOST}:8443/data?prefix=train/", Reason.QUERY_NOT_GRANTED),
    ],
)
def test_names_the_first_thing_that_is_lacking(catalogue: Catalogue, line: str, expected: Reason) -> None:
    assert miss_of(EVERYTHING, catalogue, line) is expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("GET https://api.example.com/?team=a", None),
        ("GET https://api.example.com/?team=%61&x=y", None),
        ("GET https://api.example.com/?x=y&team=b", None),
        ("GET https://api.example.com/", Reason.QUERY_NOT_GRANTED),
        ("GET https://api.example.com/?Team=a", Reason.QUERY_NOT_GRANTED),
        ("GET https://api.example.com/?team=", Reason.QUERY_NOT_GRANTED),
        ("GET https://api.example.com/?team=A", Reason.QUERY_NOT_GRANTED),
        ("GET https://api.example.com/?team=a&team=a", Reason.AMBIGUOUS_QUERY),
        ("GET https://api.example.com/?team=a;team=c", Reason.AMBIGUOUS_QUERY),
        ("GET https://api.example.com/?;", Reason.AMBIGUOUS_QUERY),
    ],
)
def test_reads_the_query_it_depends_on_in_one_way_only(
    catalogue: Catalogue, line: str, expected: Reason | None
) -> None:
    grant = "{hosts: [api.example.com], query: {team: [a, b]}, credential: a}"

    assert miss_of(grant, catalogue, line) is expected


def s3(narrowed: str) -> str:
    return f"{{service: s3, {narrowed}, credential: aws}}"


READ_PATTERN = s3("buckets: ['da*', x], access: [read], expectedBucketOwner: '111122223333'")
READ_PLAIN = s3("buckets: [da, x], access: [read]")
LIST_ALL = s3("buckets: [x], actions: ['s3:ListAllMyBuckets']")
READ_ACL = s3("buckets: [x], actions: ['s3:GetObjectAcl']")
IN_EUROPE = s3("buckets: [x], pins: {region: [eu-*]}, actions: ['s3:GetObject']")
LIST_PREFIX = s3("buckets: [x], prefixes: [a/], access: [list]")
DELETE_PREFIX = s3("buckets: [x], prefixes: [a/], access: [delete]")
DELETE = s3("buckets: [x], access: [delete]")


@pytest.mark.parametrize(
    ("grant", "line", "expected"),
    [
        # A pattern, or a list of plain names
        (READ_PATTERN, f"GET {HOST}/data/k", None),
        (READ_PATTERN, f"GET {HOST}/x/k", None),
        (READ_PATTERN, f"GET {HOST}/adata/k", Reason.PIN_NOT_GRANTED),
        (READ_PLAIN, f"GET {HOST}/data/k", Reason.PIN_NOT_GRANTED),
        (READ_PLAIN, f"GET {HOST}/x/k", None),
        (READ_PATTERN, f"GET {HOST}/", Reason.PIN_UNREADABLE),
        # Naming an operation without tenant grants it; a class of operations does not
        (LIST_ALL, f"GET {HOST}/", None),
        (LIST_ALL, f"GET {HOST}/y", Reason.PIN_NOT_GRANTED),
        (LIST_ALL, f"GET {HOST}//x", Reason.PIN_UNREADABLE),
        (READ_ACL, f"GET {HOST}/", Reason.PIN_UNREADABLE),
        # An operation that shows its bucket must show all its pins
        (IN_EUROPE, "GET https://x.s3.eu-west-1.amazonaws.com/k", None),
        (IN_EUROPE, "GET https://x.s3.amazonaws.com/k", Reason.PIN_UNREADABLE),
        # Prefixes bound what shows keys, and nothing that does not
        (LIST_PREFIX, f"HEAD {HOST}/x", None),
        (LIST_PREFIX, f"GET {HOST}/x?prefix=a/", None),
        (LIST_PREFIX, f"GET {HOST}/x?prefix=a", Reason.PIN_NOT_GRANTED),
        (LIST_PREFIX, f"GET {HOST}/x?prefix=a/&prefix=a/", Reason.PIN_UNREADABLE),
        (DELETE_PREFIX, f"DELETE {HOST}/x/a/k", None),
        (DELETE_PREFIX, f"DELETE {HOST}/x/b", Reason.PIN_NOT_GRANTED),
        # What stands in the body is asked about when it was read
        (DELETE_PREFIX, f"POST {HOST}/x?delete", None),
        (DELETE, f"POST {HOST}/x?delete", None),
    ],
)
def test_pins_what_the_request_shows(
    catalogue: Catalogue, grant: str, line: str, expected: Reason | None
) -> None:
    assert miss_of(grant, catalogue, line) is expected


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        ("[xet-read-token]", Reason.MINTING_API),
        ("[xet-write-token]", Reason.MINTING_API),
        ("[xet-read-token, xet-write-token]", None),
    ],
)
def test_what_looks_like_two_minting_apis_needs_both(
    catalogue: Catalogue, allowed: str, expected: Reason | None
) -> None:
    grant = f"{{service: huggingface, allowMinting: {allowed}, credential: plain}}"
    line = "GET https://huggingface.co/api/models/a/xet-read-token/xet-write-token/main"

    assert miss_of(grant, catalogue, line) is expected


def test_without_a_scheme_it_covers_nothing_whatever_else_the_pod_lacks() -> None:
    grant = Grant("nowhere", hosts=())
    one = AccessPolicy("ml", "p", WorkloadSelector(("trainer",), gpu=Gpu.REQUIRED), (grant,))
    orphan = BoundGrant(one, 0, None, None, unfit(one, POD))

    assert orphan.miss(ask("GET https://x.example/"), Reading({}), (), NOON) is Reason.UNKNOWN_CREDENTIAL


def test_a_service_without_operations_asks_for_none(catalogue: Catalogue) -> None:
    grant = Grant("a", service="openai", prefixes=("train/",))

    found = bound(grant, catalogue["openai"]).miss(
        ask("POST https://api.openai.com/v1/responses"), Reading({}), (), NOON
    )

    assert found is None


# --- what it attaches --------------------------------------------------------------------------------


def test_attaches_what_the_grant_says() -> None:
    grant = Grant(
        "aws",
        service="s3",
        expected_bucket_owner="111122223333",
        on_foreign_credential=OnForeignCredential.REFUSE,
    )
    one = AccessPolicy("ml", "p", WorkloadSelector(("trainer",)), (Grant("other"), grant))

    found = BoundGrant(one, 1, SigV4(), None, None)

    refuse = OnForeignCredential.REFUSE
    assert found.attach == Attach(ref("p", 1), credential("aws"), SigV4(), refuse, "111122223333")
    assert found.effect == (credential("aws"), "111122223333", SigV4(), None)
    assert found.rule == ref("p", 1)


@pytest.mark.parametrize(
    ("change", "alike"),
    [
        ({}, True),
        ({"expected_bucket_owner": "111122223333"}, True),
        ({"prefixes": ("train/",)}, True),
        ({"credential": "other"}, False),
        ({"endpoint": StoreEndpoint(Hostname("store.example.com"))}, False),
    ],
)
def test_two_grants_sign_alike_with_one_credential_whoever_owns_the_bucket(
    change: dict[str, Any], *, alike: bool
) -> None:
    plain = Grant("aws", service="s3")
    one = AccessPolicy("ml", "p", WorkloadSelector(("trainer",)), (plain, replace(plain, **change)))
    first, second = (BoundGrant(one, number, SigV4(), None, None) for number in range(2))

    assert first.signs_like(second.attach) is alike


@pytest.mark.parametrize(
    ("grant", "removals", "expected"),
    [
        (DELETE_PREFIX, (), None),
        (DELETE_PREFIX, (Removal("a/x"), Removal("a/")), None),
        (DELETE_PREFIX, (Removal("a/x"), Removal("a")), Reason.PIN_NOT_GRANTED),
        (DELETE_PREFIX, (Removal("b", "v"),), Reason.PIN_NOT_GRANTED),
        (DELETE_PREFIX, (Removal("a/x", "v"),), Reason.ACTION_NOT_GRANTED),
        (DELETE, (Removal("a"), Removal("b")), None),
        (DELETE, (Removal("a"), Removal("b", "null")), Reason.ACTION_NOT_GRANTED),
        (
            s3("buckets: [x], access: [delete], actions: ['s3:DeleteObjectVersion']"),
            (Removal("a"), Removal("b", "v")),
            None,
        ),
    ],
)
def test_covers_every_key_of_a_body_or_none(
    catalogue: Catalogue, grant: str, removals: tuple[Removal, ...], expected: Reason | None
) -> None:
    request = replace(ask(f"POST {HOST}/x?delete"), removals=removals)
    (asked,) = ask_all(index_of(policy(grant), catalogue), POD, request, NOON)

    assert asked.miss is expected
    foreign = asked.bound.foreign_removal(removals)
    assert (foreign is not None) == (expected is Reason.PIN_NOT_GRANTED)


@pytest.mark.parametrize("narrowed", ["access: [read]", "access: [delete]", "actions: ['s3:PutObjectAcl']"])
def test_whoever_may_do_anything_to_a_directory_bucket_may_open_a_session(
    catalogue: Catalogue, narrowed: str
) -> None:
    line = "GET https://x--use1-az4--x-s3.s3express-use1-az4.us-east-1.amazonaws.com/?session"
    mine, other = (s3(f"buckets: [{name}--use1-az4--x-s3], prefixes: [a/], {narrowed}") for name in "xy")

    assert miss_of(mine, catalogue, line) is None
    assert miss_of(other, catalogue, line) is Reason.PIN_NOT_GRANTED


# --- what the choice among many grants asks ----------------------------------------------------------


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ((), ()),
        (("/v1/models",), (("v1", "models"),)),
        (("/v1/*/x", "/v2"), (("v1",), ("v2",))),
        (("/**",), ((),)),
        (("/v1*/x",), ((),)),
        (("/",), (("",),)),
        (("//x/**",), (("", "x"),)),
    ],
)
def test_plain_beginnings_end_before_the_first_star(
    paths: tuple[str, ...], expected: tuple[tuple[str, ...], ...]
) -> None:
    grant = Grant("a", paths=tuple(map(PathPattern, paths)))

    assert bound(grant).plain_beginnings == expected


BUCKETS = (("bucket", (Glob("x"), Glob("y"))), ("region", (Glob("eu-*"), Glob("us-east-1"))))


@pytest.mark.parametrize(
    ("grant", "pin", "expected"),
    [
        (Grant("a", pins=BUCKETS), "bucket", frozenset({"x", "y"})),
        (Grant("a", pins=BUCKETS), "region", None),
        (Grant("a", pins=BUCKETS), "project", None),
        (Grant("a"), "bucket", None),
        # It may cover an operation that shows no bucket.
        (Grant("a", pins=BUCKETS, actions=("s3:ListAllMyBuckets",)), "bucket", None),
    ],
)
def test_plain_values_are_all_that_the_pin_can_be(
    grant: Grant, pin: str, expected: frozenset[str] | None
) -> None:
    assert bound(grant).plain_values(pin) == expected


@pytest.mark.parametrize(
    ("pins", "expected"),
    [
        ({"bucket": "x", "region": "eu-west-1"}, None),
        ({"bucket": "z", "region": "ap-south-1"}, "bucket"),
        ({"bucket": "y", "region": "ap-south-1"}, "region"),
        ({"region": "ap-south-1"}, "region"),
        ({}, None),
    ],
)
def test_the_foreign_pin_is_the_first_that_is_shown_and_not_granted(
    pins: dict[str, str], expected: str | None
) -> None:
    assert bound(Grant("a", pins=BUCKETS)).foreign_pin(Reading(pins)) == expected


def test_any_path_is_true_for_the_whole_text_only() -> None:
    fits = any_path((PathPattern("/a/*"), PathPattern("/b")))

    assert [bool(fits(path)) for path in ("/a/x", "/b", "/a/x/y", "/b/", "/x/b", "/b\n")] == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]


# --- conditions on the pod ---------------------------------------------------------------------------

TRAINER = ImageReference("registry.example.com/ml/trainer", DIGEST)
UNPINNED = ImageReference("registry.example.com/ml/trainer")
STRANGER = ImageReference("registry.example.com/web/app", DIGEST)
BY_REPOSITORY = ImageRules(repositories=(PathPattern("/registry.example.com/ml/*"),))
BY_DIGEST = ImageRules(digests=(DIGEST,))
BY_BOTH = ImageRules(BY_REPOSITORY.repositories, BY_DIGEST.digests)


@pytest.mark.parametrize(
    ("selector", "pod", "expected"),
    [
        (WorkloadSelector(), POD, None),
        (WorkloadSelector(gpu=Gpu.REQUIRED), POD, Reason.GPU_REQUIRED),
        (WorkloadSelector(gpu=Gpu.REQUIRED), replace(POD, wants_gpu=True), None),
        (WorkloadSelector(gpu=Gpu.FORBIDDEN), POD, None),
        (WorkloadSelector(gpu=Gpu.FORBIDDEN), replace(POD, wants_gpu=True), Reason.GPU_FORBIDDEN),
        (WorkloadSelector(gpu=Gpu.REQUIRED, images=BY_DIGEST), POD, Reason.GPU_REQUIRED),
    ],
)
def test_asks_for_the_accelerator(
    selector: WorkloadSelector, pod: WorkloadIdentity, expected: Reason | None
) -> None:
    assert unfit(AccessPolicy("ml", "p", selector, ()), pod) is expected


@pytest.mark.parametrize(
    ("rules", "images", "allowed"),
    [
        (BY_REPOSITORY, (), False),
        (BY_DIGEST, (), False),
        (ImageRules(), (), False),
        (BY_REPOSITORY, (TRAINER,), True),
        (BY_REPOSITORY, (UNPINNED,), True),
        (BY_REPOSITORY, (STRANGER,), False),
        (BY_REPOSITORY, (TRAINER, STRANGER), False),
        (BY_DIGEST, (TRAINER, STRANGER), True),
        (BY_DIGEST, (UNPINNED,), False),
        (BY_BOTH, (TRAINER,), True),
        (BY_BOTH, (UNPINNED,), False),
        (BY_BOTH, (STRANGER,), False),
    ],
)
def test_every_image_must_be_allowed_and_there_must_be_one(
    rules: ImageRules, images: tuple[ImageReference, ...], *, allowed: bool
) -> None:
    one = AccessPolicy("ml", "p", WorkloadSelector(images=rules), ())

    expected = None if allowed else Reason.IMAGE_NOT_ALLOWED
    assert unfit(one, replace(POD, images=images)) is expected
