"""The decision: a table with every reason, and properties over a generated world."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from proxy.core.credentials import AttachScheme, Basic, Bearer, Header, SigV4
from proxy.core.globs import Glob
from proxy.core.hosts import Hostname, HostPattern
from proxy.core.identity import ImageReference, WorkloadIdentity
from proxy.core.labels import LabelRequirement, LabelSelector, Operator
from proxy.core.paths import PathPattern
from proxy.core.policy import (
    Access,
    AccessPolicy,
    Gpu,
    Grant,
    ImageRules,
    Mode,
    OnForeignCredential,
    WorkloadSelector,
)
from proxy.core.reasons import Reason
from proxy.core.request import NO_HEADERS, ClientCredential, Removal, RequestFacts
from proxy.core.services import Catalogue
from proxy.core.structs import replace
from proxy.core.verdict import Attach, PassThrough, ReadBody, Refuse, Verdict
from proxy.documents.problems import ProblemCode
from proxy.documents.reader import read_documents
from proxy.documents.render import render
from proxy.judge.choice import FEW_GRANTS
from proxy.judge.decide import MAX_ASKED_FOR_NEAREST, decide
from proxy.judge.grants import DISTANCE
from proxy.judge.index import HostRules, PolicyIndex
from proxy.judge.reading import MintingGuard
from tests import judge_world as world
from tests.judge_world import CATALOGUE, DIGEST, NOON, POD, ask, credential, index_of, policy, ref

ABSENT, PLACEHOLDER, FOREIGN = ClientCredential


# --- verdicts, as the table writes them --------------------------------------------------------------


def attach(
    name: str = "a", scheme: AttachScheme | None = None, rule: str = "p", grant: int = 0, **more: str
) -> Attach:
    schemes: dict[str, AttachScheme] = {"b": Header("X-Key"), "aws": SigV4(), "aws2": SigV4()}
    scheme = scheme or schemes.get(name, Bearer())
    return Attach(
        ref(rule, grant),
        credential(name),
        scheme,
        OnForeignCredential(more.get("foreign", "replace")),
        more.get("owner"),
    )


def refuse(reason: Reason, rule: str | None = "p", grant: int = 0) -> Refuse:
    return Refuse(reason, None if rule is None else ref(rule, grant))


def would_refuse(reason: Reason, rule: str | None = "p", grant: int = 0) -> PassThrough:
    return PassThrough(Reason.WOULD_REFUSE, refuse(reason, rule, grant))


UNGOVERNED = PassThrough(Reason.UNGOVERNED_HOST)
BLOB = PassThrough(Reason.BLOB_HOST)


@dataclass(frozen=True)
class Row:
    claim: str
    documents: str
    request: RequestFacts
    expected: Verdict
    pod: WorkloadIdentity = POD
    now: datetime = NOON
    # What `podkey check` says of these documents.
    problems: frozenset[ProblemCode] = frozenset()


# --- documents of the table --------------------------------------------------------------------------

API = policy("{hosts: [api.example.com], methods: [GET], paths: [/v1/**], credential: a}")
WIDE = policy("{hosts: ['*.example.com'], credential: a}")
BLOBS = policy("{hosts: ['*.hf.co', '*.huggingface.co'], credential: a}")
OBSERVED = policy(
    "{hosts: [api.example.com], methods: [GET], paths: [/v1/**], credential: a}", mode="observe"
)
OBSERVED_REFUSING = policy(
    "{hosts: [api.example.com], credential: a, onForeignCredential: refuse}", mode="observe"
)
BOTH_MODES = policy("{hosts: [api.example.com], methods: [GET], credential: a}") + policy(
    "{hosts: [api.example.com], methods: [GET, PUT], credential: b}", name="watch", mode="observe"
)
# The observing policy comes first in every order by name.
BOTH_MODES_REFUSING = policy(
    "{hosts: [api.example.com], credential: a, onForeignCredential: refuse}", name="strict"
) + policy("{hosts: [api.example.com], credential: b}", name="loose", mode="observe")
TWO_OBSERVING = policy("{hosts: [api.example.com], credential: a}", mode="observe") + policy(
    "{hosts: [api.example.com], credential: b}", name="q", mode="observe"
)
TWO_CREDENTIALS = policy(
    "{hosts: [api.example.com], paths: [/v1/**], credential: a}",
    "{hosts: ['*.example.com'], methods: [GET], credential: b}",
)
TWO_OWNERS = policy(
    "{service: s3, buckets: [data], access: [read], credential: aws, expectedBucketOwner: '111122223333'}",
    "{service: s3, buckets: ['*'], access: [read], credential: aws, expectedBucketOwner: '444455556666'}",
)
SAME_CREDENTIAL = policy("{hosts: [api.example.com], credential: a}", name="z") + policy(
    "{hosts: ['*.example.com'], credential: a}", name="p"
)
SAME_BUT_STRICTER = policy(
    "{hosts: [api.example.com], credential: a}",
    "{hosts: ['*.example.com'], credential: a, onForeignCredential: refuse}",
)
QUERY = policy(
    "{hosts: [api.example.com], query: {team: [red, blue], limit: []}, credential: a}",
)
READ = policy("{service: s3, buckets: [data], access: [read], credential: aws}")
PREFIXED = policy(
    "{service: s3, buckets: [data], prefixes: [train, 'models/', 'tmp*'], "
    "access: [read, write, list, delete], credential: aws}"
)
OWNED = policy(
    "{service: s3, buckets: [data], access: [read], credential: aws, expectedBucketOwner: '111122223333'}"
)
NAMED = policy(
    "{service: s3, buckets: [data], access: [list, write], "
    "actions: ['s3:ListAllMyBuckets', 's3:PutObjectAcl'], credential: aws}"
)
REGION = policy(
    "{service: s3, buckets: [data], pins: {region: [eu-central-1]}, "
    "actions: ['s3:GetObject', 's3:ListAllMyBuckets'], credential: aws}"
)
ZONED = "data--use1-az4--x-s3"
EXPRESS = f"https://{ZONED}.s3express-use1-az4.us-east-1.amazonaws.com"
SESSION = policy("{service: s3, buckets: [data], actions: ['s3:CreateSession'], credential: aws}")
DIRECTORY = policy(
    f"{{service: s3, buckets: [{ZONED}], prefixes: [train/], access: [write], credential: aws}}"
)
TWO_IN_DIRECTORY = policy(
    f"{{service: s3, buckets: [{ZONED}], prefixes: [train/], access: [read], credential: aws}}",
    f"{{service: s3, buckets: [{ZONED}], prefixes: [eval/], access: [read], credential: aws2}}",
)
COPYING = policy(
    "{service: s3, buckets: [out], access: [write], credential: aws}",
    "{service: s3, buckets: [data], prefixes: [train/], access: [read], credential: aws}",
    "{service: s3, buckets: [data], prefixes: [eval/], actions: ['s3:GetObjectVersion'], credential: aws}",
    "{service: s3, buckets: [hers], access: [read], credential: aws2}",
    "{service: s3, buckets: [theirs], access: [read], credential: aws, expectedBucketOwner: '444455556666'}",
    "{service: s3, buckets: [path], access: [read], paths: [/path/*], credential: aws}",
    "{service: s3, buckets: [put], access: [read, write], methods: [PUT], credential: aws}",
    "{service: s3, buckets: ['arn:aws:s3:eu-west-1:111122223333:accesspoint/train'], access: [read], "
    "credential: aws}",
)
COPYING_FROM_TWO_OWNERS = policy(
    "{service: s3, buckets: [out], access: [write], credential: aws}",
    "{service: s3, buckets: [data], access: [read], credential: aws, expectedBucketOwner: '111122223333'}",
    "{service: s3, buckets: [data], access: [read], credential: aws, expectedBucketOwner: '444455556666'}",
)
DELETING = policy(
    "{service: s3, buckets: [data], prefixes: [train/], access: [delete], credential: aws}",
    "{service: s3, buckets: [data], prefixes: [tmp/], access: [delete], actions: ['s3:DeleteObjectVersion'], "
    "credential: aws2}",
    "{service: s3, buckets: [free], access: [delete], credential: aws}",
)
WATCHED = policy(
    "{service: s3, buckets: [data], prefixes: [train/], access: [delete], credential: aws}", mode="observe"
)
PRESIGNED = policy(
    "{service: s3, buckets: [data], access: [read, write], foreignPresigned: pass, credential: aws}",
    "{service: s3, buckets: [strict], access: [read], credential: aws}",
    "{service: s3, buckets: [both], access: [read], foreignPresigned: pass, credential: aws}",
    "{service: s3, buckets: [both], access: [read, list], credential: aws}",
    "{service: s3, buckets: [two], access: [read], foreignPresigned: pass, credential: aws}",
    "{service: s3, buckets: [two], access: [read], foreignPresigned: pass, credential: aws2}",
    "{service: s3, buckets: [rm], prefixes: [train/], access: [delete], foreignPresigned: pass, "
    "credential: aws}",
)
HUB = policy("{service: huggingface, pins: {org: [acme], repo: [acme/*]}, credential: plain}")
HUB_OPEN = policy("{service: huggingface, credential: plain}")
HUB_READ_TOKEN = policy("{service: huggingface, allowMinting: [xet-read-token], credential: plain}")
HUB_BY_HOST = policy("{hosts: [huggingface.co], credential: a}")
OPENAI = policy("{service: openai, credential: plain}")
OPENAI_PINNED = policy("{service: openai, pins: {project: [proj-a, 'team-*']}, credential: plain}")
ANTHROPIC = policy("{service: anthropic, credential: plain}")
WANDB = policy("{service: wandb, pins: {entity: [acme], project: [acme/runs]}, credential: plain}")
MISSING = policy("{hosts: [api.example.com], credential: nowhere}")
MISSING_AND_ANOTHER = policy(
    "{hosts: [api.example.com], paths: [/v1/**], credential: nowhere}",
    "{hosts: [api.example.com], paths: [/v2/**], credential: a}",
)
SCHEMELESS = policy("{hosts: [api.example.com], credential: plain}")
ON_ALL_PORTS = "{hosts: [api.example.com], credential: a}"


def conditioned(workloads: str) -> str:
    return policy(ON_ALL_PORTS, workloads=workloads)


GPU_ONLY = conditioned("{serviceAccounts: [trainer], gpu: required}")
NO_GPU = conditioned("{serviceAccounts: [trainer], gpu: forbidden}")
IMAGES = conditioned("{serviceAccounts: [trainer], images: {repositories: [registry.example.com/ml/*]}}")
DIGESTS = conditioned(f"{{serviceAccounts: [trainer], images: {{digests: ['{DIGEST}']}}}}")
LABELLED = conditioned("{serviceAccounts: [trainer], podSelector: {matchLabels: {team: vision}}}")
UNLABELLED = conditioned(
    "{podSelector: {matchExpressions: [{key: team, operator: NotIn, values: [vision]}]}}"
)
ANY_ACCOUNT = conditioned('{serviceAccounts: ["*"]}')
LATER = policy(ON_ALL_PORTS, validity="{notBefore: 2026-03-04T12:00:01Z}")
EARLIER = policy(ON_ALL_PORTS, validity="{notAfter: 2026-03-04T12:00:00Z}")
BOUNDED = policy(ON_ALL_PORTS, validity="{notBefore: 2026-03-04T12:00:00Z, notAfter: 2026-03-04T13:00:00Z}")
NIGHTS = policy(
    ON_ALL_PORTS, validity="{windows: [{days: [Wed], from: '22:00', to: '06:00', timeZone: Europe/Berlin}]}"
)
NEAR_AND_FAR = policy(
    "{hosts: [api.example.com], methods: [POST], credential: a}",
    "{hosts: [api.example.com], methods: [GET], paths: [/v9/**], credential: b}",
    "{hosts: [api.example.com], ports: [8443], credential: b}",
)

TRAINER_IMAGE = ImageReference("registry.example.com/ml/trainer", DIGEST)
OTHER_IMAGE = ImageReference("registry.example.com/web/app", "sha256:" + "f" * 64)
GPU_POD = replace(POD, wants_gpu=True)
EARLIEST, LATEST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)

GET = ask("GET https://api.example.com/v1/models")
S3 = "https://s3.eu-central-1.amazonaws.com"
DATA = "https://data.s3.eu-central-1.amazonaws.com"
MAIN = "https://huggingface.co"
OVERLAPS = frozenset({ProblemCode.OVERLAPPING_GRANTS})


def minted(text: str, line: str) -> Row:
    return Row(f"mints: {line}", text, ask(line), refuse(Reason.MINTING_API))


def reads(text: str, line: str, expected: Verdict) -> Row:
    return Row(line, text, ask(line), expected)


HIDDEN = refuse(Reason.PIN_NOT_GRANTED)
UNSHOWN = refuse(Reason.PIN_UNREADABLE)
HUB_ATTACH = attach("plain")
AWS = attach("aws")
COPIED = AWS
NO_SOURCE = refuse(Reason.SOURCE_NOT_GRANTED)


def copied(source: str, expected: Verdict, line: str = f"PUT {S3}/out/k") -> Row:
    return Row(f"copies {source}: {line}", COPYING, ask(line, {"x-amz-copy-source": source}), expected)


def removed(removals: list[Removal] | None, expected: Verdict, bucket: str = "data") -> Row:
    request = ask(f"POST {S3}/{bucket}?delete")
    removing = replace(request, removals=None if removals is None else tuple(removals))
    return Row(f"removes from {bucket}: {removals}", DELETING, removing, expected)


def signed(
    line: str,
    expected: Verdict,
    removals: tuple[Removal, ...] | None = None,
    headers: Mapping[str, str] = NO_HEADERS,
) -> Row:
    request = replace(ask(line, headers), signed_elsewhere=True, removals=removals)
    return Row(f"signed elsewhere: {line} {removals}", PRESIGNED, request, expected, problems=OVERLAPS)


TABLE = [
    # Hosts
    Row("grants", API, GET, attach()),
    Row("names_no_such_host", API, ask("GET https://other.example.com/v1/models"), UNGOVERNED),
    Row("a_subdomain_is_another_host", API, ask("GET https://x.api.example.com/v1/models"), UNGOVERNED),
    Row("a_star_is_one_label", WIDE, ask("GET https://api.example.com/"), attach()),
    Row("a_star_is_not_two_labels", WIDE, ask("GET https://a.b.example.com/"), UNGOVERNED),
    Row("a_star_is_not_none", WIDE, ask("GET https://example.com/"), UNGOVERNED),
    Row("an_ungoverned_host_may_send_anything", API, ask("\0 https://x/\\?sig=1", sends=FOREIGN), UNGOVERNED),
    Row("a_blob_host_under_a_wildcard", BLOBS, ask("GET https://cdn-lfs.hf.co/x?sig=1"), BLOB),
    Row("a_blob_host_by_pattern", BLOBS, ask("GET https://cdn-lfs-us-1.hf.co/x"), BLOB),
    Row("a_blob_host_with_a_foreign_key", BLOBS, ask("GET https://cdn-lfs.hf.co/", sends=FOREIGN), BLOB),
    Row("a_host_beside_blob_hosts", BLOBS, ask("GET https://api.hf.co/"), attach()),
    Row("an_unselected_pods_blob_host", API, ask("GET https://cdn-lfs.hf.co/"), UNGOVERNED),
    # Observing
    Row("observes_a_grant", OBSERVED, GET, attach()),
    Row(
        "observes_and_replaces_its_placeholder",
        OBSERVED,
        replace(GET, client_credential=PLACEHOLDER),
        attach(),
    ),
    Row(
        "observes_and_leaves_a_foreign_credential",
        OBSERVED,
        replace(GET, client_credential=FOREIGN),
        PassThrough(Reason.WOULD_ATTACH, attach()),
    ),
    Row("observes_a_refusal", OBSERVED, replace(GET, method="PUT"), would_refuse(Reason.METHOD_NOT_GRANTED)),
    Row(
        "observes_a_malformed_path",
        OBSERVED,
        ask("GET https://api.example.com/%zz"),
        would_refuse(Reason.MALFORMED_PATH, None),
    ),
    Row(
        "observes_a_foreign_credential_that_it_refuses",
        OBSERVED_REFUSING,
        replace(GET, client_credential=FOREIGN),
        would_refuse(Reason.FOREIGN_CREDENTIAL),
    ),
    Row("two_observing", TWO_OBSERVING, GET, would_refuse(Reason.AMBIGUOUS_GRANT), problems=OVERLAPS),
    Row("observing_makes_nothing_ambiguous", BOTH_MODES, GET, attach()),
    Row(
        "observing_leaves_no_foreign_credential_where_another_enforces",
        BOTH_MODES,
        replace(GET, client_credential=FOREIGN),
        attach(),
    ),
    Row(
        "observing_lets_nothing_pass_where_another_enforces",
        BOTH_MODES,
        replace(GET, method="DELETE"),
        refuse(Reason.METHOD_NOT_GRANTED),
    ),
    Row(
        "observing_does_not_soften_onForeignCredential",
        BOTH_MODES_REFUSING,
        replace(GET, client_credential=FOREIGN),
        refuse(Reason.FOREIGN_CREDENTIAL, "strict"),
    ),
    Row("the_enforcing_credential_wins", BOTH_MODES_REFUSING, GET, attach(rule="strict", foreign="refuse")),
    Row(
        "observing_widens_nothing_where_another_enforces",
        BOTH_MODES,
        replace(GET, method="PUT"),
        refuse(Reason.METHOD_NOT_GRANTED),
    ),
    # Paths and queries that can be read in two ways, or in none
    Row(
        "a_broken_escape", API, ask("GET https://api.example.com/v1/%zz"), refuse(Reason.MALFORMED_PATH, None)
    ),
    Row("an_empty_path", API, ask("GET https://api.example.com"), refuse(Reason.MALFORMED_PATH, None)),
    Row("a_nul", API, ask("GET https://api.example.com/v1/%00"), refuse(Reason.MALFORMED_PATH, None)),
    Row(
        "too_long",
        WIDE,
        ask("GET https://api.example.com/" + "a" * 9000),
        refuse(Reason.MALFORMED_PATH, None),
    ),
    Row(
        "a_hidden_slash", API, ask("GET https://api.example.com/v1%2fx"), refuse(Reason.AMBIGUOUS_PATH, None)
    ),
    Row("a_backslash", API, ask("GET https://api.example.com/v1\\x"), refuse(Reason.AMBIGUOUS_PATH, None)),
    Row("above_the_root", WIDE, ask("GET https://api.example.com/../x"), refuse(Reason.AMBIGUOUS_PATH, None)),
    Row("dots_are_resolved", API, ask("GET https://api.example.com/x/../v1/m"), attach()),
    Row(
        "dots_do_not_escape",
        API,
        ask("GET https://api.example.com/v1/%2e%2e/admin"),
        refuse(Reason.PATH_NOT_GRANTED),
    ),
    Row("dots_in_a_key", READ, ask(f"GET {S3}/data/a/../b"), refuse(Reason.AMBIGUOUS_PATH, None)),
    Row("a_dot_in_a_key", READ, ask(f"GET {S3}/data/./b"), refuse(Reason.AMBIGUOUS_PATH, None)),
    Row("a_dot_that_is_no_segment", READ, ask(f"GET {S3}/data/.b/..c"), AWS),
    Row(
        "presigned",
        READ,
        ask(f"GET {S3}/data/k?X-Amz-Signature=0&X-Amz-Date=x"),
        refuse(Reason.QUERY_AUTH_PRESENT, None),
    ),
    Row(
        "presigned_lower",
        READ,
        ask(f"GET {S3}/data/k?x-amz-signature"),
        refuse(Reason.QUERY_AUTH_PRESENT, None),
    ),
    Row(
        "presigned_escaped",
        READ,
        ask(f"GET {S3}/data/k?x%2Damz-signature=0"),
        refuse(Reason.QUERY_AUTH_PRESENT, None),
    ),
    Row("presigned_v2", READ, ask(f"GET {S3}/data/k?Signature=0"), refuse(Reason.QUERY_AUTH_PRESENT, None)),
    Row(
        "presigned_azure",
        API,
        ask("GET https://api.example.com/v1/?sig=0"),
        refuse(Reason.QUERY_AUTH_PRESENT, None),
    ),
    Row(
        "a_fault_of_the_path_before_one_of_the_query",
        API,
        ask("GET https://api.example.com/v1%2fx?%zz"),
        refuse(Reason.AMBIGUOUS_PATH, None),
    ),
    *(
        Row(
            f"a_query_that_is_none: {query[:9]}",
            API,
            ask(f"GET https://api.example.com/v1/?{query}"),
            refuse(Reason.MALFORMED_QUERY, None),
        )
        for query in ("%zz", "a=\u00e9", "a=<", "a#b", "%00", "a" * 20_000, "&" * 600)
    ),
    reads(READ, f"GET {S3}/data/a+b", refuse(Reason.AMBIGUOUS_PATH, None)),
    reads(READ, f"GET {S3}/data/a%2Bb", AWS),
    reads(READ, f"GET {S3}/data/%C0%AE", refuse(Reason.AMBIGUOUS_PATH, None)),
    # Methods and headers that a credential never travels with
    *(
        reads(OPENAI, f"{method} https://api.openai.com/v1/models", refuse(Reason.METHOD_FORBIDDEN, None))
        for method in ("get", "Get", "TRACE", "CONNECT", "GETX", "GET\t", "G\u00c9T", "")
    ),
    reads(OPENAI, "post https://api.openai.com/v1/realtime/sessions", refuse(Reason.METHOD_FORBIDDEN, None)),
    reads(OPENAI, "PATCH https://api.openai.com/v1/models", attach("plain")),
    *(
        Row(
            f"overrides: {header}",
            API,
            ask("GET https://api.example.com/v1/x", {header: ""}),
            refuse(Reason.OVERRIDE_HEADER, None),
        )
        for header in (
            "x-http-method-override",
            "x-http-method",
            "x-method-override",
            "x-original-url",
            "x-rewrite-url",
        )
    ),
    Row(
        "overrides_where_nothing_is_governed",
        API,
        ask("GET https://x.example/", {"x-original-url": "/"}),
        UNGOVERNED,
    ),
    # What the nearest grant lacks
    Row("another_port", API, ask("GET https://api.example.com:8443/v1/x"), refuse(Reason.PORT_NOT_GRANTED)),
    Row("another_method", API, ask("PUT https://api.example.com/v1/x"), refuse(Reason.METHOD_NOT_GRANTED)),
    Row("another_path", API, ask("GET https://api.example.com/v10"), refuse(Reason.PATH_NOT_GRANTED)),
    Row("case_of_the_path", API, ask("GET https://api.example.com/V1/x"), refuse(Reason.PATH_NOT_GRANTED)),
    Row("an_empty_segment", API, ask("GET https://api.example.com//v1/x"), refuse(Reason.PATH_NOT_GRANTED)),
    Row(
        "the_nearest_is_named",
        NEAR_AND_FAR,
        ask("GET https://api.example.com/v1"),
        refuse(Reason.PATH_NOT_GRANTED, grant=1),
    ),
    Row("no_query", QUERY, GET, refuse(Reason.QUERY_NOT_GRANTED)),
    Row("the_query", QUERY, ask("GET https://api.example.com/?limit=9&team=red"), attach()),
    Row("an_empty_value", QUERY, ask("GET https://api.example.com/?team=blue&limit"), attach()),
    Row(
        "another_value",
        QUERY,
        ask("GET https://api.example.com/?team=green&limit=1"),
        refuse(Reason.QUERY_NOT_GRANTED),
    ),
    Row(
        "a_value_twice",
        QUERY,
        ask("GET https://api.example.com/?team=red&team=green&limit=1"),
        refuse(Reason.AMBIGUOUS_QUERY),
    ),
    Row(
        "a_value_twice_for_a_lax_server",
        QUERY,
        ask("GET https://api.example.com/?team=red&limit=1&Team[]=green"),
        refuse(Reason.AMBIGUOUS_QUERY),
    ),
    Row(
        "a_semicolon",
        QUERY,
        ask("GET https://api.example.com/?team=red&limit=1;team=green"),
        refuse(Reason.AMBIGUOUS_QUERY),
    ),
    Row("a_semicolon_that_matters_not", WIDE, ask("GET https://api.example.com/?a;b"), attach()),
    # Buckets and operations of S3
    reads(READ, f"GET {S3}/data/k", AWS),
    reads(READ, f"GET {DATA}/k", AWS),
    reads(READ, f"HEAD {DATA}/k", AWS),
    reads(READ, f"GET {S3}/other/k", HIDDEN),
    reads(READ, f"GET {S3}/Data/k", HIDDEN),
    reads(READ, f"GET {S3}/%64ata/k", AWS),
    reads(READ, f"GET {S3}//data/k", UNSHOWN),
    reads(READ, "GET https://other.s3.amazonaws.com/data/k", HIDDEN),
    reads(READ, "GET https://data.evil.s3.amazonaws.com/k", HIDDEN),
    reads(READ, f"GET {S3}/", UNSHOWN),
    reads(READ, f"GET {S3}/data%FF/k", refuse(Reason.AMBIGUOUS_PATH, None)),
    reads(READ, f"PUT {S3}/data/k", refuse(Reason.ACTION_NOT_GRANTED)),
    reads(READ, f"GET {S3}/data", refuse(Reason.ACTION_NOT_GRANTED)),
    reads(READ, f"GET {S3}/data/k?acl", refuse(Reason.ACTION_NOT_GRANTED)),
    reads(READ, f"GET {S3}/data/k?newfangled", refuse(Reason.UNKNOWN_ACTION)),
    reads(READ, f"GET {S3}/data/k?x;y", refuse(Reason.UNKNOWN_ACTION)),
    reads(READ, f"GET {S3}/data/k?acl&tagging", refuse(Reason.UNKNOWN_ACTION)),
    reads(READ, f"PATCH {S3}/data/k", refuse(Reason.UNKNOWN_ACTION)),
    reads(OWNED, f"GET {S3}/data/k", attach("aws", owner="111122223333")),
    reads(NAMED, f"GET {S3}/", AWS),
    reads(NAMED, f"GET {S3}/?max-buckets=9", AWS),
    # No bucket, for S3; some servers like it merge the slashes and would list the bucket.
    reads(NAMED, f"GET {S3}//other", UNSHOWN),
    reads(NAMED, f"GET {S3}/other", HIDDEN),
    reads(NAMED, f"GET {S3}/other/k", HIDDEN),
    reads(NAMED, f"GET {S3}/data/k", refuse(Reason.ACTION_NOT_GRANTED)),
    # Headers that do more than the operation says
    Row("an_acl_by_name", NAMED, ask(f"PUT {S3}/data/k", {"x-amz-acl": "private"}), AWS),
    Row(
        "an_acl_is_no_write",
        PREFIXED,
        ask(f"PUT {S3}/data/train/k", {"x-amz-acl": "public-read"}),
        refuse(Reason.ACTION_NOT_GRANTED),
    ),
    Row(
        "a_lock_besides_an_acl",
        NAMED,
        ask(f"PUT {S3}/data/k", {"x-amz-acl": "private", "x-amz-object-lock-mode": "GOVERNANCE"}),
        refuse(Reason.ACTION_NOT_GRANTED),
    ),
    Row(
        "a_tag_is_a_write",
        PREFIXED,
        ask(f"PUT {S3}/data/train/k", {"x-amz-tagging": "a=b"}),
        AWS,
    ),
    # What a copy reads must be readable with the same credential
    copied("/data/train/k", COPIED),
    copied("data/train/k", COPIED),
    copied("data/%74rain%2Fk", COPIED),
    copied("data/train/k", COPIED, f"PUT {S3}/out/k?uploadId=u&partNumber=1"),
    copied("arn:aws:s3:eu-west-1:111122223333:accesspoint/train/object/k", COPIED),
    copied("theirs/k", replace(COPIED, source_owner="444455556666")),
    copied("out/k", NO_SOURCE),
    copied("data/training/k", NO_SOURCE),
    copied("data/k", NO_SOURCE),
    copied("hers/k", NO_SOURCE),
    copied("path/k", NO_SOURCE),
    copied("put/k", NO_SOURCE),
    copied("arn:aws:s3:eu-west-1:111122223333:accesspoint/other/object/k", NO_SOURCE),
    copied("", NO_SOURCE),
    copied("data/train/../k", NO_SOURCE),
    copied("data/train/k,data/k", NO_SOURCE),
    # Reading a version is an operation of its own.
    copied("data/train/k?versionId=v", COPIED),
    copied("data/training/k?versionId=v", NO_SOURCE),
    copied("data/eval/k?versionId=v", COPIED),
    copied("data/eval/k?versionId=", NO_SOURCE),
    copied("data/eval/k", NO_SOURCE),
    # The copy itself must be granted, and only two operations copy.
    copied("data/train/k", refuse(Reason.ACTION_NOT_GRANTED, grant=1), f"PUT {S3}/data/train/k"),
    copied("data/train/k", refuse(Reason.UNKNOWN_ACTION), f"PUT {S3}/out/k?tagging"),
    copied("data/train/k", refuse(Reason.UNKNOWN_ACTION), f"GET {S3}/out/k"),
    copied("data/train/k", refuse(Reason.UNKNOWN_ACTION), f"POST {S3}/out/k?uploads"),
    Row(
        "a_copy_from_a_bucket_of_two_owners",
        COPYING_FROM_TWO_OWNERS,
        ask(f"PUT {S3}/out/k", {"x-amz-copy-source": "data/k"}),
        refuse(Reason.AMBIGUOUS_GRANT),
        problems=OVERLAPS,
    ),
    Row(
        "a_rename",
        COPYING,
        ask(f"PUT {S3}/out/k?renameObject", {"x-amz-rename-source": "/k"}),
        refuse(Reason.UNKNOWN_ACTION),
    ),
    # The keys of a DeleteObjects stand in its body
    removed(None, ReadBody(attach("aws"))),
    removed([Removal("train/x"), Removal("train/y")], AWS),
    removed([Removal("tmp/x", "v")], attach("aws2", grant=1)),
    removed([Removal("train/x"), Removal("training/y")], HIDDEN),
    removed([Removal("train/x"), Removal("tmp/y")], HIDDEN),
    removed([Removal(" train/x")], HIDDEN),
    removed([Removal("train/x", "v")], refuse(Reason.ACTION_NOT_GRANTED)),
    removed(None, ReadBody(attach("aws", grant=2)), "free"),
    removed([Removal("x"), Removal("y")], attach("aws", grant=2), "free"),
    removed([Removal("x"), Removal("y", "v")], refuse(Reason.ACTION_NOT_GRANTED, grant=2), "free"),
    removed(None, HIDDEN, "other"),
    removed([Removal("x")], HIDDEN, "other"),
    Row("a_body_on_trial", WATCHED, ask(f"POST {S3}/data?delete"), ReadBody(attach("aws"))),
    Row(
        "a_body_on_trial_that_is_not_granted",
        WATCHED,
        replace(ask(f"POST {S3}/data?delete"), removals=(Removal("x"),)),
        would_refuse(Reason.PIN_NOT_GRANTED),
    ),
    # URLs that somebody else has signed
    signed(f"GET {S3}/data/k", PassThrough(Reason.PRESIGNED_ELSEWHERE)),
    signed(f"GET {S3}/strict/k", refuse(Reason.FOREIGN_PRESIGNED, grant=1)),
    signed(f"GET {S3}/both/k", refuse(Reason.FOREIGN_PRESIGNED, grant=2)),
    signed(f"GET {S3}/two/k", PassThrough(Reason.PRESIGNED_ELSEWHERE)),
    signed(f"GET {S3}/other/k", HIDDEN),
    signed(f"DELETE {S3}/data/k", refuse(Reason.ACTION_NOT_GRANTED)),
    signed(f"POST {S3}/rm?delete", ReadBody(attach("aws", grant=6))),
    signed(f"POST {S3}/rm?delete", PassThrough(Reason.PRESIGNED_ELSEWHERE), removals=(Removal("train/x"),)),
    signed(f"POST {S3}/rm?delete", HIDDEN, removals=(Removal("x"),)),
    signed(
        f"PUT {S3}/data/k", PassThrough(Reason.PRESIGNED_ELSEWHERE), headers={"x-amz-copy-source": "two/k"}
    ),
    signed(f"PUT {S3}/data/k", NO_SOURCE, headers={"x-amz-copy-source": "strict/k"}),
    Row(
        "a_foreign_signature_on_trial",
        WATCHED,
        replace(ask(f"DELETE {S3}/data/train/k"), signed_elsewhere=True),
        would_refuse(Reason.FOREIGN_PRESIGNED),
    ),
    Row(
        "by_the_name_of_a_host_no_bucket_is_granted",
        policy("{hosts: [data.s3.eu-central-1.amazonaws.com], credential: a}"),
        ask(f"GET {DATA}/k"),
        UNSHOWN,
        problems=frozenset({ProblemCode.HOST_NEEDS_SERVICE}),
    ),
    Row("two_owners", TWO_OWNERS, ask(f"GET {S3}/data/k"), refuse(Reason.AMBIGUOUS_GRANT), problems=OVERLAPS),
    reads(REGION, f"GET {DATA}/k", AWS),
    reads(REGION, "GET https://data.s3.us-east-1.amazonaws.com/k", HIDDEN),
    # A named operation that shows its bucket must show its region, too.
    reads(REGION, "GET https://data.s3.amazonaws.com/k", UNSHOWN),
    reads(REGION, "GET https://s3.amazonaws.com/", AWS),
    # Prefixes and listings of S3
    reads(PREFIXED, f"GET {S3}/data/train", AWS),
    reads(PREFIXED, f"GET {S3}/data/train/x", AWS),
    reads(PREFIXED, f"GET {S3}/data/train//x", AWS),
    reads(PREFIXED, f"GET {S3}/data/training-secret/x", HIDDEN),
    reads(PREFIXED, f"GET {S3}/data//train/x", HIDDEN),
    reads(PREFIXED, f"GET {S3}/data/models", HIDDEN),
    reads(PREFIXED, f"GET {S3}/data/models/", AWS),
    reads(PREFIXED, f"GET {S3}/data/tmpfile", AWS),
    reads(PREFIXED, f"GET {S3}/data/m%6Fdels/x", AWS),
    reads(PREFIXED, f"PUT {DATA}/train/x", AWS),
    reads(PREFIXED, f"DELETE {DATA}/other", HIDDEN),
    reads(PREFIXED, f"GET {S3}/data?list-type=2&prefix=train/", AWS),
    reads(PREFIXED, f"GET {S3}/data?list-type=2&prefix=train/x", AWS),
    reads(PREFIXED, f"GET {S3}/data?list-type=2&prefix=train", HIDDEN),
    reads(PREFIXED, f"GET {S3}/data?list-type=2&prefix=training-secret/", HIDDEN),
    reads(PREFIXED, f"GET {S3}/data?list-type=2", HIDDEN),
    reads(PREFIXED, f"GET {S3}/data?list-type=2&prefix=", HIDDEN),
    reads(PREFIXED, f"GET {S3}/data?prefix=tmp", AWS),
    reads(PREFIXED, f"GET {S3}/data?prefix=train%2F", AWS),
    reads(PREFIXED, f"GET {S3}/data?prefix=train/&prefix=", UNSHOWN),
    reads(PREFIXED, f"GET {S3}/data?Prefix=train/", refuse(Reason.UNKNOWN_ACTION)),
    reads(PREFIXED, f"GET {S3}/data?versions&prefix=train/", AWS),
    reads(PREFIXED, f"GET {S3}/data?uploads", HIDDEN),
    reads(PREFIXED, f"POST {S3}/data?delete", ReadBody(AWS)),
    reads(PREFIXED, f"HEAD {S3}/data", AWS),
    reads(PREFIXED, f"HEAD {DATA}/", AWS),
    reads(PREFIXED, f"GET {S3}/data?location", AWS),
    # APIs whose answers hold a credential
    reads(SESSION, f"GET {S3}/data?session", refuse(Reason.UNKNOWN_ACTION)),
    reads(SESSION, f"GET {DATA}/?session", refuse(Reason.UNKNOWN_ACTION)),
    reads(SESSION, f"GET {S3}/data?Session", refuse(Reason.UNKNOWN_ACTION)),
    # For a directory bucket podkey answers itself: whoever may do anything to the bucket may ask.
    reads(DIRECTORY, f"GET {EXPRESS}/?session", AWS),
    reads(DIRECTORY, f"HEAD {EXPRESS}/?session", refuse(Reason.UNKNOWN_ACTION)),
    reads(DIRECTORY, f"GET {EXPRESS}/k?session", refuse(Reason.UNKNOWN_ACTION)),
    reads(DIRECTORY, f"GET {EXPRESS.replace('data--', 'other--')}/?session", HIDDEN),
    reads(DIRECTORY, f"PUT {EXPRESS}/train/k", AWS),
    reads(DIRECTORY, f"PUT {EXPRESS}/k", HIDDEN),
    reads(TWO_IN_DIRECTORY, f"GET {EXPRESS}/?session", AWS),
    *(
        minted(OPENAI, f"{method} https://api.openai.com{path}")
        for method, path in (
            ("POST", "/v1/realtime/sessions"),
            ("POST", "/v1/realtime/sessions?x=y"),
            ("POST", "/v1//realtime/sessions"),
            ("POST", "//v1/realtime/sessions"),
            ("POST", "/V1/Realtime/SESSIONS"),
            ("POST", "/v1/realtime/sessions/"),
            ("POST", "/v1/realtime/sessions//"),
            ("POST", "/v1/realtime/sessions;x"),
            ("POST", "/v1;a=b/realtime/;c/sessions;x=/"),
            ("POST", "/v1/%72ealtime/%73essions"),
            ("POST", "/v1/realtime/sessions%3Bx"),
            ("POST", "/v1/./realtime/x/../sessions"),
            ("GET", "/v1/realtime/sessions"),
            ("HEAD", "/v1/realtime/sessions"),
            ("POST", "/v1/realtime/%2573essions"),
            ("POST", "/v1/realtime/sessions%3Fx"),
            ("POST", "/v1/realtime/sessions."),
            ("POST", "/v1/realtime%20/sessions"),
            ("POST", "/v1/realtime/transcription/sessions"),
            ("POST", "/v1/chatkit/sessions"),
            ("POST", "/v1/organization/admin_api_keys"),
            ("GET", "/v1/organization/projects"),
        )
    ),
    reads(OPENAI, "GET https://api.openai.com/v1/realtime/calls", HUB_ATTACH),
    reads(OPENAI, "POST https://api.openai.com/v1/realtime/sessions/s", HUB_ATTACH),
    minted(ANTHROPIC, "POST https://api.anthropic.com/v1/oauth/token"),
    *(
        minted(HUB_OPEN, f"{method} {MAIN}{path}")
        for method, path in (
            ("GET", "/api/models/acme/llama/xet-read-token/main"),
            ("HEAD", "/api/models/acme/llama/xet-read-token/main"),
            ("GET", "/api/models/llama/xet-write-token/main"),
            ("GET", "/api/models/acme/llama/xet-read-token"),
            ("DELETE", "/oauth/authorize"),
            ("PATCH", "/OAuth//userinfo"),
            ("GET", "/settings/tokens"),
            ("GET", "/api/spaces/acme/demo/jwt"),
        )
    ),
    minted(HUB_READ_TOKEN, f"GET {MAIN}/api/models/acme/llama/xet-write-token/main"),
    # A path that looks like two of them needs both allowed.
    minted(HUB_READ_TOKEN, f"GET {MAIN}/api/models/acme/xet-read-token/xet-write-token/main"),
    minted(
        policy("{hosts: [sts.eu-central-1.amazonaws.com], credential: a}"),
        "POST https://sts.eu-central-1.amazonaws.com/",
    ),
    minted(HUB_BY_HOST, f"GET {MAIN}/api/models/acme/llama/xet-read-token/main"),
    reads(HUB_BY_HOST, f"GET {MAIN}/api/models/acme/llama", attach()),
    reads(HUB_READ_TOKEN, f"GET {MAIN}/api/models/acme/llama/xet-read-token/main", HUB_ATTACH),
    reads(HUB_READ_TOKEN, f"HEAD {MAIN}/API/models/acme//llama/XET-read-token/main/", HUB_ATTACH),
    # Pins
    reads(HUB, f"GET {MAIN}/acme/llama/resolve/main/config.json", HUB_ATTACH),
    reads(HUB, f"GET {MAIN}/datasets/acme/pairs/resolve/main/x", HUB_ATTACH),
    reads(HUB, f"GET {MAIN}/api/models/acme/llama/tree/main", HUB_ATTACH),
    reads(HUB, f"POST {MAIN}/acme/llama.git/git-upload-pack", HUB_ATTACH),
    minted(HUB, f"POST {MAIN}/acme/llama.git/info/lfs/objects/batch"),
    reads(HUB, f"GET {MAIN}/evil/llama/resolve/main/config.json", HIDDEN),
    reads(HUB, f"GET {MAIN}/api/datasets/evil/acme", HIDDEN),
    reads(HUB, f"GET {MAIN}/acme/x/../../evil/y/resolve/main/x", HIDDEN),
    reads(HUB, f"GET {MAIN}/acme;x/llama/resolve/main/x", HIDDEN),
    reads(HUB, f"GET {MAIN}/acme//llama/resolve/main/x", UNSHOWN),
    reads(HUB, f"GET {MAIN}/api/whoami-v2", UNSHOWN),
    reads(HUB, f"POST {MAIN}/api/repos/create", UNSHOWN),
    reads(HUB, f"GET {MAIN}/acme/%FF/resolve/main/x", refuse(Reason.AMBIGUOUS_PATH, None)),
    Row("no_project", OPENAI_PINNED, ask("POST https://api.openai.com/v1/responses"), UNSHOWN),
    Row(
        "an_empty_project",
        OPENAI_PINNED,
        ask("POST https://api.openai.com/v1/responses", {"openai-project": ""}),
        UNSHOWN,
    ),
    Row(
        "the_project",
        OPENAI_PINNED,
        ask("POST https://api.openai.com/v1/responses", {"openai-project": "proj-a"}),
        HUB_ATTACH,
    ),
    Row(
        "a_project_by_pattern",
        OPENAI_PINNED,
        ask("POST https://api.openai.com/v1/responses", {"openai-project": "team-9"}),
        HUB_ATTACH,
    ),
    Row(
        "two_projects",
        OPENAI_PINNED,
        ask("POST https://api.openai.com/v1/responses", {"openai-project": "proj-a, proj-b"}),
        UNSHOWN,
    ),
    Row(
        "another_project",
        OPENAI_PINNED,
        ask("POST https://api.openai.com/v1/responses", {"openai-project": "proj-b"}),
        HIDDEN,
    ),
    reads(WANDB, "PUT https://api.wandb.ai/files/acme/runs/x/y", attach("plain", Basic("api"))),
    reads(WANDB, "PUT https://api.forge.coreweave.com/files/acme/runs/x", attach("plain", Basic("api"))),
    reads(WANDB, "PUT https://api.wandb.ai/files/acme/other/x", HIDDEN),
    reads(WANDB, "PUT https://api.wandb.ai/files/evil/runs/x", HIDDEN),
    reads(WANDB, "POST https://api.wandb.ai/graphql", UNSHOWN),
    reads(ANTHROPIC, "POST https://api.anthropic.com/v1/messages", attach("plain", Header("x-api-key"))),
    # Conditions on the pod that is selected, and on the time
    Row("no_accelerator", GPU_ONLY, GET, refuse(Reason.GPU_REQUIRED)),
    Row("an_accelerator", GPU_ONLY, GET, attach(), GPU_POD),
    Row("an_accelerator_too_many", NO_GPU, GET, refuse(Reason.GPU_FORBIDDEN), GPU_POD),
    Row("without_accelerator", NO_GPU, GET, attach()),
    Row("images_are_not_known", IMAGES, GET, refuse(Reason.IMAGE_NOT_ALLOWED)),
    Row("an_allowed_image", IMAGES, GET, attach(), replace(POD, images=(TRAINER_IMAGE,))),
    Row(
        "one_image_of_two",
        IMAGES,
        GET,
        refuse(Reason.IMAGE_NOT_ALLOWED),
        replace(POD, images=(TRAINER_IMAGE, OTHER_IMAGE)),
    ),
    Row("an_allowed_digest", DIGESTS, GET, attach(), replace(POD, images=(TRAINER_IMAGE,))),
    Row(
        "another_digest", DIGESTS, GET, refuse(Reason.IMAGE_NOT_ALLOWED), replace(POD, images=(OTHER_IMAGE,))
    ),
    Row(
        "no_digest",
        DIGESTS,
        GET,
        refuse(Reason.IMAGE_NOT_ALLOWED),
        replace(POD, images=(ImageReference("registry.example.com/ml/trainer"),)),
    ),
    Row(
        "a_missing_source_still_governs",
        MISSING,
        GET,
        refuse(Reason.UNKNOWN_CREDENTIAL),
        problems=frozenset({ProblemCode.UNKNOWN_CREDENTIAL}),
    ),
    Row(
        "a_missing_source_governs_what_another_grant_does_not_cover",
        MISSING_AND_ANOTHER,
        GET,
        refuse(Reason.UNKNOWN_CREDENTIAL),
        problems=frozenset({ProblemCode.UNKNOWN_CREDENTIAL}),
    ),
    Row(
        "a_missing_source_disturbs_no_other_grant",
        MISSING_AND_ANOTHER,
        ask("GET https://api.example.com/v2/x"),
        attach(grant=1),
        problems=frozenset({ProblemCode.UNKNOWN_CREDENTIAL}),
    ),
    Row(
        "nobody_says_how",
        SCHEMELESS,
        GET,
        refuse(Reason.UNKNOWN_CREDENTIAL),
        problems=frozenset({ProblemCode.ATTACH_MISMATCH}),
    ),
    Row("before_it_begins", LATER, GET, refuse(Reason.NOT_YET_VALID)),
    Row("when_it_begins", LATER, GET, attach(), now=NOON + timedelta(seconds=1)),
    Row("when_it_ends", EARLIER, GET, refuse(Reason.EXPIRED)),
    Row("before_it_ends", EARLIER, GET, attach(), now=NOON - timedelta(microseconds=1)),
    Row("outside_its_windows", NIGHTS, GET, refuse(Reason.OUTSIDE_WINDOW)),
    Row("in_its_window", NIGHTS, GET, attach(), now=NOON.replace(hour=21)),
    Row("in_its_window_the_next_morning", NIGHTS, GET, attach(), now=NOON.replace(day=5, hour=4, minute=59)),
    Row("after_its_window", NIGHTS, GET, refuse(Reason.OUTSIDE_WINDOW), now=NOON.replace(day=5, hour=5)),
    Row("a_naive_time_is_utc", BOUNDED, GET, attach(), now=NOON.replace(tzinfo=None)),
    Row("a_naive_time_too_late", BOUNDED, GET, refuse(Reason.EXPIRED), now=datetime(2026, 3, 4, 13)),  # noqa: DTZ001
    Row("a_naive_time_in_a_window", NIGHTS, GET, attach(), now=datetime(2026, 3, 4, 21)),  # noqa: DTZ001
    Row("the_first_moment", BOUNDED, GET, refuse(Reason.NOT_YET_VALID), now=EARLIEST),
    Row("the_last_moment", BOUNDED, GET, refuse(Reason.EXPIRED), now=LATEST),
    Row("the_first_naive_moment", BOUNDED, GET, refuse(Reason.NOT_YET_VALID), now=datetime.min),  # noqa: DTZ901
    Row("the_last_naive_moment", BOUNDED, GET, refuse(Reason.EXPIRED), now=datetime.max),  # noqa: DTZ901
    Row("no_window_at_the_first_moment", NIGHTS, GET, refuse(Reason.OUTSIDE_WINDOW), now=EARLIEST),
    Row("no_window_at_the_last_moment", NIGHTS, GET, refuse(Reason.OUTSIDE_WINDOW), now=LATEST),
    Row("always_is_always", API, GET, attach(), now=datetime.min),  # noqa: DTZ901
    # Who
    Row("another_namespace", API, GET, UNGOVERNED, replace(POD, namespace="web")),
    Row("another_account", API, GET, UNGOVERNED, replace(POD, service_account="server")),
    Row("every_account", ANY_ACCOUNT, GET, attach(), replace(POD, service_account="server")),
    Row("every_account_of_its_namespace", ANY_ACCOUNT, GET, UNGOVERNED, replace(POD, namespace="web")),
    Row("its_labels", LABELLED, GET, attach()),
    Row("other_labels", LABELLED, GET, UNGOVERNED, replace(POD, labels={"team": "speech"})),
    Row("no_labels", LABELLED, GET, UNGOVERNED, replace(POD, labels={})),
    Row("its_labels_but_another_account", LABELLED, GET, UNGOVERNED, replace(POD, service_account="server")),
    Row("labels_alone", UNLABELLED, GET, attach(), WorkloadIdentity("ml", "anybody")),
    Row("labels_alone_unmet", UNLABELLED, GET, UNGOVERNED),
    # Several grants
    Row("ambiguous", TWO_CREDENTIALS, GET, refuse(Reason.AMBIGUOUS_GRANT), problems=OVERLAPS),
    Row("covered_once", TWO_CREDENTIALS, replace(GET, method="PUT"), attach(), problems=OVERLAPS),
    Row(
        "covered_by_the_other",
        TWO_CREDENTIALS,
        ask("GET https://api.example.com/v2"),
        attach("b", grant=1),
        problems=OVERLAPS,
    ),
    Row("the_same_credential_twice", SAME_CREDENTIAL, GET, attach()),
    # What the application sent
    Row("replaces", API, replace(GET, client_credential=FOREIGN), attach()),
    Row("replaces_its_placeholder", API, replace(GET, client_credential=PLACEHOLDER), attach()),
    Row(
        "refuses_when_one_of_two_does",
        SAME_BUT_STRICTER,
        replace(GET, client_credential=FOREIGN),
        refuse(Reason.FOREIGN_CREDENTIAL),
    ),
    Row(
        "does_not_refuse_its_placeholder",
        SAME_BUT_STRICTER,
        replace(GET, client_credential=PLACEHOLDER),
        attach(),
    ),
    Row(
        "lacks_a_grant_before_it_sends_a_foreign_credential",
        API,
        replace(GET, method="PUT", client_credential=FOREIGN),
        refuse(Reason.METHOD_NOT_GRANTED),
    ),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.claim)
def test_decides(row: Row, catalogue: Catalogue) -> None:
    index = index_of(row.documents, catalogue, row.problems)

    assert decide(index, row.pod, row.request, row.now) == row.expected


def test_refuses_by_default(catalogue: Catalogue) -> None:
    """No document leads here, for what is governed has grants; but no refusal must hang on that."""
    index = index_of(API, catalogue)
    index.for_pod(POD)._hosts[GET.host] = HostRules((), (), MintingGuard(()), observed=False)

    assert decide(index, POD, GET, NOON) == refuse(Reason.PORT_NOT_GRANTED, None)


# What the transaction and the lanes find before and after the decision.
NEVER_DECIDED = {
    Reason.MALFORMED_REQUEST,
    Reason.HEADERS_TOO_LARGE,
    Reason.NAME_MISMATCH,
    Reason.CLEARTEXT,
    Reason.IDENTITY_UNVERIFIED,
    Reason.ENDPOINT_TOKEN,
    Reason.CREDENTIAL_UNAVAILABLE,
    Reason.CREDENTIAL_UNUSABLE,
    Reason.UPSTREAM_UNREACHABLE,
    Reason.UPSTREAM_UNVERIFIED,
    Reason.UPSTREAM_FAILED,
    Reason.UPSTREAM_STALLED,
    Reason.REQUEST_TIMED_OUT,
    Reason.FENCED_ADDRESS,
    Reason.INTERNAL_ERROR,
    Reason.MALFORMED_PRESIGNED,
    Reason.PRESIGNED_EXPIRED,
    Reason.UNSUPPORTED_PAYLOAD,
    Reason.MALFORMED_BODY,
    Reason.BODY_TOO_LARGE,
    Reason.OVERLOADED,
}


def test_the_table_has_every_reason() -> None:
    verdicts = (row.expected for row in TABLE)
    reasons = {verdict.reason for verdict in verdicts if not isinstance(verdict, ReadBody)}
    assert reasons == set(Reason) - NEVER_DECIDED


def test_a_refused_request_has_no_second_reading(catalogue: Catalogue) -> None:
    """`would_refuse` is for people; nothing else of a pass-through looks like a refusal."""
    observed = decide(index_of(OBSERVED, catalogue), POD, replace(GET, method="PUT"), NOON)
    attached = decide(index_of(OBSERVED, catalogue), POD, replace(GET, client_credential=FOREIGN), NOON)

    assert isinstance(observed, PassThrough)
    assert observed.would_refuse is Reason.METHOD_NOT_GRANTED
    assert isinstance(attached, PassThrough)
    assert attached.would_refuse is None


# --- many grants -------------------------------------------------------------------------------------


def many(count: int, grant: Callable[[int], Grant]) -> tuple[AccessPolicy, ...]:
    """A policy each, with credential `a` for even numbers and `b` for odd ones."""
    return tuple(
        AccessPolicy("ml", f"p{number:03}", WorkloadSelector(("trainer",)), (grant(number),))
        for number in range(count)
    )


def by_path(number: int) -> Grant:
    path = PathPattern(f"/team-{number}/**")
    return Grant("ab"[number % 2], hosts=(HostPattern("api.example.com"),), paths=(path,), methods=("GET",))


def by_bucket(number: int) -> Grant:
    pins = (("bucket", (Glob(f"bucket-{number}"),)),)
    return Grant("ab"[number % 2], service="s3", pins=pins, access=(Access.READ,))


@pytest.mark.parametrize(
    ("path", "method", "expected"),
    [
        ("/team-7/x", "GET", attach("b", Bearer(), "p007")),
        ("/team-7/x", "PUT", refuse(Reason.METHOD_NOT_GRANTED, "p007")),
        # None is worth asking: the first few are asked for a reason, not all hundred.
        ("/team-100/x", "GET", refuse(Reason.PATH_NOT_GRANTED, "p000")),
        ("/team-100/x", "PUT", refuse(Reason.METHOD_NOT_GRANTED, "p000")),
    ],
)
def test_finds_one_grant_of_a_hundred(
    catalogue: Catalogue, path: str, method: str, expected: Verdict
) -> None:
    index = PolicyIndex(many(100, by_path), world.world_sources(), catalogue)

    assert decide(index, POD, ask(f"{method} https://api.example.com{path}"), NOON) == expected


def test_asks_only_the_first_few_for_the_nearest(catalogue: Catalogue) -> None:
    """Which grant is named depends on a limit; that the request is refused does not."""
    far = many(MAX_ASKED_FOR_NEAREST + 2, lambda n: replace(by_path(n), ports=(8443,)))
    near = replace(far[-1], grants=(by_path(MAX_ASKED_FOR_NEAREST + 1),))
    assert len(far) > FEW_GRANTS
    index = PolicyIndex((*far[:-1], near), world.world_sources(), catalogue)

    verdict = decide(index, POD, ask("GET https://api.example.com/nobody"), NOON)

    assert verdict == refuse(Reason.PORT_NOT_GRANTED, "p000")


# --- properties --------------------------------------------------------------------------------------


def compiled(found: tuple[AccessPolicy, ...], *, backwards: bool = False) -> PolicyIndex:
    sources = world.world_sources()
    if backwards:
        return PolicyIndex(found[::-1], sources[::-1], CATALOGUE)
    return PolicyIndex(found, sources, CATALOGUE)


texts = st.text(max_size=20)
any_text = texts | st.sampled_from(("/", "//", "/%2e", "%", ";", "?", "\ud800", "\x00", "/a" * 5000))
any_moment = (
    st.datetimes()
    | st.datetimes(timezones=st.timezones())
    | st.sampled_from(
        (datetime.min, datetime.max, EARLIEST, LATEST)  # noqa: DTZ901
    )
    | st.builds(
        lambda hours, moment: moment.replace(tzinfo=timezone(timedelta(hours=hours))),
        st.integers(-23, 23),
        st.sampled_from((datetime.min, datetime.max, NOON)),  # noqa: DTZ901
    )
)


@given(world.worlds(), world.identities, st.data())
def test_property_decide_never_raises_and_keeps_its_types(
    found: tuple[AccessPolicy, ...], pod: WorkloadIdentity, data: DataObject
) -> None:
    host = data.draw(st.sampled_from(world.HOSTS) | any_text)
    target = data.draw(st.sampled_from(world.PATHS) | any_text) + data.draw(
        st.sampled_from(world.QUERIES) | any_text.map("?{}".format)
    )
    method = data.draw(st.sampled_from(world.WORLD_METHODS) | any_text)
    headers = data.draw(st.sampled_from(world.HEADERS) | st.dictionaries(any_text, any_text, max_size=3))
    port = data.draw(st.sampled_from((443, 8443)) | st.integers())
    sends = data.draw(st.sampled_from(ClientCredential))
    request = RequestFacts.of(
        Hostname(host), method, target, port=port, headers=headers, client_credential=sends
    )

    verdict = decide(compiled(found), pod, request, data.draw(any_moment))

    assert isinstance(verdict, Attach | PassThrough | ReadBody | Refuse)
    if request.path.fault is not None:
        assert not isinstance(verdict, Attach)


@given(world.worlds(), world.identities, world.many_requests, world.moments)
def test_property_every_verdict_is_one_that_the_plain_rules_give(
    found: tuple[AccessPolicy, ...],
    pod: WorkloadIdentity,
    requests: list[RequestFacts],
    now: datetime,
) -> None:
    index = compiled(found)

    for request in requests:
        verdict = decide(index, pod, request, now)
        assert verdict in world.naive_verdicts(index, pod, request, now)


@given(world.worlds(most=2), world.identities, world.many_requests, world.moments)
def test_property_a_refusal_names_the_nearest_of_few_grants(
    found: tuple[AccessPolicy, ...],
    pod: WorkloadIdentity,
    requests: list[RequestFacts],
    now: datetime,
) -> None:
    index = compiled(found)

    for request in requests:
        verdict = decide(index, pod, request, now)
        refusal = verdict.would if isinstance(verdict, PassThrough) else verdict
        if isinstance(refusal, Refuse) and refusal.reason in DISTANCE:
            asked = world.ask_all(index, pod, request, now)
            assert DISTANCE[refusal.reason] == world.nearest_distance(asked)
            assert (refusal.reason, refusal.rule) in {(one.miss, one.bound.rule) for one in asked}


literal_paths = st.sampled_from(
    tuple(map(PathPattern, ("/v1/a", "/v1/**", "/v2/a/files/**", "/data/train/x", "/", "/v1/*", "/*/a")))
)
crowded_hosts = st.builds(
    Grant,
    credential=st.sampled_from(("a", "b")),
    hosts=st.just((HostPattern("api.example.com"),)),
    methods=world.some("GET", "POST"),
    paths=st.lists(literal_paths, max_size=2, unique=True).map(tuple),
)
crowded_buckets = st.builds(
    Grant,
    credential=st.sampled_from(("a", "b")),
    service=st.just("s3"),
    paths=st.lists(literal_paths, max_size=1).map(tuple),
    pins=st.sampled_from(
        (
            (("bucket", (Glob("data"),)),),
            (("bucket", (Glob("data"), Glob("other"))),),
            (("bucket", (Glob("v1"),)), ("region", (Glob("eu-central-1"),))),
            (("bucket", (Glob("d*"),)),),
            (("region", (Glob("eu-central-1"),)),),
        )
    ),
    prefixes=world.some("train", "train/x"),
    access=st.just(tuple(Access)),
    actions=world.some("s3:ListAllMyBuckets", most=1),
)


@pytest.mark.parametrize(
    ("grants", "hosts"),
    [(crowded_hosts, ("api.example.com",)), (crowded_buckets, world.S3_HOSTS)],
    ids=["by path", "by bucket"],
)
@given(data=st.data())
def test_property_the_choice_among_many_grants_changes_no_verdict(
    grants: st.SearchStrategy[Grant], hosts: tuple[str, ...], data: DataObject
) -> None:
    one_policy = world.policies(
        grants=grants, namespaces=st.just("ml"), who=st.just(WorkloadSelector(("*",))), most_grants=1
    )
    count = FEW_GRANTS + 1
    found = world.numbered(data.draw(st.lists(one_policy, min_size=count, max_size=2 * count)))
    index = compiled(found)

    for request in data.draw(st.lists(world.requests(hosts), min_size=10, max_size=20)):
        verdict = decide(index, POD, request, NOON)
        assert verdict in world.naive_verdicts(index, POD, request, NOON)


@given(st.data(), world.identities, world.many_requests, world.moments)
def test_property_the_order_of_documents_changes_nothing(
    data: DataObject,
    pod: WorkloadIdentity,
    requests: list[RequestFacts],
    now: datetime,
) -> None:
    found = data.draw(world.worlds())
    shuffled = data.draw(st.permutations(found))
    indexes = [
        compiled(found),
        compiled(found, backwards=True),
        compiled(tuple(shuffled)),
    ]

    for request in requests:
        first, second, third = (decide(index, pod, request, now) for index in indexes)
        assert first == second == third


NEVER_SELECTED = (
    WorkloadSelector(("nobody",)),
    WorkloadSelector((), LabelSelector((("team", "nobody"),))),
    WorkloadSelector(("*",), LabelSelector((), (LabelRequirement("absent", Operator.EXISTS),))),
    WorkloadSelector(()),
)


@st.composite
def unrelated_policies(draw: st.DrawFn) -> AccessPolicy:
    """A policy of another namespace, for another host, or one that does not select the pod."""
    elsewhere = world.host_grants(hosts=(HostPattern("elsewhere.example.org"), HostPattern("*.example.org")))
    return draw(
        world.policies(namespaces=st.just("another"))
        | world.policies(grants=elsewhere)
        | world.policies(who=st.sampled_from(NEVER_SELECTED))
    )


@given(st.data(), world.identities, world.many_requests, world.moments)
def test_property_an_unrelated_policy_changes_nothing(
    data: DataObject,
    pod: WorkloadIdentity,
    requests: list[RequestFacts],
    now: datetime,
) -> None:
    found = data.draw(world.worlds())
    unrelated = world.numbered([data.draw(unrelated_policies())], prefix="another")
    before, after = compiled(found), compiled((*unrelated, *found))

    for request in requests:
        assert decide(after, pod, request, now) == decide(before, pod, request, now)


@given(st.data(), world.identities, world.many_requests, world.moments)
def test_property_no_added_policy_lets_a_refused_request_pass(
    data: DataObject,
    pod: WorkloadIdentity,
    requests: list[RequestFacts],
    now: datetime,
) -> None:
    found = data.draw(world.worlds())
    added = world.numbered([data.draw(world.policies())], prefix="added")
    before, after = compiled(found), compiled((*found, *added))

    for request in requests:
        if isinstance(decide(before, pod, request, now), Refuse):
            verdict = decide(after, pod, request, now)
            # But for a policy that says so: `foreignPresigned: pass`.
            assert not isinstance(verdict, PassThrough) or verdict.reason is Reason.PRESIGNED_ELSEWHERE


@given(st.data(), world.identities, world.many_requests, world.moments)
def test_property_an_observing_policy_changes_no_enforced_attachment(
    data: DataObject,
    pod: WorkloadIdentity,
    requests: list[RequestFacts],
    now: datetime,
) -> None:
    found = tuple(replace(one, mode=Mode.ENFORCE) for one in data.draw(world.worlds()))
    watching = replace(data.draw(world.policies()), mode=Mode.OBSERVE)
    added = world.numbered([watching], prefix="added")
    before, after = compiled(found), compiled((*found, *added))

    for request in requests:
        verdict = decide(before, pod, request, now)
        if isinstance(verdict, Attach) or verdict.reason is Reason.FOREIGN_CREDENTIAL:
            assert decide(after, pod, request, now) == verdict


# --- narrowing ---------------------------------------------------------------------------------------


def _narrow_pins(grant: Grant, data: DataObject) -> Grant:
    """One more pin, or fewer values of one that is there."""
    known = world.PINS.get(grant.service or "", {})
    pins = dict(grant.pins)
    assume(known)
    name = data.draw(st.sampled_from(sorted(known)))
    globs = pins.get(name)
    pins[name] = globs[:1] if globs else (Glob(data.draw(st.sampled_from(known[name]))),)
    return replace(grant, pins=tuple(sorted(pins.items())))


def _narrow_query(grant: Grant, data: DataObject) -> Grant:
    query = dict(grant.query)
    query["team"] = query.get("team", ())[:1] or ("a",)
    return replace(grant, query=tuple(query.items()))


def _fewer[T](values: tuple[T, ...], universe: tuple[T, ...], data: DataObject) -> tuple[T, ...]:
    """Fewer of the values, but one; where there are none, which means all, some of them."""
    return data.draw(world.at_least_one(*(values or universe)))


NARROWINGS: dict[str, Callable[[Grant, DataObject], Grant]] = {
    "ports": lambda g, d: replace(g, ports=_fewer(g.ports, (443,), d)),
    "methods": lambda g, d: replace(g, methods=_fewer(g.methods, world.WORLD_METHODS, d)),
    "paths": lambda g, d: replace(g, paths=_fewer(g.paths, world.PATH_PATTERNS, d)),
    "hosts": lambda g, d: replace(g, hosts=g.hosts[:1]),
    "query": _narrow_query,
    "pins": _narrow_pins,
    "prefixes": lambda g, d: replace(g, prefixes=_fewer(g.prefixes, world.PREFIXES, d)),
    "access": lambda g, d: replace(g, access=g.access[1:]),
    "actions": lambda g, d: replace(g, actions=g.actions[1:]),
    "allow_minting": lambda g, d: replace(g, allow_minting=g.allow_minting[1:]),
    "on_foreign_credential": lambda g, d: replace(g, on_foreign_credential=OnForeignCredential.REFUSE),
}


@pytest.mark.parametrize("field", NARROWINGS)
@given(data=st.data(), pod=world.identities, now=world.moments)
def test_property_a_narrower_grant_attaches_to_a_subset(
    field: str, data: DataObject, pod: WorkloadIdentity, now: datetime
) -> None:
    only = world.policies(who=st.just(WorkloadSelector(("*",))), most_grants=1)
    (wide,) = world.numbered([data.draw(only)])
    narrow = replace(wide, grants=(NARROWINGS[field](wide.grants[0], data),))
    wide_index, narrow_index = compiled((wide,)), compiled((narrow,))

    for request in data.draw(world.many_requests):
        verdict = decide(narrow_index, pod, request, now)
        if isinstance(verdict, Attach):
            wider = decide(wide_index, pod, request, now)
            assert isinstance(wider, Attach)
            assert wider.credential == verdict.credential


@given(data=st.data(), pod=world.identities, now=world.moments)
def test_property_a_narrower_selector_attaches_to_a_subset(
    data: DataObject, pod: WorkloadIdentity, now: datetime
) -> None:
    (wide,) = world.numbered([data.draw(world.policies(who=st.just(WorkloadSelector(("*",)))))])
    who = data.draw(
        st.sampled_from(
            (
                WorkloadSelector(("trainer",)),
                WorkloadSelector(("*",), LabelSelector((("team", "vision"),))),
                WorkloadSelector(("*",), gpu=Gpu.REQUIRED),
                WorkloadSelector(("*",), gpu=Gpu.FORBIDDEN),
                WorkloadSelector(("*",), images=ImageRules(digests=(DIGEST,))),
            )
        )
    )
    narrow = replace(wide, workloads=who)
    wide_index, narrow_index = compiled((wide,)), compiled((narrow,))

    for request in data.draw(world.many_requests):
        verdict = decide(narrow_index, pod, request, now)
        if isinstance(verdict, Attach):
            assert decide(wide_index, pod, request, now) == verdict


# --- what `podkey check` promises --------------------------------------------------------------------

CHECKED_HOSTS = tuple(
    map(HostPattern, ("api.example.com", "*.example.com", "*.b.example.com", "example.net"))
)
CHECKED_PATHS = ("/", "/v1", "/v1/a", "/v1/a/x", "/v2/a/files/x", "/data/x")
checked_grants = world.host_grants(hosts=CHECKED_HOSTS, credentials=st.sampled_from(("a", "b")))
checked_policies = world.policies(grants=checked_grants, namespaces=st.just("ml"))
EVERY_REQUEST = tuple(
    world.every_request(
        world.PLAIN_HOSTS,
        ("GET", "PUT"),
        [path + query for path in CHECKED_PATHS for query in ("", "?team=a", "?prefix=train/&team=a")],
        (443, 8443),
    )
)


def overlaps(found: list[AccessPolicy]) -> bool:
    """Whether `podkey check` reports these, as documents, for overlaps; it has nothing else to report."""
    sources = [source for source in world.world_sources() if source.namespace == "ml"]
    result = read_documents({"test.yaml": render([*found, *sources]).encode()}, CATALOGUE)
    assert {problem.code for problem in result.problems} <= OVERLAPS, result.problems
    return bool(result.problems)


@given(data=st.data())
def test_property_without_a_reported_overlap_nothing_is_ambiguous(data: DataObject) -> None:
    kept: list[AccessPolicy] = []
    for one in world.numbered(data.draw(st.lists(checked_policies, min_size=2, max_size=6))):
        if not overlaps([*kept, one]):
            kept.append(one)
    index = compiled(tuple(kept))

    ambiguous = [
        (pod, request, now)
        for pod in world.IDENTITIES[:3]
        for now in world.MOMENTS[:2]
        for request in EVERY_REQUEST
        if decide(index, pod, request, now) in AMBIGUOUS
    ]

    assert ambiguous == []


class _Ambiguous:
    """Verdicts that are, or would be, `ambiguous_grant`."""

    def __contains__(self, verdict: Verdict) -> bool:
        inner = verdict.would if isinstance(verdict, PassThrough) else verdict
        return isinstance(inner, Refuse) and inner.reason is Reason.AMBIGUOUS_GRANT


AMBIGUOUS = _Ambiguous()
