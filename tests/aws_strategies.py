"""AWS sources for tests, any that a document can hold."""

from datetime import timedelta

from hypothesis import strategies as st

from proxy.core.aws_sources import AssumedRole, AwsStatic, AwsWebIdentity, SessionPolicy

_WORLDS = st.sampled_from(
    (
        ("aws", "eu-central-1"),
        ("aws-cn", "cn-north-1"),
        ("aws-us-gov", "us-gov-west-1"),
        ("aws-eusc", "eusc-de-east-1"),
    )
)
_ACCOUNTS = st.from_regex("[0-9]{12}", fullmatch=True)
_NAMES = st.from_regex(r"([a-z!~]{1,4}/){0,2}[A-Za-z0-9_+=,.@-]{1,12}", fullmatch=True)
_ENDPOINTS = st.none() | st.sampled_from(("https://ceph.example.com", "https://[2001:db8::1]:8443/sts"))
_KEYS = st.from_regex(r"[-._a-zA-Z0-9]{1,10}", fullmatch=True)
_SECRET_NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True)


def _spans(most: timedelta) -> st.SearchStrategy[timedelta]:
    return st.integers(900, int(most.total_seconds())).map(lambda seconds: timedelta(seconds=seconds))


@st.composite
def web_identities(draw: st.DrawFn) -> AwsWebIdentity:
    partition, region = draw(_WORLDS)

    def arn(kind: str) -> str:
        return f"arn:{partition}:iam::{draw(_ACCOUNTS)}:{kind}/{draw(_NAMES)}"

    chained = draw(st.booleans())
    policy = draw(st.sampled_from(SessionPolicy))
    arns = [arn("policy") for _ in range(draw(st.integers(0, 3)))] if policy is SessionPolicy.NONE else []
    return AwsWebIdentity(
        arn("role"),
        region,
        draw(st.from_regex(r"[\x21-\x7e]{1,12}", fullmatch=True)),
        timedelta(hours=1) if chained else draw(_spans(timedelta(hours=12))),
        policy,
        tuple(dict.fromkeys(arns)),
        draw(_ENDPOINTS),
        AssumedRole(
            arn("role"),
            draw(st.none() | st.from_regex(r"[A-Za-z0-9_+=,.@:/-]{2,12}", fullmatch=True)),
            draw(_spans(timedelta(hours=1))),
        )
        if chained
        else None,
    )


@st.composite
def static_pairs(draw: st.DrawFn) -> AwsStatic:
    keys = draw(st.lists(_KEYS, min_size=2, max_size=3, unique=True))
    return AwsStatic(draw(_SECRET_NAMES), *keys)
