"""What a grant lacks, in one clause that names what was asked and what is granted."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from proxy.aws.copy_source import read_copy_source
from proxy.core.identity import WorkloadIdentity
from proxy.core.reasons import Reason
from proxy.core.request import Removal
from proxy.core.services import Catalogue
from proxy.core.structs import replace
from proxy.documents.problems import ProblemCode
from proxy.judge.grants import DISTANCE
from proxy.judge.lacks import lack
from proxy.judge.reading import Reading
from tests.judge_world import NOON, POD, ask, ask_all, index_of, policy

HOST = "https://s3.eu-central-1.amazonaws.com"
API = "https://api.example.com"


@dataclass(frozen=True)
class Row:
    grant: str
    line: str
    reason: Reason
    clause: str
    pod: WorkloadIdentity = POD
    now: datetime = NOON
    workloads: str = "{serviceAccounts: [trainer]}"
    validity: str = ""
    problems: frozenset[ProblemCode] = frozenset()


def s3(narrowed: str) -> str:
    return f"{{service: s3, {narrowed}, credential: aws}}"


ANY = "{hosts: [api.example.com], credential: a}"
PORTS = "{hosts: [api.example.com], ports: [443, 8443], credential: a}"
METHODS = "{hosts: [api.example.com], methods: [GET, HEAD], credential: a}"
PATHS = "{hosts: [api.example.com], paths: [/v1/**, /v2], credential: a}"
QUERY = "{hosts: [api.example.com], query: {team: [red, blue], limit: []}, credential: a}"
HUB = "{service: huggingface, pins: {org: [acme, a-*], repo: [acme/*]}, credential: plain}"
OPENAI = "{service: openai, credential: plain}"
READ = s3("buckets: [data], access: [read]")
READ_AND = s3("buckets: [data], access: [read, list], actions: ['s3:GetObjectTorrent']")
PREFIX = s3("buckets: [data], prefixes: [train/], access: [read, list, delete]")
PREFIXES = s3("buckets: [data], prefixes: [train/, tmp*], access: [list]")
MISSING = "{hosts: [api.example.com], credential: nowhere}"
WINDOW = "{windows: [{days: [Mon], from: '08:00', to: '09:00', timeZone: UTC}]}"

TABLE = [
    Row(ANY, f"GET {API}:8443/", Reason.PORT_NOT_GRANTED, "port 8443 is not 443"),
    Row(PORTS, f"GET {API}:80/", Reason.PORT_NOT_GRANTED, "port 80 is not one of 443, 8443"),
    Row(METHODS, f"PUT {API}/", Reason.METHOD_NOT_GRANTED, "PUT is not one of GET, HEAD"),
    Row(PATHS, f"GET {API}/x/../V1", Reason.PATH_NOT_GRANTED, "/V1 does not match one of /v1/**, /v2"),
    Row(QUERY, f"GET {API}/", Reason.QUERY_NOT_GRANTED, "the query must have limit=… and team=red|blue"),
    Row(
        QUERY,
        f"GET {API}/?limit=1&team=red&team=red",
        Reason.AMBIGUOUS_QUERY,
        "a parameter that the grant depends on can be read in two ways",
    ),
    Row(READ, f"GET {HOST}/", Reason.PIN_UNREADABLE, "the request does not show its bucket"),
    Row(
        HUB,
        "GET https://huggingface.co/api/whoami-v2",
        Reason.PIN_UNREADABLE,
        "the request does not show its org",
    ),
    Row(
        "{hosts: [data.s3.eu-central-1.amazonaws.com], credential: a}",
        "GET https://data.s3.eu-central-1.amazonaws.com/k",
        Reason.PIN_UNREADABLE,
        "the host alone does not say whose data it is; a grant must name its service",
        problems=frozenset({ProblemCode.HOST_NEEDS_SERVICE}),
    ),
    Row(
        PREFIX,
        f"GET {HOST}/data?prefix=a&prefix=b",
        Reason.PIN_UNREADABLE,
        "the request does not show its keys",
    ),
    Row(READ, f"GET {HOST}/other/k", Reason.PIN_NOT_GRANTED, "bucket other is not data"),
    Row(
        HUB,
        "GET https://huggingface.co/evil/x/resolve/main/y",
        Reason.PIN_NOT_GRANTED,
        "org evil is not one of acme, a-*",
    ),
    Row(
        HUB,
        "GET https://huggingface.co/a-b/x/resolve/main/y",
        Reason.PIN_NOT_GRANTED,
        "repo a-b/x is not acme/*",
    ),
    Row(
        PREFIX,
        f"GET {HOST}/data/training-secret/x",
        Reason.PIN_NOT_GRANTED,
        "key training-secret/x is not below train/",
    ),
    Row(
        PREFIX,
        f"GET {HOST}/data?prefix=train",
        Reason.PIN_NOT_GRANTED,
        "the listing of keys that begin with `train` is not within train/",
    ),
    Row(
        PREFIXES,
        f"GET {HOST}/data",
        Reason.PIN_NOT_GRANTED,
        "the listing of keys that begin with `` is not within one of train/, tmp*",
    ),
    Row(
        READ,
        f"GET {HOST}/data/k?newfangled",
        Reason.UNKNOWN_ACTION,
        "no operation of the service has this method, path and query",
    ),
    Row(READ, f"GET {HOST}/data/k?versionId=", Reason.UNKNOWN_ACTION, "`versionId` needs a value"),
    Row(READ, f"GET {HOST}/data/k?acl=1", Reason.UNKNOWN_ACTION, "`acl` takes no value"),
    Row(READ, f"GET {HOST}/data/k?acl&acl", Reason.UNKNOWN_ACTION, "`acl` stands twice in the query"),
    Row(PREFIX, f"GET {HOST}/data?prefix=a/../b", Reason.UNKNOWN_ACTION, "`prefix` has a dot segment"),
    Row(
        s3("endpoint: store.example.com, buckets: ['*', 'a*'], access: [read]"),
        "GET https://store.example.com/admin/x",
        Reason.PIN_NOT_GRANTED,
        "bucket admin may be an API of the store: only its name covers it, and not one of *, a*",
    ),
    Row(READ, f"PUT {HOST}/data/k", Reason.ACTION_NOT_GRANTED, "s3:PutObject is not covered by read"),
    Row(
        READ_AND,
        f"GET {HOST}/data/k?acl",
        Reason.ACTION_NOT_GRANTED,
        "s3:GetObjectAcl is not covered by one of read, list, s3:GetObjectTorrent",
    ),
    Row(
        OPENAI,
        "POST https://api.openai.com/v1/realtime/sessions",
        Reason.MINTING_API,
        "the answer holds a credential, and `allowMinting` does not name the API",
    ),
    Row(
        ANY,
        f"GET {API}/",
        Reason.GPU_REQUIRED,
        "the pod asks for no accelerator",
        workloads="{serviceAccounts: [trainer], gpu: required}",
    ),
    Row(
        ANY,
        f"GET {API}/",
        Reason.GPU_FORBIDDEN,
        "the pod asks for an accelerator",
        replace(POD, wants_gpu=True),
        workloads="{serviceAccounts: [trainer], gpu: forbidden}",
    ),
    Row(
        ANY,
        f"GET {API}/",
        Reason.IMAGE_NOT_ALLOWED,
        "an image of the pod is not allowed, or its images are not known",
        workloads="{serviceAccounts: [trainer], images: {repositories: [registry.example.com/ml/*]}}",
    ),
    Row(
        MISSING,
        f"GET {API}/",
        Reason.UNKNOWN_CREDENTIAL,
        "there is no usable CredentialSource nowhere",
        problems=frozenset({ProblemCode.UNKNOWN_CREDENTIAL}),
    ),
    Row(
        ANY,
        f"GET {API}/",
        Reason.NOT_YET_VALID,
        "the policy is valid from 2026-03-05 07:30 UTC",
        validity="{notBefore: 2026-03-05T08:30:00+01:00}",
    ),
    Row(
        ANY,
        f"GET {API}/",
        Reason.EXPIRED,
        "the policy expired at 2026-03-04 12:00 UTC",
        validity="{notAfter: 2026-03-04T12:00:00Z}",
        now=NOON + timedelta(hours=1),
    ),
    Row(
        ANY,
        f"GET {API}/",
        Reason.OUTSIDE_WINDOW,
        "Wed 2026-03-04 12:00 UTC lies in none of the weekly windows",
        validity=WINDOW,
    ),
    Row(
        ANY,
        f"GET {API}/",
        Reason.OUTSIDE_WINDOW,
        "Wed 2026-03-04 12:00 UTC lies in none of the weekly windows",
        now=NOON.replace(tzinfo=None),
        validity=WINDOW,
    ),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.clause)
def test_says_what_was_asked_and_what_is_granted(row: Row, catalogue: Catalogue) -> None:
    text = policy(row.grant, workloads=row.workloads, validity=row.validity)
    request = ask(row.line)
    (asked,) = ask_all(index_of(text, catalogue, row.problems), row.pod, request, row.now)

    assert asked.miss is row.reason
    assert lack(row.reason, asked.bound, asked.reading, request, row.now) == row.clause


WRITE = s3("buckets: [data], prefixes: [train/], access: [write]")


@pytest.mark.parametrize(
    ("grant", "removals", "clause"),
    [
        (
            PREFIX,
            (Removal("train/x"), Removal("training/y"), Removal("z")),
            "key training/y in the body is not below train/",
        ),
        (
            s3("buckets: [data], prefixes: [train/], access: [read, delete]"),
            (Removal("train/x", "v"),),
            "s3:DeleteObjectVersion, for the body names versions, is not covered by one of read, delete",
        ),
    ],
)
def test_names_what_a_body_asks_for_and_is_not_granted(
    catalogue: Catalogue, grant: str, removals: tuple[Removal, ...], clause: str
) -> None:
    request = replace(ask(f"POST {HOST}/data?delete"), removals=removals)
    (asked,) = ask_all(index_of(policy(grant), catalogue), POD, request, NOON)

    assert asked.miss is not None
    assert lack(asked.miss, asked.bound, asked.reading, request, NOON) == clause


@pytest.mark.parametrize(
    ("header", "clause"),
    [
        ("x-copy-from", "no grant covers a request with the header `x-copy-from`"),
        ("seaweed-owner", "no grant covers a request with the header `seaweed-owner`"),
        ("x-" + "a" * 100, f"no grant covers a request with the header `x-{'a' * 58}`"),
        ("x-amz-copy-source", "s3:GetObject copies nothing"),
    ],
)
def test_names_the_header_that_no_grant_covers(catalogue: Catalogue, header: str, clause: str) -> None:
    request = ask(f"GET {HOST}/data/k", {header: "a/b", "x-amz-date": "now"})
    rules = index_of(policy(READ), catalogue).for_pod(POD).rules_for(request.host)
    (group,) = rules.groups
    (grant,) = group.grants
    reading = group.read(request)
    assert grant.miss(request, reading, (), NOON) is Reason.UNKNOWN_ACTION
    assert lack(Reason.UNKNOWN_ACTION, grant, reading, request, NOON) == clause


def test_names_the_header_s_action_where_that_is_what_is_lacking(catalogue: Catalogue) -> None:
    request = ask(f"PUT {HOST}/data/train/k", {"x-amz-acl": "private"})
    (asked,) = ask_all(index_of(policy(WRITE), catalogue), POD, request, NOON)

    assert asked.miss is Reason.ACTION_NOT_GRANTED
    assert lack(asked.miss, asked.bound, asked.reading, request, NOON) == (
        "s3:PutObjectAcl is not covered by write"
    )


@pytest.mark.parametrize(
    ("grant", "source", "clause"),
    [
        (WRITE, "other/k", "the request copies `other/k`, and bucket other is not data"),
        (
            WRITE,
            "data/train/k",
            "the request copies `data/train/k`, and s3:GetObject is not covered by write",
        ),
        (
            s3("buckets: [data], prefixes: [train/], access: [read, write]"),
            "data/k?versionId=v",
            "the request copies `data/k`, and key k is not below train/",
        ),
        (
            WRITE,
            "a/k?x",
            f"what the request copies cannot be told from its copy source: {read_copy_source('a/k?x')}",
        ),
        # This grant would do; it is not asked for its own sake then.
        (
            s3("buckets: [data], access: [read, write]"),
            "data/k",
            "no grant with this credential lets be read what the request copies",
        ),
    ],
)
def test_names_what_is_copied_and_why_it_is_not_readable(
    catalogue: Catalogue, grant: str, source: str, clause: str
) -> None:
    request = ask(f"PUT {HOST}/data/train/k", {"x-amz-copy-source": source})
    (asked,) = ask_all(index_of(policy(grant), catalogue), POD, request, NOON)

    assert lack(Reason.SOURCE_NOT_GRANTED, asked.bound, asked.reading, request, NOON) == clause


def test_there_is_a_clause_for_every_reason_that_a_grant_can_give() -> None:
    assert {row.reason for row in TABLE} == set(DISTANCE)


def test_a_reason_that_is_no_grants_is_named_by_its_code(catalogue: Catalogue) -> None:
    request = ask(f"GET {API}/")
    (asked,) = ask_all(index_of(policy(ANY), catalogue), POD, request, NOON)

    clause = lack(Reason.AMBIGUOUS_GRANT, asked.bound, asked.reading, request, NOON)

    assert clause == "ambiguous_grant"


def test_an_operation_that_is_not_known_is_still_put_into_words(catalogue: Catalogue) -> None:
    """`miss` never asks for this; the words must hold all the same."""
    request = ask(f"GET {HOST}/data")
    (asked,) = ask_all(index_of(policy(READ), catalogue), POD, request, NOON)

    clauses = [
        lack(reason, asked.bound, Reading({"bucket": "data"}), request, NOON)
        for reason in (Reason.ACTION_NOT_GRANTED, Reason.PIN_UNREADABLE)
    ]

    assert clauses == ["it is not covered by read", "the request does not show its keys"]
