"""What podkey's judge allows, AWS allows with the derived session policy; what it refuses for its bucket, its
key or its operation, AWS refuses, too.

AWS is played by `tests/iam.py`, and by the table of requests below: what IAM asks for each of them, as the S3
API reference tells.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from hypothesis import assume, event, given
from hypothesis import strategies as st

from proxy.aws.session_policy import session_policy
from proxy.core.aws_sources import AwsWebIdentity
from proxy.core.credentials import CredentialSource
from proxy.core.globs import Glob
from proxy.core.identity import WorkloadIdentity
from proxy.core.policy import Access, AccessPolicy, Grant, WorkloadSelector
from proxy.core.reasons import Reason
from proxy.core.verdict import Attach, Refuse
from proxy.judge.decide import decide
from proxy.judge.index import PolicyIndex
from tests.iam import allows
from tests.judge_world import CATALOGUE, ask

NOON: Final = datetime(2026, 3, 4, 12, tzinfo=UTC)
POD: Final = WorkloadIdentity("ml", "trainer")
ROLE: Final = AwsWebIdentity("arn:aws:iam::111122223333:role/training", "eu-central-1")
HOST: Final = "https://s3.eu-central-1.amazonaws.com"
ACCOUNT: Final = "111122223333"

BUCKETS: Final = ("data", "data-2", "other", "train")
KEYS: Final = ("train", "train/x", "train/", "train/x/y", "training/x", "trainx", "t$x", "x", "other/train/x")
PREFIXES: Final = ("train", "train/", "train*", "t*", "*", "x", "t$", "other")
LISTED: Final = ("", "train", "train/", "train/x", "training/", "t", "other/", None)


@dataclass(frozen=True)
class Asked:
    """A request, and what IAM wants allowed for it: actions on a resource, in a context."""

    line: str
    actions: tuple[str, ...]
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)
    # HeadBucket with prefixes, and uploads listed by prefix: IAM's words for them are too wide or too narrow.
    coarse: bool = False


OBJECT_REQUESTS: Final = {
    "GET": ("s3:GetObject",),
    "HEAD": ("s3:GetObject",),
    "PUT": ("s3:PutObject",),
    "DELETE": ("s3:DeleteObject",),
    "GET ?versionId=1": ("s3:GetObjectVersion",),
    "DELETE ?versionId=1": ("s3:DeleteObjectVersion",),
    "GET ?attributes": ("s3:GetObject", "s3:GetObjectAttributes"),
    "GET ?attributes&versionId=1": ("s3:GetObjectVersion", "s3:GetObjectVersionAttributes"),
    "GET ?tagging": ("s3:GetObjectTagging",),
    "PUT ?tagging&versionId=1": ("s3:PutObjectVersionTagging",),
    "POST ?uploads": ("s3:PutObject",),
    "PUT ?partNumber=1&uploadId=u": ("s3:PutObject",),
    "POST ?uploadId=u": ("s3:PutObject",),
    "DELETE ?uploadId=u": ("s3:AbortMultipartUpload",),
    "GET ?uploadId=u": ("s3:ListMultipartUploadParts",),
    "GET ?acl": ("s3:GetObjectAcl",),
    "PUT ?acl": ("s3:PutObjectAcl",),
    "POST ?restore": ("s3:RestoreObject",),
}
BUCKET_REQUESTS: Final = {
    "HEAD": ("s3:ListBucket",),
    "GET ?location": ("s3:GetBucketLocation",),
    "GET ?policy": ("s3:GetBucketPolicy",),
    "PUT ?policy": ("s3:PutBucketPolicy",),
    "PUT": ("s3:CreateBucket",),
    "DELETE ?website": ("s3:DeleteBucketWebsite",),
}
LISTINGS: Final = {
    "list-type=2": ("s3:ListBucket",),
    "versions": ("s3:ListBucketVersions",),
    "uploads": ("s3:ListBucketMultipartUploads",),
}
ACTIONS: Final = (
    "s3:GetObject",
    "s3:DeleteObjectVersion",
    "s3:GetObjectAcl",
    "s3:PutObjectAcl",
    "s3:RestoreObject",
    "s3:HeadBucket",
    "s3:ListBucket",
    "s3:GetBucketPolicy",
    "s3:CreateBucket",
    "s3:PutBucketWebsite",
    "s3:ListAllMyBuckets",
    "s3:DeleteObjects",
)
# Operations that are told apart by podkey, and one action to IAM.
SAME_TO_IAM: Final = {"s3:HeadBucket": "s3:ListBucket", "s3:DeleteObjects": "s3:DeleteObject"}


@st.composite
def requests(draw: st.DrawFn) -> Asked:
    bucket = draw(st.sampled_from(BUCKETS))
    arn = f"arn:aws:s3:::{bucket}"
    what = draw(st.sampled_from(("object", "object", "listing", "bucket", "account")))
    if what == "account":
        return Asked(f"GET {HOST}/", ("s3:ListAllMyBuckets",), "*")
    if what == "object":
        key, (line, actions) = (
            draw(st.sampled_from(KEYS)),
            draw(st.sampled_from(list(OBJECT_REQUESTS.items()))),
        )
        method, _, query = line.partition(" ")
        return Asked(f"{method} {HOST}/{bucket}/{key}{query}", actions, f"{arn}/{key}")
    if what == "bucket":
        line, actions = draw(st.sampled_from(list(BUCKET_REQUESTS.items())))
        method, _, query = line.partition(" ")
        return Asked(f"{method} {HOST}/{bucket}{query}", actions, arn, coarse=line == "HEAD")
    kind, actions = draw(st.sampled_from(list(LISTINGS.items())))
    prefix = draw(st.sampled_from(LISTED))
    given_prefix = "" if prefix is None else f"&prefix={prefix}"
    context = {"s3:prefix": prefix} if prefix is not None else {}
    return Asked(f"GET {HOST}/{bucket}?{kind}{given_prefix}", actions, arn, context, coarse=kind == "uploads")


grants: Final = st.builds(
    lambda buckets, prefixes, access, actions, owner: Grant(
        "aws",
        "s3",
        pins=(("bucket", tuple(map(Glob, buckets))),),
        prefixes=tuple(prefixes),
        access=tuple(access),
        actions=tuple(actions),
        expected_bucket_owner=owner,
    ),
    st.lists(st.sampled_from((*BUCKETS, "data*", "*")), min_size=1, max_size=2, unique=True),
    st.lists(st.sampled_from(PREFIXES), max_size=3, unique=True),
    st.lists(st.sampled_from(Access), max_size=4, unique=True),
    st.lists(st.sampled_from(ACTIONS), max_size=2, unique=True),
    st.none() | st.just(ACCOUNT),
)
# Two grants with different owners would be ambiguous to the judge, which is another question than this one.
policies: Final = st.lists(grants, min_size=1, max_size=2).filter(
    lambda found: len({one.expected_bucket_owner for one in found}) == 1
)
several_requests: Final = st.lists(requests(), min_size=20, max_size=40)


def judge_of(found: list[Grant]) -> PolicyIndex:
    policy = AccessPolicy("ml", "p", WorkloadSelector(("trainer",)), tuple(found))
    return PolicyIndex((policy,), (CredentialSource("ml", "aws", ROLE),), CATALOGUE)


@given(policies, several_requests)
def test_aws_allows_what_podkey_allows_and_refuses_what_podkey_refuses_for_its_bucket_key_or_operation(
    found: list[Grant], requests: list[Asked]
) -> None:
    text = session_policy(ROLE, [(grant, CATALOGUE["s3"]) for grant in found])
    assume(isinstance(text, str))
    prefixes = any(grant.prefixes for grant in found)
    # A star in a bucket's name matches a slash to IAM: `da*/train/x` is also `data/y/train/x`.
    wide = prefixes and any("*" in glob.text for grant in found for _, globs in grant.pins for glob in globs)
    unbounded = {name for grant in found if not grant.prefixes for name in grant.actions}
    same = {action for name, action in SAME_TO_IAM.items() if name in unbounded}
    index = judge_of(found)
    for asked in requests:
        verdict = decide(index, POD, ask(asked.line), NOON)
        context = {**asked.context, "s3:ResourceAccount": ACCOUNT}
        allowed = all(allows(str(text), action, asked.resource, context) for action in asked.actions)
        if isinstance(verdict, Attach):
            event("attached")
            assert allowed or (asked.coarse and prefixes and asked.line.startswith("HEAD")), asked.line
        elif isinstance(verdict, Refuse) and verdict.reason in {
            Reason.PIN_NOT_GRANTED,
            Reason.PIN_UNREADABLE,
            Reason.ACTION_NOT_GRANTED,
        }:
            event("refused")
            coarse = wide or asked.coarse or same.intersection(asked.actions)
            assert not allowed or coarse, (asked.line, text)
        else:
            raise AssertionError(f"{asked.line}: {verdict}")


@given(policies, several_requests)
def test_nothing_is_allowed_in_a_bucket_of_another_account(found: list[Grant], requests: list[Asked]) -> None:
    text = session_policy(ROLE, [(grant, CATALOGUE["s3"]) for grant in found])
    assume(isinstance(text, str) and found[0].expected_bucket_owner is not None)
    for asked in requests:
        context = {**asked.context, "s3:ResourceAccount": "444455556666"}
        for action in set(asked.actions) - {"s3:ListAllMyBuckets"}:
            assert not allows(str(text), action, asked.resource, context)


# --- access points and directory buckets -------------------------------------------------------------

POINTS: Final = ("data", "other")
POINT: Final = f"arn:aws:s3:eu-central-1:{ACCOUNT}:accesspoint/"
DIRECTORIES: Final = ("data--euc1-az1--x-s3", "other--euc1-az1--x-s3")
# For what is of the classes read and list, podkey opens sessions that can only read.
READING: Final = frozenset(
    {
        *("GET", "HEAD", "GET ?versionId=1", "GET ?tagging"),
        *("GET ?attributes", "GET ?attributes&versionId=1"),
    }
)

classes: Final = st.lists(st.sampled_from(Access), max_size=4, unique=True)
narrowed: Final = st.lists(st.sampled_from(PREFIXES), max_size=3, unique=True)
object_requests: Final = st.lists(
    st.tuples(st.sampled_from((0, 1)), st.sampled_from(KEYS), st.sampled_from(list(OBJECT_REQUESTS))),
    min_size=20,
    max_size=40,
)


def named(name: str, prefixes: list[str], access: list[Access]) -> Grant:
    pins = (("bucket", (Glob(name),)),)
    return Grant("aws", "s3", pins=pins, prefixes=tuple(prefixes), access=tuple(access))


def line_of(host: str, key: str, line: str) -> str:
    method, _, query = line.partition(" ")
    return f"{method} https://{host}/{key}{query}"


@given(st.sampled_from((f"{POINT}data", f"{POINT}*")), narrowed, classes, object_requests)
def test_through_an_access_point_aws_allows_what_podkey_allows(
    name: str, prefixes: list[str], access: list[Access], asked: list[tuple[int, str, str]]
) -> None:
    one = named(name, prefixes, access)
    text = session_policy(ROLE, [(one, CATALOGUE["s3"])])
    assume(isinstance(text, str))
    index = judge_of([one])
    for number, key, line in asked:
        point = POINTS[number]
        host = f"{point}-{ACCOUNT}.s3-accesspoint.eu-central-1.amazonaws.com"
        verdict = decide(index, POD, ask(line_of(host, key, line)), NOON)
        through = {"s3:DataAccessPointArn": POINT + point}
        resources = (f"{POINT}{point}/object/{key}", f"arn:aws:s3:::whichever/{key}")
        both = all(
            allows(str(text), action, resource, through)
            for action in OBJECT_REQUESTS[line]
            for resource in resources
        )
        assert both == isinstance(verdict, Attach), (line, key, text)
        # The bucket behind it is reached through it alone.
        for action in OBJECT_REQUESTS[line]:
            assert not allows(str(text), action, f"arn:aws:s3:::whichever/{key}")


@given(narrowed, classes, object_requests)
def test_a_session_of_a_directory_bucket_is_had_for_what_podkey_allows_there(
    prefixes: list[str], access: list[Access], asked: list[tuple[int, str, str]]
) -> None:
    one = named(DIRECTORIES[0], prefixes, access)
    text = session_policy(ROLE, [(one, CATALOGUE["s3"])])
    assume(isinstance(text, str))
    index = judge_of([one])
    for number, key, line in asked:
        bucket = DIRECTORIES[number]
        host = f"{bucket}.s3express-euc1-az1.eu-central-1.amazonaws.com"
        verdict = decide(index, POD, ask(line_of(host, key, line)), NOON)
        mode = "ReadOnly" if line in READING else "ReadWrite"
        arn = f"arn:aws:s3express:eu-central-1:{ACCOUNT}:bucket/{bucket}"
        allowed = allows(str(text), "s3express:CreateSession", arn, {"s3express:SessionMode": mode})
        # A session is for the whole bucket: what is in it, podkey holds alone.
        assert allowed or not isinstance(verdict, Attach), (line, text)
        assert not allowed or bucket == DIRECTORIES[0]
        if set(access) <= {Access.READ, Access.LIST}:
            writes = {"s3express:SessionMode": "ReadWrite"}
            assert not allows(str(text), "s3express:CreateSession", arn, writes)
