import pytest

from proxy.core.hosts import Hostname, HostPattern
from proxy.core.policy import Addressing, ForeignPresigned, Grant, StoreEndpoint
from proxy.documents.grant_documents import GRANT
from proxy.documents.reading import INVALID
from tests.document_strategies import read_shape

G = "credential: one"
STORE = "service: s3, endpoint: store.example.com"


def test_buckets_are_short_for_the_bucket_pin() -> None:
    short, _ = read_shape(GRANT, "{service: s3, credential: one, buckets: [b], pins: {a: [x], region: [eu]}}")
    long, _ = read_shape(GRANT, "{service: s3, credential: one, pins: {a: [x], bucket: [b], region: [eu]}}")
    assert short == long
    assert [name for name, _ in short.pins] == ["a", "bucket", "region"]


@pytest.mark.parametrize(
    ("text", "store", "ports"),
    [
        ("endpoint: store.example.com", StoreEndpoint(Hostname("store.example.com")), (443,)),
        ("endpoint: 'store.example.com:9000'", StoreEndpoint(Hostname("store.example.com")), (9000,)),
        (
            "endpoint: https://store.example.com:9000, region: eu-1, addressing: virtual",
            StoreEndpoint(Hostname("store.example.com"), "eu-1", Addressing.VIRTUAL),
            (9000,),
        ),
        ("addressing: path, endpoint: minio", StoreEndpoint(Hostname("minio")), (443,)),
    ],
)
def test_a_grant_may_be_for_a_store_of_its_own(
    text: str, store: StoreEndpoint, ports: tuple[int, ...]
) -> None:
    value, problems = read_shape(GRANT, f"{{service: s3, {text}, {G}}}")
    assert (value, problems) == (Grant("one", "s3", ports=ports, endpoint=store), [])


@pytest.mark.parametrize(
    ("word", "means"), [("refuse", ForeignPresigned.REFUSE), ("pass", ForeignPresigned.PASS)]
)
def test_urls_that_somebody_else_signed_pass_where_the_grant_says_so(
    word: str, means: ForeignPresigned
) -> None:
    value, _ = read_shape(GRANT, f"{{service: s3, foreignPresigned: {word}, {G}}}")
    assert value == Grant("one", "s3", foreign_presigned=means)


def test_to_refuse_what_is_refused_anyway_needs_no_service() -> None:
    value, problems = read_shape(GRANT, f"{{hosts: [a.example.com], foreignPresigned: refuse, {G}}}")
    assert (value, problems) == (Grant("one", hosts=(HostPattern("a.example.com"),)), [])


@pytest.mark.parametrize(
    ("text", "code", "path", "message", "fix"),
    [
        (f"{{{G}}}", "exactly_one", "", "needs exactly one of `service`, `hosts`", "add one of"),
        (
            f"{{service: s3, hosts: [a.example.com], {G}}}",
            "exactly_one",
            "",
            "a grant has `service` and `hosts`; it takes exactly one",
            "keep one of them",
        ),
        ("{service: s3}", "missing_key", "", "`credential` is missing", "add `credential:`"),
        (
            f"{{hosts: [], {G}}}",
            "empty_list",
            "hosts",
            "matches nothing",
            "add an item, or remove the key",
        ),
        (
            f"{{service: s3, buckets: [b], pins: {{bucket: [b]}}, {G}}}",
            "bad_value",
            "pins",
            "`pins.bucket` and `buckets` say the same",
            "keep `buckets`",
        ),
        *(
            (
                f"{{hosts: [a.example.com], {key}: {value}, {G}}}",
                "bad_value",
                key,
                f"`{key}` needs a service that can read it",
                "name the `service` instead of `hosts`, or narrow with `paths`",
            )
            for key, value in (
                ("pins", "{org: [acme]}"),
                ("buckets", "[b]"),
                ("prefixes", "[train/]"),
                ("access", "[read]"),
                ("actions", "[a]"),
                ("expectedBucketOwner", '"111122223333"'),
                ("allowMinting", "[a]"),
                ("endpoint", "store.example.com"),
                ("foreignPresigned", "pass"),
            )
        ),
        # Stores
        (
            f"{{{STORE}, ports: [9000], {G}}}",
            "bad_value",
            "ports",
            "the `endpoint` says the port already",
            "such as `store.example.com:9000`, and remove `ports`",
        ),
        (
            f"{{service: s3, region: eu-1, {G}}}",
            "bad_value",
            "region",
            "`region` belongs to the `endpoint` of a store, and there is none",
            "add `endpoint:`, or remove `region`",
        ),
        (
            f"{{hosts: [a.example.com], addressing: path, {G}}}",
            "bad_value",
            "addressing",
            "`addressing` belongs to the `endpoint` of a store",
            "or remove `addressing`",
        ),
        (
            f"{{{STORE}, foreignPresigned: replace, {G}}}",
            "bad_value",
            "foreignPresigned",
            "`replace` is not one of: refuse, pass",
            "use one of: pass, refuse",
        ),
        (
            f"{{{STORE}, addressing: host, {G}}}",
            "bad_value",
            "addressing",
            "`host` is not one of: path, virtual",
            "use one of: path, virtual",
        ),
    ],
)
def test_tells_what_is_wrong_with_a_grant(text: str, *, code: str, path: str, message: str, fix: str) -> None:
    value, (problem,) = read_shape(GRANT, text)
    assert value is INVALID
    assert (problem.code.value, problem.path) == (code, path)
    assert message in problem.message
    assert fix in problem.fix
